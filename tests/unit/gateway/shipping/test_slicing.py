"""How bulk segments are cut: side by side, whole batches, within the limits, each a CAR file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.shipping import slicing
from gateway.shipping.contents import Contents
from gateway.shipping.slicing import cut
from gateway.store.folder import DataFolder
from gateway.store.segment import Segment
from gateway.store.segments import Segments
from mst import car
from mst.block import Block
from mst.cid import RAW
from mst.segment import frame_batch
from registry.shards import Slice
from registry.ucan import index


@pytest.fixture
def segments(tmp_path: Path) -> Iterator[Segments]:
    (tmp_path / "segments").mkdir()
    opened = Segments(DataFolder(tmp_path), read_only=False)
    yield opened
    opened.close()


def filled(segments: Segments, batches: list[list[int]]) -> tuple[Segment, list[int]]:
    """A bulk segment with a batch of blocks of these sizes each; where each batch ends."""
    segment, ends = segments.create("bulk"), [len(car.HEADER)]
    for number, sizes in enumerate(batches):
        blocks = [Block.of(RAW, b"%d/%d" % (number, place) + bytes(size)) for place, size in enumerate(sizes)]
        segment.append(frame_batch(blocks, start=segment.size, sequence=1, previous=None).buffers)
        ends.append(segment.size)
    return segment, ends


BATCHES = st.lists(st.lists(st.integers(0, 300), max_size=6), max_size=6)


@settings(max_examples=60)
@given(batches=BATCHES, room=st.integers(500, 1500))
def test_shards_lie_side_by_side_and_hold_whole_batches(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]], room: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    (folder / "segments").mkdir()
    segments = Segments(DataFolder(folder), read_only=False)
    segment, ends = filled(segments, batches)
    with mock.patch.object(slicing, "_ROOM", room):
        parts = cut(segment, len(car.HEADER), segment.size)
    position = len(car.HEADER)
    whole = segment.path.read_bytes()
    for part in parts:
        assert (part.segment, part.start) == (segment.number, position)
        assert 0 < part.stop - part.start <= room
        assert part.continues == (part.start not in ends)
        if part.stop not in ends or part.continues:  # then only because that batch alone is too large
            first = max(end for end in ends if end <= part.start)
            last = min(end for end in ends if end >= part.stop)
            assert last - first > room
            assert ends.index(last) == ends.index(first) + 1
        reader = car.Reader()
        assert list(reader.feed(car.HEADER + whole[part.start : part.stop]))
        reader.finish()
        position = part.stop
    assert position == segment.size
    segments.close()


def test_neighbours_do_not_fit_together(segments: Segments, monkeypatch: pytest.MonkeyPatch) -> None:
    segment, ends = filled(segments, [[300]] * 7)
    room = 2 * (ends[2] - ends[1]) + 10
    monkeypatch.setattr(slicing, "_ROOM", room)
    parts = cut(segment, ends[0], segment.size)
    for part, following in pairwise(parts):
        assert following.stop - part.start > room


def test_what_was_cut_before_and_what_is_half_written_is_left(segments: Segments) -> None:
    segment, ends = filled(segments, [[10], [20], [30], [40]])
    assert cut(segment, ends[1], ends[3]) == [Slice(segment.number, ends[1], ends[3], continues=False)]
    assert cut(segment, ends[3], ends[4] - 1) == []
    assert cut(segment, ends[4], ends[4]) == []


def test_a_damaged_batch_ends_it(segments: Segments) -> None:
    segment, ends = filled(segments, [[10], [200], [30]])
    with segment.path.open("r+b") as file:
        file.seek(ends[1] + 100)
        file.write(b"x")
    assert cut(segment, ends[0], segment.size) == [Slice(segment.number, ends[0], ends[1], continues=False)]


def test_many_small_blocks(segments: Segments, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slicing, "SHARD_BLOCKS_MAX", 4)
    segment, ends = filled(segments, [[1], [1], [1], [1, 1, 1, 1, 1, 1], [1]])
    parts = cut(segment, ends[0], segment.size)
    assert [(part.start in ends, part.stop in ends) for part in parts] == [
        (True, True), (True, True), (True, False), (False, True), (True, True)
    ]  # fmt: skip


def test_a_shard_is_read_from_its_segment(segments: Segments, tmp_path: Path) -> None:
    segment, ends = filled(segments, [[10, 2000], [3_000_000 // 2, 20], [30]])
    contents = Contents(segments, tmp_path)
    shard = contents.seal(Slice(segment.number, ends[1], ends[2], continues=False))
    whole = car.HEADER + segment.path.read_bytes()[ends[1] : ends[2]]
    assert (shard.digest, shard.size_bytes) == (hashlib.sha256(whole).digest(), len(whole))
    assert b"".join(contents.pieces(shard)) == whole
    encoded = contents.index(shard)
    assert (hashlib.sha256(encoded).digest(), len(encoded)) == (shard.index_digest, shard.index_bytes)
    ((digest, slices),) = index.decode(encoded).shards.items()
    assert digest == shard.digest
    reader = car.Reader()
    assert {block.cid.digest: block.data for block in reader.feed(whole)} == {
        block: whole[at : at + length] for block, (at, length) in slices.items()
    }
