"""Group commit: what shares a batch, what is refused and what that does to its neighbours, what a failure leaves."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from hashlib import md5
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.store.committer import BATCH_MUTATIONS_MAX
from gateway.store.errors import (
    BlockCorrupt,
    BucketExists,
    BucketNotEmpty,
    NoSuchBucket,
    StoreBusy,
    StoreFull,
    StoreReadOnly,
)
from gateway.store.mutations import Committed, Delete, DropBucket, MakeBucket, Mutation, Put, Record
from gateway.store.registering import Registrar
from gateway.store.segment import Segment
from gateway.store.store import StoreSettings
from mst import tree
from mst.cid import CID, RAW
from mst.commit import Commit
from mst.entry import Entry
from mst.errors import TreeLimitError
from mst.layer import TreeParams
from mst.unixfs import FileBuilder
from registry import database as database_module
from registry import settings, state
from registry.database import Database, DatabaseFailed
from registry.heads import Bucket
from tests.store_client import CLOCK_MS, StoreClient, content_of, open_client

Test = Callable[[StoreClient], Awaitable[None]]


class Refused(Exception):
    """What a check of these tests raises."""


def _must_be_new(entry: Entry | None) -> None:
    if entry is not None:
        raise Refused


def _run(path: Path, test: Test, **options: Any) -> None:
    """Run ``test`` on a store in ``path`` with a bucket "b", made when it is not there."""

    async def run() -> None:
        async with open_client(path, **options) as client:
            if not client.store.buckets():
                await client.make("b")
            await test(client)

    asyncio.run(run())


class Gate:
    """Holds the committer in its next sync, so that what comes meanwhile is one batch; counts syncs."""

    def __init__(self) -> None:
        self.syncs = 0
        self._reached = threading.Event()
        self._open = threading.Event()

    async def hold(self, client: StoreClient) -> asyncio.Task[Committed]:
        """Occupy the committer with a put of its own until `release`."""
        task = asyncio.ensure_future(client.put("b", b"gate", b"gate"))
        await asyncio.to_thread(self._reached.wait, 10)
        return task

    def release(self) -> None:
        self._open.set()

    def on_sync(self) -> None:
        self.syncs += 1
        self._reached.set()
        self._open.wait(10)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Takes effect for syncs from now on; the store must be open already, or be let through."""
    made = Gate()
    made.release()
    sync = Segment.sync

    def gated(segment: Segment) -> None:
        made.on_sync()
        sync(segment)

    monkeypatch.setattr(Segment, "sync", gated)
    return made


async def _batch(client: StoreClient, gate: Gate, mutations: list[Mutation]) -> list[Committed | BaseException]:
    """Commit ``mutations`` as one batch."""
    gate.__init__()  # type: ignore[misc]
    held = await gate.hold(client)
    answers = [client.store.committer.enqueue(mutation) for mutation in mutations]
    await asyncio.sleep(0.01)
    gate.release()
    await held
    return await asyncio.gather(*answers, return_exceptions=True)


def _put(key: bytes, content: bytes = b"x", *, bucket: str = "b", size: int | None = None, **options: Any) -> Put:
    """A put of a small body that comes with it."""
    from mst.block import Block

    block = Block.of(RAW, content)
    entry = Entry(block.cid, len(content) if size is None else size, CLOCK_MS, md5(content).digest(), None)
    return Put(bucket, key, entry, (block,), **options)


def _history(client: StoreClient, bucket: str) -> list[Commit]:
    """A bucket's commits, newest first."""
    commits = []
    cid: CID | None = client.store.bucket(bucket).commit
    while cid is not None:
        commits.append(Commit.decode(client.store.blocks.read(cid)))
        cid = commits[-1].prev
    return commits


def test_concurrent_puts_share_a_sync(tmp_path: Path, gate: Gate) -> None:
    async def test(client: StoreClient) -> None:
        await client.make("c")
        before = gate.syncs
        puts: list[Mutation] = [_put(b"%d" % n, b"%d" % n, bucket="bc"[n % 2]) for n in range(200)]
        assert all(isinstance(answer, Committed) for answer in await _batch(client, gate, puts))
        assert gate.syncs == 2  # that of the gate and one for all
        assert before >= 2
        assert len(await client.contents("b")) == 101
        assert len(await client.contents("c")) == 100
        # One commit per bucket, too.
        assert [commit.sequence for commit in _history(client, "b")] == [3, 2, 1]
        assert [commit.sequence for commit in _history(client, "c")] == [2, 1]

    _run(tmp_path, test)


def test_a_batch_is_bounded(tmp_path: Path, gate: Gate) -> None:
    async def test(client: StoreClient) -> None:
        puts: list[Mutation] = [_put(b"%d" % n) for n in range(2 * BATCH_MUTATIONS_MAX + 1)]
        await _batch(client, gate, puts)
        assert gate.syncs == 1 + 3
        assert client.store.bucket("b").objects == len(puts) + 1

    _run(tmp_path, test)


def test_commits_form_a_signed_chain(tmp_path: Path) -> None:
    async def test(client: StoreClient) -> None:
        for n in range(5):
            done = await client.put("b", b"%d" % n, b"content")
            assert done.bucket == client.store.bucket("b")
        history = _history(client, "b")
        assert [commit.sequence for commit in history] == [6, 5, 4, 3, 2, 1]
        assert [commit.objects for commit in history] == [5, 4, 3, 2, 1, 0]
        assert len({commit.instance for commit in history}) == 1
        await client.contents("b")

    _run(tmp_path, test)


def test_a_clock_that_goes_back_does_not_take_commits_along(tmp_path: Path) -> None:
    times = iter([9000, 1000, 9500, 2000])

    async def test(client: StoreClient) -> None:
        for n in range(3):
            await client.put("b", b"%d" % n, b"content")
        assert [commit.time_ms for commit in _history(client, "b")] == [9500, 9500, 9000, 9000]

    _run(tmp_path, test, clock=lambda: next(times))


def test_of_many_creators_one_wins(tmp_path: Path) -> None:
    async def test(client: StoreClient) -> None:
        answers = await asyncio.gather(
            *(client.put("b", b"k", b"%d" % n, check=_must_be_new) for n in range(50)), return_exceptions=True
        )
        winners = [n for n, answer in enumerate(answers) if isinstance(answer, Committed)]
        assert len(winners) == 1
        assert [type(answer) for answer in answers].count(Refused) == 49
        assert await client.read("b", b"k") == b"%d" % winners[0]

    _run(tmp_path, test)


def test_a_counter_moved_by_compare_and_swap_counts_right(tmp_path: Path) -> None:
    async def test(client: StoreClient) -> None:
        await client.put("b", b"n", b"0")

        async def increment() -> None:
            while True:
                entry = await client.store.trees.get(client.store.bucket("b"), b"n")
                assert entry is not None
                seen = entry.etag

                def unchanged(now: Entry | None, seen: bytes = seen) -> None:
                    if now is None or now.etag != seen:
                        raise Refused

                try:
                    value = int(await client.content(entry)) + 1
                    await client.put("b", b"n", b"%d" % value, check=unchanged)
                    return
                except Refused:
                    continue

        async def worker() -> None:
            for _ in range(5):
                await increment()

        await asyncio.gather(*(worker() for _ in range(10)))
        assert await client.read("b", b"n") == b"50"

    _run(tmp_path, test)


def test_checks_see_what_stands_before_them_in_the_batch(tmp_path: Path, gate: Gate) -> None:
    seen: list[int | None] = []

    def see(entry: Entry | None) -> None:
        seen.append(None if entry is None else entry.size)

    async def test(client: StoreClient) -> None:
        answers = await _batch(
            client,
            gate,
            [
                _put(b"k", b"1", check=see),
                _put(b"k", b"22", check=see),
                Delete("b", b"k", check=see),
                _put(b"k", b"333", check=see),
            ],
        )
        assert seen == [None, 1, 2, None]
        assert [answer.previous and answer.previous.size for answer in answers if isinstance(answer, Committed)] == seen
        assert await client.contents("b") == {b"gate": b"gate", b"k": b"333"}

    _run(tmp_path, test)


def test_a_failing_check_refuses_only_itself(tmp_path: Path, gate: Gate) -> None:
    async def test(client: StoreClient) -> None:
        await client.put("b", b"old", b"old")
        answers = await _batch(
            client,
            gate,
            [_put(b"a"), _put(b"old", check=_must_be_new), Delete("b", b"old", check=_must_be_new), _put(b"z")],
        )
        assert [type(answer) for answer in answers] == [Committed, Refused, Refused, Committed]
        assert sorted(await client.contents("b")) == [b"a", b"gate", b"old", b"z"]

    _run(tmp_path, test)


def test_a_batch_of_refusals_commits_nothing(tmp_path: Path) -> None:
    async def test(client: StoreClient) -> None:
        await client.put("b", b"k", b"1")
        head = client.store.bucket("b")
        with pytest.raises(Refused):
            await client.put("b", b"k", b"2", check=_must_be_new)
        done = await client.delete("b", b"nothing")
        assert done.previous is None
        assert client.store.bucket("b") is head

    _run(tmp_path, test)


@pytest.mark.parametrize(
    ("steps", "left"),
    [("pd", None), ("pp", 2), ("dp", 2), ("pdp", 3), ("dd", None), ("ppd", None), ("d", None), ("p", 1)],
)
@pytest.mark.parametrize("existed", [False, True])
def test_one_key_many_times_in_a_batch(tmp_path: Path, gate: Gate, steps: str, left: int | None, existed: bool) -> None:
    """Totals of the commit are right whatever happened on the way (`StoreClient.contents` compares them)."""

    async def test(client: StoreClient) -> None:
        if existed:
            await client.put("b", b"k", b"before")
        mutations: list[Mutation] = [
            _put(b"k", b"x" * n) if step == "p" else Delete("b", b"k") for n, step in enumerate(steps, 1)
        ]
        await _batch(client, gate, mutations)
        expected = {b"gate": b"gate"} | ({} if left is None else {b"k": b"x" * left})
        assert await client.contents("b") == expected

    _run(tmp_path, test)


def _layer_0_keys(count: int) -> list[bytes]:
    params = TreeParams(4)
    return [key for n in range(2 * count) if params.layer(key := b"%05d" % n) == 0][:count]


def test_a_tree_limit_refuses_its_key_alone(tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that nothing separates share a node; the first one too many is refused, its neighbours are not."""
    keys = [key for key in _layer_0_keys(60) if key < b"gate"]
    monkeypatch.setattr(tree, "NODE_ENTRIES_MAX", 10)

    async def test(client: StoreClient) -> None:
        await client.make("c")
        crowded = [_put(key) for key in keys[:14]]
        others = [_put(key, bucket="c") for key in keys[:5]]
        mutations: list[Mutation] = [*crowded[:7], *others, *crowded[7:], Delete("b", keys[0])]
        answers = dict(zip(mutations, await _batch(client, gate, mutations), strict=True))
        # "gate" is in that node too, if it has that layer.
        room = 10 - (TreeParams(4).layer(b"gate") == 0)
        assert [type(answers[put]) for put in crowded] == [Committed] * room + [TreeLimitError] * (14 - room)
        assert all(isinstance(answers[put], Committed) for put in others)
        assert isinstance(answers[mutations[-1]], Committed)
        assert set(await client.contents("b")) == {b"gate", *keys[1:room]}
        assert set(await client.contents("c")) == set(keys[:5])
        await client.put("b", keys[room], b"there is room again")
        with pytest.raises(TreeLimitError):
            await client.put("b", keys[room + 1], b"there is not")

    _run(tmp_path, test)


def test_checks_are_asked_again_when_a_limit_takes_a_batch_apart(
    tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a check passed because of a put that is then refused must be looked at anew."""
    keys = [key for key in _layer_0_keys(60) if key < b"gate"]
    monkeypatch.setattr(tree, "NODE_ENTRIES_MAX", 10)

    def must_exist(entry: Entry | None) -> None:
        if entry is None:
            raise Refused

    async def test(client: StoreClient) -> None:
        room = 10 - (TreeParams(4).layer(b"gate") == 0)
        mutations: list[Mutation] = [_put(key) for key in keys[: room + 1]]
        mutations.append(_put(keys[room], check=must_exist))
        mutations.append(_put(keys[0], check=must_exist))
        answers = await _batch(client, gate, mutations)
        assert [type(answer) for answer in answers[room:]] == [TreeLimitError, Refused, Committed]
        assert set(await client.contents("b")) == {b"gate", *keys[:room]}

    _run(tmp_path, test)


def test_buckets_come_and_go_in_order(tmp_path: Path) -> None:
    async def test(client: StoreClient) -> None:
        answers = await client.store.committer.submit_all(
            [
                _put(b"k", bucket="c"),
                MakeBucket("c", 4, None, b"1" * 16),
                _put(b"k", bucket="c"),
                MakeBucket("c", 4, None, b"2" * 16),
                DropBucket("c"),
                Delete("c", b"k"),
                DropBucket("c"),
                Delete("c", b"k"),
                DropBucket("c"),
                MakeBucket("c", 2, b"s" * 32, b"3" * 16),
                _put(b"l", bucket="c"),
            ]
        )
        assert [type(answer) for answer in answers] == [
            NoSuchBucket, Committed, Committed, BucketExists, BucketNotEmpty, Committed,
            Committed, NoSuchBucket, NoSuchBucket, Committed, Committed,
        ]  # fmt: skip
        assert await client.contents("c") == {b"l": b"x"}
        bucket = client.store.bucket("c")
        assert (bucket.instance, bucket.bits, bucket.salt, bucket.sequence) == (b"3" * 16, 2, b"s" * 32, 2)
        assert [bucket.name for bucket in client.store.buckets()] == ["b", "c"]

    async def after(client: StoreClient) -> None:
        assert [bucket.name for bucket in client.store.buckets()] == ["b", "c"]
        assert await client.contents("c") == {b"l": b"x"}

    _run(tmp_path, test)
    _run(tmp_path, after)


def test_a_caller_that_gave_up_does_not_disturb_the_others(tmp_path: Path, gate: Gate) -> None:
    async def test(client: StoreClient) -> None:
        gate.__init__()  # type: ignore[misc]
        held = await gate.hold(client)
        tasks = [asyncio.ensure_future(client.store.committer.submit(_put(b"%d" % n))) for n in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        gate.release()
        answers = await asyncio.gather(held, *tasks, return_exceptions=True)
        assert [type(answer) for answer in answers] == [Committed, Committed, asyncio.CancelledError, Committed]
        # It was submitted, so it may have happened, and did.
        assert sorted(await client.contents("b")) == [b"0", b"1", b"2", b"gate"]

    _run(tmp_path, test)


def test_what_was_submitted_before_the_end_is_committed(tmp_path: Path) -> None:
    answers: list[asyncio.Future[Committed]] = []

    async def test(client: StoreClient) -> None:
        answers.extend(client.store.committer.enqueue(_put(b"%d" % n)) for n in range(1000))
        await asyncio.to_thread(client.store.committer.close)
        assert len(await asyncio.gather(*answers)) == 1000
        client.store._committer = None

    async def after(client: StoreClient) -> None:
        assert len(await client.contents("b")) == 1000

    _run(tmp_path, test)
    _run(tmp_path, after)


# --- failures of the disk ---


@contextmanager
def _failing(call: str, error: int, *, times: int = 1) -> Iterator[None]:
    """Let the next ``times`` calls of ``os.<call>`` fail."""
    real = getattr(os, call)
    left = [times]

    def fail(*args: Any) -> Any:
        if left[0] > 0:
            left[0] -= 1
            raise OSError(error, os.strerror(error))
        return real(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, call, fail)
        yield


@pytest.mark.parametrize("call", ["fdatasync", "pwritev"])
def test_after_an_error_of_the_disk_nothing_more_is_written(tmp_path: Path, call: str) -> None:
    async def test(client: StoreClient) -> None:
        await client.put("b", b"before", b"before")
        head = client.store.bucket("b")
        with _failing(call, errno.EIO):
            answers = await asyncio.gather(
                *(client.put("b", b"%d" % n, b"lost") for n in range(5)), return_exceptions=True
            )
        assert [type(answer) for answer in answers] == [StoreReadOnly] * 5
        for _ in range(2):
            with pytest.raises(StoreReadOnly):
                await client.put("b", b"later", b"later")
            with pytest.raises(StoreReadOnly):
                await client.delete("b", b"before")
            with pytest.raises(StoreReadOnly):
                await client.make("c")
            with pytest.raises(StoreReadOnly):
                await client.drop("b")
            with pytest.raises(StoreReadOnly):
                await client.store.committer.submit(Record(lambda connection: None))
            with pytest.raises(StoreReadOnly):
                client.store.require_room(1)
        assert client.store.committer.failure is not None
        assert client.store.bucket("b") is head
        assert await client.contents("b") == {b"before": b"before"}

    async def after(client: StoreClient) -> None:
        assert await client.contents("b") == {b"before": b"before"}
        await client.put("b", b"after", b"after")
        assert await client.contents("b") == {b"before": b"before", b"after": b"after"}

    _run(tmp_path, test)
    _run(tmp_path, after)
    _run(tmp_path, lambda client: _expect(client, {b"before": b"before", b"after": b"after"}))


async def _expect(client: StoreClient, contents: dict[bytes, bytes]) -> None:
    assert await client.contents("b") == contents


def test_bodies_that_would_not_leave_the_reserve_are_refused_alone(
    tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not so what is stored already, the nodes on top of it, and deletes: the reserve is kept for them."""

    async def test(client: StoreClient) -> None:
        await client.put("b", b"old", b"old")
        large = (await client.entry(content_of("large", 300_000)))._replace(bucket="b", key=b"large")
        builder = FileBuilder()
        inner = [block for _ in range(2) for block in builder.add_leaf(large.entry.body, large.entry.size)]
        root, rest = builder.finish()
        etag = md5(content_of("large", 300_000) * 2).digest()
        completed = Put("b", b"completed", Entry(root, 600_000, CLOCK_MS, etag, None), (*inner, *rest))
        free = 1000 + len(b"gate")
        monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=free, f_frsize=1))
        mutations: list[Mutation] = [
            _put(b"1", b"123"), _put(b"2", b"12"), large, Delete("b", b"old"), _put(b"3", b"1"), _put(b"4", b"1"),
            completed,
        ]  # fmt: skip
        answers = await _batch(client, gate, mutations)
        expected = [Committed, StoreFull, Committed, Committed, Committed, StoreFull, Committed]
        assert [type(answer) for answer in answers] == expected
        assert client.store.committer.failure is None
        assert set(await client.contents("b")) == {b"gate", b"1", b"large", b"3", b"completed"}

    _run(tmp_path, test, settings=StoreSettings(reserve_free_bytes=1000, threads=4))


def test_a_full_disk_refuses_the_batch_and_no_more(tmp_path: Path) -> None:
    async def test(client: StoreClient) -> None:
        await client.put("b", b"before", b"before")
        for turn in range(3):
            with _failing("pwritev", errno.ENOSPC), pytest.raises(StoreFull):
                await client.put("b", b"lost", b"lost")
            with _failing("open", errno.ENOSPC), pytest.raises(StoreFull):
                await client.put("b", b"lost", b"lost")
            assert client.store.committer.failure is None
            await client.put("b", b"%d" % turn, b"kept")
        assert set(await client.contents("b")) == {b"before", b"0", b"1", b"2"}

    async def after(client: StoreClient) -> None:
        assert set(await client.contents("b")) == {b"before", b"0", b"1", b"2"}

    _run(tmp_path, test)
    _run(tmp_path, after)


@pytest.mark.parametrize(("disk_full", "raised"), [(True, StoreFull), (False, StoreReadOnly)])
@pytest.mark.parametrize("what", ["put", "make", "drop", "record"])
def test_a_registry_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk_full: bool, raised: type[Exception], what: str
) -> None:
    async def test(client: StoreClient) -> None:
        await client.put("b", b"before", b"before")
        await client.make("empty")
        names = [bucket.name for bucket in client.store.buckets()]
        do: dict[str, Callable[[], Awaitable[object]]] = {
            "put": lambda: client.put("b", b"lost", b"lost"),
            "make": lambda: client.make("lost"),
            "drop": lambda: client.drop("empty"),
            "record": lambda: client.store.committer.submit(
                Record(lambda connection: state.put(connection, "k", b"v"))
            ),
        }

        @contextmanager
        def fail(self: Database) -> Iterator[sa.Connection]:
            with write(self) as connection:
                yield connection
                raise DatabaseFailed("the registry failed", disk_full=disk_full)

        write = Database.write
        with monkeypatch.context() as patch:
            patch.setattr(Database, "write", fail)
            with pytest.raises(raised):
                await do[what]()
        assert await client.contents("b") == {b"before": b"before"}
        assert [bucket.name for bucket in client.store.buckets()] == names
        if disk_full:
            await do[what]()
        else:
            with pytest.raises(StoreReadOnly):
                await do[what]()

    _run(tmp_path, test)


def test_a_registry_kept_locked_refuses_the_batch_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_MS", 20)

    async def test(client: StoreClient) -> None:
        await client.put("b", b"before", b"before")
        with closing(Database.open_beside(client.store.folder.registry)) as other:
            with other.write(), pytest.raises(StoreBusy):
                await client.put("b", b"lost", b"lost")
            assert client.store.committer.failure is None
            await client.put("b", b"after", b"after")
        assert set(await client.contents("b")) == {b"before", b"after"}

    async def after(client: StoreClient) -> None:
        assert set(await client.contents("b")) == {b"before", b"after"}

    _run(tmp_path, test)
    _run(tmp_path, after)


def test_an_error_nobody_foresaw_makes_the_store_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(client: StoreClient) -> None:
        await client.put("b", b"before", b"before")
        with monkeypatch.context() as patch:
            patch.setattr(Registrar, "_transact", lambda *_: 1 // 0)
            with pytest.raises(StoreReadOnly, match="ZeroDivisionError"):
                await client.put("b", b"lost", b"lost")
        with pytest.raises(StoreReadOnly, match="ZeroDivisionError"):
            await client.put("b", b"later", b"later")
        assert await client.contents("b") == {b"before": b"before"}

    _run(tmp_path, test)
    _run(tmp_path, lambda client: _expect(client, {b"before": b"before"}))


def test_a_damaged_bucket_does_not_take_others_along(tmp_path: Path, gate: Gate) -> None:
    """A tree that cannot be read fails its own bucket's mutations; the rest of the batch is committed."""

    async def test(client: StoreClient) -> None:
        await client.make("c")
        await client.put("c", b"k", b"content")
        _corrupt(client, client.store.bucket("c").tree)
        client.store._nodes.__init__(0)  # type: ignore[misc]
        answers = await _batch(client, gate, [_put(b"1"), _put(b"k", bucket="c"), _put(b"2"), Delete("c", b"l")])
        assert [type(answer) for answer in answers] == [Committed, BlockCorrupt, Committed, BlockCorrupt]
        assert client.store.committer.failure is None
        assert sorted(await client.contents("b")) == [b"1", b"2", b"gate"]

    _run(tmp_path, test)


def _corrupt(client: StoreClient, cid: CID) -> None:
    """Flip a bit of a stored block."""
    place = client.store._index.get(cid.digest)
    assert place is not None
    segment = client.store._segments._by_number[place.segment][1]
    (byte,) = os.pread(segment.fd, 1, place.offset + place.length - 1)
    os.pwrite(segment.fd, bytes([byte ^ 1]), place.offset + place.length - 1)


def test_an_invalid_tree_fails_its_bucket_alone(tmp_path: Path, gate: Gate) -> None:
    """Not a flipped bit but a tree that breaks the rules: a bug or a hostile import, and no reason to stop."""
    from dataclasses import replace

    from mst import node
    from mst.block import Block
    from mst.cid import DAG_CBOR
    from mst.node import Node

    async def test(client: StoreClient) -> None:
        await client.make("c")
        child = Block.of(DAG_CBOR, tree.EMPTY_BLOCK)
        top = Block.of(DAG_CBOR, node.encode(Node((), (), (child.cid,), (), -1)))
        client.store.committer._preparer._log.append([top, child], [])
        client.store._heads.by_name["c"] = replace(client.store.bucket("c"), tree=top.cid)
        answers = await _batch(client, gate, [_put(b"1"), _put(b"k", bucket="c"), Delete("c", b"l")])
        assert [type(answer) for answer in answers] == [Committed, BlockCorrupt, BlockCorrupt]
        assert client.store.committer.failure is None

    _run(tmp_path, test)


def test_content_that_is_put_again_is_stored_once(tmp_path: Path) -> None:
    async def test(client: StoreClient) -> None:
        content = content_of("body", 50_000)
        await client.put("b", b"1", content)
        size = client.store.size_bytes
        await client.put("b", b"2", content)
        await asyncio.gather(*(client.put("b", b"%d" % n, content) for n in range(3, 9)))
        assert client.store.size_bytes < size + 20_000
        assert set((await client.contents("b")).values()) == {content}

    _run(tmp_path, test)


def test_putting_damaged_content_again_mends_it(tmp_path: Path) -> None:
    """The answer to a put means that its bytes are there, so a damaged copy of them does not count."""

    async def test(client: StoreClient) -> None:
        content = content_of("body", 5000)
        await client.put("b", b"k", content)
        _corrupt(client, CID.of(RAW, content))
        with pytest.raises(BlockCorrupt):
            await client.read("b", b"k")
        await client.put("b", b"k", content)
        assert await client.read("b", b"k") == content

    async def after(client: StoreClient) -> None:
        assert await client.read("b", b"k") == content_of("body", 5000)

    _run(tmp_path, test)
    _run(tmp_path, after)


# --- what else a batch may write to the registry ---


def test_records_are_answered_with_what_they_return(tmp_path: Path) -> None:
    async def test(client: StoreClient) -> None:
        submit = client.store.committer.submit
        await submit(Record(lambda connection: state.put(connection, "k", b"v")))
        assert (await submit(Record(lambda connection: state.get(connection, "k")))).value == b"v"

    async def after(client: StoreClient) -> None:
        assert (await client.store.committer.submit(Record(lambda c: state.get(c, "k")))).value == b"v"

    _run(tmp_path, test)
    _run(tmp_path, after)


def test_a_record_that_refuses_refuses_only_itself(tmp_path: Path, gate: Gate) -> None:
    def refuse(_: sa.Connection) -> None:
        raise Refused

    async def test(client: StoreClient) -> None:
        answers = await _batch(
            client,
            gate,
            [_put(b"1"), Record(refuse), Record(lambda c: state.put(c, "k", b"v")), _put(b"2")],
        )
        assert [type(answer) for answer in answers] == [Committed, Refused, Committed, Committed]

    _run(tmp_path, test)
    _run(tmp_path, lambda client: _expect(client, {b"1": b"x", b"2": b"x", b"gate": b"gate"}))


def test_a_put_and_its_record_happen_together_or_not_at_all(tmp_path: Path) -> None:
    async def test(client: StoreClient) -> None:
        await client.put("b", b"1", b"x", record=lambda c, _: state.put(c, "1", b"v"))
        with pytest.raises(Refused):
            await client.put("b", b"1", b"y", check=_must_be_new, record=lambda c, _: state.put(c, "2", b"v"))
        with client.store.database.read() as connection:
            assert [state.get(connection, key) for key in "12"] == [b"v", None]

    _run(tmp_path, test)
    _run(tmp_path, lambda client: _expect(client, {b"1": b"x"}))


def test_a_bucket_and_its_record_happen_together_or_not_at_all(tmp_path: Path) -> None:
    def make(instance: bytes, document: bytes) -> MakeBucket:
        record = partial(settings.put, instance=instance, name="n", document=document)
        return MakeBucket("c", 4, None, instance, record)

    def configured(client: StoreClient) -> list[bytes | None]:
        with client.store.database.read() as connection:
            return [settings.get(connection, instance, "n") for instance in (b"1" * 16, b"2" * 16)]

    async def test(client: StoreClient) -> None:
        await client.store.committer.submit(make(b"1" * 16, b"first"))
        with pytest.raises(BucketExists):
            await client.store.committer.submit(make(b"2" * 16, b"second"))
        assert configured(client) == [b"first", None]

    async def after(client: StoreClient) -> None:
        assert configured(client) == [b"first", None]
        await client.store.committer.submit(DropBucket("c"))
        assert configured(client) == [None, None]

    _run(tmp_path, test)
    _run(tmp_path, after)


def _take_token(connection: sa.Connection, _version: int | None = None) -> None:
    state.put(connection, "token", b"taken")


def _token_is_free(connection: sa.Connection) -> None:
    if state.get(connection, "token") == b"taken":
        raise Refused


@pytest.mark.parametrize("first", ["puts", "record"])
def test_of_those_that_need_the_same_registry_row_one_wins(tmp_path: Path, gate: Gate, first: str) -> None:
    """Whatever waits together: each guard sees what those before it have recorded, and a refused put left nothing."""

    def take_if_free(connection: sa.Connection) -> None:
        _token_is_free(connection)
        _take_token(connection)

    async def test(client: StoreClient) -> None:
        puts = [_put(b"%d" % n, guard=_token_is_free, record=_take_token) for n in range(3)]
        mutations = [*puts, Record(take_if_free)] if first == "puts" else [Record(take_if_free), *puts]
        written = client.store.size_bytes
        answers = await _batch(client, gate, [*mutations, _put(b"other")])
        assert [type(answer) for answer in answers] == [Committed, Refused, Refused, Refused, Committed]
        sequence = client.store.bucket("b").sequence
        head = client.store.size_bytes
        with pytest.raises(Refused):
            await client.store.committer.submit(puts[0])
        assert client.store.size_bytes == head > written
        assert client.store.bucket("b").sequence == sequence

    won = {b"0": b"x"} if first == "puts" else {}
    _run(tmp_path, test)
    _run(tmp_path, lambda client: _expect(client, won | {b"other": b"x", b"gate": b"gate"}))


def test_a_guard_that_fails_makes_the_store_read_only(tmp_path: Path) -> None:
    def fail(connection: sa.Connection) -> None:
        connection.exec_driver_sql("SELECT * FROM no_such_table")

    async def test(client: StoreClient) -> None:
        with pytest.raises(StoreReadOnly):
            await client.store.committer.submit(_put(b"1", guard=fail))
        assert await client.entries("b") == {}

    _run(tmp_path, test)


def test_a_transaction_that_the_database_gave_up_is_not_answered_as_done(tmp_path: Path, gate: Gate) -> None:
    """SQLite may roll a whole transaction back when one statement fails for want of room or for a failed read.

    Here the statement asks for that itself; the put beside it must not be told that it is durable.
    """

    def roll_back(connection: sa.Connection) -> None:
        connection.exec_driver_sql("INSERT INTO store_state (key, value) VALUES ('k', x'00')")
        connection.exec_driver_sql("INSERT OR ROLLBACK INTO store_state (key, value) VALUES ('k', x'00')")

    done: list[Committed | BaseException] = []

    async def test(client: StoreClient) -> None:
        done.extend(await _batch(client, gate, [_put(b"1"), Record(roll_back), _put(b"2")]))

    async def after(client: StoreClient) -> None:
        kept = set(await client.contents("b"))
        assert kept == {b"gate"} | {b"%d" % n for n in (1, 2) if isinstance(done[n if n == 2 else 0], Committed)}

    _run(tmp_path, test)
    assert isinstance(done[1], Exception)
    _run(tmp_path, after)


def test_sqlite_is_the_one_that_rolls_back() -> None:
    """What the test above rests on."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE t (k PRIMARY KEY)")
    connection.execute("BEGIN")
    connection.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute("INSERT OR ROLLBACK INTO t VALUES (1)")
    assert not connection.in_transaction
    connection.close()


def test_the_bucket_in_an_answer_is_the_batch_s(tmp_path: Path, gate: Gate) -> None:
    async def test(client: StoreClient) -> None:
        answers = await _batch(client, gate, [_put(b"1"), _put(b"2"), Delete("b", b"nothing")])
        heads: set[Bucket | None] = {answer.bucket for answer in answers if isinstance(answer, Committed)}
        assert heads == {client.store.bucket("b")}

    _run(tmp_path, test)
