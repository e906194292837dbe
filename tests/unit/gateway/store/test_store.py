"""The store as a whole: what was put is read back, after a restart too, and content alone decides the root."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.store.errors import BlockMissing, IndexUnusable, NoSuchBucket, StoreFull, StoreReadOnly
from gateway.store.folder import DataFolder
from gateway.store.store import Store, StoreSettings
from mst.cid import CID, RAW
from mst.entry import Entry
from registry.database import DatabaseError
from tests.store_client import CLOCK_MS, SPACE_KEY, StoreClient, content_of, open_client

SIZES = [0, 1, 20, 1000, 5000, 200_000, (1 << 20) + 1]
SMALL_SEGMENTS = StoreSettings(segment_bytes=100_000, inline_body_bytes=2000, threads=4)

READER = """
import asyncio, json, sys
from pathlib import Path
from gateway.store.folder import DataFolder
from gateway.store.store import Store, StoreSettings
from tests.store_client import StoreClient

async def main():
    store = Store.open_for_reading(DataFolder(Path(sys.argv[1])), StoreSettings(threads=2))
    contents = await StoreClient(store).contents("b")
    print(json.dumps({key.decode(): len(content) for key, content in contents.items()}))
    store.close()

asyncio.run(main())
"""


def _contents(count: int) -> dict[bytes, bytes]:
    return {f"{n % 7}/é/{n}".encode(): content_of(n, SIZES[n % len(SIZES)] if n < 30 else 10 * n) for n in range(count)}


async def _write_in_turn(client: StoreClient, order: Sequence[tuple[bytes, bytes | None]], width: int) -> None:
    """Put (or delete, None) in this order, ``width`` at a time, never one key twice at a time."""
    for at in range(0, len(order), width):
        await asyncio.gather(
            *(
                client.delete("b", key) if content is None else client.put("b", key, content)
                for key, content in order[at : at + width]
            )
        )


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    contents = _contents(120)

    async def write() -> None:
        async with open_client(tmp_path, SMALL_SEGMENTS) as client:
            await client.make("b")
            await _write_in_turn(client, [*contents.items()], 10)
            assert await client.contents("b") == contents

    async def read(deleted: bytes) -> None:
        async with open_client(tmp_path, SMALL_SEGMENTS) as client:
            assert client.store.findings == []
            assert await client.contents("b") == contents
            await client.delete("b", deleted)
            del contents[deleted]
            assert await client.contents("b") == contents

    asyncio.run(write())
    for key in [*contents][:3]:
        asyncio.run(read(key))
    kinds = [file.name[:4] for file in (tmp_path / "segments").iterdir()]
    assert kinds.count("log-") > 1
    assert kinds.count("bulk") > 1


@pytest.mark.parametrize(("bits", "salt"), [(4, None), (2, None), (5, bytes(range(32)))])
def test_the_same_content_gives_the_same_root_whatever_the_order(tmp_path: Path, bits: int, salt: bytes | None) -> None:
    """In two fresh folders, with detours in one of them; times are equal, everything else differs."""
    contents = {key: content for key, content in _contents(150).items() if len(content) < 1 << 20}
    dice = random.Random(bits)
    straight: list[tuple[bytes, bytes | None]] = [*contents.items()]
    detours = straight.copy()
    dice.shuffle(detours)
    for key in dice.sample(sorted(contents), 40):
        detours = [(key, b"was something else"), (key + b"/gone", b"x"), *detours, (key + b"/gone", None)]
    roots = []

    async def write(path: Path, order: Sequence[tuple[bytes, bytes | None]], width: int) -> None:
        async with open_client(path) as client:
            await client.make("b", bits=bits, salt=salt)
            await _write_in_turn(client, order, width)
            assert await client.contents("b") == contents
            roots.append(client.store.bucket("b").tree)

    asyncio.run(write(tmp_path / "1", straight, 50))
    asyncio.run(write(tmp_path / "2", detours, 1))
    assert roots[0] == roots[1]


def test_the_index_can_be_deleted_while_nobody_runs(tmp_path: Path) -> None:
    contents = _contents(60)

    async def write() -> None:
        async with open_client(tmp_path) as client:
            await client.make("b")
            await _write_in_turn(client, [*contents.items()], 20)

    async def read() -> None:
        async with open_client(tmp_path) as client:
            assert sum(finding.batches for finding in client.store.findings) > 2
            assert await client.contents("b") == contents

    asyncio.run(write())
    shutil.rmtree(tmp_path / "index")
    asyncio.run(read())


@pytest.mark.parametrize("what", ["flip", "cut"])
def test_an_answered_batch_that_is_damaged_is_not_taken_for_a_torn_tail(tmp_path: Path, what: str) -> None:
    """The last batch of the log looks torn when it is damaged; the head that needs it tells the difference."""

    async def write() -> None:
        async with open_client(tmp_path) as client:
            await client.make("b")
            await client.put("b", b"k", b"content")
            client.store._index._read_only = True  # as after a kill: the index on disk does not know these batches

    async def look() -> None:
        async with open_client(tmp_path) as client:
            (finding,) = client.store.findings
            assert (finding.batches, finding.damaged_at) == (1, len(damaged) - finding.torn_bytes)
            with pytest.raises(BlockMissing):
                await client.contents("b")
            await client.make("c")
            client.store._index._read_only = True
        assert log.read_bytes() == bytes(damaged)

    asyncio.run(write())
    log = tmp_path / "segments" / "log-00000001.car"
    damaged = bytearray(log.read_bytes())
    if what == "flip":
        damaged[-1] ^= 1
    else:
        del damaged[-1]
    log.write_bytes(damaged)
    asyncio.run(look())
    asyncio.run(_only_reads(tmp_path, damaged, log))


async def _only_reads(path: Path, damaged: bytearray, log: Path) -> None:
    """A second start finds the same, and what was written since."""
    async with open_client(path) as client:
        assert [bucket.name for bucket in client.store.buckets()] == ["b", "c"]
        assert await client.contents("c") == {}
        assert [finding.segment for finding in client.store.findings if finding.damaged_at is not None] == [log.name]
    assert log.read_bytes() == bytes(damaged)


def _look(path: Path) -> dict[str, int]:
    """What a process of its own, reading only, finds in the folder."""
    done = subprocess.run(
        [sys.executable, "-c", READER, str(path)], capture_output=True, check=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[4])},
    )  # fmt: skip
    found: dict[str, int] = json.loads(done.stdout)
    return found


def test_looking_at_a_folder_beside_its_owner_and_after_it(tmp_path: Path) -> None:
    contents = {key: content for key, content in _contents(60).items() if len(content) < 1 << 20}
    expected = {key.decode(): len(content) for key, content in contents.items()}

    async def write() -> None:
        async with open_client(tmp_path) as client:
            await client.make("b")
            await _write_in_turn(client, [*contents.items()], 20)
            before = sorted((file.name, file.read_bytes()) for file in (tmp_path / "segments").iterdir())
            assert await asyncio.to_thread(_look, tmp_path) == expected
            assert before == sorted((file.name, file.read_bytes()) for file in (tmp_path / "segments").iterdir())
            client.store._index.flush()
            await client.put("b", b"later", b"12345")
            assert await asyncio.to_thread(_look, tmp_path) == {**expected, "later": 5}

    asyncio.run(write())
    assert _look(tmp_path) == {**expected, "later": 5}


def test_a_store_open_for_reading_takes_no_writes(tmp_path: Path) -> None:
    async def test() -> None:
        async with open_client(tmp_path) as client:
            await client.make("b")
            await client.put("b", b"k", b"content")
        store = Store.open_for_reading(DataFolder(tmp_path), StoreSettings(threads=2))
        assert await StoreClient(store).contents("b") == {b"k": b"content"}
        for write in (lambda: store.committer, store.new_body, lambda: store.require_room(0)):
            with pytest.raises(StoreReadOnly, match="reading only"):
                write()
        store.close()

    asyncio.run(test())


def test_a_folder_without_a_store(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError):
        Store.open_for_reading(DataFolder(tmp_path), StoreSettings())
    DataFolder(tmp_path).create()
    (tmp_path / "index" / "data.mdb").write_bytes(b"no index" * 4096)
    with pytest.raises(IndexUnusable):
        Store.open_for_writing(DataFolder(tmp_path), SPACE_KEY, StoreSettings())


def test_what_is_not_there(tmp_path: Path) -> None:
    async def test() -> None:
        async with open_client(tmp_path) as client:
            with pytest.raises(NoSuchBucket):
                client.store.bucket("b")
            await client.make("b")
            assert await client.store.trees.get(client.store.bucket("b"), b"k") is None
            walk = client.store.trees.walk(client.store.bucket("b"))
            await walk.seek(b"")
            assert await walk.run() is None

    asyncio.run(test())


def test_a_reader_keeps_the_bucket_it_began_with(tmp_path: Path) -> None:
    """A listing is one snapshot, whatever is written while it goes on."""

    async def test() -> None:
        async with open_client(tmp_path) as client:
            await client.make("b")
            contents = {b"%03d" % n: b"%d" % n for n in range(100)}
            await _write_in_turn(client, [*contents.items()], 100)
            then = client.store.bucket("b")
            walk = client.store.trees.walk(then)
            await walk.seek(b"")
            found: list[bytes] = []
            while run := await walk.run():
                found += run[0]
                await client.delete("b", b"%03d" % (99 - len(found)))
                await client.put("b", b"%03d+" % len(found), b"new")
            assert found == sorted(contents)
            entry = await client.store.trees.get(then, b"050")
            assert entry is not None
            assert await client.content(entry) == b"50"

    asyncio.run(test())


def test_metadata_inline_and_in_a_block_of_its_own(tmp_path: Path) -> None:
    from hashlib import md5

    from gateway.store.mutations import Put
    from mst import cbor
    from mst.block import Block
    from mst.cid import DAG_CBOR

    long = {"user": {str(n): "x" * 100 for n in range(20)}}
    block = Block.of(DAG_CBOR, cbor.encode(long))
    body = Block.of(RAW, b"x")
    etag = md5(b"x").digest()

    async def test() -> None:
        async with open_client(tmp_path) as client:
            await client.make("b")
            submit = client.store.committer.submit
            for key, meta in ((b"none", None), (b"inline", {"a": "b"}), (b"block", block.cid)):
                await submit(Put("b", key, Entry(body.cid, 1, CLOCK_MS, etag, meta), (body, block)))
            entries = await client.entries("b")
            assert await client.store.trees.meta(entries[b"none"]) == {}
            assert await client.store.trees.meta(entries[b"inline"]) == {"a": "b"}
            assert await client.store.trees.meta(entries[b"block"]) == long

    asyncio.run(test())


def test_room_is_kept_in_reserve(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    free = disk.f_bavail * disk.f_frsize
    settings = StoreSettings(reserve_free_bytes=free // 2, threads=2)

    async def test() -> None:
        async with open_client(tmp_path, settings) as client:
            client.store.require_room(free // 4)
            with pytest.raises(StoreFull, match="in reserve"):
                client.store.require_room(free * 3 // 4)

    asyncio.run(test())


def test_others_read_the_segments_and_find_the_objects_by_their_cids(tmp_path: Path) -> None:
    from mst import car

    contents = _contents(40)

    async def write() -> list[CID]:
        async with open_client(tmp_path, SMALL_SEGMENTS) as client:
            await client.make("b")
            await _write_in_turn(client, [*contents.items()], 10)
            bucket = client.store.bucket("b")
            return [bucket.commit, bucket.tree, *[entry.body for entry in (await client.entries("b")).values()]]

    wanted = asyncio.run(write())
    found = set()
    for file in (tmp_path / "segments").iterdir():
        reader = car.Reader()
        found |= {block.cid for block in reader.feed(file.read_bytes())}
        reader.finish()
    assert set(wanted) <= found
