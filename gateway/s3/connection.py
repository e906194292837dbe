"""What is no HTTP request at all: refused in S3's form like everything else, before any operation could see it."""

from __future__ import annotations

import asyncio
import os
import random
import re
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, InvalidURLError, LineTooLong

from gateway.s3.errors import S3Error

_SENT = re.compile(r":?\s*\bb['\"].*", re.DOTALL)
"""In aiohttp's messages, the bytes that were sent: they are anybody's, and can be a credential."""

_random = random.Random()  # ids are no secrets, and reading the kernel's randomness is the dearest part of a GET
os.register_at_fork(after_in_child=_random.seed)  # or all workers would give the same

log = structlog.get_logger(__name__)


class HttpServer(web.Server):
    """aiohttp's low-level server, whose own error pages are S3 error documents.

    Args:
        handler: answers what is a request.
        options: for aiohttp's `web.RequestHandler`.
    """

    def __init__(self, handler: Any, **options: Any):
        super().__init__(handler, **options)
        self._options = options

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=asyncio.get_running_loop(), **self._options)


class _Connection(web.RequestHandler):
    """One client's connection."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer where aiohttp has an error of its own; the connection is closed after it."""
        if isinstance(exc, HttpProcessingError):
            log.info("no HTTP request", client=request.remote, reason=_reason(exc))
            error = S3Error("RequestHeaderSectionTooLarge" if isinstance(exc, LineTooLong) else "BadRequest")
        else:
            log.error("a connection failed", client=request.remote, status=status, exc_info=exc)
            error = S3Error("InternalError")
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is under way already")
        response = refusal(error, resource="", request_id=new_request_id())
        response.force_close()
        return response


def _reason(error: HttpProcessingError) -> str:
    """Why bytes are no request, without any of them."""
    return "Invalid URL" if isinstance(error, InvalidURLError) else " ".join(_SENT.sub("", error.message).split())


def new_request_id() -> str:
    """The name of one request, for x-amz-request-id."""
    return f"{_random.getrandbits(64):016X}"


def refusal(error: S3Error, *, resource: str, request_id: str, method: str = "GET") -> web.Response:
    """A refusal as a response.

    Args:
        error: why.
        resource: the path of the request, as sent.
        request_id: its id.
        method: its method; an answer to HEAD has no body.
    """
    headers = {"x-amz-request-id": request_id, "Server": "ms3t", **error.headers}
    body = error.document(resource=resource, request_id=request_id)
    if method == "HEAD" or not body:
        return web.Response(status=error.status, headers=headers)
    headers["Content-Type"] = "application/xml"
    return web.Response(status=error.status, headers=headers, body=body)
