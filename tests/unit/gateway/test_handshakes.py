"""Handshakes over TLS: slow ones end, and are in nobody's way."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop
from aiohttp import web

from gateway import handshakes
from gateway.config import Listen, TlsFiles
from gateway.listener import Listener
from gateway.sockets import open_sockets
from gateway.tls import ServerTls
from tests.certificates import Authority

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"

Talk = Callable[[Listener, int, ssl.SSLContext], Awaitable[None]]


async def _hello(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text=f"{request.scheme} it is")


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., None]:
    """Runs a listener with TLS and talks to it; the event loop is the one that is used for real."""
    authority = Authority(tmp_path)
    issued = authority.issue()
    trusting = ssl.create_default_context(cafile=str(authority.ca_file))

    def go(talk: Talk, connections_max: int = 10) -> None:
        async def main() -> None:
            tls = ServerTls(TlsFiles(issued.cert, issued.key))
            listener = Listener(web.Server(_hello), connections_max, tls)
            sockets = open_sockets(Listen("127.0.0.1", 0), 1)[0]
            port = sockets[0].getsockname()[1]
            await listener.start(sockets)
            await asyncio.wait_for(talk(listener, port, trusting), 30)
            await listener.stop(1, asyncio.Event())
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)

        uvloop.run(main())

    return go


async def _get(port: int, trusting: ssl.SSLContext) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
    writer.write(GET)
    answer = await reader.readuntil(b"it is")
    writer.close()
    return answer


def test_requests_are_answered_over_https(run: Callable[..., None]) -> None:
    async def talk(listener: Listener, port: int, trusting: ssl.SSLContext) -> None:
        answers = await asyncio.gather(*(_get(port, trusting) for _ in range(8)))
        assert all(answer.endswith(b"https it is") for answer in answers)

    run(talk)


def test_a_silent_client_is_given_up(run: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "HANDSHAKE_SECONDS", 0.1)

    async def talk(listener: Listener, port: int, trusting: ssl.SSLContext) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()

    run(talk)


def test_what_speaks_no_tls_is_turned_away(run: Callable[..., None]) -> None:
    async def talk(listener: Listener, port: int, trusting: ssl.SSLContext) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        assert b"HTTP" not in await reader.read()
        writer.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            await _get(port, ssl.create_default_context())
        assert (await _get(port, trusting)).endswith(b"https it is")

    run(talk)


def test_many_silent_clients_stop_nobody(run: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """More than may shake hands at once, and more than may be connected: the oldest make room."""
    monkeypatch.setattr(handshakes, "HANDSHAKES_MAX", 4)

    async def talk(listener: Listener, port: int, trusting: ssl.SSLContext) -> None:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(12)]
        assert (await _get(port, trusting)).endswith(b"https it is")
        first_reader, _ = silent[0]
        assert await first_reader.read() == b""
        for _, writer in silent:
            writer.close()

    run(talk)


def test_a_connection_too_many_is_told_so(run: Callable[..., None]) -> None:
    async def talk(listener: Listener, port: int, trusting: ssl.SSLContext) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
        writer.write(GET)
        await reader.readuntil(b"it is")
        more, more_writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
        assert b"<Code>SlowDown</Code>" in await more.read()
        for each in (writer, more_writer):
            each.close()

    run(talk, 1)
