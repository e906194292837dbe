"""Fuzz targets for what is stored: whatever bytes a disk or a stranger hands over, a decoder accepts only what its
encoder writes.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise
from typing import Any

from mst import car, cbor, node, segment, tree, unixfs, varint, version
from mst.block import Block
from mst.cid import CID, DAG_CBOR, DAG_PB, RAW
from mst.commit import Commit
from mst.entry import Entry, etag_text, facts, skip
from mst.errors import FormatError
from mst.fetch import drive
from mst.layer import TreeParams
from mst.manifest import Head, Manifest, ShardRef
from mst.segment import Batch, BatchRecord
from mst.unixfs import FileLink, FileNode, Leaf
from tests.fuzz.target import Target

LEAF = CID.of(RAW, b"leaf")
INNER = CID.of(DAG_PB, b"inner")
LINKED = CID.of(DAG_CBOR, b"linked")
MD5 = bytes(range(16))
HEADS = (
    b"\x00",
    b"\x17",
    b"\x18\x18",
    b"\x19\x01\x00",
    b"\x1a\x00\x01\x00\x00",
    b"\x1b" + bytes(8),
    b"\x1b" + b"\xff" * 8,
)
CBOR_TOKENS = (
    *HEADS, b"\x20", b"\x40", b"\x5f", b"\x60", b"\x7f", b"\x80", b"\x81", b"\x9b" + b"\xff" * 8, b"\x9f", b"\xa0",
    b"\xa1", b"\xbf", b"\xc0", b"\xd8\x2a", b"\xd8\x2a\x40", cbor.LINK_HEAD, cbor.LINK_HEAD + LEAF,
    cbor.LINK_HEAD + LINKED, b"\xf4", b"\xf5", b"\xf6", b"\xf7", b"\xf9\x00\x00", b"\xfa" + bytes(4),
    b"\xfb" + bytes(8), b"\xfb\x7f\xf8" + bytes(6), b"\xff", b"\x62\xc3\x28", b"\x81" * 70,
)  # fmt: skip


def _canonical(decode: Callable[[bytes], Any], encode: Callable[[Any], bytes], *seeds: bytes) -> Target:
    """A codec whose decoder accepts exactly what its encoder writes."""

    def check(data: bytes, value: Any) -> None:
        assert encode(value) == data

    return Target(decode, FormatError, check, seeds, CBOR_TOKENS)


def _entry_check(data: bytes, value: Entry) -> None:
    assert value.encode() == data
    assert skip(data, 0) == len(data)
    assert facts(data) == (value.size, value.mtime_ms, value.etag)
    assert etag_text(value.etag) == value.etag_text


def _of_tree(params: TreeParams, keys: int) -> tuple[bytes, ...]:
    """The nodes of a small tree, encoded."""
    blocks = {tree.EMPTY_ROOT: tree.EMPTY_BLOCK}
    edits = {f"dir{n % 3}/key-{n}".encode(): _ENTRIES[n % len(_ENTRIES)] for n in range(keys)}
    applied = drive(
        tree.apply(params, tree.EMPTY_ROOT, edits), lambda cids: [node.decode(blocks[cid], params) for cid in cids]
    )
    return tuple(new.data for new in applied.nodes)


def _node(params: TreeParams) -> Target:
    def check(data: bytes, value: node.Node) -> None:
        assert node.encode(value) == data
        assert list(value.keys) == sorted(set(value.keys))
        assert len(value.keys) == len(value.values) == len(value.rows) == len(value.children) - 1
        # Each row again from its parts: nothing of it is taken over unread.
        for previous, key, child, encoded, row in zip(
            (b"", *value.keys), value.keys, value.children[1:], value.values, value.rows, strict=False
        ):
            assert node.row(previous, key, child, encoded) == row
            assert params.layer(key) == value.layer

    return Target(lambda data: node.decode(data, params), FormatError, check, _of_tree(params, 40), CBOR_TOKENS)


def _file_node(data: bytes) -> tuple[FileNode, list[Leaf]]:
    """A file node; if leaves are right below it, also the leaves as a reader of the file finds them."""
    found = unixfs.decode_file_node(data)
    root = CID.of(DAG_PB, data)
    leaves: list[Leaf] = []
    if found.links[0].cid.codec == RAW:
        leaves = drive(unixfs.leaf_ranges(root, found.filesize, 0, found.filesize), lambda cids: [data for _ in cids])
    return found, leaves


def _file_node_check(data: bytes, found: tuple[FileNode, list[Leaf]]) -> None:
    value, leaves = found
    assert unixfs.encode_file_node(value.links) == data
    assert sum(link.blocksize for link in value.links) == value.filesize
    if leaves:
        assert leaves[0].offset == 0
        assert all(one.offset + one.size_bytes == other.offset for one, other in pairwise(leaves))
        assert leaves[-1].offset + leaves[-1].size_bytes == value.filesize


def _car(data: bytes, step: int = 1 << 20) -> tuple[tuple[CID, ...], list[Block]]:
    reader = car.Reader()
    found: list[Block] = []
    for at in range(0, len(data), step):
        found += reader.feed(data[at : at + step])
    reader.finish()
    return reader.roots, found


def _car_check(data: bytes, found: tuple[tuple[CID, ...], list[Block]]) -> None:
    assert _car(data, 7) == found
    sections = b"".join(car.section(*block) for block in found[1])
    assert data.endswith(sections)
    for block in found[1]:
        block.verify()


def _segment(data: bytes) -> tuple[list[Batch], int | None]:
    return list(segment.scan(data, 0)), segment.find_batch_after(data, 0)


def _segment_check(data: bytes, found: tuple[list[Batch], int | None]) -> None:
    batches, first = found
    start = 0
    for batch in batches:
        blocks = [Block(CID(data[at - 36 : at]), data[at : at + size]) for _, at, size in batch.places]
        for block, (digest, _, _) in zip(blocks, batch.places, strict=True):
            assert sha256(block.data).digest() == digest
        record = batch.record
        again = segment.frame_batch(
            blocks, start=start, sequence=record.sequence, previous=record.previous,
            commits=record.commits, drops=record.drops,
        )  # fmt: skip
        assert b"".join(again.buffers) == data[start : batch.stop]
        assert list(segment.scan(data[: batch.stop], start)) == [batch]
        start = batch.stop
    if batches:
        assert first == 0


def _segment_bytes(*batches: list[bytes]) -> bytes:
    written = b""
    previous = None
    for sequence, blocks in enumerate(batches, 1):
        framed = segment.frame_batch(
            [Block.of(RAW, data) for data in blocks], start=len(written), sequence=sequence, previous=previous,
            commits=[LINKED], drops=[MD5],
        )  # fmt: skip
        written += b"".join(framed.buffers)
        previous = framed.record
    return written


_ENTRIES = (
    Entry(LEAF, 0, 0, MD5, None).encode(),
    Entry(INNER, 2**40, 1_790_000_000_000, MD5 + b"\x00\x03", LINKED).encode(),
    Entry(LEAF, 300, 1_790_000_000_000, MD5, {"ct": "text/plain", "um": {"a": "b"}, "ck": {"CRC32": b"abcd"}}).encode(),
)
_VALUES: tuple[cbor.Value, ...] = (
    {"a": [1, -1, None, True], "bb": {"c": LEAF}, "n": 1.5},
    ["text", b"bytes", 2**64 - 1, -(2**64), 0, 23, 24, 255, 256],
    [[[[]]], {}, "", b"", "\N{DECIDUOUS TREE}"],
)
_COMMIT = Commit(
    space="did:key:z6Mk", bucket="photos", instance=MD5, sequence=7, time_ms=1_790_000_000_000, tree=LINKED,
    versions=None, prev=LINKED, bits=4, salt=None, objects=3, size_bytes=10, signature=bytes(64),
)  # fmt: skip
_MANIFEST = Manifest(
    space="did:key:z6Mk", sequence=7, time_ms=1_790_000_000_000, prev=LINKED,
    heads=(Head("photos", MD5, 1, LINKED, "enabled", {"tagging": b"\xa0"}),), drops=(MD5,),
    shards=(ShardRef(bytes(32), 2**28, bytes(32), 300),), signature=bytes(64),
)  # fmt: skip
_RECORD = BatchRecord(1, None, 0, 0, 0, bytes(32), (LINKED,), (MD5,))

FORMATS = {
    "varint": _canonical(
        lambda data: (varint.decode(data), data), lambda found: varint.encode(found[0][0]) + found[1][found[0][1] :],
        b"\x00", b"\x7f", varint.encode(300), varint.encode(2**63 - 1),
    ),
    "cid": _canonical(CID.parse, bytes, LEAF, INNER, LINKED),
    "cid-text": _canonical(
        lambda data: CID.from_text(data.decode("latin-1")), lambda cid: str(cid).encode(),
        str(LEAF).encode(), str(INNER).encode(), str(LINKED).encode(),
    ),
    "cbor": _canonical(cbor.decode, cbor.encode, *map(cbor.encode, _VALUES)),
    "entry": Target(Entry.decode, FormatError, _entry_check, _ENTRIES, CBOR_TOKENS),
    "version-key": _canonical(
        version.split_version_key, lambda found: version.version_key(*found),
        version.version_key(b"k", 0), version.version_key(b"a/b", version.number_of_commit(5, 2)),
    ),
    "node": _node(TreeParams(4, None)),
    "node-narrow": _node(TreeParams(1, None)),
    "node-salted": _node(TreeParams(2, bytes(32))),
    "commit": _canonical(Commit.decode, Commit.encode, _COMMIT.encode()),
    "manifest": _canonical(Manifest.decode, lambda manifest: manifest.block().data, _MANIFEST.block().data),
    "batch-record": _canonical(BatchRecord.decode, lambda record: record.block().data, _RECORD.block().data),
    "file-node": Target(
        _file_node, FormatError, _file_node_check,
        (
            unixfs.encode_file_node([FileLink(LEAF, 5, 5), FileLink(LEAF, 300, 300)]),
            unixfs.encode_file_node([FileLink(INNER, 2**21, 2**20)] * 3),
        ),
        (
            *HEADS, b"\x12", b"\x0a\x24", b"\x12\x00\x18", b"\x08\x02\x18", b"\x20", b"\x80\x00", b"\xff" * 9, LEAF,
        ),
    ),
    "car": Target(
        _car, FormatError, _car_check,
        (car.HEADER, car.HEADER + car.section(*Block.of(RAW, b"one")) + car.section(*Block.of(DAG_CBOR, b"\xa0"))),
        (*CBOR_TOKENS, car.HEADER, car.section(*Block.of(RAW, b"")), LEAF, b"\x80\x00", b"\xff" * 9),
    ),
    "segment": Target(
        _segment, FormatError, _segment_check,
        (_segment_bytes([b"one", b"two"], [], [b"three" * 40]), _segment_bytes([])),
        (*CBOR_TOKENS, _segment_bytes([b"x"]), car.section(*Block.of(RAW, b"y")), b"\x8a\x6ams3t/batch"),
    ),
}  # fmt: skip
