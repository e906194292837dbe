"""Blocks that were shipped to a storage node, read back from it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, cast

from gateway.node.client import NodeClient, NodeError, NodeLied, Piece, Site
from gateway.shipping.places import RemotePlaces
from gateway.store.errors import BlockCorrupt, BlockMissing, RemoteUnavailable
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
                raise BlockMissing(f"block {digest.hex()} is neither in a segment nor on the storage node")
            shard, site = self._shard(place.segment)
            pieces.append(Piece(shard, place.offset, place.length, digest))
            sites[shard] = [site]
        try:
            return await self._client.retrieve(pieces, sites)
        except NodeLied as error:
            raise BlockCorrupt(str(error)) from error
        except NodeError as error:
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
