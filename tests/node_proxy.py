"""What stands between a gateway and a storage node: passes everything on, in a thread of its own, and counts it."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

PIECE_BYTES = 256 * 1024
_OF_THE_CONNECTION = ("Connection", "Keep-Alive", "Transfer-Encoding")


class NodeProxy:
    """A proxy that listens until it is closed.

    Attributes:
        url: what the gateway is to reach the node by.
        node_url: where the node is; to be set before the first request.
        requests: how many requests of each method came.
    """

    def __init__(self) -> None:
        self.url = ""
        self.node_url = ""
        self.requests: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._listen()], daemon=True)
        self._thread.start()
        self._begun.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        async with _session() as session:

            async def handle(request: web.BaseRequest) -> web.StreamResponse:
                return await self._pass_on(session, request)

            server = web.Server(handle)
            listener = await self._loop.create_server(server, "127.0.0.1", 0)
            self.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
            self._begun.set()
            await self._ended.wait()
            listener.close()
            await server.shutdown(0.01)

    async def _pass_on(self, session: aiohttp.ClientSession, request: web.BaseRequest) -> web.StreamResponse:
        self.requests[request.method] += 1
        asked = session.request(
            request.method,
            self.node_url + request.raw_path,
            headers=_passed(request.headers),
            data=request.content.iter_chunked(PIECE_BYTES) if request.body_exists else None,
            allow_redirects=False,
        )
        try:
            async with asked as answer:
                response = web.StreamResponse(status=answer.status, headers=_passed(answer.headers))
                await response.prepare(request)
                async for piece in answer.content.iter_chunked(PIECE_BYTES):
                    await response.write(piece)
                await response.write_eof()
                return response
        except (aiohttp.ClientError, OSError) as error:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError from error


@asynccontextmanager
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, auto_decompress=False, max_field_size=65_536
    ) as session:
        yield session


def _passed(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    passed = CIMultiDict(headers)
    for name in _OF_THE_CONNECTION:
        passed.popall(name, None)
    return passed
