"""What can go wrong with a request to a storage node, as `tests.storage_node.Fault`s."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from registry.ucan import header
from registry.ucan.signing import KeySigner
from tests.storage_node import NOW, Fault, Handler, StorageNode, resigned

SILENCE_SECONDS = 3.0
"""Longer than any client of these tests waits."""
SOMEBODY = KeySigner(b"\x09" * 32)


def _cut(request: web.BaseRequest) -> ConnectionResetError:
    if request.transport is not None:  # else the client has gone already
        request.transport.abort()
    return ConnectionResetError()


def _status(status: int) -> Fault:
    async def fault(_: web.BaseRequest, __: Handler) -> web.StreamResponse:
        return web.Response(status=status, headers={"Retry-After": "0"})

    return fault


async def _nonsense(_: web.BaseRequest, __: Handler) -> web.StreamResponse:
    return web.Response(body=b"nonsense", content_type="application/vnd.ipld.car")


async def _refused(request: web.BaseRequest, _: Handler) -> web.StreamResponse:
    raise _cut(request)


async def _lost_answer(request: web.BaseRequest, handler: Handler) -> web.StreamResponse:
    await handler(request)
    raise _cut(request)


async def _hang(request: web.BaseRequest, _: Handler) -> web.StreamResponse:
    await asyncio.sleep(SILENCE_SECONDS)
    raise _cut(request)


async def _begun(request: web.BaseRequest, handler: Handler) -> tuple[web.StreamResponse, bytes]:
    """The head of the right answer, sent, and the body that should follow."""
    whole = await handler(request)
    assert isinstance(whole, web.Response)
    body = bytes(whole.body) if isinstance(whole.body, bytes | bytearray) else b""
    answer = web.StreamResponse(status=whole.status, headers=whole.headers)
    answer.content_length = len(body)
    await answer.prepare(request)
    return answer, body


async def _reset_in_the_body(request: web.BaseRequest, handler: Handler) -> web.StreamResponse:
    answer, body = await _begun(request, handler)
    await answer.write(body[: len(body) // 2])
    raise _cut(request)


async def _slow(request: web.BaseRequest, handler: Handler) -> web.StreamResponse:
    answer, body = await _begun(request, handler)
    for at in range(len(body)):
        await answer.write(body[at : at + 1])
        await asyncio.sleep(1)
    return answer


async def _changed(request: web.BaseRequest, handler: Handler, *, half: bool) -> web.StreamResponse:
    whole = await handler(request)
    assert isinstance(whole, web.Response)
    body = bytes(whole.body) if isinstance(whole.body, bytes | bytearray) else b""
    other = body[: len(body) // 2] if half else bytes(255 - byte for byte in body)
    kept = {name: value for name, value in whole.headers.items() if name in (header.NAME, "Content-Type")}
    return web.Response(status=whole.status, body=other, headers=kept)


async def _truncated(request: web.BaseRequest, handler: Handler) -> web.StreamResponse:
    return await _changed(request, handler, half=True)


async def _wrong_bytes(request: web.BaseRequest, handler: Handler) -> web.StreamResponse:
    return await _changed(request, handler, half=False)


FAULTS: dict[str, Fault] = {
    "refused": _refused, "hang": _hang, "reset in the body": _reset_in_the_body, "500": _status(500),
    "503": _status(503), "429": _status(429), "403": _status(403), "nonsense": _nonsense, "truncated": _truncated,
    "wrong bytes": _wrong_bytes, "lost answer": _lost_answer, "slow": _slow,
}  # fmt: skip
"""What happens to a request, by name."""
STATES = ("wrong signer", "expired allocation", "emptied")
"""What a node is."""


@contextmanager
def wrong(node: StorageNode, method: str, name: str, *, after: int = 0) -> Iterator[None]:
    """A node that does the wrong thing for as long as the context lasts.

    Args:
        node: the node.
        method: of the requests that a fault strikes.
        name: one of ``FAULTS`` or of ``STATES``.
        after: so many of these requests are answered rightly before.
    """
    left = after

    async def fault(request: web.BaseRequest, handler: Handler) -> web.StreamResponse:
        nonlocal left
        left -= 1
        return await (handler(request) if left >= 0 else FAULTS[name](request, handler))

    alter, expires, blobs = node.alter, node.put_expires, dict(node.blobs)
    if name == "wrong signer":
        node.alter = lambda one: resigned(one, SOMEBODY)
    elif name == "expired allocation":
        node.put_expires = NOW - 1
    elif name == "emptied":
        node.blobs.clear()
    else:
        node.always[method] = fault
    try:
        yield
    finally:
        node.always.pop(method, None)
        node.alter, node.put_expires = alter, expires
        node.blobs.update(blobs)
