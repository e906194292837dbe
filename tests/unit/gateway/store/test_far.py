"""A store whose segments are all gone: everything comes from somewhere else, in few requests, and is checked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.s3.page import collect
from gateway.store.cache import BlockCache
from gateway.store.errors import BlockCorrupt, BlockMissing, RemoteUnavailable, StoreBusy
from gateway.store.far import AHEAD_BYTES_MAX, FarBlocks
from gateway.store.mutations import Put
from mst.cid import CID, RAW
from mst.fetch import drive_async
from mst.layer import TreeParams
from mst.walk import Walk
from tests.memory_remote import MemoryRemote, forget_nodes, move_away
from tests.store_client import StoreClient, content_of, open_client

SIZES = {b"empty": 0, b"small": 1_000, b"inline": 100_000, b"one leaf": 700_000, b"large": 3_300_000}
CONTENTS = {key: content_of(key, size) for key, size in SIZES.items()}


async def _contents(client: StoreClient, bucket: str) -> dict[bytes, bytes]:
    return {key: await client.content(entry) for key, entry in (await client.entries(bucket)).items()}


async def _depth(client: StoreClient) -> int:
    """How many levels the tree has."""
    bucket = client.store.bucket("b")
    root = await asyncio.to_thread(client.store.blocks.node, TreeParams(bucket.bits, bucket.salt), bucket.tree)
    return root.layer + 1


@asynccontextmanager
async def _moved(
    path: Path, contents: dict[bytes, bytes], cache: BlockCache | None = None
) -> AsyncIterator[tuple[StoreClient, MemoryRemote, FarBlocks]]:
    async with open_client(path) as client:
        await client.make("b")
        await asyncio.gather(*(client.put("b", key, content) for key, content in contents.items()))
        remote, far = await move_away(client.store, cache)
        yield client, remote, far
        await far.close()


def test_everything_comes_from_afar_and_can_be_changed(tmp_path: Path) -> None:
    async def run() -> None:
        async with _moved(tmp_path, CONTENTS) as (client, remote, _):
            assert client.store.size_bytes < 100
            assert await _contents(client, "b") == CONTENTS
            await client.put("b", b"new", b"new")
            await client.delete("b", b"small")
            changed = {**CONTENTS, b"new": b"new"}
            del changed[b"small"]
            assert await _contents(client, "b") == changed
            assert remote.fetches
        async with open_client(tmp_path) as client:
            assert client.store.findings == []

    asyncio.run(run())


def test_a_cold_get_costs_one_fetch_per_level_and_one_for_the_body(tmp_path: Path) -> None:
    async def run() -> None:
        contents = {b"%05d" % n: b"body %d" % n for n in range(2_000)}
        async with _moved(tmp_path, contents) as (client, remote, _):
            depth = await _depth(client)
            for key in list(contents)[::97]:
                forget_nodes(client.store)
                remote.fetches.clear()
                assert await client.read("b", key) == contents[key]
                assert len(remote.fetches) <= depth + 1

    asyncio.run(run())


def test_a_cold_page_of_a_listing_costs_one_fetch_per_level(tmp_path: Path) -> None:
    async def run() -> None:
        contents = {b"%05d" % n: b"" for n in range(4_000)}
        async with _moved(tmp_path, contents) as (client, remote, _):
            bucket = client.store.bucket("b")
            depth = await _depth(client)
            for start in (b"", b"00777", b"03500"):
                forget_nodes(client.store)
                remote.fetches.clear()
                page = await collect(client.store.trees.walk(bucket), start, b"", b"", 1000)
                assert [key for key, _ in page.rows] == [key for key in sorted(contents) if key >= start][:1000]
                assert len(remote.fetches) <= depth
                page = await collect(client.store.trees.walk(bucket), start, b"", b"", 1000)
                assert len(remote.fetches) <= depth

    asyncio.run(run())


def test_a_short_page_fetches_little(tmp_path: Path) -> None:
    async def run() -> None:
        contents = {b"%05d" % n: b"" for n in range(5_000)}
        async with _moved(tmp_path, contents) as (client, remote, _):
            page = await collect(client.store.trees.walk(client.store.bucket("b")), b"", b"0123", b"", 1000)
            assert len(page.rows) == 10
            assert sum(map(len, remote.fetches)) <= 12

    asyncio.run(run())


def test_a_listing_of_groups(tmp_path: Path) -> None:
    async def run() -> None:
        contents = {b"%02d/%03d" % (n % 40, n): b"" for n in range(1_000)}
        async with _moved(tmp_path, contents) as (client, remote, _):
            bucket = client.store.bucket("b")
            page = await collect(client.store.trees.walk(bucket), b"", b"", b"/", 1000)
            assert page.prefixes == [b"%02d/" % n for n in range(40)]
            forget_nodes(client.store)
            remote.fetches.clear()
            page = await collect(client.store.trees.walk(bucket), b"", b"07/", b"/", 1000)
            assert [key for key, _ in page.rows] == sorted(key for key in contents if key.startswith(b"07/"))
            assert len(remote.fetches) <= await _depth(client)

    asyncio.run(run())


def test_what_is_damaged_fails_only_a_listing_that_needs_it(tmp_path: Path) -> None:
    async def run() -> None:
        contents = {b"%05d" % n: b"" for n in range(1_000)}
        async with _moved(tmp_path, contents) as (client, remote, _):
            bucket = client.store.bucket("b")
            params = TreeParams(bucket.bits, bucket.salt)
            walk, load = Walk(params, bucket.tree), client.store.blocks.load_nodes_async(params)
            await drive_async(walk.seek(b""), load)
            run = await drive_async(walk.run(), load)
            assert run is not None
            needed = {digest for fetch in remote.fetches for digest in fetch}
            remote.blocks = {digest: data for digest, data in remote.blocks.items() if digest in needed}
            forget_nodes(client.store)
            page = await collect(client.store.trees.walk(bucket), b"", b"", b"", len(run.keys) - 1)
            assert [key for key, _ in page.rows] == sorted(contents)[: len(run.keys) - 1]
            with pytest.raises(BlockMissing):
                await collect(client.store.trees.walk(bucket), b"", b"", b"", 1000)

    asyncio.run(run())


def test_a_large_body_comes_in_few_large_fetches(tmp_path: Path) -> None:
    async def run() -> None:
        content = content_of("64 MiB", 1 << 20) * 64
        content = b"".join(n.to_bytes(4, "big") + content[n << 20 : (n + 1 << 20) - 4] for n in range(64))
        async with _moved(tmp_path, {b"large": content}) as (client, remote, far):
            bucket = client.store.bucket("b")
            entry = await client.store.trees.get(bucket, b"large")
            assert entry is not None
            remote.fetches.clear()
            assert await client.content(entry) == content
            assert len(remote.fetches) <= 7  # the file node too
            assert max(map(len, remote.fetches)) <= 15
            assert far.reserve(AHEAD_BYTES_MAX) == AHEAD_BYTES_MAX  # all has been given back
            remote.fetches.clear()
            # Without memory to read ahead: leaf by leaf.
            assert await client.store.read_range(entry, 0, 3 << 20) == content[: 3 << 20]
            assert list(map(len, remote.fetches)) == [1, 1, 1, 1]
            far.release(AHEAD_BYTES_MAX)
            remote.fetches.clear()
            assert await client.store.read_range(entry, 5 << 20, (5 << 20) + 10) == content[5 << 20 : (5 << 20) + 10]
            assert len(remote.fetches) == 2

    asyncio.run(run())


def test_memory_is_given_back_when_a_reader_leaves(tmp_path: Path) -> None:
    async def run() -> None:
        async with _moved(tmp_path, {b"large": content_of("large", 9 << 20)}) as (client, _, far):
            entry = await client.store.trees.get(client.store.bucket("b"), b"large")
            assert entry is not None
            pieces = client.store.read_body(entry, 0, entry.size)
            assert await anext(pieces)
            await pieces.aclose()
            assert far.reserve(AHEAD_BYTES_MAX) == AHEAD_BYTES_MAX

    asyncio.run(run())


def test_a_block_that_many_wait_for_is_fetched_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with _moved(tmp_path, {b"a": b"1"}) as (client, remote, _):
            cid = CID.of(RAW, b"1")
            remote.gate.clear()
            readers = [asyncio.create_task(client.store.blocks.read_async(cid)) for _ in range(20)]
            in_thread = asyncio.create_task(asyncio.to_thread(client.store.blocks.read, cid))
            while not remote.fetches:
                await asyncio.sleep(0)
            readers[0].cancel()
            remote.gate.set()
            done = await asyncio.gather(*readers[1:], in_thread)
            assert set(done) == {b"1"}
            assert readers[0].cancelled()
            assert remote.fetches.count([cid.digest]) <= 2  # the thread may have come later

    asyncio.run(run())


def test_what_one_asks_for_in_vain_others_get(tmp_path: Path) -> None:
    async def run() -> None:
        async with _moved(tmp_path, {b"a": b"1"}) as (client, remote, _):
            there, gone = CID.of(RAW, b"1"), CID.of(RAW, b"2")
            remote.gate.clear()
            both = asyncio.create_task(client.store.blocks.read_many([there, gone]))
            while not remote.fetches:
                await asyncio.sleep(0.001)
            one = asyncio.create_task(client.store.blocks.read_async(there))
            await asyncio.sleep(0)
            remote.gate.set()
            with pytest.raises(BlockMissing):
                await both
            assert await one == b"1"

    asyncio.run(run())


def test_wrong_bytes_never_come_through(tmp_path: Path) -> None:
    async def run() -> None:
        async with _moved(tmp_path, CONTENTS, BlockCache(tmp_path / "cache")) as (client, remote, _):
            right = dict(remote.blocks)
            for digest, data in right.items():
                remote.blocks[digest] = data[:-1] + bytes([data[-1] ^ 1]) if data else b"x"
            for key in CONTENTS:
                forget_nodes(client.store)
                with pytest.raises(BlockCorrupt):
                    await client.read("b", key)
            remote.blocks = right
            assert await _contents(client, "b") == CONTENTS

    asyncio.run(run())


def test_a_remote_that_cannot_be_asked(tmp_path: Path) -> None:
    async def run() -> None:
        async with _moved(tmp_path, CONTENTS) as (client, remote, far):
            remote.failure = RemoteUnavailable("gone fishing")
            with pytest.raises(RemoteUnavailable):
                await client.read("b", b"small")
            with pytest.raises(RemoteUnavailable):
                await client.put("b", b"new", b"new")
            with pytest.raises(RemoteUnavailable):
                await client.entries("b")
            assert client.store.committer.failure is None
            remote.failure = None
            await client.put("b", b"new", b"new")
            assert await client.read("b", b"small") == CONTENTS[b"small"]
            forget_nodes(client.store)
            await far.close()
            for read in (client.store.blocks.read_async, lambda cid: asyncio.to_thread(client.store.blocks.read, cid)):
                with pytest.raises(RemoteUnavailable):
                    await read(CID.of(RAW, CONTENTS[b"small"]))

    asyncio.run(run())


def test_who_waits_in_a_thread_is_told_that_the_server_stops(tmp_path: Path) -> None:
    async def run() -> None:
        async with _moved(tmp_path, CONTENTS) as (client, remote, far):
            remote.gate.clear()
            waiting = asyncio.create_task(asyncio.to_thread(client.store.blocks.read, CID.of(RAW, CONTENTS[b"small"])))
            while not remote.fetches:
                await asyncio.sleep(0.001)
            await far.close()
            with pytest.raises(RemoteUnavailable, match="stopping"):
                await waiting

    asyncio.run(run())


def test_after_the_event_loop_a_thread_is_told_too(tmp_path: Path) -> None:
    async def run() -> FarBlocks:
        async with _moved(tmp_path, CONTENTS) as (_, _, far):
            return far

    far = asyncio.run(run())
    with pytest.raises(RemoteUnavailable):
        far.read([CID.of(RAW, b"")])


def test_the_cache_is_asked_first(tmp_path: Path) -> None:
    async def run() -> None:
        async with _moved(tmp_path / "data", CONTENTS, BlockCache(tmp_path / "cache")) as (client, remote, _):
            assert await _contents(client, "b") == CONTENTS
            remote.fetches.clear()
            forget_nodes(client.store)
            assert await _contents(client, "b") == CONTENTS
            assert remote.fetches == []

    asyncio.run(run())


def test_a_put_of_what_was_dropped_meanwhile_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with _moved(tmp_path, CONTENTS) as (client, remote, _):
            entry = await client.store.trees.get(client.store.bucket("b"), b"small")
            assert entry is not None
            await client.store.committer.submit(Put("b", b"copy", entry))
            assert await client.read("b", b"copy") == CONTENTS[b"small"]
            lost = (await client.entry(b"never stored")).entry
            with pytest.raises(StoreBusy):
                await client.store.committer.submit(Put("b", b"lost", lost))
            assert await client.read("b", b"lost") is None
            assert sha256(b"never stored").digest() not in remote.blocks

    asyncio.run(run())
