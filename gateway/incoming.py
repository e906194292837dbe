"""The bytes of a request's body as they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

CLIENT_GONE = (web.RequestPayloadError, aiohttp.ClientPayloadError, ConnectionError)
"""What reading a body raises when the client went away before its end."""


async def pieces(request: web.BaseRequest, expect: str | None, idle_seconds: float) -> AsyncIterator[bytes]:
    """The body in pieces of any size; a client that waits for it is told to go on first.

    Args:
        request: the request.
        expect: its Expect header.
        idle_seconds: how long nothing may come.

    Raises:
        CLIENT_GONE: the client went away.
        TimeoutError: nothing came for too long.
    """
    content = request.content
    if expect is not None and expect.lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    while not content.at_eof():
        piece = content.read_nowait()  # a small body is here already, and a timer costs more than reading it
        if not piece:
            async with asyncio.timeout(idle_seconds):
                piece = await content.readany()
        yield piece
