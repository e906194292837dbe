"""Accepting connections: how many are open at once, and how they come to an end when the server stops."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Protocol, cast

from aiohttp import web

from gateway.handshakes import TlsServer
from gateway.sockets import BACKLOG
from gateway.tls import ServerTls

CUT_OFF_SECONDS = 1.0
"""How long a request that is cut off may take to notice."""
_LOOK_SECONDS = 0.02

_REFUSAL_BODY = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b"<Error><Code>SlowDown</Code><Message>Too many connections are open.</Message></Error>"
)


def refusal_bytes(content_type: bytes, body: bytes) -> bytes:
    """The answer 503 to a connection too many."""
    return (
        b"HTTP/1.1 503 Slow Down\r\nServer: ms3t\r\nContent-Type: %s\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (content_type, len(body), body)
    )


S3_REFUSAL = refusal_bytes(b"application/xml", _REFUSAL_BODY)


class _Refusal(asyncio.Protocol):
    """Answers a connection too many, and closes it."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        stream.write(self._answer)
        stream.close()


class _Accepting(Protocol):
    """Accepts connections on a socket until it is closed."""

    def close(self) -> None: ...


class Listener:
    """Accepts connections for one `aiohttp.web.Server`.

    Args:
        web_server: what answers their requests.
        connections_max: most connections open at once; those beyond are told to slow down.
        tls: what handshakes are done with, or None for plain HTTP.
        refusal: what those beyond are sent.
    """

    def __init__(
        self,
        web_server: web.Server,
        connections_max: int,
        tls: ServerTls | None = None,
        refusal: bytes = S3_REFUSAL,
    ) -> None:
        self._web_server = web_server
        self._connections_max = connections_max
        self._tls = tls
        self._refusal = refusal
        self._handle = web_server.request_handler
        web_server.request_handler = self._answer
        self._in_progress = 0
        self._stopping = False
        self._accepting: list[_Accepting] = []

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Begin to accept connections on ``sockets``, which are closed at the end."""
        loop = asyncio.get_running_loop()
        for listening in sockets:
            if self._tls is None:
                self._accepting.append(await loop.create_server(self._accept, sock=listening, backlog=BACKLOG))
            else:
                self._accepting.append(TlsServer(listening, self._tls.context, self._accept))

    async def stop(self, seconds: float, hurry: asyncio.Event) -> int:
        """Accept no more connections, let requests in progress end, and cut off those that do not.

        Args:
            seconds: how long to wait for them.
            hurry: once it is set, nothing is waited for.

        Returns:
            How many requests were cut off.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        self._stopping = True
        for accepting in self._accepting:
            accepting.close()
        while self._is_busy() and loop.time() < deadline and not hurry.is_set():
            await asyncio.sleep(_LOOK_SECONDS)
        cut_off = self._in_progress
        await self._web_server.shutdown(CUT_OFF_SECONDS)
        return cut_off

    def _accept(self) -> asyncio.Protocol:
        if len(self._web_server.connections) >= self._connections_max:
            return _Refusal(self._refusal)
        return self._web_server()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        # Counted here: aiohttp's own orderly shutdown drops what arrives for uploads that are under way.
        self._in_progress += 1
        try:
            response = await self._handle(request)
        finally:
            self._in_progress -= 1
        if self._stopping:
            response.force_close()
        return response

    def _is_busy(self) -> bool:
        """Whether a request is being answered or an answer is still on its way."""
        if self._in_progress:
            return True
        transports = (connection.transport for connection in self._web_server.connections)
        return any(transport is not None and transport.get_write_buffer_size() for transport in transports)
