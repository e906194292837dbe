"""The examples and limits in docs/formats/ are what the code writes: the documents cannot drift."""

from __future__ import annotations

import re
from hashlib import md5, sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.s3 import metadata
from mst import car, limits, node, reference, segment, tree, unixfs, version
from mst.block import Block
from mst.cbor import decode as decode_cbor
from mst.cid import CID, DAG_CBOR, RAW
from mst.commit import Commit
from mst.entry import Entry
from mst.fetch import drive
from mst.layer import TreeParams
from mst.manifest import Head, Manifest, ShardRef, beacon
from mst.node import Node
from registry.space import SpaceKey, verify_commit, verify_manifest

FORMATS = Path(__file__).resolve().parents[2] / "docs" / "formats"
TIME_MS = 1_790_000_000_000
SALT = bytes(range(32))
FAN_OUT_16 = TreeParams(4)
KEYS = [f"photos/{number}.jpg".encode() for number in ("0016", "0017", "0018", "0303", "0400")]
PLAIN = Entry(CID.of(RAW, b"abc"), 3, TIME_MS, md5(b"abc").digest(), None)

_EXAMPLE = re.compile(r"^```hex (\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_TREE = re.compile(r"^```tree bits=(\d) root=(\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def text_of(document: str) -> str:
    return (FORMATS / document).read_text(encoding="utf-8")


def examples(document: str) -> dict[str, bytes]:
    """The bytes of every `hex` block of a document, by name; what follows # is comment."""
    return {
        name: bytes.fromhex("".join(line.partition("#")[0] for line in block.splitlines()))
        for name, block in _EXAMPLE.findall(text_of(document))
    }


def paragraph_before(document: str, example: str) -> str:
    return text_of(document).partition(f"```hex {example}\n")[0].rpartition("\n## ")[2]


def assert_stated(document: str, example: str, cid: CID, size_bytes: int) -> None:
    """The text above an example names the CID and the length."""
    stated = paragraph_before(document, example)
    assert str(cid) in stated
    assert f"{size_bytes} bytes" in stated


def space_key() -> SpaceKey:
    return SpaceKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


def first_commit() -> Commit:
    commit = Commit(
        space=space_key().did, bucket="photos", instance=bytes(range(16)), sequence=1, time_ms=TIME_MS,
        tree=tree.EMPTY_ROOT, versions=None, prev=None, bits=4, salt=None, objects=0, size_bytes=0,
    )  # fmt: skip
    return space_key().sign_commit(commit)


def build(params: TreeParams) -> tuple[CID, dict[CID, Node]]:
    edits = dict.fromkeys(KEYS, PLAIN.encode())
    applied = drive(tree.apply(params, tree.EMPTY_ROOT, edits), lambda cids: [tree.EMPTY] * len(cids))
    return applied.root, {new.cid: new.node for new in applied.nodes}


def drawn(nodes: dict[CID, Node], cid: CID, layer: int) -> list[str]:
    keys = ", ".join(key.decode() for key in nodes[cid].keys)
    lines = [f"layer {layer}  {keys or '(no keys)'}"]
    for child in nodes[cid].children:
        if child is not None:
            lines += drawn(nodes, child, layer - 1)
    return lines


def table_rows(document: str, first_cell: str) -> list[list[str]]:
    """The cells of the table rows whose first cell matches."""
    rows = (line.strip("|").split("|") for line in text_of(document).splitlines() if line.startswith("|"))
    cells = ([cell.strip().replace("`", "") for cell in row] for row in rows)
    return [row for row in cells if re.fullmatch(first_cell, row[0])]


def test_every_example_has_a_test() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    found = [(path.name, name) for path in sorted(FORMATS.glob("*.md")) for name in examples(path.name)]
    assert found
    missing = [(document, name) for document, name in found if f'examples("{document}")["{name}"]' not in source]
    assert not missing


def test_the_layers_in_the_table_are_those_of_the_code() -> None:
    rows = table_rows("keys-and-layers.md", r".*\.jpg")
    assert len(rows) >= 5
    for key, digest, zeros, *layers in rows:
        hashed = sha256(key.encode()).digest()
        params = [TreeParams(2), TreeParams(4), TreeParams(6), TreeParams(4, SALT)]
        assert hashed[:4].hex() == digest
        assert str(256 - int.from_bytes(hashed, "big").bit_length()) == zeros
        assert [str(p.layer(key.encode())) for p in params] == layers


def test_the_trees_drawn_are_those_the_code_builds() -> None:
    trees = _TREE.findall(text_of("keys-and-layers.md"))
    assert len(trees) == 2
    entry = decode_cbor(PLAIN.encode())
    for bits, root_text, drawing in trees:
        params = TreeParams(int(bits))
        root, nodes = build(params)
        assert str(root) == root_text
        assert drawn(nodes, root, nodes[root].layer) == drawing.splitlines()
        assert reference.build(params, dict.fromkeys(KEYS, entry))[0] == root


@pytest.mark.parametrize("document", sorted(path.name for path in FORMATS.glob("*.md")))
def test_the_limits_stated_are_those_of_the_code(document: str) -> None:
    for row in table_rows(document, r"[A-Z_]{6,}"):
        assert str(getattr(limits, row[0])) == row[1]
    for name in re.findall(r"`([A-Z]+(?:_[A-Z]+)*_(?:MAX|BYTES))`", text_of(document)):
        assert hasattr(limits, name)


def test_empty_node() -> None:
    data = examples("node.md")["empty-node"]
    assert data == tree.EMPTY_BLOCK == node.encode(node.EMPTY)
    assert node.decode(data, FAN_OUT_16) == node.EMPTY
    assert_stated("node.md", "empty-node", tree.EMPTY_ROOT, len(data))


def test_node_of_two_keys() -> None:
    data = examples("node.md")["two-keys"]
    first, second = KEYS[0], KEYS[2]
    value = PLAIN.encode()
    rows = (node.row(b"", first, None, value), node.row(first, second, None, value))
    expected = Node((first, second), (value, value), (None, None, None), rows, 0)
    assert node.decode(data, FAN_OUT_16) == expected
    assert node.encode(expected) == data
    assert_stated("node.md", "two-keys", CID.of(DAG_CBOR, data), len(data))


def test_node_with_children() -> None:
    data = examples("node.md")["two-children"]
    root, nodes = build(FAN_OUT_16)
    assert node.decode(data, FAN_OUT_16) == nodes[root]
    assert_stated("node.md", "two-children", root, len(data))


def test_plain_entry() -> None:
    data = examples("entry.md")["plain"]
    assert Entry.decode(data) == PLAIN
    assert PLAIN.encode() == data
    assert f"{len(data)} bytes" in paragraph_before("entry.md", "plain")
    assert f'"{PLAIN.etag_text}"' in text_of("entry.md")


def test_entry_of_parts() -> None:
    data = examples("entry.md")["parts"]
    etag = md5(md5(b"a").digest() + md5(b"b").digest()).digest() + b"\x00\x02"
    expected = Entry(CID.of(RAW, b"ab"), 2, TIME_MS + 1, etag, {"ct": "image/jpeg"})
    assert Entry.decode(data) == expected
    assert expected.encode() == data
    assert f"{len(data)} bytes" in paragraph_before("entry.md", "parts")
    assert f'"{expected.etag_text}"' in text_of("entry.md")


def test_the_metadata_fields_are_those_the_s3_front_writes() -> None:
    documented = [row[0] for row in table_rows("entry.md", r"[a-z]{2,3}")]
    assert metadata.__doc__ is not None
    assert documented == re.findall(r"^``([a-z]+)``", metadata.__doc__, re.MULTILINE)


def test_commit() -> None:
    data = examples("commit.md")["first-commit"]
    commit = first_commit()
    assert Commit.decode(data) == commit
    assert commit.encode() == data
    verify_commit(Commit.decode(data))
    assert_stated("commit.md", "first-commit", CID.of(DAG_CBOR, data), len(data))


def test_the_signed_bytes_are_the_block_without_its_signature() -> None:
    signature_field = len(b"\xae\x63sig\x58\x40") + limits.SIGNATURE_BYTES
    block = examples("commit.md")["first-commit"]
    assert first_commit().unsigned_bytes() == b"\xad" + block[signature_field:]


def test_the_fields_of_a_commit_stand_in_the_order_of_the_table() -> None:
    fields = list(decode_cbor(examples("commit.md")["first-commit"]))
    stated = [row[0] for row in table_rows("commit.md", r"[a-z_]+") if row[0] != "field"]
    assert stated == fields


def first_manifest() -> Manifest:
    commit = CID.of(DAG_CBOR, first_commit().encode())
    manifest = Manifest(
        space=space_key().did, sequence=1, time_ms=TIME_MS, prev=None,
        heads=(Head("photos", bytes(range(16)), TIME_MS, commit, "unversioned", {}),),
        shards=(ShardRef(sha256(b"shard").digest(), 1048700, sha256(b"index").digest(), 300),),
    )  # fmt: skip
    return space_key().sign_manifest(manifest)


def test_manifest() -> None:
    data = examples("manifest.md")["first-manifest"]
    assert Manifest.decode(data) == first_manifest()
    verify_manifest(Manifest.decode(data))
    assert first_manifest().block().data == data
    assert_stated("manifest.md", "first-manifest", first_manifest().block().cid, len(data))
    assert f"`{beacon(space_key().did, 1).cid}`" in text_of("manifest.md")


def test_the_fields_of_a_manifest_stand_in_the_order_of_the_table() -> None:
    fields = list(decode_cbor(examples("manifest.md")["first-manifest"]))
    assert [row[0] for row in table_rows("manifest.md", r"[a-z_]+") if row[0] != "field"] == fields


def test_entry_and_key_of_a_version() -> None:
    data = examples("versions.md")["version-entry"]
    number = version.number_of_commit(5, 2)
    entry, blocks = version.as_version(PLAIN, number, null=False)
    assert (entry.encode(), blocks) == (data, ())
    assert f"{len(data)} bytes" in paragraph_before("versions.md", "version-entry")
    assert examples("versions.md")["version-key"] == version.version_key(b"photos/cat.jpg", number)


def test_delete_marker() -> None:
    data = examples("versions.md")["delete-marker"]
    assert version.delete_marker(version.number_of_commit(6, 0), TIME_MS, null=True).encode() == data
    assert f"{len(data)} bytes" in paragraph_before("versions.md", "delete-marker")


def test_the_fields_of_a_version() -> None:
    documented = [row[0] for row in table_rows("versions.md", r"[a-z]{2}")]
    assert version.__doc__ is not None
    assert documented == re.findall(r"^``([a-z]+)``", version.__doc__, re.MULTILINE)


def test_segment_header() -> None:
    assert examples("segment.md")["header"] == car.HEADER


def test_batch_of_a_bulk_segment() -> None:
    data = examples("segment.md")["bulk-batch"]
    block = Block.of(RAW, b"abc")
    framed = segment.frame_batch([block], start=len(car.HEADER), sequence=1, previous=None)
    assert b"".join(framed.buffers) == data
    (batch,) = segment.scan(memoryview(car.HEADER + data), len(car.HEADER))
    assert (batch.record_cid, batch.places, batch.stop) == (framed.record, framed.places, 26 + len(data))
    assert f"{len(data)} bytes, at offset 26" in paragraph_before("segment.md", "bulk-batch")
    assert str(framed.record) in paragraph_before("segment.md", "bulk-batch")


def test_record_of_a_log_batch() -> None:
    data = examples("segment.md")["log-record"]
    commit = Block.of(DAG_CBOR, first_commit().encode())
    blocks = [Block(tree.EMPTY_ROOT, tree.EMPTY_BLOCK), commit]
    framed = segment.frame_batch(blocks, start=len(car.HEADER), sequence=1, previous=None, commits=[commit.cid])
    whole = car.HEADER + b"".join(framed.buffers)
    assert whole.endswith(data)
    (batch,) = segment.scan(memoryview(whole), len(car.HEADER))
    assert (batch.record.commits, batch.record.blocks) == ((commit.cid,), 2)
    assert_stated("segment.md", "log-record", framed.record, framed.size_bytes)
    offset = len(whole) - len(data)
    assert f"{len(data)} bytes at offset {offset}" in paragraph_before("segment.md", "log-record")


def test_file_node_of_two_leaves() -> None:
    data = examples("body.md")["two-leaves"]
    leaves = [bytes(limits.CHUNK_BYTES), b"!"]
    builder = unixfs.FileBuilder()
    for leaf in leaves:
        assert builder.add_leaf(CID.of(RAW, leaf), len(leaf)) == []
    root, blocks = builder.finish()
    assert [block.data for block in blocks] == [data]
    assert unixfs.decode_file_node(data).filesize == sum(map(len, leaves))
    assert_stated("body.md", "two-leaves", root, len(data))


def test_the_empty_body_is_the_one_stated() -> None:
    assert f"`{unixfs.EMPTY.cid}`" in text_of("body.md")
