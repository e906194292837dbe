"""The Docker registry: SDK for Go version 1, listings of version 1, uploads resumed by listing their parts."""

from __future__ import annotations

import hashlib
import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.interop

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
BYTES = {"Content-Type": "application/octet-stream"}


@pytest.fixture
def config(endpoint: Any, bucket: str, tmp_path: Path) -> Path:
    settings = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {
            "s3": {
                "accesskey": endpoint.access_key,
                "secretkey": endpoint.secret,
                "region": endpoint.region,
                "regionendpoint": endpoint.url,
                "secure": endpoint.secure,
                "bucket": bucket,
                "chunksize": 5 << 20,
            },
            "delete": {"enabled": True},
            "redirect": {"disable": True},
        },
        "http": {"addr": "127.0.0.1:0"},
    }
    path = tmp_path / "registry.yml"
    path.write_text(json.dumps(settings))
    return path


Call = Callable[..., HTTPResponse]


@pytest.fixture
def registry(program: Callable[[str], Any], config: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    """Sends a request to a running registry; a path or, as the registry gives locations, a URL."""
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)  # with which it does not start; SSL_CERT_FILE is enough
    process = program("docker-registry").start("serve", config, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    with process:
        try:
            listening = next((line for line in process.stderr if b"listening on" in line), None)
            assert listening is not None, "the registry ended instead of listening"
            host = listening.partition(b"listening on ")[2].partition(b'"')[0].strip().decode()

            def call(
                method: str, location: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
            ) -> HTTPResponse:
                url = location if location.startswith("http") else f"http://{host}{location}"
                return urllib.request.urlopen(
                    urllib.request.Request(url, data=data, method=method, headers=dict(headers or {}))
                )

            yield call
        finally:
            process.terminate()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_push_and_pull(
    registry: Call, program: Callable[[str], Any], config: Path, large: bytes, objects: Callable[[], dict[str, bytes]]
) -> None:
    # A layer in pieces, as the registry takes them when a push goes on after a break.
    location = registry("POST", "/v2/image/blobs/uploads/", b"").headers["Location"]
    for start, stop in ((0, 7_000_000), (7_000_000, len(large))):
        headers = BYTES | {"Content-Range": f"{start}-{stop - 1}"}
        location = registry("PATCH", location, large[start:stop], headers).headers["Location"]
    registry("PUT", f"{location}&digest={digest(large)}", b"")
    location = registry("POST", "/v2/image/blobs/uploads/", b"").headers["Location"]
    registry("PUT", f"{location}&digest={digest(b'{}')}", b"{}", BYTES)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json", "size": 2, "digest": digest(b"{}"),
        },
        "layers": [
            {
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "size": len(large),
                "digest": digest(large),
            }
        ],
    }  # fmt: skip
    registry("PUT", "/v2/image/manifests/latest", json.dumps(manifest).encode(), {"Content-Type": MANIFEST})

    assert registry("GET", f"/v2/image/blobs/{digest(large)}").read() == large
    assert json.load(registry("GET", "/v2/image/tags/list"))["tags"] == ["latest"]
    assert json.load(registry("GET", "/v2/_catalog"))["repositories"] == ["image"]
    pulled = registry("GET", "/v2/image/manifests/latest", None, {"Accept": MANIFEST})
    assert json.load(pulled) == manifest

    registry("DELETE", f"/v2/image/manifests/{pulled.headers['Docker-Content-Digest']}")
    program("docker-registry")("garbage-collect", config)
    assert large not in objects().values()
