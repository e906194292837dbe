"""What may go from the disk when it is on the remote, what stays, and that nothing is missed afterwards."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from hashlib import md5
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from gateway.shipping.remote import RemoteError
from gateway.shipping.trimming import Trimmer
from gateway.store.cache import BlockCache
from gateway.store.errors import BlockCorrupt, BlockMissing, StoreFull
from gateway.store.folder import DataFolder
from gateway.store.index import BlockIndex
from gateway.store.mutations import DropSegments, Put, Survey
from gateway.store.recovery import remove_forgotten
from gateway.store.segment import SegmentBytes
from gateway.store.segments import Segments
from gateway.store.store import StoreSettings
from mst.cid import CID
from mst.entry import Entry
from mst.unixfs import FileBuilder
from tests.memory_remote import forget_nodes
from tests.shipped import FolderBlocks
from tests.store_client import CLOCK_MS, StoreClient, content_of, open_client

OpenShip: TypeAlias = Callable[..., AbstractAsyncContextManager[Any]]

SMALL_SEGMENTS = StoreSettings(segment_bytes=400_000, threads=4)
CONTENTS = {b"%02d" % n: content_of(n, (50, 20_000, 200_000)[n % 3]) for n in range(18)}


@asynccontextmanager
async def _trimmed(
    open_ship: OpenShip, path: Path, bytes_max: int = 0, cache: BlockCache | None = None, **options: Any
) -> AsyncIterator[tuple[Any, Trimmer, FolderBlocks]]:
    """A store that is shipped, and reads from where it is shipped to."""
    async with open_ship(path, **options) as ship:
        remote = FolderBlocks(ship.remote, ship.client.store.database, ship.shipping.places)
        far = ship.client.store.read_from_afar(remote, cache)
        try:
            yield ship, Trimmer(ship.client.store, ship.shipping.places, cache, bytes_max), remote
        finally:
            await far.close()


async def _fill(client: StoreClient) -> None:
    await client.make("b")
    for key, content in CONTENTS.items():
        await client.put("b", key, content)


async def _contents(client: StoreClient) -> dict[bytes, bytes]:
    forget_nodes(client.store)
    return {key: await client.content(entry) for key, entry in (await client.entries("b")).items()}


def _bytes_on_disk(path: Path) -> int:
    return sum(file.stat().st_size for file in (path / "data" / "segments").iterdir())


@pytest.mark.parametrize("settings", [SMALL_SEGMENTS, StoreSettings(threads=4)])
def test_everything_that_was_shipped_goes_and_is_read_from_the_remote(
    open_ship: OpenShip, tmp_path: Path, settings: StoreSettings
) -> None:
    async def run() -> None:
        async with _trimmed(open_ship, tmp_path, settings=settings) as (ship, trimmer, remote):
            await _fill(ship.client)
            await trimmer.trim()
            assert _bytes_on_disk(tmp_path) < 100  # one new log
            assert await _contents(ship.client) == CONTENTS
            assert remote.fetched > len(CONTENTS)
            await ship.client.put("b", b"more", b"more")
            await ship.client.delete("b", b"00")
            changed = {**CONTENTS, b"more": b"more"}
            del changed[b"00"]
            assert await _contents(ship.client) == changed
            await trimmer.trim()
            ship.read()
        async with _trimmed(open_ship, tmp_path, settings=settings) as (ship, _, _):
            assert ship.client.store.findings == []
            assert await _contents(ship.client) == changed
            numbers = ship.client.store.segments.numbers
            await ship.client.put("b", b"large", content_of("large", 300_000))
            assert min(ship.client.store.segments.numbers - numbers) > max(numbers)
            ship.read()

    asyncio.run(run())


def test_nothing_goes_that_was_not_shipped(open_ship: OpenShip, tmp_path: Path) -> None:
    async def run() -> None:
        async with _trimmed(open_ship, tmp_path, settings=SMALL_SEGMENTS) as (ship, trimmer, remote):
            await _fill(ship.client)

            def refuse(step: str) -> None:
                raise StoreFull(step)

            ship.remote.hook = refuse
            before = set(ship.client.store.segments.numbers)
            later = {b"later %d" % n: content_of(n, 150_000) for n in range(6)}
            for key, content in later.items():
                put = await ship.client.entry(content)
                await ship.client.store.own_committer.submit(Put("b", key, put.entry, put.blocks))
            await trimmer.trim()
            left = set(ship.client.store.segments.numbers)
            assert left & before < before
            fetched = remote.fetched
            for key, content in later.items():
                assert await ship.client.read("b", key) == content
            assert await _contents(ship.client) == {**CONTENTS, **later}
            assert remote.fetched > fetched
        async with open_client(tmp_path / "data", SMALL_SEGMENTS) as client:
            assert client.store.findings == []

    asyncio.run(run())


def test_uploads_in_progress_stay(open_ship: OpenShip, tmp_path: Path) -> None:
    async def run() -> None:
        async with _trimmed(open_ship, tmp_path, settings=SMALL_SEGMENTS) as (ship, trimmer, _):
            await _fill(ship.client)
            under_way = ship.client.store.new_body(part=True)
            await under_way.write(content_of("under way", 3_000_000))
            part = ship.client.store.new_body(part=True)
            await part.write(content_of("part", 1_500_000))
            done = await part.finish()
            await trimmer.trim()
            assert ship.client.store.blocks.holds_intact(done.cid)
            await under_way.write(b"the end")
            other = await under_way.finish()
            await trimmer.trim()
            for body in (done, other):
                assert ship.client.store.blocks.holds_intact(body.cid)
            assert await _contents(ship.client) == CONTENTS

    asyncio.run(run())


def test_the_oldest_go_until_the_rest_fits(open_ship: OpenShip, tmp_path: Path) -> None:
    async def run() -> None:
        cache = BlockCache(tmp_path / "cache")
        async with _trimmed(open_ship, tmp_path, 900_000, cache, settings=SMALL_SEGMENTS) as (ship, trimmer, _):
            await _fill(ship.client)
            (log,) = ship.client.store.segments.of_kind("log")
            numbers = sorted(ship.client.store.segments.numbers - {log.number})
            assert _bytes_on_disk(tmp_path) > 1_200_000
            await trimmer.trim()
            assert log.number in ship.client.store.segments.numbers
            left = sorted(ship.client.store.segments.numbers - {log.number})
            assert 0 < len(left) < len(numbers)
            assert left == numbers[-len(left) :]
            assert 300_000 < _bytes_on_disk(tmp_path) <= 900_000
            assert await _contents(ship.client) == CONTENTS
            assert cache.size_bytes() > 0
            await trimmer.trim()
            assert _bytes_on_disk(tmp_path) + cache.size_bytes() <= 900_000
            left = sorted(ship.client.store.segments.numbers)
            await trimmer.trim()
            assert sorted(ship.client.store.segments.numbers) == left
            assert await _contents(ship.client) == CONTENTS

    asyncio.run(run())


def test_what_is_needed_again_stays(open_ship: OpenShip, tmp_path: Path) -> None:
    async def run() -> None:
        async with _trimmed(open_ship, tmp_path) as (ship, _, _):
            client = ship.client
            await client.make("b")
            await client.put("b", b"old", b"old")
            entry = await client.store.trees.get(client.store.bucket("b"), b"old")
            numbers = frozenset(client.store.segments.numbers)
            await client.store.own_committer.submit(Survey())
            await client.store.committer.submit(Put("b", b"copy", entry))
            dropped = (await client.store.own_committer.submit(DropSegments(numbers))).value
            assert dropped == frozenset()
            await client.store.own_committer.submit(Survey())
            await client.put("b", b"equal", b"old")
            assert (await client.store.own_committer.submit(DropSegments(numbers))).value == frozenset()
            assert await _contents(client) == dict.fromkeys((b"old", b"copy", b"equal"), b"old")

    asyncio.run(run())


def test_a_copy_keeps_the_nodes_that_its_file_shares(open_ship: OpenShip, tmp_path: Path) -> None:
    """Two completed uploads have a node in common, which is written once, and both are gone when one is copied."""
    settings = StoreSettings(segment_bytes=3_000, inline_body_bytes=2_000, threads=4)

    async def run() -> None:
        async with _trimmed(open_ship, tmp_path, settings=settings, acknowledge=None) as (ship, _, _):
            ship.remote.hook = _refuse
            client = ship.client
            committer = client.store.own_committer
            await client.make("b")
            contents = [content_of(n, 1_000) for n in range(4)]
            leaves = [await _uploaded(client, content) for content in contents]
            for key, last in ((b"first", 2), (b"second", 3)):
                builder = FileBuilder(width=2)
                inner = [block for n in (0, 1, last) for block in builder.add_leaf(leaves[n], 1_000)]
                root, rest = builder.finish()
                content = contents[0] + contents[1] + contents[last]
                entry = Entry(root, 3_000, CLOCK_MS, md5(content).digest(), None)
                await committer.submit(Put("b", key, entry, (*inner, *rest)))
                await _fill_segments(client)
            await client.delete("b", b"first")
            await client.delete("b", b"second")
            await _fill_segments(client)
            numbers = frozenset(segment.number for segment in client.store.segments.of_kind("log"))
            await committer.submit(Survey())
            await committer.submit(Put("b", b"copy", entry))
            dropped = (await committer.submit(DropSegments(numbers))).value
            assert dropped
            for number in dropped:
                remove_forgotten(client.store.segments, client.store.index, number)
            forget_nodes(client.store)
            assert await client.read("b", b"copy") == content

    asyncio.run(run())


async def _uploaded(client: StoreClient, content: bytes) -> CID:
    """The leaf of a part of an upload."""
    writer = client.store.new_body(part=True)
    await writer.write(content)
    (leaf,) = (await writer.finish()).leaves
    return leaf[0]


def _refuse(step: str) -> None:
    raise RemoteError(step)


async def _fill_segments(client: StoreClient) -> None:
    for n in range(8):
        await client.put("b", b"filler", content_of(n, 900))


def test_what_was_written_meanwhile_stays(open_ship: OpenShip, tmp_path: Path) -> None:
    async def run() -> None:
        async with _trimmed(open_ship, tmp_path) as (ship, _, _):
            client = ship.client
            committer = client.store.own_committer
            await client.make("b")
            for write in (partial(client.put, "b", b"new", b"new"), partial(client.make, "other")):
                await committer.submit(Survey())
                numbers = frozenset(client.store.segments.numbers)
                await write()
                assert (await committer.submit(DropSegments(numbers))).value == frozenset()
            assert await _contents(client) == {b"new": b"new"}

    asyncio.run(run())


def test_who_has_a_segment_open_reads_on_and_gives_its_room_back(open_ship: OpenShip, tmp_path: Path) -> None:
    async def run() -> None:
        async with _trimmed(open_ship, tmp_path, settings=SMALL_SEGMENTS) as (ship, trimmer, _):
            await _fill(ship.client)
            beside = Segments(DataFolder(tmp_path / "data"), read_only=True)
            old = {number: beside.get(number) for number in sorted(beside.numbers)[:3]}
            before = {number: segment.read(0, 200) for number, segment in old.items()}
            await trimmer.trim()
            for number, segment in old.items():
                assert segment.is_deleted
                assert segment.read(0, 200) == beside.read(number, 0, 200) == before[number]
            fds = [segment.fd for segment in old.values()]
            beside.let_go_of_deleted()
            with pytest.raises(BlockMissing):
                beside.read(next(iter(old)), 0, 1)
            assert old.popitem()[1].read(0, 1)
            old.clear()
            del segment
            for fd in fds:
                with pytest.raises(OSError, match="Bad file descriptor"):
                    os.fstat(fd)
            beside.close()

    asyncio.run(run())


@pytest.mark.parametrize("step", ["forget", "clean", "unlink"])
@pytest.mark.parametrize("skipped", [0, 1])
def test_whatever_ends_it_nothing_is_missed(
    open_ship: OpenShip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, skipped: int
) -> None:
    async def run() -> None:
        left = skipped

        def end(*_: Any, **__: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError("as if the process had ended")

        async with _trimmed(open_ship, tmp_path, settings=SMALL_SEGMENTS) as (ship, trimmer, _):
            await _fill(ship.client)
            with monkeypatch.context() as patch:
                if step == "forget":
                    whole = BlockIndex.forget
                    patch.setattr(BlockIndex, "forget", lambda self, numbers: (whole(self, numbers), end()))
                    left = 0
                elif step == "clean":
                    clean = BlockIndex.clean
                    patch.setattr(BlockIndex, "clean", lambda self, *what: (end(), clean(self, *what)))
                else:
                    patch.setattr(Path, "unlink", end)
                with pytest.raises(Exception, match="as if the process had ended"):
                    await trimmer.trim()
            numbers = ship.client.store.index.forgotten
            assert numbers & ship.client.store.segments.numbers
        async with _trimmed(open_ship, tmp_path, settings=SMALL_SEGMENTS) as (ship, trimmer, _):
            assert ship.client.store.findings == []
            assert not numbers & ship.client.store.segments.numbers
            assert {file.name for file in (tmp_path / "data" / "segments").iterdir()} == {
                segment.path.name for kind in ("log", "bulk") for segment in ship.client.store.segments.of_kind(kind)
            }
            assert await _contents(ship.client) == CONTENTS
            await trimmer.trim()
            assert await _contents(ship.client) == CONTENTS

    asyncio.run(run())


@pytest.mark.parametrize(
    ("kind", "name", "error"),
    [
        (BlockIndex, "clean", StoreFull("cannot write to the block index")),
        (Path, "unlink", PermissionError("Operation not permitted")),
    ],
)
def test_a_round_that_failed_is_finished_by_the_next(
    open_ship: OpenShip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type, name: str, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    async def run() -> None:
        async with _trimmed(open_ship, tmp_path, settings=SMALL_SEGMENTS) as (ship, trimmer, _):
            await _fill(ship.client)
            segments, index = ship.client.store.segments, ship.client.store.index
            with monkeypatch.context() as patch:
                patch.setattr(kind, name, fail)
                with pytest.raises(type(error)):
                    await trimmer.trim()
            left = index.forgotten & segments.numbers
            assert left
            await Trimmer(ship.client.store, ship.shipping.places, None, 1 << 40).trim()
            assert not left & segments.numbers
            assert await _contents(ship.client) == CONTENTS

    asyncio.run(run())


def test_a_dropped_segment_that_cannot_be_read_goes_all_the_same(
    open_ship: OpenShip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> bytes:
        raise BlockCorrupt("Input/output error")

    async def run() -> None:
        async with _trimmed(open_ship, tmp_path, settings=SMALL_SEGMENTS) as (ship, trimmer, _):
            await _fill(ship.client)
            with monkeypatch.context() as patch:
                patch.setattr(SegmentBytes, "__getitem__", fail)
                await trimmer.trim()
            assert _bytes_on_disk(tmp_path) < 100
            assert await _contents(ship.client) == CONTENTS

    asyncio.run(run())


def test_without_the_index_numbers_are_not_given_again(open_ship: OpenShip, tmp_path: Path) -> None:
    async def run() -> None:
        async with _trimmed(open_ship, tmp_path, settings=SMALL_SEGMENTS) as (ship, trimmer, _):
            await _fill(ship.client)
            used = max(row.segment for row in ship.shards() if row.segment is not None)
            await trimmer.trim()
        for file in (tmp_path / "data" / "index").iterdir():
            file.unlink()
        async with _trimmed(open_ship, tmp_path, settings=SMALL_SEGMENTS) as (ship, _, _):
            await ship.client.put("b", b"large", content_of("large", 300_000))
            assert max(ship.client.store.segments.numbers) > used
            assert await _contents(ship.client) == {**CONTENTS, b"large": content_of("large", 300_000)}
            ship.read()

    asyncio.run(run())
