"""Bodies: laid out as public tools lay files out, however they arrive; given up without a trace at any moment."""

from __future__ import annotations

import asyncio
import errno
import gc
import hashlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.store import bodies
from gateway.store.bodies import STRETCH_BYTES, Body, BodyWriter
from gateway.store.errors import StoreFull, StoreReadOnly
from gateway.store.mutations import Put
from gateway.store.store import StoreSettings
from mst.cid import CID, DAG_PB, RAW
from mst.limits import CHUNK_BYTES
from mst.unixfs import FileBuilder
from tests.store_client import StoreClient, content_of, open_client

MIB = 1024 * 1024
SIZES = [0, 1, 1000, 16 * 1024, 16 * 1024 + 1, 128 * 1024, 128 * 1024 + 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 5]
CONTENT = content_of("body", 3 * MIB + 5)


def _file_cid(content: bytes) -> CID:
    """The CID of a file of whole leaves."""
    if len(content) <= CHUNK_BYTES:
        return CID.of(RAW, content)
    builder = FileBuilder()
    for at in range(0, len(content), CHUNK_BYTES):
        leaf = content[at : at + CHUNK_BYTES]
        builder.add_leaf(CID.of(RAW, leaf), len(leaf))
    return builder.finish()[0]


def _splits(size: int) -> Iterator[list[int]]:
    """Lengths of pieces: one, halves around each leaf's end, random ones, some of them empty."""
    yield [size]
    yield [size // 2, size - size // 2]
    yield [MIB] * (size // MIB)
    yield [MIB - 1, 2] * (size // MIB // 2)
    dice = random.Random(size)
    for longest in (size // 3 + 1, size // 50 + 1, 70_000):
        pieces: list[int] = []
        while sum(pieces) < size:
            pieces += [dice.randint(0, longest), 0]
        yield pieces


async def _write(writer: BodyWriter, content: bytes, pieces: list[int]) -> Body:
    at = 0
    for length in pieces:
        await writer.write(content[at : at + length])
        at += length
    await writer.write(content[at:])
    return await writer.finish()


@pytest.mark.parametrize("size", SIZES)
def test_any_arrival_gives_the_public_layout(tmp_path: Path, size: int) -> None:
    content = CONTENT[:size]

    async def test() -> None:
        async with open_client(tmp_path) as client:
            for pieces in _splits(size):
                sha512 = hashlib.sha512()
                body = await _write(client.store.new_body(digests=[sha512], sha256=True), content, pieces)
                assert body.cid == _file_cid(content)
                assert (body.size, body.md5) == (size, hashlib.md5(content).digest())
                assert body.sha256 == hashlib.sha256(content).digest()
                assert sha512.digest() == hashlib.sha512(content).digest()
                leaves = [content[at : at + MIB] for at in range(0, size, MIB)]
                assert list(body.leaves) == [(CID.of(RAW, leaf), len(leaf)) for leaf in leaves]
                assert [block.data for block in body.blocks] == ([content] if size <= 128 * 1024 else [])

    asyncio.run(test())


@pytest.mark.parametrize("size", [1, MIB, MIB + 1])
def test_a_part_is_durable_on_its_own(tmp_path: Path, size: int) -> None:
    async def test() -> None:
        async with open_client(tmp_path) as client:
            body = await _write(client.store.new_body(part=True), CONTENT[:size], [size])
            assert body.blocks == ()
            for at, (cid, length) in zip(range(0, size, MIB), body.leaves, strict=True):
                assert client.store.blocks.read(cid) == CONTENT[at : at + length]

    asyncio.run(test())


def test_a_sha256_that_costs_extra_is_computed_only_when_asked_for(tmp_path: Path) -> None:
    async def test() -> None:
        async with open_client(tmp_path) as client:
            for size, expected in ((MIB, hashlib.sha256(CONTENT[:MIB]).digest()), (MIB + 1, None)):
                body = await _write(client.store.new_body(), CONTENT[:size], [size])
                assert body.sha256 == expected

    asyncio.run(test())


def test_ranges_are_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the file is looked up window by window, as large ones are."""
    edges = sorted({0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB - 1, 3 * MIB, 3 * MIB + 4, 3 * MIB + 5})

    async def test() -> None:
        async with open_client(tmp_path) as client:
            await client.make("b")
            await client.put("b", b"k", CONTENT)
            entry = await client.store.trees.get(client.store.bucket("b"), b"k")
            assert entry is not None
            assert entry.body.codec == DAG_PB
            for window in (bodies.WINDOW_BYTES, MIB, 700_001):
                monkeypatch.setattr(bodies, "WINDOW_BYTES", window)
                for start in edges:
                    for stop in (edge for edge in edges if edge >= start):
                        async with aclosing(client.store.read_body(entry, start, stop)) as pieces:
                            found = b"".join([piece async for piece in pieces])
                        assert found == CONTENT[start:stop]

    asyncio.run(test())


def test_a_reader_that_stops_early_leaves_nothing_running(tmp_path: Path) -> None:
    async def test() -> None:
        async with open_client(tmp_path) as client:
            await client.make("b")
            await client.put("b", b"k", CONTENT)
            entry = await client.store.trees.get(client.store.bucket("b"), b"k")
            assert entry is not None
            async with aclosing(client.store.read_body(entry, 0, entry.size)) as pieces:
                async for piece in pieces:
                    assert piece
                    assert CONTENT.startswith(piece)
                    break
            await asyncio.sleep(0.05)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(test())


class Mismatch(Exception):
    """What a verification of these tests raises."""


@pytest.mark.parametrize("size", SIZES)
def test_a_body_that_fails_its_verification_stays_nowhere(tmp_path: Path, size: int) -> None:
    content = CONTENT[:size]
    seen: list[tuple[bytes, bytes | None]] = []

    def refuse(md5: bytes, sha256: bytes | None) -> None:
        seen.append((md5, sha256))
        raise Mismatch

    async def test() -> None:
        async with open_client(tmp_path) as client:
            writer = client.store.new_body(sha256=True)
            await writer.write(content)
            with pytest.raises(Mismatch):
                await writer.finish(refuse)
            await writer.abort()
            assert seen == [(hashlib.md5(content).digest(), hashlib.sha256(content).digest())]
            assert not client.store.blocks.holds(CID.of(RAW, content[:MIB]))
            _assert_nothing_borrowed(client)
            assert all(segment.size <= 26 for segment in client.store._segments.of_kind("bulk"))

    asyncio.run(test())


def _assert_nothing_borrowed(client: StoreClient) -> None:
    """Every bulk segment is idle, and holds whole batches only."""
    pool = client.store._own_bulk
    assert pool is not None
    segments = client.store._segments.of_kind("bulk")
    assert sorted(segment.number for segment in pool._idle) == [segment.number for segment in segments]
    for segment in segments:
        assert segment.path.stat().st_size == segment.size == max(client.store._index.end(segment.number), 26)


@pytest.mark.parametrize("size", [0, 10_000, 200_000, MIB, MIB + 1, 3 * MIB + 5])
def test_an_aborted_body_leaves_nothing(tmp_path: Path, size: int) -> None:
    async def test() -> None:
        async with open_client(tmp_path) as client:
            for arrived in {0, size // 3, size}:
                writer = client.store.new_body()
                await writer.write(CONTENT[:arrived])
                await writer.abort()
                await writer.abort()
            _assert_nothing_borrowed(client)
            assert all(segment.size <= 26 for segment in client.store._segments.of_kind("bulk"))

    asyncio.run(test())


@pytest.mark.parametrize("seed", range(6))
def test_a_body_cancelled_at_any_moment(tmp_path: Path, seed: int) -> None:
    """The request ends while threads hash, write and sync for it; the segment comes back whole either way."""
    dice = random.Random(seed)

    async def upload(client: StoreClient) -> None:
        size = dice.choice([200_000, MIB + 1, 3 * MIB + 5])
        pieces = [dice.randint(1, 300_000) for _ in range(12)]
        put = await client.entry(CONTENT[:size], pieces)
        key = b"%d" % size
        await client.store.committer.submit(Put("b", key, put.entry, put.blocks))

    async def test() -> None:
        async with open_client(tmp_path) as client:
            await client.make("b")
            for _ in range(12):
                tasks = [asyncio.ensure_future(upload(client)) for _ in range(dice.randint(1, 3))]
                if dice.random() < 0.5:
                    for _ in range(dice.randint(0, 60)):
                        await asyncio.sleep(0)
                else:
                    await asyncio.sleep(dice.random() * 0.03)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            # A thread may still be finishing for a body whose request is gone.
            for _ in range(200):
                if len(client.store._own_bulk._idle) == len(client.store._segments.of_kind("bulk")):  # type: ignore[union-attr]
                    break
                await asyncio.sleep(0.01)
            _assert_nothing_borrowed(client)
            await client.contents("b")
        async with open_client(tmp_path) as client:
            assert client.store.findings == []
            await client.contents("b")

    asyncio.run(test())


def _failing(call: str, error: int, after: int) -> Callable[[pytest.MonkeyPatch], None]:
    """Let ``os.<call>`` fail from its ``after``-th call on."""
    real = getattr(os, call)
    calls = [0]

    def fail(*args: Any) -> Any:
        calls[0] += 1
        if calls[0] > after:
            raise OSError(error, os.strerror(error))
        return real(*args)

    return lambda patch: patch.setattr(os, call, fail)


@pytest.mark.parametrize(
    ("call", "error", "raised"),
    [
        ("pwritev", errno.ENOSPC, StoreFull),
        ("pwritev", errno.EIO, StoreReadOnly),
        ("fdatasync", errno.EIO, StoreReadOnly),
    ],
)
@pytest.mark.parametrize("after", range(6))
def test_a_body_the_disk_refuses(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, call: str, error: int, raised: type[Exception], after: int
) -> None:
    """At whatever write: an error, nothing left behind, and the next body goes to another segment."""

    async def test() -> None:
        async with open_client(tmp_path) as client:
            await client.make("b")
            with pytest.MonkeyPatch.context() as patch:
                _failing(call, error, after)(patch)
                refused = False
                try:
                    await client.entry(CONTENT)
                except raised:
                    refused = True
                assert refused or after > 0
            for segment in client.store._segments.of_kind("bulk"):
                assert segment.path.stat().st_size == max(client.store._index.end(segment.number), 26)
            assert client.store.committer.failure is None
            await client.put("b", b"k", CONTENT)
            assert await client.contents("b") == {b"k": CONTENT}
        async with open_client(tmp_path) as client:
            assert client.store.findings == []
            assert await client.contents("b") == {b"k": CONTENT}

    asyncio.run(test())
    gc.collect()
    assert "never retrieved" not in caplog.text


@pytest.mark.parametrize("size", [200_000, MIB + 1])
def test_a_body_cancelled_while_its_write_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    writing = threading.Event()

    def fail(*_: Any) -> int:
        writing.set()
        time.sleep(0.05)
        raise OSError(errno.ENOSPC, "No space left on device")

    async def test() -> None:
        async with open_client(tmp_path) as client:
            await client.entry(b"makes a segment" * 20_000)
            monkeypatch.setattr(os, "pwritev", fail)
            upload = asyncio.ensure_future(client.entry(CONTENT[:size]))
            await asyncio.to_thread(writing.wait)
            upload.cancel()
            with pytest.raises(asyncio.CancelledError):
                await upload
            assert client.store._own_bulk is not None
            assert client.store._own_bulk._lent == set()

    asyncio.run(test())


def test_a_body_that_does_not_fit_is_refused_at_the_next_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small that is, so that what was written is soon free again for the uploads beside it."""

    async def test() -> None:
        async with open_client(tmp_path, StoreSettings(reserve_free_bytes=MIB, threads=4)) as client:
            monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=2 * MIB - 1, f_frsize=1))
            writer = client.store.new_body()
            await writer.write(CONTENT[: STRETCH_BYTES + 1])
            assert writer._busy is not None
            await asyncio.wait([writer._busy])
            with pytest.raises(StoreFull, match="in reserve"):
                await writer.write(b"x")
            await writer.abort()
            _assert_nothing_borrowed(client)

    asyncio.run(test())


def test_memory_of_a_body_is_a_few_leaves(tmp_path: Path) -> None:
    """However fast a client sends, at most the stretch that arrives and the one being written are held."""

    async def test() -> None:
        async with open_client(tmp_path, StoreSettings(threads=4)) as client:
            writer = client.store.new_body()
            held: list[int] = []
            for _ in range(40):
                await writer.write(CONTENT[:500_000])
                held.append(writer._buffered)
            await writer.finish()
            assert max(held) <= STRETCH_BYTES

    asyncio.run(test())
