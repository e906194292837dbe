"""A server for what has to be seen from outside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.conftest import Server, end_server, start_server

KEPT = b"the object that no hostile request may change"


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the object ``target/kept``; it gives up bodies that stall after a second, and logs everything."""
    config = {"limits": {"body_idle_seconds": 1}, "log": {"level": "debug"}}
    running = start_server(tmp_path_factory.mktemp("server"), config=config)
    try:
        s3 = running.boto3()
        s3.create_bucket(Bucket="target")
        s3.put_object(Bucket="target", Key="kept", Body=KEPT)
        yield running
        assert s3.get_object(Bucket="target", Key="kept")["Body"].read() == KEPT
        end_server(running)
    finally:
        running.kill()


@pytest.fixture
def kept(server: Server) -> Iterator[None]:
    """The object is there after the test as it was before."""
    yield
    assert server.request("GET", "/target/kept").body == KEPT
