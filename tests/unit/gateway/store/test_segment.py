"""One segment file under every kind of write that goes wrong, and how many bytes all of them were given."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from gateway.store.errors import BlockCorrupt, StoreError, StoreFull, StoreReadOnly
from gateway.store.folder import DataFolder
from gateway.store.segment import Segment
from gateway.store.segments import Segments
from mst import car

HEADER_BYTES = len(car.HEADER)
FILE_BYTES_MAX = 8 * 1024 * 1024
"""Limit of a file's length in these tests: beyond what the test runner itself writes to one file."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log-00000001.car"


@pytest.fixture
def segment(path: Path) -> Iterator[Segment]:
    made = Segment.create(1, path)
    yield made
    made.close()


@pytest.fixture
def file_limit() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _failing(error: int) -> Callable[..., int]:
    def fail(*_: object) -> int:
        raise OSError(error, os.strerror(error))

    return fail


def test_a_new_segment_is_an_empty_car_file(segment: Segment, path: Path) -> None:
    assert path.read_bytes() == car.HEADER
    assert segment.size == HEADER_BYTES
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_segment_never_takes_the_place_of_a_file(segment: Segment, path: Path) -> None:
    with pytest.raises(StoreError):
        Segment.create(1, path)
    assert path.read_bytes() == car.HEADER


def test_what_was_appended_is_read_back_after_reopening(segment: Segment, path: Path) -> None:
    segment.append([b"one", b"", b"two"])
    segment.append([b"three"])
    segment.sync()
    for opened in (segment, Segment.open(1, path, read_only=False), Segment.open(1, path, read_only=True)):
        assert opened.size == HEADER_BYTES + 11
        assert opened.read(HEADER_BYTES, 11) == b"onetwothree"
        if opened is not segment:
            opened.close()


def test_a_writer_elsewhere_goes_on_behind_what_is_whole(segment: Segment, path: Path) -> None:
    segment.append([b"whole", b"torn"])
    with closing(Segment.open_to_append(1, path, HEADER_BYTES + 5)) as elsewhere:
        elsewhere.append([b"more"])
    assert path.read_bytes() == car.HEADER + b"wholemore"


@pytest.mark.parametrize(
    ("error", "raised"),
    [(errno.EMFILE, StoreFull), (errno.ENFILE, StoreFull), (errno.ENOENT, StoreReadOnly), (errno.EIO, StoreReadOnly)],
)
def test_a_writer_that_cannot_open_it(
    segment: Segment, path: Path, monkeypatch: pytest.MonkeyPatch, error: int, raised: type[StoreError]
) -> None:
    monkeypatch.setattr(os, "open", _failing(error))
    with pytest.raises(raised, match=f"cannot open {path.name}: {os.strerror(error)}"):
        Segment.open_to_append(1, path, segment.size)


def test_more_buffers_than_one_call_takes(segment: Segment) -> None:
    buffers = [b"%04d" % number for number in range(5000)]
    segment.append(buffers)
    assert segment.read(HEADER_BYTES, 20_000) == b"".join(buffers)


@pytest.mark.parametrize("written_at_once", [1, 2, 3, 7, 10, 11])
def test_short_writes_are_continued(segment: Segment, monkeypatch: pytest.MonkeyPatch, written_at_once: int) -> None:
    pwrite = os.pwrite

    def short_pwritev(fd: int, buffers: Sequence[bytes], offset: int) -> int:
        return pwrite(fd, b"".join(buffers)[:written_at_once], offset)

    def short_pwrite(fd: int, data: bytes, offset: int) -> int:
        return pwrite(fd, bytes(data[:written_at_once]), offset)

    monkeypatch.setattr(os, "pwritev", short_pwritev)
    monkeypatch.setattr(os, "pwrite", short_pwrite)
    segment.append([b"one", b"two", b"", b"three"])
    segment.append([b"four"])
    assert segment.read(HEADER_BYTES, 15) == b"onetwothreefour"
    assert segment.size == HEADER_BYTES + 15


@pytest.mark.usefixtures("file_limit")
def test_a_file_that_may_grow_no_further(segment: Segment, path: Path) -> None:
    """A write the kernel cuts short and then refuses: the part that was written is a torn tail."""
    segment.append([b"kept"])
    with pytest.raises(StoreFull, match="File too large"):
        segment.append([bytes(FILE_BYTES_MAX)])
    assert path.stat().st_size == FILE_BYTES_MAX
    assert segment.size == HEADER_BYTES + 4
    assert segment.poisoned
    assert segment.read(HEADER_BYTES, 4) == b"kept"
    segment.truncate(segment.size)
    assert path.stat().st_size == HEADER_BYTES + 4
    with pytest.raises(StoreReadOnly, match="failed write"):
        segment.append([b"never again"])
    assert path.stat().st_size == HEADER_BYTES + 4


@pytest.mark.parametrize(
    ("error", "raised"),
    [(errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull), (errno.EFBIG, StoreFull), (errno.EIO, StoreReadOnly)],
)
def test_a_failed_write_poisons(
    segment: Segment, monkeypatch: pytest.MonkeyPatch, error: int, raised: type[StoreError]
) -> None:
    monkeypatch.setattr(os, "pwritev", _failing(error))
    with pytest.raises(raised):
        segment.append([b"x"])
    monkeypatch.undo()
    assert segment.poisoned
    assert segment.size == HEADER_BYTES
    with pytest.raises(StoreReadOnly):
        segment.append([b"x"])


def test_a_failed_sync_poisons(segment: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    segment.append([b"x"])
    monkeypatch.setattr(os, "fdatasync", _failing(errno.EIO))
    with pytest.raises(StoreReadOnly, match="cannot sync"):
        segment.sync()
    monkeypatch.undo()
    assert segment.poisoned
    with pytest.raises(StoreReadOnly):
        segment.append([b"y"])


def test_a_failed_truncation_poisons(segment: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    segment.append([b"x"])
    monkeypatch.setattr(os, "ftruncate", _failing(errno.EIO))
    with pytest.raises(StoreReadOnly, match="cannot truncate"):
        segment.truncate(HEADER_BYTES)
    assert segment.poisoned
    assert segment.size == HEADER_BYTES + 1


def test_reads_that_fail_or_end_early_are_corruption(segment: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    segment.append([b"abc"])
    with pytest.raises(BlockCorrupt, match="ends before"):
        segment.read(HEADER_BYTES + 1, 3)
    monkeypatch.setattr(os, "pread", _failing(errno.EIO))
    with pytest.raises(BlockCorrupt, match="cannot read"):
        segment.read(HEADER_BYTES, 3)


@pytest.mark.parametrize("call", ["open", "pwritev", "fdatasync", "fsync"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_creation_that_fails_leaves_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: int
) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, call, _failing(error))
    with pytest.raises((StoreFull, StoreReadOnly)):
        Segment.create(1, path)
    monkeypatch.undo()
    assert not path.exists()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    Segment.create(1, path).close()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EMFILE])
def test_a_file_that_cannot_be_opened_now_may_be_later(path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    monkeypatch.setattr(os, "open", _failing(error))
    with pytest.raises(StoreFull):
        Segment.create(1, path)


def test_what_the_kernel_has_in_memory_is_known(segment: Segment) -> None:
    page = resource.getpagesize()
    segment.append([bytes(64 * page)])
    segment.sync()
    if not segment.in_memory(0, page):
        pytest.skip("this file system does not tell what is in memory")
    assert segment.in_memory(HEADER_BYTES, 64 * page)
    assert segment.in_memory(7, 0)
    os.posix_fadvise(segment.fd, 0, 0, os.POSIX_FADV_DONTNEED)
    if segment.in_memory(63 * page, 1):
        pytest.skip("this file system keeps everything in memory")
    assert not segment.in_memory(HEADER_BYTES, 64 * page)
    segment.read(0, segment.size)
    assert segment.in_memory(HEADER_BYTES, 64 * page)


def test_a_system_that_cannot_tell_has_nothing_in_memory(segment: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    segment.append([bytes(100)])

    def refuse(*_: object) -> int:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "preadv", refuse)
    assert not segment.in_memory(0, 100)
    monkeypatch.delattr(os, "RWF_NOWAIT")
    assert not segment.in_memory(0, 100)


def test_what_was_written_counts_whoever_wrote_it_and_whether_it_is_still_there(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path).create()
    with closing(Segments(folder, read_only=False)) as segments:
        lent = segments.create("bulk")
        with closing(Segment.open(lent.number, lent.path, read_only=False)) as elsewhere:
            elsewhere.append([bytes(1000)])
        assert segments.written_bytes == HEADER_BYTES + 1000
        segments.remove(lent.number)
        assert segments.size_bytes == 0
        assert segments.written_bytes == HEADER_BYTES + 1000
        segments.create("log")
        assert segments.written_bytes == 2 * HEADER_BYTES + 1000
