"""Where the shards of a chain of manifests are, and where in them every block lies.

A manifest names its shards with their indexes, and the shard that the manifest before it is in; so all but the newest
are known by a signature.  Of the newest pack no index is believed: it is read whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple

from gateway.node.client import Located, NodeClient, NodeError, NodeLied, NodeUnavailable, Piece, Site
from gateway.recovering.asking import DIGESTS_AT_ONCE, answers
from gateway.recovering.finding import Copy, Found
from gateway.shipping.contents import describe, places_in
from gateway.store.errors import BlockCorrupt
from mst import cbor
from mst.cid import CID
from mst.limits import PACK_BYTES_MAX
from mst.manifest import ShardRef
from registry.shards import Shard
from registry.ucan import index as index_format
from registry.ucan.capability import Blob
from registry.ucan.errors import UcanError
from registry.ucan.index import Slice

SHARDS_AT_ONCE: Final = DIGESTS_AT_ONCE // 2
"""How many shards are located at once, with their indexes."""
_BLOCK_BYTES_MAX: Final = (1 << 32) - 1


class Wanted(NamedTuple):
    """A shard that a chain needs.

    Attributes:
        ref: its name and that of its index.
        owner: the manifest that it came with.
        has_manifest: whether that is in it.
    """

    ref: ShardRef
    owner: CID
    has_manifest: bool


class Placed(NamedTuple):
    """A shard that is on the node.

    Attributes:
        shard: as the registry is to have it.
        blocks: digest, offset and length of each block in it.
    """

    shard: Shard
    blocks: list[tuple[bytes, int, int]]


class Lost(Exception):
    """A shard cannot be had, so that its manifest cannot be used.

    Attributes:
        owner: the manifest.
    """

    def __init__(self, owner: CID, reason: str):
        super().__init__(reason)
        self.owner = owner


def wanted_by(chain: Sequence[CID], found: Found) -> tuple[list[Wanted], list[CID]]:
    """The shards that a chain names, and those of its manifests whose packs none names; the newest first."""
    named: list[Wanted] = []
    unnamed = set(chain)
    for cid in reversed(chain):
        one = found.manifests[cid]
        packs = {} if one.prev is None else found.copies[one.prev]
        for ref in one.shards:
            if one.prev is not None and ref.digest in packs:
                named.append(Wanted(ref, one.prev, has_manifest=True))
                unnamed.discard(one.prev)
            else:
                named.append(Wanted(ref, cid, has_manifest=False))
    return named, [cid for cid in reversed(chain) if cid in unnamed]


class Placer:
    """Locates shards.

    Args:
        client: speaks to the node and the indexer; open for as long as this is used.
        found: the manifests.
    """

    def __init__(self, client: NodeClient, found: Found):
        self._client = client
        self._found = found

    async def place(self, wanted: Sequence[Wanted]) -> list[Placed]:
        """The shards as they are on the node, at most ``SHARDS_AT_ONCE``.

        Raises:
            Lost: one cannot be had.
            NodeUnavailable, NodeRefused: the indexer cannot be asked.
        """
        digests = [digest for one in wanted for digest in (one.ref.digest, one.ref.index_digest)]
        sites: dict[bytes, Sequence[Site]] = {}
        indexes: dict[bytes, index_format.Index] = {}
        async with aclosing(answers(self._client, list(dict.fromkeys(digests)), _is_located)) as found:
            async for located in found:
                sites |= located.sites
                indexes |= located.indexes
        return [await self._place(one, sites, indexes.get(one.ref.index_digest)) for one in wanted]

    async def place_pack(self, cid: CID) -> Placed:
        """The pack with the manifest ``cid``, which no other manifest names.

        Raises:
            Lost, NodeUnavailable, NodeRefused: as `place`.
        """
        reason = ""
        for copy in self._found.copies[cid].values():
            try:
                shard, blocks = await self._read_pack(copy)
            except NodeUnavailable:
                raise
            except (NodeError, BlockCorrupt) as error:
                reason = str(error)
                continue
            ref = ShardRef(shard.digest, shard.size_bytes, shard.index_digest, shard.index_bytes)
            [placed] = await self.place([Wanted(ref, cid, has_manifest=True)])
            return Placed(placed.shard, blocks)
        raise Lost(cid, f"its pack cannot be read: {reason}")

    async def _read_pack(self, copy: Copy) -> tuple[Shard, list[tuple[bytes, int, int]]]:
        size = copy.slice.offset + copy.slice.length  # the manifest is the last block
        if size > PACK_BYTES_MAX:
            raise NodeLied(f"a pack of {size} bytes")
        [data] = await self._client.retrieve([Piece(copy.pack, 0, size, copy.pack)], {copy.pack: copy.sites})
        return await asyncio.to_thread(_read_shard, data, copy)

    async def _place(
        self, one: Wanted, sites: Mapping[bytes, Sequence[Site]], index: index_format.Index | None
    ) -> Placed:
        ref = one.ref
        site = _promise(Blob(ref.digest, ref.size_bytes), sites)
        index_site = _promise(Blob(ref.index_digest, ref.index_bytes), sites)
        if site is None or index_site is None:
            what = "a shard" if site is None else "the index of a shard"
            raise Lost(one.owner, f"the node does not say that it has {what} {ref.digest.hex()}")
        if index is None:
            index = await self._read_index(one, index_site)
        blocks = [(digest, *part) for digest, part in index.shards.get(ref.digest, {}).items()]
        if not blocks or not all(_fits(Slice(*part), ref.size_bytes) for _, *part in blocks):
            raise Lost(one.owner, f"the index of shard {ref.digest.hex()} is not of it")
        shard = Shard(
            0, *ref, slice=None, manifest=one.owner if one.has_manifest else None, state="shipped",
            shipment=self._found.manifests[one.owner].sequence,
            answers=cbor.encode([site.archive(), index_site.archive()]),
        )  # fmt: skip
        return Placed(shard, blocks)

    async def _read_index(self, one: Wanted, site: Site) -> index_format.Index:
        """An index that the indexer left out."""
        digest = one.ref.index_digest
        try:
            [data] = await self._client.retrieve([Piece(digest, 0, one.ref.index_bytes, digest)], {digest: [site]})
            return await asyncio.to_thread(index_format.decode, data)
        except NodeUnavailable:
            raise
        except (NodeError, UcanError) as error:
            raise Lost(one.owner, f"the index of shard {one.ref.digest.hex()} cannot be read: {error}") from error


def _is_located(located: Located, digest: bytes) -> bool:
    return digest in located.sites


def _promise(blob: Blob, sites: Mapping[bytes, Sequence[Site]]) -> Site | None:
    """What the node says of a whole blob."""
    for site in sites.get(blob.digest, ()):
        try:
            site.require(blob)
        except NodeLied:
            continue
        return site
    return None


def _fits(part: Slice, size_bytes: int) -> bool:
    return part.length <= _BLOCK_BYTES_MAX and part.offset + part.length <= size_bytes


def _read_shard(data: bytes, copy: Copy) -> tuple[Shard, list[tuple[bytes, int, int]]]:
    blocks = places_in(data)
    return describe(copy.pack, len(data), copy.manifest, blocks, None), blocks
