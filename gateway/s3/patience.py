"""An XML answer that may take long: the client is kept waiting by white space, as Amazon S3 does it.

Proxies and SDKs give up on a connection on which nothing comes for a minute. So after a while the status line goes
out, 200 whatever the end will be, then the XML declaration, then spaces, which mean nothing between it and the
document. Then comes the document, which may be an error's. What ends sooner is answered with a proper status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog
from aiohttp import web

from gateway.s3.call import Call
from gateway.s3.failures import as_s3_error
from gateway.s3.xmltext import DECLARATION

PATIENCE_SECONDS = 10.0
"""How long an answer with a proper status is waited for."""
SPACE_SECONDS = 10.0
"""The time between two spaces."""

log = structlog.get_logger(__name__)


async def answer_in_time(
    call: Call,
    work: Coroutine[Any, Any, web.Response],
    *,
    patience_seconds: float = PATIENCE_SECONDS,
    space_seconds: float = SPACE_SECONDS,
) -> web.StreamResponse:
    """Answer with what ``work`` returns.

    An answer that comes late has the headers that all answers have, and those of ``work`` are lost.

    Args:
        call: the request.
        work: makes the answer, an XML document.
        patience_seconds: after how long the status line goes out.
        space_seconds: how often a space is sent then.

    Raises:
        whatever ``work`` raises before the status line is out.
        ConnectionError: the client went away while it was waited for; ``work`` has ended.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait([task], timeout=patience_seconds)
        if done:
            return task.result()
        response = web.StreamResponse(headers=call.common_headers | {"Content-Type": "application/xml"})
        try:
            await response.prepare(call.request)
            await response.write(DECLARATION.encode())
            while not task.done():
                await response.write(b" ")
                await asyncio.wait([task], timeout=space_seconds)
        except ConnectionError:
            await asyncio.wait([task])
            raise
        await response.write(_document(call, task).removeprefix(DECLARATION.encode()))
        await response.write_eof()
        return response
    finally:
        if not task.done():  # the server stops: what was begun is undone before it does
            task.cancel()
            await asyncio.wait([task])


def _document(call: Call, task: asyncio.Task[web.Response]) -> bytes:
    error = task.exception()
    if error is None:
        body = task.result().body
        assert isinstance(body, bytes)
        return body
    refused = as_s3_error(error)
    if refused.code == "InternalError":
        log.error("request failed after its status was sent", request_id=call.request_id, exc_info=error)
    return refused.document(resource=call.request.raw_path.partition("?")[0], request_id=call.request_id)
