"""How a bulk segment is cut into shards: whole batches together, as many as fit; a batch that does not fit in pieces.

A file node in a batch has its leaves before it in the same batch.  So whoever has the shard with it, and the shards
that one continues, has all it needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.store.segment import Segment, SegmentBytes
from mst import car
from mst.limits import SHARD_BLOCKS_MAX, SHARD_BYTES_MAX
from mst.segment import Batch, scan
from registry.shards import Slice

_ROOM: Final = SHARD_BYTES_MAX - len(car.HEADER)
"""How many bytes of a segment a shard may have."""


def cut(segment: Segment, start: int, stop: int) -> list[Slice]:
    """The parts of ``segment`` between two file offsets that can be shards, side by side and in order.

    They end early where a batch is damaged: what heads need of that batch, and of those behind it, is read block by
    block.

    Args:
        segment: a bulk segment.
        start: where a batch begins.
        stop: where one ends; what lies behind may be half written.
    """
    parts: list[Slice] = []
    begin, end, blocks = start, start, 0  # of the part under way
    for batch in scan(SegmentBytes(segment, stop), start):
        many = len(batch.places) + 1
        if begin < end and (batch.stop - begin > _ROOM or blocks + many > SHARD_BLOCKS_MAX):
            parts.append(Slice(segment.number, begin, end, continues=False))
            begin, blocks = end, 0
        end, blocks = batch.stop, blocks + many
        if end - begin > _ROOM or blocks > SHARD_BLOCKS_MAX:
            first = begin
            for piece_end in _pieces(batch):
                parts.append(Slice(segment.number, begin, piece_end, continues=begin != first))
                begin = piece_end
            blocks = 0
    if begin < end:
        parts.append(Slice(segment.number, begin, end, continues=False))
    return parts


def _pieces(batch: Batch) -> Iterator[int]:
    """Where a batch that is too large for one part is cut: the file offsets behind its pieces."""
    begin, end, blocks = batch.record.start, batch.record.start, 0
    for section_end in (*(offset + length for _, offset, length in batch.places), batch.stop):
        if section_end - begin > _ROOM or blocks == SHARD_BLOCKS_MAX:
            yield end
            begin, blocks = end, 0
        end, blocks = section_end, blocks + 1
    yield end
