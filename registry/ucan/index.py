"""Sharded DAG indexes: which block lies where in which blob, published so that anyone can find blocks.

Spec: https://github.com/storacha/specs/blob/main/w3-index.md, type ``index/sharded/dag@0.1``
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mst.block import Block
from mst.cbor import Value
from mst.cid import DAG_CBOR, IDENTITY, RAW, Link, multihash
from mst.limits import INTEGER_MAX
from registry.ucan import car, wire
from registry.ucan.errors import Malformed
from registry.ucan.limits import INDEX_BYTES_MAX, INDEX_SHARD_BYTES_MAX, INDEX_SHARDS_MAX
from registry.ucan.wire import Fields

NO_CONTENT = Link(bytes((1, RAW, IDENTITY, 0)))
"""``bafkqaaa``, the CID of nothing: for an index that is not of one DAG."""

_TAG = "index/sharded/dag@0.1"
_MULTIHASH_PREFIX = multihash(b"")
_MULTIHASH_BYTES = 34


class Slice(NamedTuple):
    """Where a block's bytes lie in a blob."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Index:
    """One index.

    Attributes:
        content: root of the DAG whose blocks these are, or `NO_CONTENT`.
        shards: slices of each blob; blobs and blocks by their sha2-256 digests, 32 bytes.
    """

    content: Link
    shards: Mapping[bytes, Mapping[bytes, Slice]]

    def encode(self) -> bytes:
        """The archive of the index, a CAR file.

        Raises:
            Malformed: a shard has more slices than fit a block.
        """
        blocks = [Block.of(DAG_CBOR, _shard(digest, self.shards[digest])) for digest in sorted(self.shards)]
        content: dict[str, Value] = {"shards": [block.cid for block in blocks], "content": self.content}
        root = Block.of(DAG_CBOR, wire.encode({_TAG: content}, "index"))
        return car.encode(root.cid, [root, *blocks])


def decode(data: bytes) -> Index:
    """The index whose archive is ``data``.

    Raises:
        Malformed: it is none, or over a limit.
    """
    found = car.decode(
        data, "index", limit_bytes=INDEX_BYTES_MAX, block_bytes_max=INDEX_SHARD_BYTES_MAX, blocks_max=INDEX_SHARDS_MAX
    )
    if found.root not in found.blocks:
        raise Malformed("index: its root is missing")
    fields = Fields(wire.variant(found.blocks[found.root], _TAG, "index", limit_bytes=INDEX_SHARD_BYTES_MAX), "index")
    content = fields.take("content", Link)
    links = fields.take_list("shards", Link, many=INDEX_SHARDS_MAX)
    fields.end()
    shards: dict[bytes, dict[bytes, Slice]] = {}
    for link in links:
        if link not in found.blocks:
            raise Malformed("index: a shard is missing")
        document = wire.decode(found.blocks[link], "index", limit_bytes=INDEX_SHARD_BYTES_MAX)
        if not isinstance(document, list) or len(document) != len(("shard", "slices")):
            raise Malformed("index: a shard is no pair")
        digest, slices = sha256_digest(document[0], "index"), document[1]
        if not isinstance(slices, list) or digest in shards:
            raise Malformed("index: a shard is there twice, or has no list of slices")
        shards[digest] = dict(map(_slice, slices))
    return Index(content, shards)


def sha256_digest(value: Value, what: str) -> bytes:
    """The digest of a multihash that must be one of sha2-256.

    Raises:
        Malformed: it is none.
    """
    if type(value) is not bytes or len(value) != _MULTIHASH_BYTES or not value.startswith(_MULTIHASH_PREFIX):
        raise Malformed(f"{what}: not a multihash of sha2-256")
    return value[len(_MULTIHASH_PREFIX) :]


def _shard(digest: bytes, slices: Mapping[bytes, Slice]) -> bytes:
    data = wire.encode([multihash(digest), [[multihash(block), [*slices[block]]] for block in sorted(slices)]], "index")
    if len(data) > INDEX_SHARD_BYTES_MAX:
        raise Malformed(f"a shard of {len(slices)} slices exceeds {INDEX_SHARD_BYTES_MAX} bytes")
    return data


def _slice(value: Value) -> tuple[bytes, Slice]:
    match value:
        case [multihash_, [int() as offset, int() as length]] if type(offset) is int and type(length) is int:
            if 0 <= offset <= INTEGER_MAX and 0 <= length <= INTEGER_MAX:
                return sha256_digest(multihash_, "index"), Slice(offset, length)
    raise Malformed("index: a slice is not a multihash with offset and length")
