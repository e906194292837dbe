"""The node over HTTP: which request is what, and what goes out in bytes and statuses.

aiohttp's low-level server, as for S3: what is read from a request is read here, once.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import ParamSpec, TypeAlias, TypeVar
from urllib.parse import parse_qsl

import structlog
from aiohttp import hdrs, web

from gateway import incoming
from gateway.node.server import claims, queries, retrieval
from gateway.node.server.blobs import Upload
from gateway.node.server.errors import Refused
from gateway.node.server.node import Node
from mst.cid import CID
from mst.errors import FormatError
from registry.database import DatabaseBusy, DatabaseFailed
from registry.ucan import header, message
from registry.ucan.errors import Malformed
from registry.ucan.limits import HEADER_CHARS_MAX, MESSAGE_BYTES_MAX

BODY_IDLE_SECONDS = 30.0
"""How long a body may pause."""
PIECE_BYTES = 1024 * 1024
"""Bodies are moved in pieces of so many bytes."""
QUERY_CHARS_MAX = 16 * 1024
QUERY_FIELDS_MAX = 256
HEADER_LINE_BYTES_MAX = 2 * HEADER_CHARS_MAX
TARGET_BYTES_MAX = QUERY_CHARS_MAX + 1024
KEEP_ALIVE_SECONDS = 75.0

_COMMON = {"Server": "ms3t", "X-Content-Type-Options": "nosniff"}
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ACCEPTED = (message.CONTENT_TYPE, "application/*", "*/*")

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Handler: TypeAlias = Callable[[web.BaseRequest, str, str], Awaitable[web.StreamResponse]]
"""Answers a request; gets what follows the first part of its path, and its query."""

log = structlog.get_logger(__name__)


class NodeServer:
    """Handles the requests of one listener.

    Args:
        node: what they are about.
        failed: called when the disk or the database has failed and the node must not go on.
    """

    def __init__(self, node: Node, failed: Callable[[], None]) -> None:
        self._node = node
        self._failed = failed
        self._routes: Mapping[tuple[str, str], _Handler] = {
            ("GET", ""): self._welcome,
            ("GET", ".well-known"): self._did_document,
            ("POST", ""): self._execute,
            ("POST", "claims"): self._execute,
            ("PUT", "upload"): self._put,
            ("GET", "blob"): self._retrieve,
            ("GET", "claims"): self._query,
            ("GET", "claim"): self._claim,
        }
        self.web_server = web.Server(
            self.handle,
            access_log=None,
            auto_decompress=False,
            max_line_size=TARGET_BYTES_MAX,
            max_field_size=HEADER_LINE_BYTES_MAX,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
        )

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        path, _, search = request.raw_path.partition("?")
        try:
            response = await self._answer(request, path, search)
        except Refused as refused:
            response = _text(refused.status, str(refused))
        except DatabaseBusy:
            response = _text(503, "the node is busy, ask again")
        except DatabaseFailed as error:
            log.critical("the database failed", reason=str(error))
            if not error.disk_full:
                self._failed()
            response = _text(507 if error.disk_full else 500, "the node cannot remember it")
        except incoming.CLIENT_GONE:
            response = _text(400, "the body ended too early")
        except TimeoutError:
            response = _text(408, "the body paused for too long")
        except Exception as error:
            log.error("request failed", method=request.method, path=path, exc_info=error)
            response = _text(500, "the node failed")
        if not request.content.at_eof():
            # The rest of the body would be taken for the next request.
            response.force_close()
        return response

    async def _answer(self, request: web.BaseRequest, path: str, search: str) -> web.StreamResponse:
        first, _, rest = path.removeprefix("/").partition("/")
        handler = self._routes.get((request.method, first))
        if handler is None:
            raise Refused("NotFound", f"there is no {request.method} of this path", 404)
        return await handler(request, rest, search)

    async def _execute(self, request: web.BaseRequest, rest: str, search: str) -> web.StreamResponse:
        """An agent message and its answer."""
        if request.headers.get(hdrs.CONTENT_TYPE, "").strip().lower() != message.CONTENT_TYPE:
            raise Refused("UnsupportedMediaType", f"a message is sent as {message.CONTENT_TYPE}", 415)
        if not _is_acceptable(request.headers.getall(hdrs.ACCEPT, ())):
            raise Refused("NotAcceptable", f"the answer is {message.CONTENT_TYPE}", 406)
        body = await _whole_body(request)

        def execute() -> bytes:
            try:
                asked = message.decode(body)
            except Malformed as error:
                raise Refused("BadRequest", str(error)) from None
            return self._node.execute(asked)

        return _body(200, await asyncio.to_thread(execute), {"Content-Type": message.CONTENT_TYPE})

    async def _put(self, request: web.BaseRequest, token: str, search: str) -> web.StreamResponse:
        """The bytes of a blob."""
        awaited = await asyncio.to_thread(self._node.awaited, token)
        length = request.content_length
        if length is None:
            raise Refused("LengthRequired", "a blob is put with its Content-Length", 411)
        if length != awaited.size:
            raise Refused("BlobSizeMismatch", f"a blob of {awaited.size} bytes is awaited, not of {length}")
        await asyncio.to_thread(self._node.require_room, length)
        upload = await self._on_disk(self._node.blobs.begin)
        try:
            await self._arrive(request, upload)
            await self._on_disk(self._node.keep, awaited, upload)
        finally:
            await self._on_disk(upload.close)
        return _text(200, "kept")

    async def _arrive(self, request: web.BaseRequest, upload: Upload) -> None:
        """Move the body into a file."""
        waiting = bytearray()
        async for piece in _pieces_of_body(request):
            waiting += piece
            if len(waiting) >= PIECE_BYTES:
                await self._on_disk(upload.write, bytes(waiting))
                waiting.clear()
        await self._on_disk(upload.write, bytes(waiting))

    async def _on_disk(self, work: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T:
        """Do what writes to the disk."""
        try:
            return await asyncio.to_thread(work, *arguments, **named)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise Refused("InsufficientStorage", "the node has no room for the blob", 507) from error
            # After a failed sync nobody knows what is on the disk, and another sync would not tell.
            log.critical("a blob could not be written", reason=str(error))
            self._failed()
            raise

    async def _retrieve(self, request: web.BaseRequest, rest: str, search: str) -> web.StreamResponse:
        """Bytes of a blob."""
        answer = await asyncio.to_thread(retrieval.retrieve, self._node, request.headers.get(header.NAME))
        if answer.file is None:
            return _body(answer.status, answer.body, answer.headers)
        headers = _COMMON | {**answer.headers, "Content-Length": str(answer.length)}
        body = _pieces(answer.file, answer.start, answer.length)
        return web.Response(status=answer.status, headers=headers, body=body)

    async def _query(self, request: web.BaseRequest, rest: str, search: str) -> web.StreamResponse:
        """Claims."""
        if len(search) > QUERY_CHARS_MAX:
            raise Refused("BadRequest", f"a query of more than {QUERY_CHARS_MAX} characters", 414)
        try:
            parameters = parse_qsl(search, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
        except ValueError:
            raise Refused("BadRequest", f"more than {QUERY_FIELDS_MAX} parameters") from None
        text = request.headers.get(header.NAME)

        def answer() -> bytes:
            return queries.answer(self._node, queries.parse(self._node, parameters, text))

        headers = {"Vary": f"Accept-Encoding, {header.NAME}", "Cache-Control": "no-store"}
        response = _body(200, await asyncio.to_thread(answer), headers | {"Content-Type": message.CONTENT_TYPE})
        if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "").lower():
            response.enable_compression(web.ContentCoding.gzip)
        return response

    async def _claim(self, request: web.BaseRequest, text: str, search: str) -> web.StreamResponse:
        """One claim as an archive."""

        def find() -> bytes | None:
            try:
                cid = CID.from_text(text)
            except FormatError as error:
                raise Refused("BadRequest", str(error)) from None
            with self._node.database.read() as connection:
                return claims.archive(connection, cid)

        found = await asyncio.to_thread(find)
        if found is None:
            raise Refused("NotFound", "there is no such claim", 404)
        return _body(200, found, {"Content-Type": message.CONTENT_TYPE})

    async def _welcome(self, request: web.BaseRequest, rest: str, search: str) -> web.StreamResponse:
        """What this is, for a person."""
        return _text(200, f"A storage node and indexer of ms3t.\n{self._node.did}")

    async def _did_document(self, request: web.BaseRequest, rest: str, search: str) -> web.StreamResponse:
        """The node's key, as https://www.w3.org/TR/did-1.0/ has it."""
        if rest != "did.json":
            raise Refused("NotFound", "only did.json is well known", 404)
        did = self._node.did
        key = did.removeprefix("did:key:")
        method = {
            "id": f"{did}#{key}",
            "type": "Ed25519VerificationKey2020",
            "controller": did,
            "publicKeyMultibase": key,
        }
        document = {
            "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/suites/ed25519-2020/v1"],
            "id": did,
            "verificationMethod": [method],
            "authentication": [method["id"]],
        }
        return _body(200, json.dumps(document, indent=2).encode(), {"Content-Type": "application/json"})


def _pieces_of_body(request: web.BaseRequest) -> AsyncIterator[bytes]:
    return incoming.pieces(request, request.headers.get(hdrs.EXPECT), BODY_IDLE_SECONDS)


async def _whole_body(request: web.BaseRequest) -> bytes:
    too_large = Refused("PayloadTooLarge", f"a message has at most {MESSAGE_BYTES_MAX} bytes", 413)
    if (request.content_length or 0) > MESSAGE_BYTES_MAX:
        raise too_large
    body = bytearray()
    async for piece in _pieces_of_body(request):
        body += piece
        if len(body) > MESSAGE_BYTES_MAX:
            raise too_large
    return bytes(body)


async def _pieces(file: Path, start: int, length: int) -> AsyncIterator[bytes]:
    """The bytes of a file, read while they are sent; whatever goes wrong then cuts the connection."""
    fd = await asyncio.to_thread(os.open, file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for at in range(start, start + length, PIECE_BYTES):
            wanted = min(PIECE_BYTES, start + length - at)
            data = await asyncio.to_thread(os.pread, fd, wanted, at)
            if len(data) != wanted:
                raise OSError(errno.EIO, "a blob is shorter than it was", str(file))
            yield data
    finally:
        os.close(fd)


def _is_acceptable(accepted: tuple[str, ...] | list[str]) -> bool:
    kinds = [kind.partition(";")[0].strip().lower() for line in accepted for kind in line.split(",")]
    return not kinds or any(kind in _ACCEPTED for kind in kinds)


def _text(status: int, text: str) -> web.Response:
    return _body(status, f"{text}\n".encode(), _TEXT)


def _body(status: int, body: bytes, headers: Mapping[str, str]) -> web.Response:
    return web.Response(status=status, headers=_COMMON | dict(headers), body=body)
