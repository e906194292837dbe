"""The owner and its workers when something is wrong with one of them.

How they behave when all is well, or are killed, is in ``tests/interop/test_processes.py``.
"""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from registry import credentials
from registry.credentials import Credential
from registry.database import Database
from tests.waiting import wait_for_server

REPOSITORY = Path(__file__).resolve().parents[4]
READY_SECONDS = 60.0
CONNECTIONS = 24  # the chance that one of two workers gets none is 1 in 8 million

Serve = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.fixture
def serve(tmp_path: Path, output: Path) -> Iterator[Serve]:
    """Starts a server of two workers in which something was put out of order first."""
    started: list[subprocess.Popen[bytes]] = []

    def start(disorder: str) -> subprocess.Popen[bytes]:
        program = f"{textwrap.dedent(disorder)}\nfrom gateway.cli import main\nmain()\n"
        with output.open("wb") as file:
            command = [sys.executable, "-c", program, "serve", "--data-dir", str(tmp_path / "data")]
            started.append(
                subprocess.Popen(
                    [*command, "--listen", "127.0.0.1:0", "--workers", "2"],
                    cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                )
            )  # fmt: skip
        return started[-1]

    yield start
    for server in started:
        server.kill()
        server.wait()


class Client:
    """Sends every request over a connection of its own."""

    def __init__(self, data: Path, server: subprocess.Popen[bytes], sign: Callable[..., Any]) -> None:
        log = data.parent / "output"
        self._host = wait_for_server(data, server, log.read_text)["endpoint"].removeprefix("http://")
        with closing(Database.open(data / "registry.db", read_only=True)) as database, database.read() as connection:
            self._key: Credential = credentials.list_all(connection)[0]
        self._sign = sign

    def send(self, method: str, target: str, body: bytes = b"") -> tuple[int, bytes]:
        signed = self._sign(
            method, target, body=body, at=time.time(), host=self._host,
            access_key=self._key.access_key, secret=self._key.secret,
        )  # fmt: skip
        with closing(http.client.HTTPConnection(self._host, timeout=30)) as connection:
            headers = {name.decode(): value.decode() for name, value in signed.headers}
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()


@pytest.mark.parametrize("ill", [(1, 2), (2,)], ids=["all", "the last"])
def test_workers_that_do_not_start(serve: Serve, output: Path, ill: tuple[int, ...]) -> None:
    server = serve(
        f"""
        import os
        from gateway.processes import worker
        live, fork, forks = worker.live, os.fork, []

        def count():
            forks.append(None)
            return fork()

        def fail(config, settings, fds):
            if len(forks) - 1 in {ill}:  # the first was the nursery
                raise RuntimeError("this worker is ill")
            live(config, settings, fds)

        os.fork, worker.live = count, fail
        """
    )
    assert server.wait(READY_SECONDS) == 1
    assert output.read_text().count("RuntimeError: this worker is ill") == len(ill)
    assert output.read_text().splitlines()[-1].startswith("Error: a process that was to answer requests did not start")


def test_a_failed_sync_stops_the_writes_of_every_worker(
    serve: Serve, tmp_path: Path, sign_request: Callable[..., Any]
) -> None:
    server = serve(
        """
        import errno, os, signal

        def fail(fd):
            raise OSError(errno.EIO, "Input/output error")

        def spoil(number, frame):
            os.fdatasync = fail

        signal.signal(signal.SIGUSR1, spoil)  # workers are not sent it: the disk fails the owner alone
        """
    )
    client = Client(tmp_path / "data", server, sign_request)
    assert client.send("PUT", "/bkt")[0] == 200
    assert client.send("PUT", "/bkt/before", b"content")[0] == 200
    server.send_signal(signal.SIGUSR1)
    status = 200
    while status == 200:  # until the signal has arrived
        status, answer = client.send("PUT", "/bkt/during", b"content")
    assert (status, b"<Code>ServiceUnavailable</Code>" in answer) == (503, True), answer
    for number in range(CONNECTIONS):
        body = b"content" * (1 if number % 2 else 100_000)
        assert client.send("PUT", "/bkt/after", body)[0] == 503
        assert client.send("GET", "/bkt/before") == (200, b"content")
        assert client.send("GET", "/bkt/after")[0] == 404
    server.send_signal(signal.SIGTERM)
    assert server.wait(READY_SECONDS) == 0


def test_workers_without_file_descriptors_answer_507_and_make_no_new_files(
    serve: Serve, tmp_path: Path, sign_request: Callable[..., Any]
) -> None:
    server = serve(
        """
        import errno, os
        whole = os.open

        def refuse(path, flags, *rest, **options):
            lent = "bulk-" in str(path) and flags & os.O_RDWR and not flags & os.O_CREAT
            if lent:
                raise OSError(errno.EMFILE, "Too many open files")
            return whole(path, flags, *rest, **options)

        os.open = refuse
        """
    )
    client = Client(tmp_path / "data", server, sign_request)
    assert client.send("PUT", "/bkt")[0] == 200
    for _ in range(CONNECTIONS):
        status, answer = client.send("PUT", "/bkt/large", b"content" * 100_000)
        assert (status, b"<Code>InsufficientStorage</Code>" in answer) == (507, True), answer
        assert client.send("PUT", "/bkt/small", b"content")[0] == 200
    # One worker may ask before the owner has heard that the other gives back what it was lent.
    assert len(list((tmp_path / "data" / "segments").glob("bulk-*"))) <= 2
    server.send_signal(signal.SIGTERM)
    assert server.wait(READY_SECONDS) == 0
