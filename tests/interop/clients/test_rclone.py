"""rclone: SDK for Go version 2, unsigned payloads, both listings."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.interop


@pytest.fixture(params=["1", "2"], ids=["ListObjects", "ListObjectsV2"])
def rclone(request: pytest.FixtureRequest, program: Callable[[str], Any], endpoint: Any) -> Any:
    options = {"provider": "Other", "env-auth": "true", "endpoint": endpoint.url, "list-version": request.param}
    return program("rclone").with_arguments(
        "--config", "", "--retries", "1", "--low-level-retries", "1",
        *(f"--s3-{name}={value}" for name, value in options.items()),
    )  # fmt: skip


@pytest.fixture
def remote(bucket: str) -> str:
    return f":s3:{bucket}"


def test_a_tree_up_and_down(
    rclone: Any, remote: str, there: Any, back: Any, files: dict[str, bytes], objects: Callable[[], dict[str, bytes]]
) -> None:
    rclone("copy", there.path, f"{remote}/tree")
    assert objects() == {f"tree/{name}": data for name, data in files.items()}
    rclone("check", there.path, f"{remote}/tree", "--download")
    rclone("sync", f"{remote}/tree", back.path, "--checksum")
    assert back.read() == files
    (there.path / "plain.txt").write_bytes(b"changed")
    (there.path / "empty").unlink()
    rclone("sync", there.path, f"{remote}/tree")
    assert objects() == {f"tree/{name}": data for name, data in there.read().items()}


def test_large_files(
    rclone: Any, remote: str, tmp_path: Path, large: bytes, objects: Callable[[], dict[str, bytes]]
) -> None:
    parts = ("--s3-chunk-size=5Mi", "--s3-upload-cutoff=5Mi", "--s3-copy-cutoff=5Mi", "--streaming-upload-cutoff=5Mi")
    (tmp_path / "large").write_bytes(large)
    rclone("copyto", "large", f"{remote}/large", *parts)
    rclone("moveto", f"{remote}/large", f"{remote}/moved", *parts)
    rclone("rcat", f"{remote}/piped", *parts, stdin=large)
    assert objects() == {"moved": large, "piped": large}
    assert rclone("cat", f"{remote}/moved", "--offset", "6000000", "--count", "9") == large[6000000:6000009]
    assert rclone("cat", f"{remote}/moved", "--multi-thread-streams=4") == large


def test_metadata_and_times(rclone: Any, remote: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"file")
    metadata = ("--metadata", "--metadata-set", "content-type=text/x", "--metadata-set", "k=v")
    rclone("copyto", "file", f"{remote}/file", *metadata)
    rclone("touch", f"{remote}/file", "--timestamp", "2001-02-03T04:05:06")
    [listed] = json.loads(rclone("lsjson", remote, "--metadata", "--hash"))
    assert (listed["Size"], listed["ModTime"]) == (4, "2001-02-03T04:05:06.000000000Z")
    assert listed["Metadata"]["content-type"] == "text/x"
    assert listed["Metadata"]["k"] == "v"
    assert listed["Hashes"] == {"md5": "8c7dd922ad47494fc02c388e12c00eac"}


def test_buckets_and_directories(rclone: Any, s3: Any, bucket: str) -> None:
    other = f"{bucket}-rclone"
    rclone("mkdir", f":s3:{other}")
    rclone("mkdir", f":s3:{other}/folder", "--s3-directory-markers")
    assert rclone("lsf", f":s3:{other}") == b"folder/\n"
    rclone("rcat", f":s3:{other}/folder/file", stdin=b"x")
    assert f"{other}\n".encode() in rclone("lsd", ":s3:").replace(b" ", b"\n")
    rclone("purge", f":s3:{other}")
    assert other not in [found["Name"] for found in s3.list_buckets()["Buckets"]]


def test_link(rclone: Any, remote: str) -> None:
    rclone("rcat", f"{remote}/a b+c", stdin=b"given away")
    with urllib.request.urlopen(rclone("link", f"{remote}/a b+c", "--expire", "1m").decode().strip()) as answer:
        assert answer.read() == b"given away"
