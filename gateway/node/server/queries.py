"""Answering queries for claims: where a block or blob is, and in which index.

Claims are told to anybody.  An index itself, which is a blob of a space, only to who brings a delegation by which the
node may read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from gateway.node.server import claims
from gateway.node.server.claims import Claim, Published
from gateway.node.server.errors import Refused
from gateway.node.server.node import Node
from gateway.node.server.operations import reading
from mst.cid import CID, Link, multihash
from mst.errors import FormatError
from registry import base58
from registry.ucan import archive, header, index, message, query
from registry.ucan.covering import grants
from registry.ucan.delegation import decode_block
from registry.ucan.did import DID
from registry.ucan.errors import UcanError, Unauthorized
from registry.ucan.index import Slice, sha256_digest
from registry.ucan.limits import HEADER_MESSAGE_BYTES_MAX, QUERY_BYTES_MAX
from registry.ucan.token import Capability
from registry.ucan.validate import authorize

MULTIHASHES_MAX = 64
"""Most multihashes of one query."""
SPACES_MAX = 64
"""Most spaces that one query names."""
ANSWER_CLAIMS_MAX = 512
"""Most claims of one answer."""
ANSWER_BYTES_MAX = QUERY_BYTES_MAX // 2
"""Most bytes of indexes in one answer."""

_RAW = 0x55
_TYPES = {
    "standard": (True, True),
    "standard_compressed": (True, True),
    "location": (True, False),
    "index_or_location": (True, True),
}
"""Whether a type of query asks for locations, and for indexes."""


@dataclass(frozen=True, slots=True)
class Query:
    """One query.

    Attributes:
        multihashes: what is asked about.
        spaces: only locations for these spaces; for any, if there are none.
        locations: whether locations are asked for.
        indexes: whether indexes are.
        granted: what the node was let read to answer it.
    """

    multihashes: tuple[bytes, ...]
    spaces: frozenset[DID]
    locations: bool
    indexes: bool
    granted: tuple[Capability, ...] = ()


def parse(node: Node, parameters: Sequence[tuple[str, str]], text: str | None) -> Query:
    """The query of a request.

    Args:
        node: the node.
        parameters: of its URL.
        text: its X-Agent-Message, if it has one.

    Raises:
        Refused: it is none, or brings a delegation that does not hold.
    """
    found = [value for name, value in parameters if name == "multihash"]
    spaces = [value for name, value in parameters if name == "spaces"]
    kind = next((value for name, value in parameters if name == "type"), "standard")
    if not found:
        raise Refused("BadRequest", "missing digests")
    if len(found) > MULTIHASHES_MAX or len(spaces) > SPACES_MAX:
        raise Refused("BadRequest", f"more than {MULTIHASHES_MAX} digests or {SPACES_MAX} spaces")
    if kind not in _TYPES:
        raise Refused("BadRequest", f"unknown type of query; known are {', '.join(_TYPES)}")
    locations, indexes = _TYPES[kind]
    try:
        multihashes = tuple(dict.fromkeys(map(_multihash, found)))
        granted = () if text is None else _granted(node, text)
        return Query(multihashes, frozenset(map(DID.parse, spaces)), locations, indexes, granted)
    except Unauthorized as error:
        raise Refused("Unauthorized", str(error), 403) from None
    except UcanError as error:
        raise Refused("BadRequest", str(error)) from None


def answer(node: Node, asked: Query) -> bytes:
    """The answer to a query.

    Raises:
        DatabaseError: the database failed.
    """
    now_s = node.clock_s()
    found = _Found()
    with node.database.read() as connection:
        for wanted in asked.multihashes:
            _look_up(connection, node, asked, wanted, now_s, found)
    return query.encode([archive.decode(data) for data in found.claims.values()], found.indexes)


@dataclass(slots=True)
class _Found:
    """What was found so far."""

    claims: dict[CID, bytes] = field(default_factory=dict)
    indexes: dict[bytes, bytes] = field(default_factory=dict)
    shards: dict[bytes, Mapping[bytes, Mapping[bytes, Slice]]] = field(default_factory=dict)
    room_bytes: int = ANSWER_BYTES_MAX

    def add(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            if len(self.claims) < ANSWER_CLAIMS_MAX:
                self.claims.setdefault(claim.cid, claim.archive)


def _look_up(connection: sa.Connection, node: Node, asked: Query, wanted: bytes, now_s: int, found: _Found) -> None:
    if asked.locations:
        found.add(_locations(connection, asked, wanted, now_s))
    if not asked.indexes:
        return
    by_slice = claims.indexes_of_slice(connection, wanted[2:], asked.spaces) if _is_sha256(wanted) else []
    for published in claims.unique([by_slice, claims.indexes_of_content(connection, wanted, asked.spaces)]):
        data = claims.archive(connection, published.claim)
        if data is not None:
            found.add([Claim(published.claim, published.space, data)])
        _add_index(connection, node, asked, published, wanted, now_s, found)


def _add_index(
    connection: sa.Connection,
    node: Node,
    asked: Query,
    published: Published,
    wanted: bytes,
    now_s: int,
    found: _Found,
) -> None:
    """Add an index if it may be told, with the locations of the shards that have what is wanted."""
    context = multihash(published.digest)
    if context not in found.indexes:
        needed = reading(published.space, published.digest, published.size)
        if published.size > found.room_bytes or not any(grants(granted, needed) for granted in asked.granted):
            return
        try:
            data = node.blobs.read(published.digest)
            found.shards[context] = index.decode(data).shards
        except (FileNotFoundError, UcanError):
            return  # removed meanwhile, or damaged: nobody should be told
        found.room_bytes -= len(data)
        found.indexes[context] = data
    if asked.locations:
        for shard, slices in found.shards[context].items():
            if not _is_sha256(wanted) or wanted[2:] == shard or wanted[2:] in slices:
                found.add(_locations(connection, asked, multihash(shard), now_s))


def _locations(connection: sa.Connection, asked: Query, content: bytes, now_s: int) -> list[Claim]:
    return claims.find(connection, content, "location", now_s, asked.spaces)


def _multihash(text: str) -> bytes:
    if not text.startswith("z"):
        raise Refused("BadRequest", "a digest is a multihash in multibase base58, z...")
    try:
        found = base58.decode(text[1:])
        Link.of_multihash(_RAW, found)
    except (ValueError, FormatError):
        raise Refused("BadRequest", "a digest is a multihash in multibase base58, z...") from None
    return found


def _is_sha256(wanted: bytes) -> bool:
    try:
        sha256_digest(wanted, "digest")
    except UcanError:
        return False
    return True


def _granted(node: Node, text: str) -> tuple[Capability, ...]:
    """What the delegations of a header let the node read."""
    brought = message.decode(header.decode(text), limit_bytes=HEADER_MESSAGE_BYTES_MAX)
    now_s = node.clock_s()
    return tuple(
        authorize(decode_block(cid, brought.blocks), brought.blocks, audiences={node.did}, now=now_s)
        for cid in brought.execute
    )
