"""The server of `tests.interop`, spoken to over TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Authority
from tests.interop.conftest import Server, end_server, start_server


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority of the servers here."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Server]:
    """A server for all tests that need none of their own."""
    issued = authority.issue()
    config = {"tls": {"cert": str(issued.cert), "key": str(issued.key)}}
    running = start_server(tmp_path_factory.mktemp("https"), config=config, ca_file=authority.ca_file)
    try:
        assert running.endpoint.startswith("https://127.0.0.1:")
        yield running
        end_server(running)
    finally:
        if running.process.poll() is None:
            running.kill()
        running.close_clients()


@pytest.fixture(scope="session")
def s3(server: Server) -> Any:
    """A boto3 client of that server."""
    return server.boto3()


@pytest.fixture(autouse=True)
def _trust(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """What urllib and curl look for."""
    trusted: Path = authority.ca_file
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(trusted))
