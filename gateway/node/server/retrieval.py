"""Reading bytes of a blob: an invocation in a header of a GET, a receipt in a header of the answer.

Whatever is wrong with the invocation is said in the receipt, and the status of what may not be read is 200 with an
empty body: who asks has to look at the receipt first.  Only proofs that are missing are asked for with a status, 510.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.node.server import allocations
from gateway.node.server.errors import Refused
from gateway.node.server.node import Node, blob_text
from gateway.node.server.proofs import KEPT_SECONDS
from mst.cid import CID, Link
from registry.ucan import dagjson, header, message, receipt
from registry.ucan.capability import Retrieve, arguments
from registry.ucan.delegation import decode_block
from registry.ucan.errors import HeaderTooLong, Malformed, MissingProofs, UcanError, Unauthorized
from registry.ucan.limits import HEADER_MESSAGE_BYTES_MAX, PROOF_DEPTH_MAX
from registry.ucan.receipt import Failure, Ok
from registry.ucan.token import Token
from registry.ucan.validate import authorize, require_proofs

_CACHE_SECONDS = 29_030_400
"""How long who may read bytes may keep them: they never change."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer.

    Attributes:
        status: the HTTP status.
        headers: its headers.
        body: its body, unless a file is.
        file: the file whose bytes are the body.
        start: the first of them.
        length: how many.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    file: Path | None = None
    start: int = 0
    length: int = 0


def retrieve(node: Node, text: str | None) -> Answer:
    """Answer a GET of a blob.

    Args:
        node: the node.
        text: the request's X-Agent-Message, if it has one.

    Raises:
        DatabaseError: the database failed.
    """
    if text is None:
        return _text(415, f"bytes are given to who sends an invocation of {Retrieve.can} in {header.NAME}\n")
    try:
        asked = message.decode(header.decode(text), limit_bytes=HEADER_MESSAGE_BYTES_MAX)
        if not asked.execute:
            return _text(400, "the message asks for nothing\n")
        return _executed(node, asked)
    except HeaderTooLong as error:
        return _text(431, f"{error}\n")
    except UcanError as error:
        return _text(400, f"{error}\n")


def _executed(node: Node, asked: message.Message) -> Answer:
    cid = asked.execute[0]
    if len(asked.execute) > 1:
        reason = "Agent Message is required to have a single invocation."
        return _said(node, 200, cid, Failure.of("AgentMessageInvocationError", reason))
    now_s = node.clock_s()
    try:
        blocks = _with_earlier(node, asked, now_s)
        if cid not in blocks:
            raise MissingProofs([cid])
        token = decode_block(cid, blocks)
        require_proofs(token, blocks)
        return _given(node, token, blocks, now_s)
    except MissingProofs as missing:
        node.proofs.add(asked.blocks.items(), now_s)
        return _missing(missing, now_s)
    except (Unauthorized, Malformed) as error:
        name = error.name if isinstance(error, Unauthorized) else "InvocationMalformed"
        return _said(node, 200, cid, Failure.of(name, str(error)))
    except Refused as refused:
        return _said(node, refused.status, cid, Failure.of(refused.name, str(refused)))


def _with_earlier(node: Node, asked: message.Message, now_s: int) -> dict[Link, bytes]:
    """The blocks of a message, and of those it leans on the ones that came earlier."""
    blocks = dict(asked.blocks)
    wanted: set[Link] = {asked.execute[0]}
    for _ in range(PROOF_DEPTH_MAX + 1):
        blocks |= node.proofs.get(wanted - blocks.keys(), now_s)
        wanted = {proof for cid in wanted & blocks.keys() for proof in decode_block(cid, blocks).payload.proofs}
    return blocks


def _given(node: Node, token: Token, blocks: Mapping[Link, bytes], now_s: int) -> Answer:
    """The bytes that are asked for.

    Raises:
        Unauthorized, Malformed, Refused: they are not given.
    """
    capability = authorize(token, blocks, audiences={node.did}, now=now_s)
    if capability.can != Retrieve.can:
        raise Unauthorized(f"this node does not do {capability.can} over GET", "HandlerNotFoundError")
    wanted = arguments(Retrieve, capability)
    name = blob_text(wanted.digest)
    with node.database.read() as connection:
        kept = allocations.get(connection, wanted.digest, capability.resource, now_s)
    if kept is None:
        raise Refused("NotFound", f"allocation not found: {name}", 404)
    size = node.blobs.size(wanted.digest)
    if not kept.received or size is None:
        raise Refused("NotFound", f"blob not found: {name}", 404)
    if wanted.end >= size:
        reason = f"the blob has {size} bytes, bytes {wanted.start} to {wanted.end} were asked for"
        raise Refused("RangeNotSatisfiable", reason, 416)
    length = wanted.end - wanted.start + 1
    headers = {
        header.NAME: _receipt(node, token.cid, Ok({})),
        "Content-Type": "application/octet-stream",
        "Cache-Control": f"private, max-age={_CACHE_SECONDS}, immutable",
        "ETag": f'"{name}"',
        "Vary": f"Accept-Encoding, Range, {header.NAME}",
    }
    if length != size:
        headers["Content-Range"] = f"bytes {wanted.start}-{wanted.end}/{size}"
    path = node.blobs.path(wanted.digest)
    return Answer(200 if length == size else 206, headers, file=path, start=wanted.start, length=length)


def _missing(missing: MissingProofs, now_s: int) -> Answer:
    body = dagjson.encode({"message": str(missing), "name": "MissingProofs", "proofs": missing.proofs})
    headers = {"Content-Type": "application/json", "X-UCAN-Cache-Expiry": str(now_s + KEPT_SECONDS)}
    return Answer(510, headers, f"{body}\n".encode())


def _said(node: Node, status: int, ran: CID, failure: Failure) -> Answer:
    try:
        said = _receipt(node, ran, failure)
    except HeaderTooLong:
        said = _receipt(node, ran, Failure.of(failure.name, "for more reasons than a header holds"))
    return Answer(status, {header.NAME: said, "Vary": header.NAME, "Cache-Control": "no-store"})


def _receipt(node: Node, ran: CID, out: Ok | Failure) -> str:
    return header.encode(message.response([receipt.issue(node.key, ran, out)]))


def _text(status: int, text: str) -> Answer:
    return Answer(status, {"Content-Type": "text/plain; charset=utf-8", "Vary": header.NAME}, text.encode())
