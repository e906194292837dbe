"""Answers to a query for claims: delegations that claim, and indexes, in one CAR file.

Spec: https://github.com/storacha/indexing-service, type ``index/query/result@0.1``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mst import cbor
from mst.block import Block
from mst.cid import CAR, CID, DAG_CBOR, Link, multihash
from mst.errors import FormatError
from registry.ucan import car
from registry.ucan import index as indexes_format
from registry.ucan.delegation import Delegation, gather
from registry.ucan.errors import Malformed
from registry.ucan.index import Index
from registry.ucan.limits import INDEX_BYTES_MAX, MESSAGE_BLOCKS_MAX, QUERY_BYTES_MAX

_TAG = "index/query/result@0.1"
_CLAIMS = b"claims"
_INDEXES = b"indexes"
_CONTEXT_BYTES_MAX = 256
_ROOT_BYTES_MAX = 2**20


@dataclass(frozen=True, slots=True)
class QueryResult:
    """What an indexer answers.

    Attributes:
        claims: the CIDs of the claims.
        indexes: the CIDs of index archives, by names that mean something only to the indexer.
        blocks: every block that came along; each matches its CID.
    """

    claims: tuple[CID, ...]
    indexes: Mapping[bytes, Link]
    blocks: Mapping[Link, bytes]

    def claim(self, cid: CID) -> Delegation:
        """The claim ``cid`` with its proofs; its signature has not been checked.

        Raises:
            Malformed: its block is missing or no UCAN.
        """
        return gather(cid, self.blocks)

    def index(self, context: bytes) -> Index:
        """The index that has that name in `indexes`.

        Raises:
            Malformed: its block is missing or no index.
        """
        data = self.blocks.get(self.indexes[context])
        if data is None:
            raise Malformed("query result: the block of an index is missing")
        return indexes_format.decode(data)


def encode(claims: Sequence[Delegation], indexes: Mapping[bytes, bytes]) -> bytes:
    """The answer with those claims and those index archives, by their names.

    Raises:
        Malformed: a name is too long.
    """
    blocks: dict[Link, bytes] = {}
    for claim in claims:
        blocks.update(claim.blocks())
    archives: dict[bytes, Link] = {}
    for context in sorted(indexes, key=lambda name: (len(name), name)):
        if len(context) > _CONTEXT_BYTES_MAX:
            raise Malformed("the name of an index is too long")
        block = Block.of(DAG_CBOR, indexes[context])
        archives[context] = Link.of_multihash(CAR, multihash(block.cid.digest))
        blocks[archives[context]] = block.data
    named = list(dict.fromkeys(claim.cid for claim in claims))
    root = Block.of(DAG_CBOR, _root(named or None, archives or None))
    return car.encode(root.cid, [*blocks.items(), root])


def decode(data: bytes) -> QueryResult:
    """The answer that is exactly ``data``.

    Raises:
        Malformed: it is none, or over a limit.
    """
    found = car.decode(data, "query result", limit_bytes=QUERY_BYTES_MAX, block_bytes_max=INDEX_BYTES_MAX)
    root = found.blocks.get(found.root)
    if root is None or len(root) > _ROOT_BYTES_MAX:
        raise Malformed("query result: its root is missing or too large")
    try:
        claims, indexes = _read_root(root)
    except FormatError as error:
        raise Malformed(f"query result: {error}") from None
    if _root(claims, indexes) != root:
        raise Malformed("query result: not in canonical form")
    return QueryResult(tuple(claims or ()), indexes or {}, found.blocks)


def _root(claims: Sequence[CID] | None, indexes: Mapping[bytes, Link] | None) -> bytes:
    """The root block, with bytes that may not be UTF-8 as keys of a map: what indexers write.

    Some leave out what is empty, which is None here, others write it.
    """
    fields = (claims is not None) + (indexes is not None)
    parts = [cbor.head(cbor.MAP, 1), cbor.encode(_TAG), cbor.head(cbor.MAP, fields)]
    if claims is not None:
        parts += (_key(_CLAIMS), cbor.encode(claims))
    if indexes is not None:
        parts += (_key(_INDEXES), cbor.head(cbor.MAP, len(indexes)))
        for context, link in indexes.items():
            parts += (_key(context), cbor.encode(link))
    return b"".join(parts)


def _key(raw: bytes) -> bytes:
    return cbor.head(cbor.TEXT, len(raw)) + raw


def _read_root(data: bytes) -> tuple[list[CID] | None, dict[bytes, Link] | None]:
    """What `_root` wrote; that the bytes are just those is compared afterwards."""
    claims: list[CID] | None = None
    indexes: dict[bytes, Link] | None = None
    _, pos = cbor.read_head(data, 0, cbor.MAP)
    _, pos = cbor.decode_item(data, pos)
    fields, pos = cbor.read_head(data, pos, cbor.MAP)
    for _ in range(min(fields, 2)):
        name, pos = _read_key(data, pos)
        if name == _CLAIMS:
            value, pos = cbor.decode_item(data, pos)
            if not isinstance(value, list) or not all(type(item) is CID for item in value):
                raise FormatError("claims are not a list of links")
            claims = [item for item in value if isinstance(item, CID)]
        else:
            count, pos = cbor.read_head(data, pos, cbor.MAP)
            indexes = {}
            for _ in range(min(count, MESSAGE_BLOCKS_MAX + 1)):
                context, pos = _read_key(data, pos)
                link, pos = cbor.decode_item(data, pos, Link.read)
                if not isinstance(link, Link):
                    raise FormatError("an index is not a link")
                indexes[context] = link
    if len(indexes or ()) > MESSAGE_BLOCKS_MAX or len(claims or ()) > MESSAGE_BLOCKS_MAX:
        raise FormatError("too many claims or indexes")
    return claims, indexes


def _read_key(data: bytes, pos: int) -> tuple[bytes, int]:
    length, start = cbor.read_head(data, pos, cbor.TEXT)
    if length > _CONTEXT_BYTES_MAX:
        raise FormatError("the name of an index is too long")
    return data[start : start + length], start + length
