"""Verified reads: whatever bit of the store flips, a reader gets the right bytes or an error, never wrong ones."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.store.errors import BlockCorrupt, BlockMissing
from gateway.store.nodes import NodeCache
from gateway.store.segment import Segment
from mst import tree
from mst.cid import CID, DAG_CBOR, RAW
from mst.commit import Commit
from mst.layer import TreeParams
from tests.store_client import StoreClient, content_of, open_client

CONTENTS = {
    **{b"small/%02d" % n: b"body %d" % n for n in range(12)},
    b"empty": b"",
    b"inline": content_of("inline", 300),
}
LARGE = content_of("large", (1 << 20) + 300)


@contextmanager
def _flipped(segment: Segment, offset: int, bit: int) -> Iterator[None]:
    """One bit of the file wrong, for a while."""
    (byte,) = os.pread(segment.fd, 1, offset)
    os.pwrite(segment.fd, bytes([byte ^ 1 << bit]), offset)
    yield
    os.pwrite(segment.fd, bytes([byte]), offset)


def _forget_nodes(client: StoreClient) -> None:
    NodeCache.__init__(client.store._nodes, 0)


async def _fill(client: StoreClient) -> None:
    await client.make("b")
    await asyncio.gather(*(client.put("b", key, content) for key, content in CONTENTS.items()))


async def _read_all(client: StoreClient) -> int:
    """Read every object and listing; returns how many reads failed, having compared those that did not."""
    failed = 0
    for key, content in CONTENTS.items():
        _forget_nodes(client)
        try:
            assert await client.read("b", key) == content
        except BlockCorrupt:
            failed += 1
    _forget_nodes(client)
    try:
        assert list(await client.entries("b")) == sorted(CONTENTS)
    except BlockCorrupt:
        failed += 1
    return failed


def test_every_byte_of_the_log(tmp_path: Path) -> None:
    """A flip in a block that a bucket needs is an error to its readers; one in framing or in old nodes is not seen."""

    async def test() -> None:
        async with open_client(tmp_path) as client:
            await _fill(client)
            bucket = client.store.bucket("b")
            needed = _reachable(client, bucket.tree)
            needed |= {entry.body.digest for entry in (await client.entries("b")).values()}
            (log,) = client.store._segments.of_kind("log")
            lies_in = {}
            for digest in needed:
                place = client.store._index.get(digest)
                if place is not None and place.segment == log.number:
                    lies_in.update(dict.fromkeys(range(place.offset, place.offset + place.length), digest))
            for offset in range(0, log.size, 3):
                with _flipped(log, offset, offset % 8):
                    failed = await _read_all(client)
                    assert (failed > 0) == (offset in lies_in)
            assert await _read_all(client) == 0

    asyncio.run(test())


def _reachable(client: StoreClient, root: CID) -> set[bytes]:
    digests, waiting = set(), [root]
    while waiting:
        cid = waiting.pop()
        digests.add(cid.digest)
        waiting += [child for child in client.store.blocks.node(TreeParams(4), cid).children if child]
    return digests


def test_a_large_body_is_cut_off_before_its_first_wrong_byte(tmp_path: Path) -> None:
    async def test() -> None:
        async with open_client(tmp_path) as client:
            await _fill(client)
            await client.put("b", b"large", LARGE)
            entry = await client.store.trees.get(client.store.bucket("b"), b"large")
            assert entry is not None
            (bulk,) = client.store._segments.of_kind("bulk")
            for leaf, before in ((LARGE[: 1 << 20], 0), (LARGE[1 << 20 :], 1 << 20)):
                place = client.store._index.get(CID.of(RAW, leaf).digest)
                assert place is not None
                with _flipped(bulk, place.offset + place.length // 2, 3):
                    received = b""
                    with pytest.raises(BlockCorrupt):
                        async for piece in client.store.read_body(entry, 0, entry.size):
                            received += piece
                    assert received == LARGE[:before]
            place = client.store._index.get(entry.body.digest)
            assert place is not None
            with _flipped(bulk, place.offset + 10, 0), pytest.raises(BlockCorrupt):
                await client.content(entry)

    asyncio.run(test())


def test_a_commit_that_was_changed(tmp_path: Path) -> None:
    async def test() -> None:
        async with open_client(tmp_path) as client:
            await _fill(client)
            head = client.store.bucket("b").commit
            place = client.store._index.get(head.digest)
            assert place is not None
            for offset in range(place.offset, place.offset + place.length):
                with _flipped(client.store._segments.of_kind("log")[0], offset, 1), pytest.raises(BlockCorrupt):
                    client.store.blocks.read(head)
            Commit.decode(client.store.blocks.read(head))

    asyncio.run(test())


@pytest.mark.parametrize("in_memory", [True, False])
def test_the_event_loop_waits_for_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: bool) -> None:
    """What is in the kernel's memory is read at once, what is not in a thread."""
    readers: set[int] = set()

    async def test() -> None:
        async with open_client(tmp_path) as client:
            await client.make("b")
            await client.put("b", b"large", LARGE)
            leaf = LARGE[: 1 << 20]
            (bulk,) = client.store._segments.of_kind("bulk")
            read = Segment.read

            def watched(segment: Segment, offset: int, length: int) -> bytes:
                readers.add(threading.get_ident())
                return read(segment, offset, length)

            monkeypatch.setattr(Segment, "read", watched)
            if not in_memory:
                os.posix_fadvise(bulk.fd, 0, 0, os.POSIX_FADV_DONTNEED)
            place = client.store._index.get(CID.of(RAW, leaf).digest)
            assert place is not None
            if bulk.in_memory(place.offset, place.length) != in_memory:
                pytest.skip("this file system does not tell what is in memory, or keeps everything there")
            assert await client.store.blocks.read_async(CID.of(RAW, leaf)) == leaf

    asyncio.run(test())
    assert readers
    assert (threading.get_ident() in readers) == in_memory


def test_blocks_that_are_nowhere(tmp_path: Path) -> None:
    async def test() -> None:
        async with open_client(tmp_path) as client:
            missing = CID.of(RAW, b"never stored")
            assert not client.store.blocks.holds(missing)
            assert not client.store.blocks.holds_intact(missing)
            with pytest.raises(BlockMissing):
                client.store.blocks.read(missing)
            with pytest.raises(BlockMissing):
                await client.store.blocks.read_async(missing)
            with pytest.raises(BlockMissing):
                await client.store.blocks.read_many([missing])
            with pytest.raises(BlockMissing):
                client.store.blocks.node(TreeParams(4), missing)

    asyncio.run(test())


def test_a_segment_that_went_away_or_became_short(tmp_path: Path) -> None:
    async def test() -> None:
        async with open_client(tmp_path) as client:
            await _fill(client)
            await client.put("b", b"large", LARGE)
            entry = await client.store.trees.get(client.store.bucket("b"), b"large")
            assert entry is not None
            (bulk,) = client.store._segments.of_kind("bulk")
            os.ftruncate(bulk.fd, 1000)
            with pytest.raises(BlockCorrupt, match="ends before"):
                await client.content(entry)
            _, segment = client.store._segments._by_number.pop(bulk.number)
            with pytest.raises(BlockMissing, match="is gone"):
                await client.content(entry)
            segment.close()

    asyncio.run(test())


def test_a_block_that_is_no_node_of_that_tree(tmp_path: Path) -> None:
    """Right bytes, wrong kind: a body, or a node of a tree of another shape."""

    async def test() -> None:
        async with open_client(tmp_path) as client:
            await client.make("b")
            await client.put("b", b"k", b"body")
            with pytest.raises(BlockCorrupt, match="not a tree node"):
                client.store.blocks.node(TreeParams(4), CID.of(RAW, b"body"))
            for n in range(60):
                await client.put("b", b"%d" % n, b"body")
            root = client.store.bucket("b").tree
            client.store.blocks.node(TreeParams(4), root)
            with pytest.raises(BlockCorrupt, match="not a tree node"):
                for salt in range(100):
                    client.store.blocks.node(TreeParams(4, bytes([salt]) * 32), root)

    asyncio.run(test())


def test_the_empty_tree_is_stored_nowhere_and_found(tmp_path: Path) -> None:
    async def test() -> None:
        async with open_client(tmp_path) as client:
            assert client.store.blocks.node(TreeParams(4), tree.EMPTY_ROOT) == tree.EMPTY
            assert CID.of(DAG_CBOR, tree.EMPTY_BLOCK) == tree.EMPTY_ROOT

    asyncio.run(test())
