"""An answer that takes long, over a real connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from aiohttp import web

from gateway.s3.call import Call
from gateway.s3.errors import S3Error
from gateway.s3.patience import answer_in_time
from gateway.s3.xmltext import DECLARATION

COMMON = {"x-amz-request-id": "0123456789ABCDEF", "Server": "ms3t"}
DOCUMENT = f"{DECLARATION}<Result>done</Result>"

Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _serve(work: Callable[[Call], Awaitable[web.Response]], client: Client, **seconds: float) -> list[Exception]:
    """Answer one request for ``/b/k`` with ``work`` while ``client`` is at the other end; what the handler raised."""
    raised: list[Exception] = []

    async def run() -> None:
        ended = asyncio.Event()

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            nothing: Any = None
            call = Call(nothing, request, COMMON["x-amz-request-id"], nothing, nothing, nothing, COMMON)
            try:
                return await answer_in_time(call, work(call), **seconds)  # type: ignore[arg-type]
            except Exception as error:
                raised.append(error)
                return web.Response(status=400)
            finally:
                ended.set()

        server = web.Server(handle)
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname()[:2])
        writer.write(b"GET /b/k?secret HTTP/1.1\r\nHost: x\r\n\r\n")
        await client(reader, writer)
        writer.close()
        await ended.wait()
        listener.close()
        await server.shutdown()

    asyncio.run(asyncio.wait_for(run(), 60))
    return raised


async def _head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def _chunk(reader: asyncio.StreamReader) -> bytes:
    size = int(await reader.readuntil(b"\r\n"), 16)
    return (await reader.readexactly(size + 2))[:-2]


@pytest.mark.parametrize("refused", [False, True])
def test_a_quick_answer_is_as_it_is(refused: bool) -> None:
    async def work(call: Call) -> web.Response:
        if refused:
            raise S3Error("NoSuchUpload")
        return call.xml(DOCUMENT, {"x-ms3t-root": "root"})

    async def client(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        head = await _head(reader)
        if refused:
            assert head.startswith(b"HTTP/1.1 400 ")
        else:
            assert head.startswith(b"HTTP/1.1 200 ")
            assert b"x-ms3t-root: root" in head
            assert await reader.readexactly(len(DOCUMENT)) == DOCUMENT.encode()

    raised = _serve(work, client)
    assert [type(error) for error in raised] == [S3Error] * refused


@pytest.mark.parametrize("refused", [False, True])
def test_a_late_answer_is_announced_by_white_space(refused: bool) -> None:
    go_on = asyncio.Event()

    async def work(call: Call) -> web.Response:
        await go_on.wait()
        if refused:
            raise S3Error("InvalidPart", PartNumber=7)
        return call.xml(DOCUMENT)

    async def client(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        head = await _head(reader)
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"Content-Type: application/xml" in head
        assert b"x-amz-request-id: 0123456789ABCDEF" in head
        body = b"".join([await _chunk(reader) for _ in range(4)])
        assert body == DECLARATION.encode() + b"   "
        go_on.set()
        while chunk := await _chunk(reader):
            body += chunk
        root = ElementTree.fromstring(body)
        if refused:
            assert (root.tag, root.findtext("Code")) == ("Error", "InvalidPart")
            assert (root.findtext("PartNumber"), root.findtext("Resource")) == ("7", "/b/k")
            assert root.findtext("RequestId") == COMMON["x-amz-request-id"]
        else:
            assert (root.tag, root.text) == ("Result", "done")

    assert _serve(work, client, patience_seconds=0, space_seconds=0.001) == []


def test_work_goes_on_without_a_client_that_went_away() -> None:
    go_on, finished = asyncio.Event(), asyncio.Event()

    async def work(call: Call) -> web.Response:
        await go_on.wait()
        finished.set()
        return call.xml(DOCUMENT)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _head(reader)
        writer.transport.abort()
        go_on.set()
        await finished.wait()

    raised = _serve(work, client, patience_seconds=0, space_seconds=0.001)
    assert all(isinstance(error, ConnectionError) for error in raised)


def test_work_is_undone_when_the_server_stops() -> None:
    async def run() -> None:
        begun, undone = asyncio.Event(), asyncio.Event()

        async def work() -> web.Response:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)  # cleaning up takes a while
                undone.set()
            raise AssertionError

        nothing: Any = None
        call = Call(nothing, nothing, "", nothing, nothing, nothing, COMMON)
        handler = asyncio.ensure_future(answer_in_time(call, work()))
        await begun.wait()
        handler.cancel()
        with pytest.raises(asyncio.CancelledError):
            await handler
        assert undone.is_set()

    asyncio.run(asyncio.wait_for(run(), 60))
