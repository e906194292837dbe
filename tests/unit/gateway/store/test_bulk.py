"""Bulk segments: one upload each at a time, all of an upload or nothing of it."""

from __future__ import annotations

import errno
import os
import threading
from contextlib import suppress
from types import SimpleNamespace

import pytest

from gateway.store.bulk import BulkPool, BulkWriter, OwnedBulk
from gateway.store.errors import StoreFull, StoreReadOnly
from gateway.store.index import BlockIndex
from gateway.store.recovery import recover
from gateway.store.room import DiskRoom
from gateway.store.segment import Segment
from gateway.store.segments import Segments
from mst import car
from mst.block import Block
from mst.cid import RAW

SEGMENT_BYTES = 10_000


@pytest.fixture
def owned(segments: Segments, index: BlockIndex) -> OwnedBulk:
    return OwnedBulk(segments, index, SEGMENT_BYTES)


@pytest.fixture
def pool(owned: OwnedBulk, segments: Segments) -> BulkPool:
    return BulkPool(owned, SEGMENT_BYTES, DiskRoom(segments._folder.path, 0))


def _block(seed: int, size: int = 1000) -> Block:
    return Block.of(RAW, bytes([seed]) * size)


def _upload(writer: BulkWriter, *blocks: Block) -> None:
    for block in blocks:
        writer.append(*block)
    writer.finish()


def _on_disk(segment: Segment) -> int:
    return segment.path.stat().st_size


def test_a_finished_upload_is_readable_and_found_again(pool: BulkPool, segments: Segments, index: BlockIndex) -> None:
    blocks = [_block(n) for n in range(3)]
    _upload(pool.borrow(), *blocks)
    for block in blocks:
        place = index.get(block.cid.digest)
        assert place is not None
        assert segments.read(*place) == block.data
    (segment,) = segments.of_kind("bulk")
    assert index.end(segment.number) == segment.size == _on_disk(segment)


def test_nothing_is_readable_before_the_end(pool: BulkPool, index: BlockIndex) -> None:
    writer = pool.borrow()
    writer.append(*_block(1))
    assert index.get(_block(1).cid.digest) is None
    writer.finish()
    assert index.get(_block(1).cid.digest) is not None


def test_a_segment_is_one_upload_s_at_a_time(pool: BulkPool, segments: Segments) -> None:
    first, second = pool.borrow(), pool.borrow()
    assert len(segments.of_kind("bulk")) == 2
    _upload(second, _block(1))
    third = pool.borrow()
    assert len(segments.of_kind("bulk")) == 2
    _upload(first, _block(2))
    _upload(third, _block(3))
    pool.borrow()
    pool.borrow()
    assert len(segments.of_kind("bulk")) == 2


def test_borrowing_from_many_threads(pool: BulkPool, segments: Segments, index: BlockIndex) -> None:
    def upload(number: int) -> None:
        for turn in range(10):
            _upload(pool.borrow(), _block(number, 10 + turn), _block(number, 30 + turn))

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(8):
        for size in (*range(10, 20), *range(30, 40)):
            place = index.get(_block(number, size).cid.digest)
            assert place is not None
            assert segments.read(*place) == _block(number, size).data
    assert len(segments.of_kind("bulk")) <= 8
    fresh = Segments(segments._folder, read_only=True)
    assert [segment.size for segment in fresh.of_kind("bulk")] == [s.size for s in segments.of_kind("bulk")]
    fresh.close()


def test_an_aborted_upload_leaves_no_byte(pool: BulkPool, segments: Segments, index: BlockIndex) -> None:
    _upload(pool.borrow(), _block(1))
    (segment,) = segments.of_kind("bulk")
    before = segment.path.read_bytes()
    writer = pool.borrow()
    writer.append(*_block(2))
    writer.append(*_block(3))
    writer.abort()
    assert segment.path.read_bytes() == before
    assert index.get(_block(2).cid.digest) is None
    _upload(pool.borrow(), _block(4))
    assert len(segments.of_kind("bulk")) == 1
    assert index.get(_block(4).cid.digest) is not None


def test_a_block_leaves_the_reserve_free(
    segments: Segments, index: BlockIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was free when its upload began; what was written before it is given back."""
    pool = BulkPool(OwnedBulk(segments, index, SEGMENT_BYTES), SEGMENT_BYTES, DiskRoom(segments._folder.path, 5000))
    free = iter([9000, 6000, 5999, 9000])
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=next(free), f_frsize=1))
    writer = pool.borrow()
    writer.append(*_block(1))
    writer.append(*_block(2))
    with pytest.raises(StoreFull, match="5999 bytes are free, of which 5000 are in reserve"):
        writer.append(*_block(3))
    writer.abort()
    (segment,) = segments.of_kind("bulk")
    assert _on_disk(segment) == len(car.HEADER)
    _upload(pool.borrow(), _block(4))
    assert len(segments.of_kind("bulk")) == 1


def test_an_upload_ends_once(pool: BulkPool, segments: Segments) -> None:
    writer = pool.borrow()
    _upload(writer, _block(1))
    (segment,) = segments.of_kind("bulk")
    size = segment.size
    writer.abort()
    writer.abort()
    assert segment.size == _on_disk(segment) == size
    for late in (lambda: writer.append(*_block(2)), writer.finish):
        with pytest.raises(StoreReadOnly, match="aborted"):
            late()
    aborted = pool.borrow()
    aborted.abort()
    for late in (lambda: aborted.append(*_block(2)), aborted.finish):
        with pytest.raises(StoreReadOnly, match="aborted"):
            late()
    pool.borrow()
    pool.borrow()
    assert len(segments.of_kind("bulk")) == 2  # the one segment was idle once, not twice


def test_a_full_segment_is_not_written_to_again(pool: BulkPool, segments: Segments) -> None:
    _upload(pool.borrow(), _block(1, SEGMENT_BYTES))
    _upload(pool.borrow(), _block(2))
    assert [segment.size > SEGMENT_BYTES for segment in segments.of_kind("bulk")] == [True, False]


def test_segments_of_the_last_run_are_used_again(pool: BulkPool, segments: Segments, index: BlockIndex) -> None:
    _upload(pool.borrow(), _block(1))
    _upload(pool.borrow(), _block(2, SEGMENT_BYTES))
    _upload(pool.borrow(), _block(3))
    again = Segments(segments._folder, read_only=False)
    recover(again, index, repair=True)
    next_pool = BulkPool(OwnedBulk(again, index, SEGMENT_BYTES), SEGMENT_BYTES, pool.room)
    _upload(next_pool.borrow(), _block(4))
    assert len(again.of_kind("bulk")) == 2
    assert [segment.size > SEGMENT_BYTES for segment in again.of_kind("bulk")] == [True, False]
    again.close()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_an_upload_whose_write_fails(
    pool: BulkPool, segments: Segments, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def fail(*_: object) -> int:
        raise OSError(error, os.strerror(error))

    _upload(pool.borrow(), _block(1))
    (segment,) = segments.of_kind("bulk")
    before = segment.size
    writer = pool.borrow()
    writer.append(*_block(2))
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", fail)
        with pytest.raises((StoreFull, StoreReadOnly)):
            writer.append(*_block(3))
    writer.abort()
    assert _on_disk(segment) == before
    _upload(pool.borrow(), _block(4))
    assert [s.number for s in segments.of_kind("bulk")] == [segment.number, segment.number + 1]


def test_an_upload_whose_sync_fails_is_not_readable(
    pool: BulkPool, segments: Segments, index: BlockIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "I/O error")

    writer = pool.borrow()
    writer.append(*_block(1))
    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(StoreReadOnly):
        writer.finish()
    writer.abort()
    monkeypatch.undo()
    assert index.get(_block(1).cid.digest) is None
    (segment,) = segments.of_kind("bulk")
    assert _on_disk(segment) == len(car.HEADER)
    _upload(pool.borrow(), _block(2))
    assert len(segments.of_kind("bulk")) == 2


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("call", ["pwritev", "fdatasync", "ftruncate"])
def test_what_is_never_written_to_again_may_be_retired(
    owned: OwnedBulk, segments: Segments, monkeypatch: pytest.MonkeyPatch, call: str, keep: bool
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    pool = BulkPool(owned, SEGMENT_BYTES, DiskRoom(segments._folder.path, 0), keep=keep)
    writer = pool.borrow()
    (failed,) = segments.of_kind("bulk")
    assert not owned.retire(failed.number)
    monkeypatch.setattr(os, call, fail)
    with suppress(StoreReadOnly):
        writer.append(*_block(1))
        if call == "fdatasync":
            writer.finish()
    writer.abort()
    monkeypatch.undo()
    assert owned.retire(failed.number)
    _upload(pool.borrow(), _block(2, SEGMENT_BYTES))
    _, full = segments.of_kind("bulk")
    assert owned.retire(full.number)


def test_an_abort_waits_for_a_write_in_progress(pool: BulkPool, segments: Segments) -> None:
    """A request that is cut short aborts while a worker thread may still be writing for it."""
    writer = pool.borrow()
    writing, go_on = threading.Event(), threading.Event()
    append = Segment.append

    def slow(segment: Segment, buffers: list[bytes]) -> None:
        writing.set()
        go_on.wait(10)
        append(segment, buffers)

    (segment,) = segments.of_kind("bulk")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Segment, "append", slow)
        thread = threading.Thread(target=writer.append, args=_block(1))
        thread.start()
        writing.wait(10)
        abort = threading.Thread(target=writer.abort)
        abort.start()
        go_on.set()
        thread.join()
        abort.join()
    assert _on_disk(segment) == segment.size == len(car.HEADER)
