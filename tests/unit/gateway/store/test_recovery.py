"""What a start makes of the segments it finds: torn tails go, whole batches stay, damage is reported and survived."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.store.bulk import BulkPool, OwnedBulk
from gateway.store.errors import BlockCorrupt, StoreError
from gateway.store.folder import DataFolder
from gateway.store.index import BlockIndex
from gateway.store.log import CommitLog
from gateway.store.recovery import Finding, recover
from gateway.store.room import DiskRoom
from gateway.store.segment import Segment
from gateway.store.segments import Segments
from mst import car
from mst.block import Block
from mst.cid import DAG_CBOR, RAW

SEGMENT_BYTES = 1 << 20
HEADER_BYTES = len(car.HEADER)
LOG = "log-00000001.car"


class Opened(NamedTuple):
    """The storage part of a store after its start."""

    segments: Segments
    index: BlockIndex
    findings: list[Finding]
    log: CommitLog
    bulk: BulkPool

    def append(self, *batches: int) -> None:
        for batch in batches:
            blocks = _blocks(batch)
            self.log.append(blocks, [blocks[0].cid])

    def upload(self, *batches: int) -> None:
        for batch in batches:
            writer = self.bulk.borrow()
            for block in _blocks(batch):
                writer.append(*block)
            writer.finish()

    def holds(self, batch: int) -> bool:
        """Whether all of the batch is there, every byte right."""
        places = [self.index.get(block.cid.digest) for block in _blocks(batch)]
        if None in places:
            assert places == [None] * len(places)
            return False
        return all(
            self.segments.read(*place) == block.data
            for place, block in zip(places, _blocks(batch), strict=True)
            if place
        )


def _blocks(batch: int) -> list[Block]:
    return [Block.of(DAG_CBOR, b"\x82\x18%c" % (batch + 24) + b"\xf6"), Block.of(RAW, b"body %d" % batch * (batch + 1))]


@contextmanager
def _start(path: Path, *, repair: bool = True) -> Iterator[Opened]:
    """Open what a store opens, recover, and leave as a killed process leaves it: without moving the index to disk."""
    for directory in (path / "segments", path / "index"):
        directory.mkdir(exist_ok=True, parents=True)
    segments = Segments(DataFolder(path), read_only=not repair)
    index = BlockIndex(path / "index", read_only=not repair)
    try:
        findings = recover(segments, index, repair=repair)
        log = CommitLog(segments, index, SEGMENT_BYTES)
        bulk = BulkPool(OwnedBulk(segments, index, SEGMENT_BYTES), SEGMENT_BYTES, DiskRoom(path, 0))
        yield Opened(segments, index, findings, log, bulk)
    finally:
        index._env.close()
        segments.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def log_of_three(path: Path) -> tuple[Path, bytes, list[int]]:
    """A log of three batches that no index knows, its bytes, and where each batch ends."""
    ends = [HEADER_BYTES]
    with _start(path) as opened:
        for batch in range(3):
            opened.append(batch)
            ends.append(opened.segments.of_kind("log")[0].size)
    file = path / "segments" / LOG
    return file, file.read_bytes(), ends


def _whole_before(ends: list[int], offset: int) -> int:
    return sum(end <= offset for end in ends[1:])


def test_a_kill_loses_nothing_that_was_synced(path: Path) -> None:
    with _start(path) as opened:
        opened.append(0, 1)
        opened.upload(2, 3)
    with _start(path) as opened:
        assert [(f.segment, f.batches, f.torn_bytes, f.damaged_at) for f in opened.findings] == [
            (LOG, 2, 0, None),
            ("bulk-00000002.car", 2, 0, None),
        ]
        assert all(opened.holds(batch) for batch in range(4))
        opened.append(4)
        opened.upload(5)
    with _start(path) as opened:
        assert all(opened.holds(batch) for batch in range(6))


def test_what_a_killed_process_had_not_synced_is_synced_before_it_counts(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later upload of the same bytes is answered without writing them: the power may be cut then."""
    with _start(path) as opened:
        opened.append(0)
        synced = (path / "segments" / LOG).stat().st_size
        with monkeypatch.context() as patch:
            patch.setattr(Segment, "sync", _killed)
            with pytest.raises(_Killed):
                opened.append(1)
        assert (path / "segments" / LOG).stat().st_size > synced

    steps: list[str] = []
    sync, advise, read = os.fdatasync, os.posix_fadvise, os.pread
    monkeypatch.setattr(os, "fdatasync", lambda fd: steps.append("sync") or sync(fd))
    monkeypatch.setattr(os, "posix_fadvise", lambda *what: steps.append("forget what is in memory") or advise(*what))
    monkeypatch.setattr(os, "pread", lambda *what: steps.append("read") or read(*what))
    with _start(path) as opened:
        assert opened.holds(1)
    assert steps[:3] == ["sync", "forget what is in memory", "read"]


class _Killed(BaseException):
    pass


def _killed(_: Segment) -> None:
    raise _Killed


@pytest.mark.parametrize("kind", ["log", "bulk"])
def test_a_segment_whose_name_was_not_synced(path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A process was killed between the file's header and its folder: before anything is in it, both are durable."""
    with _start(path):
        (path / "segments" / f"{kind}-00000001.car").write_bytes(car.HEADER)
    synced: list[int] = []
    fsync, fdatasync = os.fsync, os.fdatasync
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino) or fsync(fd))
    monkeypatch.setattr(os, "fdatasync", lambda fd: synced.append(os.fstat(fd).st_ino) or fdatasync(fd))
    with _start(path):
        file = path / "segments" / f"{kind}-00000001.car"
        assert synced[:2] == [file.stat().st_ino, file.parent.stat().st_ino]


def test_a_disk_that_fails_while_it_is_looked_through(
    path: Path, log_of_three: tuple[Path, bytes, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", fail)
        with pytest.raises(BlockCorrupt, match=f"cannot read {LOG} at"), _start(path):
            pass
    with _start(path) as opened:
        assert all(opened.holds(batch) for batch in range(3))


def test_an_index_that_was_deleted_is_made_anew(path: Path) -> None:
    with _start(path) as opened:
        opened.append(0, 1)
        opened.upload(2)
        opened.index.flush()
        opened.append(3)
        chain = opened.index.chain
    shutil.rmtree(path / "index")
    with _start(path) as opened:
        assert all(opened.holds(batch) for batch in range(4))
        assert opened.index.chain == chain


def test_what_the_index_knows_is_not_read_again(path: Path) -> None:
    with _start(path) as opened:
        opened.append(0, 1)
        opened.index.flush()
    with _start(path) as opened:
        assert opened.findings == []
        opened.append(2)
    with _start(path) as opened:
        assert [finding.batches for finding in opened.findings] == [1]


def test_truncation_at_every_offset(path: Path, log_of_three: tuple[Path, bytes, list[int]]) -> None:
    file, data, ends = log_of_three
    for length in range(len(data)):
        file.write_bytes(data[:length])
        whole = _whole_before(ends, length)
        with _start(path) as opened:
            assert [opened.holds(batch) for batch in range(3)] == [batch < whole for batch in range(3)]
            assert all(finding.damaged_at is None for finding in opened.findings)
            assert file.stat().st_size == ends[whole]
            opened.append(3)
        if length % 5:
            continue
        with _start(path) as opened:
            assert [opened.holds(batch) for batch in range(4)] == [batch < whole for batch in range(3)] + [True]
            assert sum(finding.torn_bytes for finding in opened.findings) == 0
            assert opened.index.chain.sequence == whole + 1


@pytest.mark.parametrize("tail", [b"\x00" * 5000, b"\xff" * 100, bytes(range(256)) * 9], ids=["zeros", "ones", "noise"])
@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_tail_of_nonsense(path: Path, log_of_three: tuple[Path, bytes, list[int]], tail: bytes, cut: int) -> None:
    file, data, ends = log_of_three
    torn = data[: len(data) - cut] + tail
    file.write_bytes(torn)
    whole = _whole_before(ends, len(data) - cut)
    with _start(path) as opened:
        assert opened.findings == [Finding(LOG, whole, len(torn) - ends[whole], None)]
        assert file.read_bytes() == data[: ends[whole]]
        opened.append(3)
    with _start(path) as opened:
        assert opened.holds(3)


def test_every_flipped_bit_costs_its_own_batch_alone(path: Path, log_of_three: tuple[Path, bytes, list[int]]) -> None:
    """In the last batch it cannot be told from a torn tail; before, it is damage: nothing is cut, the rest serves."""
    file, data, ends = log_of_three
    for offset in range(HEADER_BYTES, len(data)):
        flipped = bytearray(data)
        flipped[offset] ^= 1 << offset % 8
        file.write_bytes(flipped)
        hurt = _whole_before(ends, offset)
        with _start(path) as opened:
            assert [opened.holds(batch) for batch in range(3)] == [batch != hurt for batch in range(3)]
            if hurt == 2:
                assert opened.findings == [Finding(LOG, 2, len(data) - ends[2], None)]
                assert file.read_bytes() == data[: ends[2]]
            else:
                assert opened.findings == [Finding(LOG, 2, 0, ends[hurt])]
                assert file.read_bytes() == flipped


def test_a_damaged_segment_is_not_written_to_again(path: Path, log_of_three: tuple[Path, bytes, list[int]]) -> None:
    file, data, ends = log_of_three
    with _start(path) as opened:
        opened.upload(4, 5, 6)
    bulk = path / "segments" / "bulk-00000002.car"
    uploaded = bulk.read_bytes()
    flipped = bytearray(data)
    flipped[ends[1] + 50] ^= 1
    file.write_bytes(flipped)
    damaged = bytearray(uploaded)
    damaged[HEADER_BYTES + 50] ^= 1
    bulk.write_bytes(damaged)
    with _start(path) as opened:
        assert [finding.damaged_at for finding in opened.findings] == [ends[1], HEADER_BYTES]
        opened.append(7)
        opened.upload(8)
        held = [batch for batch in range(9) if opened.holds(batch)]
        assert held == [0, 2, 5, 6, 7, 8]
    assert file.read_bytes() == flipped
    assert bulk.read_bytes() == damaged
    with _start(path) as opened:
        assert [batch for batch in range(9) if opened.holds(batch)] == held


def test_damage_and_a_torn_tail_behind_it(path: Path, log_of_three: tuple[Path, bytes, list[int]]) -> None:
    file, data, ends = log_of_three
    hurt = bytearray(data + b"torn tail")
    hurt[ends[0] + 50] ^= 1
    file.write_bytes(hurt)
    with _start(path) as opened:
        assert [opened.holds(batch) for batch in range(3)] == [False, True, True]
        assert opened.findings == [Finding(LOG, 2, 9, ends[0])]
    assert file.read_bytes() == hurt


def test_reading_only_cuts_nothing(path: Path, log_of_three: tuple[Path, bytes, list[int]]) -> None:
    file, data, _ = log_of_three
    torn = data + b"torn tail"
    file.write_bytes(torn)
    with _start(path, repair=False) as opened:
        assert [opened.holds(batch) for batch in range(3)] == [True] * 3
        assert opened.findings == [Finding(LOG, 3, 9, None)]
    assert file.read_bytes() == torn


@pytest.mark.parametrize("kind", ["log", "bulk"])
@pytest.mark.parametrize(
    "left", [*[car.HEADER[:length] for length in (0, 1, 25)], bytes(HEADER_BYTES)], ids=["0", "1", "25", "zeros"]
)
def test_a_segment_created_by_a_process_that_ended_before_its_header_was_written(
    path: Path, kind: str, left: bytes
) -> None:
    """What is appended to it afterwards must be found by the start after that."""
    with _start(path):
        (path / "segments" / f"{kind}-00000001.car").write_bytes(left)
    write: Callable[[Opened, int], None] = Opened.append if kind == "log" else Opened.upload
    for batch in range(3):
        with _start(path) as opened:
            assert [opened.holds(n) for n in range(3)] == [n < batch for n in range(3)]
            write(opened, batch)
    for file in (path / "segments").iterdir():
        reader = car.Reader()
        list(reader.feed(file.read_bytes()))
        reader.finish()


def test_a_segment_that_lost_bytes_the_index_knows(path: Path) -> None:
    """The disk lost what was durable: reported at every start, and what is written later is safe from it."""
    with _start(path) as opened:
        opened.append(0, 1, 2)
        opened.index.flush()
    file = path / "segments" / LOG
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    for batch in (3, 4):
        with _start(path) as opened:
            assert Finding(LOG, 0, 0, len(whole) // 2) in opened.findings
            opened.append(batch)
    with _start(path) as opened:
        assert opened.holds(3)
        assert opened.holds(4)
    assert file.read_bytes() == whole[: len(whole) // 2]


@pytest.mark.parametrize("kind", ["log", "bulk"])
def test_a_segment_that_is_gone(path: Path, kind: str) -> None:
    """Reported at every start; its number is not given to another file, whose batches the index would take for old."""
    write: Callable[..., None] = Opened.append if kind == "log" else Opened.upload
    with _start(path) as opened:
        write(opened, 0, 1, 2)
        opened.index.flush()
    (path / "segments" / f"{kind}-00000001.car").unlink()
    for batch in (3, 4):
        with _start(path) as opened:
            assert opened.findings[0] == Finding("segment 00000001", 0, 0, 0)
            write(opened, batch)
    with _start(path) as opened:
        assert opened.holds(3)
        assert opened.holds(4)
        for block in _blocks(0):
            place = opened.index.get(block.cid.digest)
            assert place is not None
            with pytest.raises(StoreError):
                opened.segments.read(*place)
