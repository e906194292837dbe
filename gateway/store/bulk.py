"""Bulk segments: large bodies and multipart parts stream into a segment that they have to themselves.

So the dirty pages of a large upload never sit in the sync of a small one, and an upload that fails is cut off again.
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress

from gateway.store.errors import StoreReadOnly
from gateway.store.index import BlockIndex
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

    def append(self, cid: CID, data: bytes) -> None:
        """Append a block, not yet durable.

        Raises:
            StoreFull, StoreReadOnly: the write failed.
        """
        head = car.section_head(cid, len(data))
        with self._lock:
            self._check_open()
            at = self._segment.size + len(head)
            self._segment.append([head, data])
            self._heads.update(head)
            self._places.append((cid.digest, at, len(data)))

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
            self._pool.index.add(segment.number, self._places, segment.size)
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
            poisoned = segment.poisoned
            with suppress(StoreReadOnly):
                segment.truncate(self._start)
        if not poisoned:
            self._pool.give_back(segment)

    def _check_open(self) -> None:
        if self._ended:
            raise StoreReadOnly("the upload was aborted")


class BulkPool:
    """The bulk segments nobody is writing to.

    Args:
        segments: where new ones are created.
        index: where finished blocks are entered.
        segment_bytes: a segment that has reached this many bytes is not written to again.
    """

    def __init__(self, segments: Segments, index: BlockIndex, segment_bytes: int):
        self.index = index
        self._segments = segments
        self._segment_bytes = segment_bytes
        self._lock = threading.Lock()
        self._idle = [
            segment
            for segment in segments.of_kind("bulk")
            if segment.size < segment_bytes and not segment.poisoned
        ]

    def borrow(self) -> BulkWriter:
        """An idle segment, or a new one.

        Raises:
            StoreFull: a new one was needed and there is no room.
        """
        with self._lock:
            segment = self._idle.pop() if self._idle else None
        return BulkWriter(self, segment or self._segments.create("bulk"))

    def give_back(self, segment: Segment) -> None:
        """Make ``segment`` available again, unless it is full."""
        if segment.size < self._segment_bytes and not segment.poisoned:
            with self._lock:
                self._idle.append(segment)
