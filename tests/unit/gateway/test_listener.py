"""The listening socket's end: nobody is cut off who would have finished."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from gateway.config import Listen
from gateway.listener import Listener
from gateway.sockets import CannotListen, open_sockets

ANYWHERE = Listen("127.0.0.1", 0)
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def _run(
    handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    talk: Callable[[Listener, Listen], Awaitable[None]],
    connections_max: int = 10,
) -> None:
    async def main() -> None:
        listener = Listener(web.Server(handle), connections_max)
        sockets = open_sockets(ANYWHERE, 1)[0]
        await listener.start(sockets)
        await talk(listener, Listen(ANYWHERE.host, sockets[0].getsockname()[1]))

    asyncio.run(main())


async def _stop(listener: Listener, seconds: float) -> int:
    return await asyncio.wait_for(listener.stop(seconds, asyncio.Event()), 10)


def test_a_large_answer_to_a_slow_reader_is_sent_to_its_end() -> None:
    size = 30_000_000

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=bytes(size))

    async def talk(listener: Listener, listen: Listen) -> None:
        reader, writer = await asyncio.open_connection(listen.host, listen.port)
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        stop = asyncio.create_task(_stop(listener, 10))
        await asyncio.sleep(0.2)
        assert not stop.done()
        assert len(await reader.readexactly(size)) == size
        assert await stop == 0
        assert await reader.read() == b""
        writer.close()

    _run(handle, talk)


def test_idle_connections_do_not_hold_it_up() -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="hi")

    async def talk(listener: Listener, listen: Listen) -> None:
        silent = await asyncio.open_connection(listen.host, listen.port)
        idle_reader, idle_writer = await asyncio.open_connection(listen.host, listen.port)
        idle_writer.write(GET)
        await idle_reader.readuntil(b"hi")
        started = asyncio.get_running_loop().time()
        assert await _stop(listener, 10) == 0
        assert asyncio.get_running_loop().time() - started < 3
        assert await idle_reader.read() == b""
        idle_writer.close()
        silent[1].close()

    _run(handle, talk)


def test_a_failing_handler_is_counted_too() -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        raise web.HTTPGone

    async def talk(listener: Listener, listen: Listen) -> None:
        reader, writer = await asyncio.open_connection(listen.host, listen.port)
        writer.write(GET)
        assert b"410" in await reader.readuntil(b"\r\n")
        assert await _stop(listener, 10) == 0
        writer.close()

    _run(handle, talk)


def test_requests_that_hang_are_counted_and_cut_off() -> None:
    begun = asyncio.Event()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        begun.set()
        await asyncio.sleep(3600)
        return web.Response()

    async def talk(listener: Listener, listen: Listen) -> None:
        reader, writer = await asyncio.open_connection(listen.host, listen.port)
        writer.write(GET)
        await begun.wait()
        assert await _stop(listener, 0.2) == 1
        assert await reader.read() == b""
        writer.close()

    _run(handle, talk)


def test_a_taken_address() -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response()

    async def talk(listener: Listener, listen: Listen) -> None:
        with pytest.raises(CannotListen, match="Address already in use"):
            open_sockets(listen, 1)
        await _stop(listener, 0)

    _run(handle, talk)
