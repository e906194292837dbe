"""Bytes from the node: ranged GETs that carry an invocation, and answers of which nothing is taken on trust.

An answer is looked at in this order: the receipt, the status, the length, the digest.  A refusal may come with status
200 and an empty body, and only the receipt says so.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256

from gateway.node.client.authority import Authority
from gateway.node.client.claims import Site
from gateway.node.client.errors import NodeError, NodeLied, NodeRefused, NodeUnavailable
from gateway.node.client.invoking import done, outcome_of
from gateway.node.client.ranges import RANGE_BYTES_MAX, Piece, Range, coalesce
from gateway.node.client.settings import Service
from gateway.node.client.together import for_each
from gateway.node.client.transport import Answer, Request, Transport
from gateway.node.client.urls import http_url
from mst.cid import CID, Link
from mst.errors import FormatError
from registry.ucan import header, message
from registry.ucan.delegation import Delegation
from registry.ucan.errors import HeaderTooLong, UcanError

RANGES_AT_ONCE = 8
"""Most ranges that are fetched at once for one call."""
HASHED_AT_ONCE_BYTES = 256 * 1024
"""More than this is hashed in a thread."""

_BYTES = (200, 206)
_TOO_LARGE = 431
_PROOFS_WANTED = 510


class Retriever:
    """Reads blobs of a space from its node.

    Args:
        transport: sends.
        authority: signs.
        node: who has the blobs.
        now: seconds since 1970.
    """

    def __init__(self, transport: Transport, authority: Authority, node: Service, now: Callable[[], float]) -> None:
        self._transport = transport
        self._authority = authority
        self._node = node
        self._now = now

    async def retrieve(self, pieces: Sequence[Piece], sites: Mapping[bytes, Sequence[Site]]) -> list[bytes]:
        """Bytes of blobs.

        Args:
            pieces: which.
            sites: where each of the blobs is, by its digest.

        Returns:
            The bytes of each piece, in their order.

        Raises:
            NodeUnavailable: a blob has no place that answers now.
            NodeRefused: the node does not give it out.
            NodeLied: no place gave the right bytes.
        """
        ranges = coalesce(pieces)

        async def fetch(wanted: Range) -> bytes:
            return await self._fetch(wanted, pieces, sites.get(wanted.shard, ()))

        bodies = await for_each(fetch, ranges, at_once=RANGES_AT_ONCE)
        found: dict[int, dict[int, bytes]] = {}
        for one, body in zip(ranges, bodies, strict=True):
            for part in one.parts:
                found.setdefault(part.piece, {})[part.start] = body[part.start - one.start : part.stop - one.start]
        got = [b"".join(data for _, data in sorted(found.get(number, {}).items())) for number in range(len(pieces))]
        for piece, data in zip(pieces, got, strict=True):
            if piece.length > RANGE_BYTES_MAX and piece.digest is not None and await _sha256(data) != piece.digest:
                raise NodeLied(f"{self._node.did} gave wrong bytes of blob {piece.shard.hex()}")
        return got

    async def _fetch(self, wanted: Range, pieces: Sequence[Piece], sites: Sequence[Site]) -> bytes:
        """One range, from the first place that gives it rightly."""
        good = [site for site in sites if site.expires is None or site.expires > self._now()]
        places = [(url, site.offset) for site in good for url in site.urls]
        errors: list[NodeError] = []
        for number, (url, offset) in enumerate(places, 1):
            try:
                # Only at the last place is it worth to wait; until then there is another one.
                body = await self._read(url, offset, wanted, attempts=None if number == len(places) else 1)
                await self._check(body, wanted, pieces)
                return body
            except NodeError as error:
                errors.append(error)
        if not errors:
            raise NodeUnavailable(f"no place of blob {wanted.shard.hex()} is known that is still good")
        raise next((error for error in errors if isinstance(error, NodeUnavailable)), errors[0])

    async def _read(self, url: str, offset: int, wanted: Range, attempts: int | None) -> bytes:
        size = wanted.stop - wanted.start
        asked = self._authority.retrieval(wanted.shard, offset + wanted.start, offset + wanted.stop)
        try:
            answer = await self._ask(url, asked, size, attempts)
        except HeaderTooLong as error:
            raise NodeRefused("HeaderTooLong", str(error)) from None
        text = answer.headers.get(header.NAME)
        if text is None:
            if answer.succeeded:
                raise NodeLied(f"{self._node.did} gave bytes without a receipt")
            raise NodeRefused(f"HTTP {answer.status}", answer.excerpt)
        try:
            said = message.decode(header.decode(text))
        except UcanError as error:
            raise NodeLied(f"{self._node.did} gave bytes without a message: {error}") from None
        done(outcome_of(asked, said, self._node))
        if answer.status not in _BYTES:
            raise NodeRefused(f"HTTP {answer.status}", answer.excerpt)
        if len(answer.body) != size:
            raise NodeLied(f"{self._node.did} gave {len(answer.body)} bytes instead of {size}")
        return answer.body

    async def _ask(self, url: str, asked: Delegation, size: int, attempts: int | None) -> Answer:
        """Send the invocation with all its proofs; or one by one, if they are too long or the node wants it so."""
        try:
            text = header.encode(message.request([asked]))
        except HeaderTooLong:
            text = header.encode(message.request([asked], proofs=False))
        shown: set[Link] = set()
        alone = False
        while True:
            answer = await self._transport.send(
                Request(
                    method="GET",
                    url=http_url(url),
                    headers={"Accept-Encoding": "identity", header.NAME: text},
                    moves_bytes=size,
                    answer_bytes_max=size,
                ),
                attempts=attempts,
            )
            if answer.status == _TOO_LARGE and not alone:
                alone = True
                text = header.encode(message.request([asked], proofs=False))
            elif answer.status == _PROOFS_WANTED:
                proof = _first_missing(answer)
                if proof in shown or proof not in asked.attached:
                    raise NodeRefused("MissingProofs", f"{self._node.did} wants proof {proof}, which is no help")
                shown.add(proof)
                alone = True
                text = header.encode(message.partial_request([asked.cid], [(proof, asked.attached[proof])]))
            else:
                return answer

    async def _check(self, body: bytes, wanted: Range, pieces: Sequence[Piece]) -> None:
        view = memoryview(body)
        for part in wanted.parts:
            piece = pieces[part.piece]
            if piece.digest is None or piece.length > RANGE_BYTES_MAX:
                continue
            if await _sha256(view[part.start - wanted.start : part.stop - wanted.start]) != piece.digest:
                raise NodeLied(f"{self._node.did} gave wrong bytes of blob {wanted.shard.hex()}")


async def _sha256(data: bytes | memoryview) -> bytes:
    if len(data) <= HASHED_AT_ONCE_BYTES:
        return sha256(data).digest()
    return await asyncio.to_thread(lambda: sha256(data).digest())


def _first_missing(answer: Answer) -> CID:
    """The first proof that an answer asks for, a list in DAG-JSON.

    Raises:
        NodeLied: it asks for none.
    """
    try:
        return CID.from_text(json.loads(answer.body)["proofs"][0]["/"])
    except (ValueError, LookupError, TypeError, RecursionError, FormatError):
        raise NodeLied("a node wants proofs and does not say which") from None
