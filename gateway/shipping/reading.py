"""Blocks that were shipped to a storage node, read back from it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, cast

from gateway.node.client import NodeClient, NodeError, Piece, Site
from gateway.shipping.places import RemotePlaces
from gateway.store.errors import BlockMissing, RemoteUnavailable
from mst import cbor
from registry import shards
from registry.database import Database

SITES_MAX: Final = 4096
"""How many shards are remembered with the place where they can be read (about 2 KB each)."""


class NodeBlocks:
    """Blocks on a storage node; see `gateway.store.far.RemoteBlocks`.

    Args:
        client: speaks to the node; open for as long as this is used.
        database: the registry, which knows the shards.
        places: where blocks lie in them.
    """

    def __init__(self, client: NodeClient, database: Database, places: RemotePlaces):
        self._client = client
        self._database = database
        self._places = places
        self._shard = lru_cache(SITES_MAX)(self._load_shard)

    def holds(self, digest: bytes) -> bool:
        """See `RemoteBlocks`."""
        return self._places.get(digest) is not None

    async def fetch(self, digests: Sequence[bytes]) -> list[bytes]:
        """See `RemoteBlocks`."""
        pieces: list[Piece] = []
        sites: dict[bytes, list[Site]] = {}
        for digest in digests:
            place = self._places.get(digest)
            if place is None:
                raise _nowhere(digest)
            shard, site = self._shard(place.segment)
            pieces.append(Piece(shard, place.offset, place.length, digest))
            sites[shard] = [site]
        try:
            return await self._client.retrieve(pieces, sites)
        except NodeError as error:  # also if it lied: what it gave is of no use, but nothing says that it has no better
            raise RemoteUnavailable(f"the storage node gives no blocks: {error}") from error

    def _load_shard(self, number: int) -> tuple[bytes, Site]:
        """A shard's digest, and where it can be read."""
        with self._database.read() as connection:
            found = shards.get(connection, [number])
        if not found or found[0].answers is None or not found[0].has_reached("accepted"):
            raise RemoteUnavailable(f"shard {number} is not known to be on the storage node yet")
        promise, _ = cast("list[bytes]", cbor.decode(found[0].answers))
        try:
            return found[0].digest, self._client.site(promise)
        except NodeError as error:
            raise RemoteUnavailable(f"shard {number} is not on this storage node: {error}") from error


class NobodyToAsk:
    """Blocks on a storage node that cannot be spoken to from here; see `gateway.store.far.RemoteBlocks`.

    Args:
        places: where blocks lie there.
        reason: why not, and what to do about it.
    """

    def __init__(self, places: RemotePlaces, reason: str):
        self._places = places
        self._reason = reason

    def holds(self, digest: bytes) -> bool:
        """See `RemoteBlocks`."""
        return self._places.get(digest) is not None

    async def fetch(self, digests: Sequence[bytes]) -> list[bytes]:
        """See `RemoteBlocks`."""
        for digest in digests:
            if not self.holds(digest):
                raise _nowhere(digest)
        raise RemoteUnavailable(f"only the storage node has block {digests[0].hex()}, and {self._reason}")


def _nowhere(digest: bytes) -> BlockMissing:
    return BlockMissing(f"block {digest.hex()} is neither in a segment nor on the storage node")
