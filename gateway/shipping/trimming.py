"""Keeps local copies within ``cache.max_bytes``: what the storage node has need not be here as well.

A bulk segment may go when the node has promised to keep all of it; a segment of the log, when no bucket needs anything
in it that the node has not got.  Log segments have much that no bucket needs any more, which goes with them.  In this
order, so that whatever ends the process in between, nothing is missed and nothing lost: the index forgets the segment,
durably; what the index still has of it is taken out; the file is deleted.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from gateway.shipping.places import RemotePlaces
from gateway.store.cache import BlockCache
from gateway.store.errors import StoreError
from gateway.store.mutations import DropSegments, Survey
from gateway.store.recovery import remove_forgotten
from gateway.store.segment import Segment
from gateway.store.store import Store
from mst import car, closure
from mst.cid import CID
from mst.errors import FormatError
from registry import shards
from registry.errors import RegistryError
from registry.heads import Bucket

CACHE_SHARE: Final = 0.5
"""What part of the bytes fetched blocks may keep while segments want them all."""

log = structlog.get_logger(__name__)


class Trimmer:
    """Trims one data folder; for the process that owns it.

    Args:
        store: the folder, open for writing.
        places: where blocks lie on the node.
        cache: fetched blocks, if any are kept.
        bytes_max: how much segments and cache may take together.
        seconds: how often is looked how much there is.
    """

    def __init__(
        self, store: Store, places: RemotePlaces, cache: BlockCache | None, bytes_max: int, seconds: float = 10.0
    ):
        self._store = store
        self._places = places
        self._cache = cache
        self._bytes_max = bytes_max
        self._seconds = seconds

    async def run(self) -> None:
        """Trim again and again, until cancelled."""
        while True:
            try:
                await self.trim()
            except (StoreError, RegistryError, FormatError, OSError) as error:
                log.warning("local copies are not trimmed for now", reason=str(error))
            await asyncio.sleep(self._seconds)

    async def trim(self) -> None:
        """Drop the oldest segments that may go, then the cached blocks that were not used for longest, as needed.

        Raises:
            StoreError, RegistryError, FormatError, OSError: it could not be found out what may go, or not be dropped;
                nothing is lost.
        """
        for number in sorted(self._store.index.forgotten & self._store.segments.numbers):  # a round that failed left it
            await self._remove(number)
        cached = 0 if self._cache is None else await asyncio.to_thread(self._cache.size_bytes)
        excess = self._segment_bytes() + min(cached, int(self._bytes_max * CACHE_SHARE)) - self._bytes_max
        if excess > 0:
            await self._drop(excess)
        if self._cache is not None:
            await asyncio.to_thread(self._cache.trim, max(self._bytes_max - self._segment_bytes(), 0))

    async def _drop(self, excess: int) -> None:
        committer = self._store.own_committer
        buckets = (await committer.submit(Survey())).value
        chosen = await asyncio.to_thread(self._choose, buckets, excess)
        if not chosen:
            return
        forgotten = (await committer.submit(DropSegments(frozenset(chosen)))).value
        for number in sorted(forgotten):
            await self._remove(number)
        log.info("dropped segments that the storage node has", segments=sorted(forgotten))

    async def _remove(self, number: int) -> None:
        await asyncio.to_thread(remove_forgotten, self._store.segments, self._store.index, number)

    def _choose(self, buckets: tuple[Bucket, ...], excess: int) -> list[int]:
        """Segments that may go, the oldest first, until they have ``excess`` bytes."""
        segments = self._store.segments
        needed = self._needed(buckets)
        chosen: list[int] = []
        for segment in self._segments():
            if excess <= 0:
                break
            number = segment.number
            size = segment.file_bytes
            if segment.poisoned or number in needed or size <= len(car.HEADER):
                continue
            if segments.is_bulk(number) and not self._may_go(number):
                continue
            chosen.append(number)
            excess -= size
        return chosen

    def _segments(self) -> list[Segment]:
        """All segments, oldest first, and last the one that the log is written to."""
        logs = self._store.segments.of_kind("log")
        rest = (*logs[:-1], *self._store.segments.of_kind("bulk"))
        return [*sorted(rest, key=lambda segment: segment.number), *logs[-1:]]

    def _segment_bytes(self) -> int:
        return sum(segment.file_bytes for segment in self._segments())

    def _needed(self, buckets: tuple[Bucket, ...]) -> set[int]:
        """The segments that have something which a bucket needs and the node has not got."""
        needed: set[int] = set()
        seen: set[bytes] = set()
        for bucket in buckets:
            if bucket.commit == bucket.shipped:
                continue
            self._note(bucket.commit, needed)
            for cid in closure.of_commit(
                bucket.commit,
                self._store.blocks.read,
                lambda cid: cid.digest in seen or self._places.get(cid.digest) is not None,
            ):
                seen.add(cid.digest)
                self._note(cid, needed)
        return needed

    def _note(self, cid: CID, needed: set[int]) -> None:
        number = self._store.blocks.segment_of(cid)
        if number is not None:
            needed.add(number)

    def _may_go(self, number: int) -> bool:
        """Whether the node keeps all of a bulk segment, to which nobody will write any more."""
        return self._is_kept(number) and self._store.retire_bulk(number) and self._is_kept(number)

    def _is_kept(self, number: int) -> bool:
        with self._store.database.read() as connection:
            return shards.kept_until(connection, number) >= self._store.index.end(number)
