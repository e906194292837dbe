"""Servers as fixtures, reached as strangers reach them: by the aws CLI, by boto3, by bytes on a socket."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.asked_for import leave_out
from tests.certificates import Authority
from tests.interop.programs import FROM_THE_MACHINE, Program
from tests.remote_servers import RemoteServers
from tests.servers import BIN, Server, kept_running, start_server


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--remote", action="store_true", help="every server keeps nothing, and has all on a storage node")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "interop: drives a client that is not ours")
    config.addinivalue_line("markers", "not_remote(reason): left out with --remote")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--remote", default=False):
        leave_out(["not_remote"], config, items)


StartServer = Callable[..., Server]


@pytest.fixture(scope="session")
def remote_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteServers]:
    """A storage node in another process, and what starts servers that have everything there."""
    with RemoteServers(tmp_path_factory.mktemp("remote")) as servers:
        yield servers


@pytest.fixture(scope="session")
def start_one(request: pytest.FixtureRequest) -> Iterator[StartServer]:
    """What starts a server: `start_server`, or with ``--remote`` one that has everything on a storage node."""
    if not request.config.getoption("--remote", default=False):
        yield start_server
        return
    servers: RemoteServers = request.getfixturevalue("remote_servers")
    yield servers.start
    assert servers.reads, "nothing was read from the node"


@contextlib.contextmanager
def _starter(start_one: StartServer, parent: Path) -> Iterator[StartServer]:
    started: list[Server] = []

    def begin(**options: Any) -> Server:
        folder = parent / f"server-{len(started)}"
        folder.mkdir()
        started.append(start_one(folder, **options))
        return started[-1]

    yield begin
    for server in started:
        if server.process.poll() is None:
            server.stop()
        server.close_clients()
        assert "Traceback" not in server.log, server.log[-8000:]


@pytest.fixture
def start(start_one: StartServer, tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers of a test's own: `start(config=..., data_dir=...)`. They are ended with the test."""
    with _starter(start_one, tmp_path) as begin:
        yield begin


@pytest.fixture(scope="module")
def start_for_module(start_one: StartServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """`start` for servers that are ended with the module."""
    with _starter(start_one, tmp_path_factory.mktemp("servers")) as begin:
        yield begin


@pytest.fixture(scope="session")
def http_server(start_one: StartServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all tests that need none of their own, of this process: starting one is what costs most."""
    with kept_running(start_one(tmp_path_factory.mktemp("http"))) as server:
        yield server


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that vouches for `https_server`."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def https_server(
    start_one: StartServer, tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Server]:
    """As `http_server`, spoken to over TLS."""
    issued = authority.issue()
    config = {"tls": {"cert": str(issued.cert), "key": str(issued.key)}}
    started = start_one(tmp_path_factory.mktemp("https"), config=config, ca_file=authority.ca_file)
    with kept_running(started) as server:
        assert server.endpoint.startswith("https://127.0.0.1:")
        yield server


@pytest.fixture(scope="session")
def server(http_server: Server) -> Server:
    """The server that tests talk to."""
    return http_server


@pytest.fixture(scope="session")
def s3(server: Server) -> Any:
    """A boto3 client of that server."""
    return server.boto3()


@contextlib.contextmanager
def _refused(code: str, status: int) -> Iterator[None]:
    with pytest.raises(ClientError) as caught:
        yield
    error = caught.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)


@pytest.fixture(scope="session")
def refused() -> Callable[[str, int], contextlib.AbstractContextManager[None]]:
    """`with refused(code, status):` expects boto3 to be refused; an answer to HEAD has only its status as code."""
    return _refused


_bucket_numbers = iter(range(10**9))


@pytest.fixture
def bucket(server: Any, s3: Any) -> str:
    """A new, empty bucket."""
    assert s3.meta.endpoint_url == server.endpoint, "a folder whose server is another one needs an s3 of its own"
    name = f"bucket-{next(_bucket_numbers)}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="session")
def absent(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Ends a test whose client is not there: a failure if `make interop` should have installed it."""

    def end(name: str) -> None:
        if "interop" in pytestconfig.option.markexpr and name not in FROM_THE_MACHINE:
            pytest.fail(f"{name} is not installed, and `make interop` installs it")
        pytest.skip(f"{name} is not installed")

    return end


@pytest.fixture
def program(absent: Callable[[str], None], tmp_path: Path) -> Callable[[str], Program]:
    """Finds a client that is a program; ends the test if it is not there."""

    def find(name: str) -> Program:
        path = shutil.which(name, path=os.pathsep.join((str(BIN), os.environ["PATH"])))
        if path is None:
            absent(name)
        assert path is not None
        return Program(path, tmp_path)

    return find
