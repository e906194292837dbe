"""Blocks that no segment here holds: from the cache on the disk, else from the storage node, hashed in either case.

A block that several wait for is fetched once.  Whoever is in a thread waits there while the event loop fetches.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from concurrent.futures import CancelledError, Executor
from contextlib import suppress
from typing import Protocol

from gateway.store.cache import BlockCache
from gateway.store.errors import BlockCorrupt, BlockMissing, RemoteUnavailable
from mst.cid import CID

AHEAD_BYTES_MAX = 256 << 20
"""Memory, in bytes, for all that is read ahead in one process."""


class RemoteBlocks(Protocol):
    """Somewhere else that holds blocks."""

    def holds(self, digest: bytes) -> bool:
        """Whether the block with that SHA-256 is there, for all that is known here; asks nobody."""

    async def fetch(self, digests: Sequence[bytes]) -> list[bytes]:
        """The blocks with these SHA-256, different ones, in as few requests as possible.

        Raises:
            BlockMissing: one is not there.
            BlockCorrupt: one is not what it should be, wherever it was looked for.
            RemoteUnavailable: it cannot be asked now.
        """


class FarBlocks:
    """Reads what is not in segments.  Make it in the event loop; `close` it there.

    Args:
        remote: where blocks are.
        cache: where they are kept, if anywhere.
        threads: where they are hashed, and written to the cache.
    """

    def __init__(self, remote: RemoteBlocks, cache: BlockCache | None, threads: Executor):
        self._remote = remote
        self._cache = cache
        self._threads = threads
        self._loop = asyncio.get_running_loop()
        self._under_way: dict[bytes, asyncio.Task[dict[bytes, bytes]]] = {}
        self._ahead_bytes = 0
        self._closed = False

    def holds(self, digest: bytes) -> bool:
        """Whether the block with that SHA-256 can be had, for all that is known here."""
        return not self._closed and self._remote.holds(digest)

    def is_cached(self, digest: bytes) -> bool:
        """Whether the block with that SHA-256 is in the cache, whole or damaged."""
        return self._cache is not None and self._cache.holds(digest)

    def read(self, cids: Sequence[CID]) -> list[bytes]:
        """`read_async` for threads other than those this was given."""
        waiting = self.read_async(cids)
        try:
            fetched = asyncio.run_coroutine_threadsafe(waiting, self._loop)
        except RuntimeError:  # the loop has ended
            waiting.close()
            raise _stopping() from None
        try:
            return fetched.result()
        except CancelledError:
            raise _stopping() from None

    async def read_async(self, cids: Sequence[CID]) -> list[bytes]:
        """The bytes of several blocks, verified.

        Raises:
            BlockMissing, BlockCorrupt, RemoteUnavailable: see `RemoteBlocks.fetch`.
        """
        digests = list(dict.fromkeys(cid.digest for cid in cids))
        found: dict[bytes, bytes] = {}
        if self._cache is not None:
            cached = await self._loop.run_in_executor(self._threads, lambda: [self._cached(one) for one in digests])
            found = {digest: data for digest, data in zip(digests, cached, strict=True) if data is not None}
        if len(found) < len(digests):
            found |= await self._read_all([digest for digest in digests if digest not in found])
        return [found[cid.digest] for cid in cids]

    def reserve(self, wanted: int) -> int:
        """Take up to ``wanted`` bytes of what may be read ahead; returns how many.  Give them back with `release`."""
        taken = min(wanted, AHEAD_BYTES_MAX - self._ahead_bytes)
        self._ahead_bytes += taken
        return taken

    def release(self, taken: int) -> None:
        """Give back what `reserve` returned."""
        self._ahead_bytes -= taken

    async def close(self) -> None:
        """Fail everybody who still waits, and everybody who comes."""
        self._closed = True
        tasks = set(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read_all(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """Blocks that are not cached."""
        if self._closed:
            raise _stopping()
        found: dict[bytes, bytes] = {}
        others = {self._under_way[digest] for digest in digests if digest in self._under_way}
        mine = [digest for digest in digests if digest not in self._under_way]
        if mine:
            found |= await self._shared(self._begin(mine))
        for task in others:
            with suppress(BlockCorrupt, BlockMissing):  # of what else was asked for there, perhaps
                found |= await self._shared(task)
        left = [digest for digest in digests if digest not in found]
        return found | await self._shared(self._begin(left)) if left else found

    def _begin(self, digests: Sequence[bytes]) -> asyncio.Task[dict[bytes, bytes]]:
        task = self._loop.create_task(self._fetch(digests))
        for digest in digests:
            self._under_way[digest] = task
        return task

    async def _shared(self, task: asyncio.Task[dict[bytes, bytes]]) -> dict[bytes, bytes]:
        """The task's result; who gives up waiting does not end it for the others."""
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise _stopping() from None
            raise

    async def _fetch(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        try:
            fetched = await self._remote.fetch(digests)
            await self._loop.run_in_executor(self._threads, self._check_and_keep, digests, fetched)
            return dict(zip(digests, fetched, strict=True))
        finally:
            for digest in digests:
                if self._under_way.get(digest) is asyncio.current_task():
                    del self._under_way[digest]

    def _check_and_keep(self, digests: Sequence[bytes], fetched: Sequence[bytes]) -> None:
        for digest, data in zip(digests, fetched, strict=True):
            if hashlib.sha256(data).digest() != digest:
                raise BlockCorrupt(f"the storage node gave wrong bytes for block {digest.hex()}")
            if self._cache is not None:
                self._cache.put(digest, data)

    def _cached(self, digest: bytes) -> bytes | None:
        return None if self._cache is None else self._cache.get(digest)


def _stopping() -> RemoteUnavailable:
    return RemoteUnavailable("the server is stopping")
