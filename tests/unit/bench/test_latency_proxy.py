"""The proxy that delays: every byte arrives, late, and both ends learn of an end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from bench.latency import proxy

DELAY_SECONDS = 0.05


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of something that sends back all it got once it has got all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                got = b"".join(iter(lambda: connection.recv(1 << 16), b""))
                connection.sendall(got)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_there_and_back(echo: int) -> None:
    sent = b"PUT /x HTTP/1.1\r\n" + bytes(3_000_000)
    with proxy.running(DELAY_SECONDS) as line:
        line.target = echo
        started = time.monotonic()
        with socket.create_connection(("127.0.0.1", line.port)) as near:
            near.sendall(sent)
            near.shutdown(socket.SHUT_WR)
            got = b"".join(iter(lambda: near.recv(1 << 16), b""))
        assert got == sent
        assert line.requests == 1
        # A handshake, and then there and back.
        assert time.monotonic() - started >= 4 * DELAY_SECONDS
