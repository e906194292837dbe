"""Bulk segments: large bodies and multipart parts stream into a segment that they have to themselves.

So the dirty pages of a large upload never sit in the sync of a small one, and an upload that fails is cut off again.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from gateway.store.errors import StoreReadOnly
from gateway.store.index import BlockIndex
from gateway.store.room import DiskRoom
from gateway.store.segment import Segment
from gateway.store.segments import Segments
from mst import car
from mst.cid import CID
from mst.segment import close_batch


class BulkWriter:
    """An upload's exclusive hold on one bulk segment.  Blocking: for worker threads, one at a time.

    End it with `finish` or `abort`, exactly once.
    """

    def __init__(self, pool: BulkPool, segment: Segment):
        self._pool = pool
        self._segment = segment
        self._start = segment.size
        self._heads = hashlib.sha256()
        self._places: list[tuple[bytes, int, int]] = []
        # A request that is cut short aborts while a worker thread may still be appending for it.
        self._lock = threading.Lock()
        self._ended = False

    def append(self, cid: CID, *pieces: bytes) -> None:
        """Append a block whose bytes are ``pieces`` one after the other, not yet durable.

        Raises:
            StoreFull: the block would not leave the reserve free, or there is no room at all.
            StoreReadOnly: the write failed otherwise.
        """
        length = sum(map(len, pieces))
        head = car.section_head(cid, length)
        with self._lock:
            self._check_open()
            self._pool.room.require(length)
            at = self._segment.size + len(head)
            self._segment.append([head, *pieces])
            self._heads.update(head)
            self._places.append((cid.digest, at, length))

    def finish(self) -> None:
        """Make every block durable and readable.

        Raises:
            StoreFull, StoreReadOnly: the write or the sync failed; call `abort`.
        """
        segment = self._segment
        with self._lock:
            self._check_open()
            batch = close_batch(
                [], self._places, self._heads.digest(), start=self._start, end=segment.size,
                sequence=1, previous=None,
            )  # fmt: skip
            segment.append(batch.buffers)
            segment.sync()
            self._pool.source.stored(segment, self._places)
            self._ended = True
        self._pool.give_back(segment)

    def abort(self) -> None:
        """Cut the upload's bytes off; does nothing after `finish`.

        What cannot be cut stays as a torn tail for the next start.
        """
        segment = self._segment
        with self._lock:
            if self._ended:
                return
            self._ended = True
            with suppress(StoreReadOnly):
                segment.truncate(self._start)
        self._pool.give_back(segment)

    def _check_open(self) -> None:
        if self._ended:
            raise StoreReadOnly("the upload was aborted")


class BulkSource(Protocol):
    """Where a pool's segments come from, and who is told what is in them."""

    def lend(self) -> Segment:
        """A bulk segment that nobody else writes to until it is given back.

        Raises:
            StoreFull, StoreReadOnly: there is none, and none can be made.
        """

    def give_back(self, segment: Segment) -> None:
        """Nobody here writes to ``segment`` any more, which is whole and not full."""

    def let_go(self, segment: Segment) -> None:
        """Nobody writes to ``segment`` ever again, which is full or may end half written."""

    def stored(self, segment: Segment, places: Sequence[tuple[bytes, int, int]]) -> None:
        """Make the blocks (digest, offset, length) of a durable batch that ends at ``segment.size`` readable."""


class OwnedBulk:
    """The bulk segments of a folder that this process owns.

    Args:
        segments: where new ones are created.
        index: where finished blocks are entered.
        segment_bytes: a segment that has reached this many bytes is not written to again.
    """

    def __init__(self, segments: Segments, index: BlockIndex, segment_bytes: int):
        self._segments = segments
        self._index = index
        self._lock = threading.Lock()
        self._idle = [
            segment for segment in segments.of_kind("bulk") if segment.size < segment_bytes and not segment.poisoned
        ]
        self._lent: set[int] = set()

    def lend(self) -> Segment:
        """One that was there at the start, or a new one; see `BulkSource`."""
        with self._lock:
            segment = self._idle.pop() if self._idle else self._segments.create("bulk")
            self._lent.add(segment.number)
            return segment

    def give_back(self, segment: Segment) -> None:
        """See `BulkSource`."""
        with self._lock:
            self._lent.discard(segment.number)
            self._idle.append(segment)

    def let_go(self, segment: Segment) -> None:
        """See `BulkSource`."""
        with self._lock:
            self._lent.discard(segment.number)

    def retire(self, number: int) -> bool:
        """Lend a segment no more; returns whether nobody has it."""
        with self._lock:
            self._idle = [segment for segment in self._idle if segment.number != number]
            return number not in self._lent

    def stored(self, segment: Segment, places: Sequence[tuple[bytes, int, int]]) -> None:
        """See `BulkSource`."""
        self._index.add(segment.number, places, segment.size)


class BulkPool:
    """The bulk segments of this process that no upload is writing to.

    Args:
        source: where more come from.
        segment_bytes: a segment that has reached this many bytes is not written to again.
        room: what uploads leave free of the disk.
        keep: have the next upload go on in a segment without asking for it; else it is given back after each.
    """

    def __init__(self, source: BulkSource, segment_bytes: int, room: DiskRoom, *, keep: bool = True):
        self.source = source
        self.room = room
        self._segment_bytes = segment_bytes
        self._keep = keep
        self._lock = threading.Lock()
        self._idle: list[Segment] = []

    def borrow(self) -> BulkWriter:
        """An idle segment, or another one.

        Raises:
            StoreFull, StoreReadOnly: another one was needed and cannot be had.
        """
        with self._lock:
            segment = self._idle.pop() if self._idle else None
        return BulkWriter(self, segment or self.source.lend())

    def give_back(self, segment: Segment) -> None:
        """Make ``segment`` available again, unless it is full or took a failed write."""
        if segment.size >= self._segment_bytes or segment.poisoned:
            self.source.let_go(segment)
            return
        if not self._keep:
            self.source.give_back(segment)
            return
        with self._lock:
            self._idle.append(segment)
