"""A server for what has to be seen from outside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import Server, running

KEPT = b"the object that no hostile request may change"


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the object ``target/kept``; it gives up bodies that stall after a second, and logs everything."""
    config = {"limits": {"body_idle_seconds": 1}, "log": {"level": "debug"}}
    with running(tmp_path_factory.mktemp("server"), config=config) as server:
        s3 = server.boto3()
        s3.create_bucket(Bucket="target")
        s3.put_object(Bucket="target", Key="kept", Body=KEPT)
        yield server
        assert s3.get_object(Bucket="target", Key="kept")["Body"].read() == KEPT


@pytest.fixture
def kept(server: Server) -> Iterator[None]:
    """The object is there after the test as it was before."""
    yield
    assert server.request("GET", "/target/kept").body == KEPT
