"""The server of `tests.interop`, with everything on a storage node in another process and nothing kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.remote_servers import RemoteServers
from tests.servers import Server, kept_running


@pytest.fixture(scope="session")
def server(remote_servers: RemoteServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that tests talk to."""
    with kept_running(remote_servers.start(tmp_path_factory.mktemp("far"), config={"workers": 2})) as server:
        yield server


@pytest.fixture(scope="session")
def s3(server: Server) -> Any:
    """A boto3 client of that server; one that other tests use already would be of the other server."""
    return server.boto3()
