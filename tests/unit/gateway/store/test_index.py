"""The block index: right before, during and after a move to LMDB, and never the only copy of what it knows."""

from __future__ import annotations

import subprocess
import sys
import threading
from hashlib import sha256
from pathlib import Path

import lmdb
import pytest

from gateway.store import index as index_module
from gateway.store.errors import IndexUnusable
from gateway.store.index import BlockIndex, Chain
from gateway.store.place import Place
from mst.cid import CID, DAG_CBOR

RECORD = CID.of(DAG_CBOR, b"record")


def _digest(number: int) -> bytes:
    return sha256(b"%d" % number).digest()


def _places(first: int, count: int) -> list[tuple[bytes, int, int]]:
    return [(_digest(n), 100 * n, n % 100) for n in range(first, first + count)]


def test_nothing_is_known_at_first(index: BlockIndex) -> None:
    assert index.get(_digest(1)) is None
    assert index.end(1) == 0
    assert index.chain == Chain(0, None)


@pytest.mark.parametrize("flushed", [False, True])
def test_what_was_added_is_found(index: BlockIndex, flushed: bool) -> None:
    index.add(1, _places(0, 5), 700, Chain(1, RECORD))
    index.add(2, _places(5, 5), 900)
    if flushed:
        index.flush()
    assert [index.get(_digest(n)) for n in (0, 4, 5, 10)] == [Place(1, 0, 0), Place(1, 400, 4), Place(2, 500, 5), None]
    assert (index.end(1), index.end(2), index.end(3)) == (700, 900, 0)
    assert index.chain == Chain(1, RECORD)


@pytest.mark.parametrize("flushed", [False, True])
def test_the_newest_place_counts(index: BlockIndex, flushed: bool) -> None:
    index.add(1, [(_digest(0), 100, 5)], 700)
    index.flush()
    index.add(2, [(_digest(0), 900, 5)], 950)
    if flushed:
        index.flush()
    assert index.get(_digest(0)) == Place(2, 900, 5)


def test_an_index_reopened(tmp_path: Path) -> None:
    path = tmp_path / "index"
    path.mkdir()
    first = BlockIndex(path, read_only=False)
    first.add(7, _places(0, 1000), 2**40, Chain(2**40, RECORD))
    first.add(2**31, [(_digest(2000), 2**50, 2**21)], 2**51)
    first.close()
    for read_only in (False, True):
        again = BlockIndex(path, read_only=read_only)
        assert again.get(_digest(999)) == Place(7, 99_900, 99)
        assert again.get(_digest(2000)) == Place(2**31, 2**50, 2**21)
        assert (again.end(7), again.end(2**31)) == (2**40, 2**51)
        assert again.chain == Chain(2**40, RECORD)
        again.close()


def test_reading_only_changes_nothing_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "index"
    path.mkdir()
    BlockIndex(path, read_only=False).close()
    before = (path / "data.mdb").read_bytes()
    reader = BlockIndex(path, read_only=True)
    reader.add(1, _places(0, 10), 100, Chain(1, RECORD))
    assert reader.get(_digest(3)) == Place(1, 300, 3)
    reader.close()
    assert (path / "data.mdb").read_bytes() == before


def test_an_index_that_is_not_there_or_is_no_index(tmp_path: Path) -> None:
    with pytest.raises(IndexUnusable):
        BlockIndex(tmp_path / "missing", read_only=True)
    (tmp_path / "data.mdb").write_bytes(b"something else" * 1000)
    for read_only in (False, True):
        with pytest.raises(IndexUnusable):
            BlockIndex(tmp_path, read_only=read_only)


def test_a_move_to_disk_begins_by_itself(index: BlockIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "RECENT_BLOCKS_MAX", 100)
    for batch in range(50):
        index.add(1, _places(batch * 30, 30), batch * 1000)
    for thread in threading.enumerate():
        if thread.name == "ms3t-index":
            thread.join()
    assert len(index._recent) < 1500
    assert all(index.get(_digest(n)) == Place(1, 100 * n, n % 100) for n in range(1500))


def test_readers_never_miss_what_is_on_the_move(index: BlockIndex) -> None:
    """Readers hold no lock, so every step of a move must leave each place where they look."""
    known = 0
    missing: list[int] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            upto = known
            missing.extend(n for n in range(max(0, upto - 400), upto) if index.get(_digest(n)) is None)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for batch in range(60):
        index.add(1, _places(batch * 50, 50), batch)
        known = (batch + 1) * 50
        index.flush()
    stop.set()
    for reader in readers:
        reader.join()
    assert missing == []


def test_a_reader_that_was_killed_is_forgotten(index: BlockIndex) -> None:
    """Otherwise the pages that it saw are never used again, and the file grows with every move."""
    script = (
        "import sys, time, lmdb\n"
        "env = lmdb.open(sys.argv[1], readonly=True, max_dbs=3)\n"
        "txn = env.begin(); print('reading', flush=True); time.sleep(60)\n"
    )
    reader = subprocess.Popen([sys.executable, "-c", script, index._env.path()], stdout=subprocess.PIPE)
    with reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"reading\n"
        reader.kill()
    index.add(1, _places(0, 5), 700)
    index.flush()
    assert index._env.reader_check() == 0


def test_many_read_at_once(index: BlockIndex) -> None:
    """All threads of all workers may be looking something up."""
    assert index._env.info()["max_readers"] >= 1024


@pytest.mark.parametrize("error", [lmdb.MapFullError, lmdb.DiskError, lmdb.Error])
def test_a_move_that_fails_loses_nothing(
    index: BlockIndex, monkeypatch: pytest.MonkeyPatch, error: type[lmdb.Error]
) -> None:
    def fail(*_: object) -> None:
        raise error("no room")

    index.add(1, _places(0, 10), 500, Chain(1, RECORD))
    with monkeypatch.context() as patch:
        patch.setattr(index, "_write", fail)
        index.flush()
        index.add(1, _places(10, 10), 900, Chain(2, RECORD))
        index.flush()
    assert all(index.get(_digest(n)) for n in range(20))
    index.flush()
    assert index._recent == {}
    assert all(index.get(_digest(n)) for n in range(20))
    assert index.end(1) == 900


def test_what_comes_during_a_failed_move_wins(index: BlockIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    index.add(1, [(_digest(0), 100, 5)], 500)

    def fail(*_: object) -> None:
        index.add(2, [(_digest(0), 900, 5)], 950)
        raise lmdb.MapFullError("no room")

    monkeypatch.setattr(index, "_write", fail)
    index.flush()
    monkeypatch.undo()
    assert index.get(_digest(0)) == Place(2, 900, 5)
    index.flush()
    assert index.get(_digest(0)) == Place(2, 900, 5)


def test_an_index_that_cannot_be_read_says_so(index: BlockIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreadable:
        def begin(self, **_: object) -> None:
            raise lmdb.ReadersFullError("no reader slot")

    index.add(1, _places(0, 1), 700)
    with monkeypatch.context() as patch:
        patch.setattr(index, "_env", Unreadable())
        assert index.get(_digest(0)) == Place(1, 0, 0)
        with pytest.raises(IndexUnusable, match="cannot read the block index: no reader slot"):
            index.get(_digest(1))
