"""What several processes see at the same moment: new places and heads, whole or not at all."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

import lmdb
import pytest

from gateway.store import shared as shared_module
from gateway.store.errors import IndexUnusable
from gateway.store.index import BlockIndex
from gateway.store.place import Place
from gateway.store.shared import RESERVED_BYTES, SharedState
from mst import tree
from registry.heads import Bucket

REPOSITORY = Path(__file__).resolve().parents[4]


def _digest(number: int) -> bytes:
    return sha256(b"%d" % number).digest()


def _bucket(name: str, sequence: int = 1, salt: bytes | None = None) -> Bucket:
    return Bucket(
        name=name, instance=sha256(name.encode()).digest()[:16], commit=tree.EMPTY_ROOT, tree=tree.EMPTY_ROOT,
        sequence=sequence, objects=2**40, size_bytes=2**60, bits=4, salt=salt, created_ms=1, head_time_ms=2**41,
    )  # fmt: skip


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[SharedState]:
    """The table as its maker has it."""
    table = SharedState.create(tmp_path / "shared")
    yield table
    table.close()


@contextmanager
def _in_another_process(path: Path, body: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has joined the table as ``shared`` and runs ``body``; a line on its input ends its waiting."""
    program = """
    import sys
    from hashlib import sha256
    from pathlib import Path
    from gateway.store.index import BlockIndex
    from gateway.store.shared import SharedState

    def digest(number):
        return sha256(b"%d" % number).digest()

    def say(*words):
        print(*words, flush=True)

    path = Path(sys.argv[1])
    shared = SharedState.join(path / "shared")
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program) + textwrap.dedent(body), str(path)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        try:
            yield other
            assert other.wait(30) in (0, -signal.SIGKILL)
        finally:
            other.kill()


def _hear(other: subprocess.Popen[str]) -> str:
    assert other.stdout is not None
    return other.stdout.readline().strip()


def _tell(other: subprocess.Popen[str], line: str = "") -> None:
    assert other.stdin is not None
    other.stdin.write(f"{line}\n")
    other.stdin.flush()


def test_places_are_found_until_they_are_on_disk(owner: SharedState) -> None:
    owner.add(1, [(_digest(0), 100, 5), (_digest(1), 200, 6)])
    owner.turn()
    owner.add(2, [(_digest(2), 300, 7)])
    assert [owner.place(_digest(n)) for n in range(4)] == [
        Place(1, 100, 5), Place(1, 200, 6), Place(2, 300, 7), None
    ]  # fmt: skip
    owner.forget_old()
    assert [owner.place(_digest(n)) for n in range(3)] == [None, None, Place(2, 300, 7)]
    owner.turn()
    owner.forget_old()
    assert owner.place(_digest(2)) is None


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_the_newest_place_counts_in_whichever_generation(owner: SharedState, turns: int) -> None:
    """Also after more turns than moves, as when moves to the disk fail."""
    owner.add(1, [(_digest(0), 100, 5)])
    for _ in range(turns):
        owner.turn()
    owner.add(2, [(_digest(0), 900, 5)])
    assert owner.place(_digest(0)) == Place(2, 900, 5)
    owner.turn()
    assert owner.place(_digest(0)) == Place(2, 900, 5)
    owner.add(3, [(_digest(0), 1200, 5)])
    assert owner.place(_digest(0)) == Place(3, 1200, 5)


def test_what_was_added_after_a_failed_move_is_not_forgotten_by_the_next(owner: SharedState) -> None:
    owner.add(1, [(_digest(0), 100, 5)])
    owner.turn()  # the move fails: nothing is forgotten
    owner.add(1, [(_digest(1), 200, 5)])
    owner.turn()
    owner.add(1, [(_digest(2), 300, 5)])
    owner.forget_old()
    assert owner.place(_digest(2)) == Place(1, 300, 5)


def test_heads(owner: SharedState) -> None:
    first, second = _bucket("first"), _bucket("second", salt=bytes(16))
    owner.publish([first, second])
    assert owner.bucket("first") == first
    assert owner.bucket("second") == second
    assert owner.bucket("third") is None
    assert owner.buckets() == [first, second]
    later = _bucket("first", sequence=2)
    owner.publish([later], ["second"])
    assert owner.bucket("first") == later
    assert owner.bucket("second") is None
    assert owner.buckets() == [later]


def test_a_head_is_decoded_once_and_not_remembered_for_ever(
    owner: SharedState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_module, "DECODED_MAX", 8)
    owner.publish([_bucket("kept")])
    assert owner.bucket("kept") is owner.bucket("kept")
    for number in range(50):
        name = f"bucket-{number}"
        owner.publish([_bucket(name)])
        assert owner.bucket(name) == _bucket(name)
        owner.publish([], [name])
    assert len(owner._decoded) <= 8
    assert owner.bucket("kept") == _bucket("kept")


def test_another_process_sees_what_is_written_and_cannot_write(owner: SharedState, tmp_path: Path) -> None:
    body = """
    import lmdb
    say("joined", shared.failure, shared.bucket("b"))
    sys.stdin.readline()
    say(shared.bucket("b").sequence, len(shared.buckets()), shared.place(digest(0)).offset)
    sys.stdin.readline()
    say(shared.bucket("b"), shared.failure)
    try:
        shared.note_failure("mine")
    except lmdb.Error:
        say("read only")
    """
    with _in_another_process(tmp_path, body) as other:
        assert _hear(other) == "joined None None"
        owner.add(1, [(_digest(0), 100, 5)])
        owner.publish([_bucket("b", 7)])
        _tell(other)
        assert _hear(other) == "7 1 100"
        owner.publish([], ["b"])
        owner.note_failure("the disk is gone: ü")
        _tell(other)
        assert _hear(other) == "None the disk is gone: ü"
        assert _hear(other) == "read only"
    assert owner.failure == "the disk is gone: ü"


def test_a_transaction_is_seen_whole(owner: SharedState, tmp_path: Path) -> None:
    """A hundred heads move together, two hundred times; whoever looks sees them all at one number."""
    names = [f"bucket-{number:03d}" for number in range(100)]
    owner.publish([_bucket(name, 0) for name in names])
    body = """
    seen, mixed = set(), 0
    say("looking")
    while max(seen, default=0) < 200:
        numbers = {bucket.sequence for bucket in shared.buckets()}
        mixed += len(numbers) != 1
        seen |= numbers
    say(mixed, len(seen) > 1)
    """
    with _in_another_process(tmp_path, body) as other:
        assert _hear(other) == "looking"
        for sequence in range(1, 201):
            owner.publish([_bucket(name, sequence) for name in names])
        assert _hear(other) == "0 True"


def test_readers_in_another_process_never_miss_what_is_on_the_move(owner: SharedState, tmp_path: Path) -> None:
    """They look into the shared table, then on the disk: every step of a move leaves each place in one of them."""
    (tmp_path / "index").mkdir()
    body = """
    index = BlockIndex(path / "index", read_only=True, shared=shared)
    known, missing, looks = 0, [], 0
    say("looking")
    while known < 40 * 50:
        bucket = shared.bucket("known")
        known = bucket.sequence if bucket else 0
        missing += [n for n in range(max(0, known - 400), known) if index.get(digest(n)) is None]
        looks += known > 0
    say(missing, looks > 1)
    index.close()
    """
    with (
        closing(BlockIndex(tmp_path / "index", read_only=False, shared=owner)) as index,
        _in_another_process(tmp_path, body) as other,
    ):
        assert _hear(other) == "looking"
        for batch in range(40):
            index.add(1, [(_digest(n), 100 * n, n % 100) for n in range(batch * 50, (batch + 1) * 50)], batch)
            owner.publish([_bucket("known", (batch + 1) * 50)])
            index.flush()
        assert _hear(other) == "[] True"


def test_a_failed_move_leaves_places_where_readers_look(
    owner: SharedState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise lmdb.DiskError("no room")

    (tmp_path / "index").mkdir()
    with closing(BlockIndex(tmp_path / "index", read_only=False, shared=owner)) as index:
        with monkeypatch.context() as patch:
            patch.setattr(index, "_write", fail)
            for batch in range(3):
                index.add(1, [(_digest(batch), 100 * batch, 5), (_digest(99), 1000 * batch, 5)], 500)
                index.flush()
        assert [owner.place(_digest(n)) for n in range(3)] == [Place(1, 100 * n, 5) for n in range(3)]
        assert owner.place(_digest(99)) == Place(1, 2000, 5)
        for _ in range(2):  # the first forgets the old generation, the second the one that was young meanwhile
            index.flush()
        assert [owner.place(_digest(n)) for n in (0, 1, 2, 99)] == [None] * 4
        assert index.get(_digest(99)) == Place(1, 2000, 5)


def test_the_space_of_what_is_forgotten_is_used_again(owner: SharedState, tmp_path: Path) -> None:
    """And the room is there from the start, so that a disk that fills up later keeps no commit from being seen."""
    file = tmp_path / "shared" / "data.mdb"
    assert file.stat().st_blocks * 512 >= RESERVED_BYTES
    for generation in range(5):
        for batch in range(64):
            first = generation * 32_768 + batch * 512
            owner.add(1, [(_digest(n), n, 5) for n in range(first, first + 512)])
        owner.turn()
        owner.forget_old()
    assert file.stat().st_size == RESERVED_BYTES


def test_a_reader_that_was_killed_does_not_keep_space_from_being_used_again(owner: SharedState, tmp_path: Path) -> None:
    body = """
    with shared._env.begin() as txn:
        say("reading")
        sys.stdin.readline()
    """
    with _in_another_process(tmp_path, body) as other:
        assert _hear(other) == "reading"
        assert owner._env.info()["num_readers"] >= 1
        other.kill()
        other.wait()
    owner.forget_dead_readers()
    assert owner._env.readers() == "(no active readers)\n"


def test_what_another_server_left_is_removed(tmp_path: Path) -> None:
    with closing(SharedState.create(tmp_path / "shared")) as first:
        first.publish([_bucket("b")])
        first.add(1, [(_digest(0), 100, 5)])
        first.note_failure("long ago")
    (tmp_path / "shared" / "something").write_text("else")
    second = SharedState.create(tmp_path / "shared")
    assert second.buckets() == []
    assert second.place(_digest(0)) is None
    assert second.failure is None
    assert sorted(file.name for file in (tmp_path / "shared").iterdir()) == ["data.mdb", "lock.mdb"]
    assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o700
    second.remove()
    assert not (tmp_path / "shared").exists()


def test_a_table_that_cannot_be_had(tmp_path: Path) -> None:
    with pytest.raises(IndexUnusable):
        SharedState.join(tmp_path / "shared")
    with pytest.raises(IndexUnusable):
        SharedState.create(tmp_path / "no" / "shared")
