"""The server of `tests.interop`, spoken to over TLS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Authority
from tests.servers import Server


@pytest.fixture(scope="session")
def server(https_server: Server) -> Server:
    """The server that tests talk to."""
    return https_server


@pytest.fixture(scope="session")
def s3(server: Server) -> Any:
    """A boto3 client of that server; one that other tests use already would be of the other server."""
    return server.boto3()


@pytest.fixture(autouse=True)
def _trust(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """What urllib and curl look for."""
    trusted: Path = authority.ca_file
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(trusted))
