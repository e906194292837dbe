"""A disk that is really full: a file system of 24 MiB in memory, filled until no more goes in."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store.errors import StoreFull
from gateway.store.mutations import Committed
from gateway.store.store import StoreSettings
from tests.store_client import StoreClient, content_of, open_client

DISK_BYTES = 24 << 20
STRANGER_BYTES = 6 << 20
COMMITS_BYTES_MAX = 1 << 20
"""What is taken from the reserve by the few commits of a test, their nodes and rows."""
SIZES = [500, 60_000, 300_000, 5_000, (1 << 20) + 1]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system on which something else takes room as well."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", str(path)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting a file system is not permitted here")
    (path / "stranger").write_bytes(bytes(STRANGER_BYTES))
    yield path
    subprocess.run(["umount", str(path)], check=True)


def _free(path: Path) -> int:
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


async def _fill(client: StoreClient, first: int, *, ask: bool) -> dict[bytes, bytes]:
    """Put objects, four at a time, until four are refused in a row; returns those that were not.

    Args:
        client: the store.
        first: number of the first object.
        ask: whether to ask for room first, as the S3 front does.
    """
    kept: dict[bytes, bytes] = {}

    async def put(number: int) -> bool:
        key, content = b"%04d" % number, content_of(number, SIZES[number % len(SIZES)])
        try:
            if ask:
                client.store.require_room(len(content))
            await client.put("b", key, content)
        except StoreFull:
            return False
        kept[key] = content
        return True

    for number in itertools.count(first, 4):
        if not any(await asyncio.gather(*(put(number + n) for n in range(4)))):
            return kept
    raise AssertionError


def test_the_reserve_keeps_deletes_working(disk: Path) -> None:
    settings = StoreSettings(reserve_free_bytes=6 << 20, threads=4)

    async def test() -> None:
        async with open_client(disk / "data", settings) as client:
            await client.make("b")
            kept = await _fill(client, 0, ask=True)
            assert len(kept) > 20
            assert await client.contents("b") == kept
            for key in sorted(kept)[:20]:
                await client.delete("b", key)
                del kept[key]
            await client.make("c")
            await client.drop("c")
            assert await client.contents("b") == kept
            with pytest.raises(StoreFull):
                client.store.require_room(1 << 20)
            # Somebody makes room: uploads work again, and nobody has restarted anything.
            (disk / "stranger").unlink()
            client.store.require_room(1 << 20)
            more = await _fill(client, 1000, ask=True)
            assert sum(map(len, more.values())) > STRANGER_BYTES // 2
            assert client.store.committer.failure is None
            assert await client.contents("b") == kept | more
        async with open_client(disk / "data", settings) as client:
            assert await client.contents("b") == kept | more

    asyncio.run(test())


def test_small_bodies_that_were_let_in_together_leave_the_reserve(disk: Path) -> None:
    """Each fitted when it was asked about; all together they do not, and deletes among them are not refused."""
    reserve = 6 << 20
    settings = StoreSettings(reserve_free_bytes=reserve, threads=4)
    size = 100_000

    async def test() -> None:
        async with open_client(disk / "data", settings) as client:
            await client.make("b")
            kept = {b"%d" % number: content_of(number, 10) for number in range(20)}
            for key, content in kept.items():
                await client.put("b", key, content)
            puts = []
            for number in range(_free(disk) // size):
                client.store.require_room(size)
                key, content = b"small-%d" % number, content_of(number, size)
                puts.append((key, content, (await client.entry(content))._replace(bucket="b", key=key)))
            answers = [client.store.committer.enqueue(put) for _, _, put in puts]
            for key in sorted(kept)[:10]:
                await client.delete("b", key)
                del kept[key]
            outcomes = await asyncio.gather(*answers, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {Committed, StoreFull}
            assert _free(disk) > reserve - COMMITS_BYTES_MAX
            for (key, content, _), outcome in zip(puts, outcomes, strict=True):
                if isinstance(outcome, Committed):
                    kept[key] = content
            assert await client.contents("b") == kept

    asyncio.run(test())


def test_a_disk_without_any_room_left(disk: Path) -> None:
    """The reserve is gone too, as when somebody else fills the disk: refusals only, nothing half there."""
    settings = StoreSettings(reserve_free_bytes=0, threads=4)

    async def test() -> None:
        async with open_client(disk / "data", settings) as client:
            await client.make("b")
            kept = await _fill(client, 0, ask=False)
            assert _free(disk) < max(SIZES)
            (disk / "filler").write_bytes(b"")
            with (disk / "filler").open("ab", buffering=0) as filler:
                try:
                    while True:
                        filler.write(bytes(4096))
                except OSError:
                    pass
            for number in range(5000, 5010):
                with pytest.raises(StoreFull):
                    await client.put("b", b"%d" % number, content_of(number, 50_000))
            assert client.store.committer.failure is None
            assert await client.contents("b") == kept
            (disk / "filler").unlink()
            (disk / "stranger").unlink()
            for key in sorted(kept)[:10]:
                await client.delete("b", key)
                del kept[key]
            more = await _fill(client, 1000, ask=False)
            assert sum(map(len, more.values())) > STRANGER_BYTES // 2
            assert await client.contents("b") == kept | more
        (disk / "data" / "registry.db").stat()
        async with open_client(disk / "data", settings) as client:
            assert await client.contents("b") == kept | more

    asyncio.run(test())


def test_a_start_on_a_full_disk(disk: Path) -> None:
    """What is stored can be read, though nothing can be written."""
    settings = StoreSettings(reserve_free_bytes=0, threads=4)

    async def test() -> None:
        async with open_client(disk / "data", settings) as client:
            await client.make("b")
            kept = await _fill(client, 0, ask=False)
        async with open_client(disk / "data", settings) as client:
            assert await client.contents("b") == kept
            (disk / "stranger").unlink()
            await client.put("b", b"k", content_of("k", 100_000))

    asyncio.run(test())
