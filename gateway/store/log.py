"""The commit log: batches of small bodies, tree nodes and commits, one write and one sync each."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gateway.store.errors import StoreFull, StoreReadOnly
from gateway.store.index import BlockIndex, Chain
from gateway.store.segment import Segment
from gateway.store.segments import Segments
from mst.block import Block
from mst.cid import CID
from mst.segment import frame_batch


class CommitLog:
    """Appends batches to the newest log segment.  For the committer's thread alone.

    Args:
        segments: the folder's segments.
        index: where appended blocks are entered.
        segment_bytes: length from which the next batch begins a new segment.
    """

    def __init__(self, segments: Segments, index: BlockIndex, segment_bytes: int):
        self._segments = segments
        self._index = index
        self._segment_bytes = segment_bytes
        newest = segments.of_kind("log")[-1:]
        self._segment: Segment | None = newest[0] if newest and not newest[0].poisoned else None

    def append(self, blocks: Sequence[Block], commits: Sequence[CID], drops: Sequence[bytes] = ()) -> int:
        """Append one batch; its blocks are durable and readable when this returns.

        Returns:
            The number of the segment that it is in.

        Raises:
            StoreFull: no room; the log is as it was.
            StoreReadOnly: the write or the sync failed otherwise.
        """
        segment = self._open_segment()
        start = segment.size
        chain = self._index.chain
        batch = frame_batch(
            blocks, start=start, sequence=chain.sequence + 1, previous=chain.record,
            commits=commits, drops=drops,
        )  # fmt: skip
        try:
            segment.append(batch.buffers)
        except StoreFull:
            self._abandon(segment, start)
            raise
        segment.sync()
        record = Chain(chain.sequence + 1, batch.record)
        self._index.add(segment.number, batch.places, segment.size, record)
        return segment.number

    def forget(self, segments: Collection[int]) -> None:
        """Take ``segments`` out of the index, durably, and append to none of them any more.

        Raises:
            StoreFull, StoreReadOnly: nothing is forgotten.
        """
        if self._segment is not None and self._segment.number in segments:
            self._segment = self._segments.create("log")
        self._index.forget(segments)

    def _open_segment(self) -> Segment:
        if self._segment is None or self._segment.size >= self._segment_bytes:
            self._segment = self._segments.create("log")
        return self._segment

    def _abandon(self, segment: Segment, good: int) -> None:
        """Give a full disk its bytes back; the segment is not appended to again all the same."""
        self._segment = None
        try:
            segment.truncate(good)
        except StoreReadOnly:
            return
