"""The two smallest HTTP servers, whose request rates bound what any server here can show.

`python -m bench.hello aiohttp PORT` is the framework with nothing behind it; `raw` answers from a
bare protocol without parsing, so its rate is the generator's own ceiling.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop
from aiohttp import web

_BODY = b"x" * 1024
_RAW_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)


class _RawHello(asyncio.Protocol):
    """Takes each received piece for one whole request: true for a closed-loop client's GETs."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self._transport.write(_RAW_ANSWER)


async def _serve_raw(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_RawHello, "127.0.0.1", port)
    await server.serve_forever()


async def _serve_aiohttp(port: int) -> None:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(body=_BODY)

    application = web.Application()
    application.router.add_get("/", hello)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


def main() -> None:
    """Serve until killed."""
    kind, port = sys.argv[1], int(sys.argv[2])
    uvloop.run(_serve_raw(port) if kind == "raw" else _serve_aiohttp(port))


if __name__ == "__main__":
    main()
