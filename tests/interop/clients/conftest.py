"""Other people's S3 clients: where they are found, and the endpoint they are pointed at.

Small ones come with the development tools, the others with `make interop`; a few have to be on the machine. A client
that is not there skips its tests, but not under `make interop` if that should have installed it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

MIB = 1 << 20

FILES = {
    "plain.txt": b"plain",
    "empty": b"",
    "with space+plus%20percent": b"escapes",
    "sub/folder/#hash?question&amp=1": b"query",
    "sub/\N{LATIN SMALL LETTER U WITH DIAERESIS}\N{GRINNING FACE}": b"beyond ASCII",
    "it's (a) ~tilde!*": b"marks",
    "megabyte": random.Random("megabyte").randbytes(MIB + 7),
}

WRITTEN = 1_700_000_000
"""When the files were written that clients upload, in seconds since 1970."""


@dataclass(frozen=True)
class Endpoint:
    """Where a client finds the server, and as whom.

    Attributes:
        url: scheme, host and port.
        region: what requests are signed for.
        access_key, secret: the credential.
        ca_file: the authority to trust, or None for plain HTTP.
    """

    url: str
    region: str
    access_key: str
    secret: str
    ca_file: Path | None = None

    @property
    def host(self) -> str:
        """Host and port."""
        return self.url.partition("://")[2]

    @property
    def secure(self) -> bool:
        return self.ca_file is not None

    def variables(self) -> dict[str, str]:
        """What clients look for in their environment."""
        trust = ("AWS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_ENDPOINT_URL": self.url,
            **({name: str(self.ca_file) for name in trust} if self.ca_file else {}),
        }


@pytest.fixture(scope="session", params=["http", pytest.param("https", marks=pytest.mark.over_tls)])
def server(request: pytest.FixtureRequest) -> Any:
    """Each way to reach a server: clients frame and sign their bodies differently over TLS."""
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture(scope="session")
def s3(server: Any) -> Any:
    """A boto3 client of `server`; one that other tests use already would be of another server."""
    return server.boto3()


@pytest.fixture(scope="session")
def endpoint(server: Any) -> Endpoint:
    """Where `server` is, and the credential for it."""
    variables = server.environment
    return Endpoint(
        url=server.endpoint,
        region=variables["AWS_DEFAULT_REGION"],
        access_key=variables["AWS_ACCESS_KEY_ID"],
        secret=variables["AWS_SECRET_ACCESS_KEY"],
        ca_file=server.ca_file,
    )


@pytest.fixture(autouse=True)
def environment(endpoint: Endpoint, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For clients in this process and in others: no settings of the person running the tests, but the endpoint's."""
    home = tmp_path / "home"
    home.mkdir()
    wanted = server.child_environment(endpoint.variables() | {"HOME": str(home)})
    for name in os.environ.keys() - wanted.keys():
        monkeypatch.delenv(name)
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def python_client(absent: Callable[[str], None]) -> Callable[[str], ModuleType]:
    """Imports a client library; ends the test if it is not there."""

    def find(name: str) -> ModuleType:
        package = name.partition(".")[0]
        if importlib.util.find_spec(package) is None:
            absent(package)
        return importlib.import_module(name)

    return find


@dataclass(frozen=True)
class Folder:
    """A folder of files by name."""

    path: Path

    def write(self, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            os.utime(path, (WRITTEN, WRITTEN))  # a copy made in the same second would seem older than its original

    def read(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.path)): path.read_bytes() for path in self.path.rglob("*") if path.is_file()}


@pytest.fixture
def files() -> dict[str, bytes]:
    """Contents by name; the names are those that clients and servers get wrong."""
    return dict(FILES)


@pytest.fixture
def there(tmp_path: Path, files: dict[str, bytes]) -> Folder:
    """A folder with `files` in it."""
    folder = Folder(tmp_path / "there")
    folder.write(files)
    return folder


@pytest.fixture
def back(tmp_path: Path) -> Folder:
    """A folder that is not there yet."""
    return Folder(tmp_path / "back")


@pytest.fixture(scope="session")
def large() -> bytes:
    """More than two parts of a multipart upload."""
    return random.Random("large").randbytes(12 * MIB + 5)


@pytest.fixture
def objects(s3: Any, bucket: str) -> Callable[[], dict[str, bytes]]:
    """Reads everything in the test's bucket with boto3: what the client said is compared with this."""

    def read() -> dict[str, bytes]:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}

    return read
