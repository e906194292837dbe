"""Packs: CAR files that are durable before anybody knows them, within the limits."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

import pytest

from gateway.shipping.contents import Contents
from gateway.shipping.packing import Outbox, Packing
from gateway.store.errors import BlockCorrupt, StoreFull
from gateway.store.folder import DataFolder
from gateway.store.segments import Segments
from mst import car
from mst.block import Block
from mst.cid import DAG_CBOR, RAW
from mst.limits import MANIFEST_BYTES_MAX, PACK_BYTES_MAX, SHARD_BLOCKS_MAX
from registry.ucan import index

BLOCKS = [Block.of(RAW, b"one"), Block.of(DAG_CBOR, b"\xa0"), Block.of(RAW, b"")]
MANIFEST = Block.of(DAG_CBOR, b"\xa1\x61m\x01")


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox")


@pytest.fixture
def contents(tmp_path: Path) -> Contents:
    return Contents(Segments(DataFolder(tmp_path), read_only=True), tmp_path / "outbox")


def test_a_pack_is_a_car_file(outbox: Outbox, contents: Contents) -> None:
    shard = outbox.write(BLOCKS)
    data = b"".join(contents.pieces(shard))
    assert (hashlib.sha256(data).digest(), len(data)) == (shard.digest, shard.size_bytes)
    reader = car.Reader()
    assert list(reader.feed(data)) == BLOCKS
    assert (reader.roots, shard.manifest, shard.slice) == ((), None, None)
    path = contents.pack_path(shard.digest)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_last_pack_has_the_manifest(outbox: Outbox, contents: Contents) -> None:
    shard = outbox.write(BLOCKS, MANIFEST)
    reader = car.Reader()
    assert list(reader.feed(b"".join(contents.pieces(shard)))) == [*BLOCKS, MANIFEST]
    assert reader.roots == (MANIFEST.cid,)
    found = index.decode(contents.index(shard))
    assert found.content == MANIFEST.cid == shard.manifest
    assert set(found.shards[shard.digest]) == {block.cid.digest for block in (*BLOCKS, MANIFEST)}


def test_without_a_manifest_the_index_is_of_the_pack(outbox: Outbox, contents: Contents) -> None:
    shard = outbox.write(BLOCKS)
    content = index.decode(contents.index(shard)).content
    assert (content.codec, content.multihash) == (0x0202, b"\x12\x20" + shard.digest)


def test_a_pack_that_cannot_be_written_leaves_nothing(
    outbox: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreFull):
        outbox.write(BLOCKS)
    assert not (tmp_path / "outbox").exists() or not list((tmp_path / "outbox").iterdir())


def test_only_what_is_still_needed_is_kept(outbox: Outbox, contents: Contents, tmp_path: Path) -> None:
    outbox.keep_only(set())
    one, other = outbox.write(BLOCKS), outbox.write(BLOCKS[:1])
    (tmp_path / "outbox" / "unfinished").write_bytes(b"half")
    outbox.keep_only({one.digest})
    assert [file.stem for file in (tmp_path / "outbox").iterdir()] == [one.digest.hex()]
    with pytest.raises(BlockCorrupt):
        list(contents.pieces(other))


def test_a_pack_that_was_changed_is_not_sent_as_it_is(outbox: Outbox, contents: Contents) -> None:
    shard = outbox.write(BLOCKS)
    path = contents.pack_path(shard.digest)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(BlockCorrupt):
        list(contents.pieces(shard))
    with pytest.raises(BlockCorrupt):
        contents.index(shard)


def test_a_full_pack_has_room_for_beacon_and_manifest() -> None:
    packing = Packing()
    leaf = Block.of(RAW, bytes(1 << 20))
    while packing.has_room_for(len(leaf.data)):
        packing.add(leaf)
    size = sum(len(car.section(*block)) for block in packing.blocks) + 100
    assert size + MANIFEST_BYTES_MAX + 200 <= PACK_BYTES_MAX < size + MANIFEST_BYTES_MAX + (2 << 20)


def test_a_pack_of_many_small_blocks() -> None:
    packing = Packing()
    while packing.has_room_for(3):
        packing.add(BLOCKS[0])
    assert len(packing.blocks) + 2 == SHARD_BLOCKS_MAX
