"""Blocks somewhere else, in memory, and a store that has nothing but what is there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.store.cache import BlockCache
from gateway.store.errors import BlockMissing
from gateway.store.far import FarBlocks
from gateway.store.mutations import DropSegments, Survey
from gateway.store.nodes import NodeCache
from gateway.store.recovery import remove_forgotten
from gateway.store.store import Store
from mst import closure


class MemoryRemote:
    """See `gateway.store.far.RemoteBlocks`.

    Attributes:
        blocks: by SHA-256.
        fetches: what was asked for, one list each time.
        failure: what every fetch ends with.
        gate: while it is not set, fetches wait.
    """

    def __init__(self) -> None:
        self.blocks: dict[bytes, bytes] = {}
        self.fetches: list[list[bytes]] = []
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    def holds(self, digest: bytes) -> bool:
        return digest in self.blocks

    async def fetch(self, digests: Sequence[bytes]) -> list[bytes]:
        self.fetches.append(list(digests))
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        for digest in digests:
            if digest not in self.blocks:
                raise BlockMissing(digest.hex())
        return [self.blocks[digest] for digest in digests]


async def move_away(store: Store, cache: BlockCache | None = None) -> tuple[MemoryRemote, FarBlocks]:
    """Bring all that buckets need to a remote, drop every segment, and read from there; the caller closes it."""
    remote = MemoryRemote()
    for bucket in store.buckets():
        for cid in closure.of_commit(bucket.commit, store.blocks.read, lambda cid: remote.holds(cid.digest)):
            remote.blocks[cid.digest] = store.blocks.read(cid)
    numbers = store.segments.numbers
    await store.own_committer.submit(Survey())
    assert (await store.own_committer.submit(DropSegments(frozenset(numbers)))).value == numbers
    for number in numbers:
        remove_forgotten(store.segments, store.index, number)
    forget_nodes(store)
    return remote, store.read_from_afar(remote, cache)


def forget_nodes(store: Store) -> None:
    """No tree node is in memory any more."""
    NodeCache.__init__(store._nodes, 64 << 20)
