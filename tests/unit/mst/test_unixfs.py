"""UnixFS files: public CIDs, what a range touches, uneven leaves, and every lie a node can tell."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from mst.block import Block
from mst.cid import CID, DAG_CBOR, DAG_PB, RAW
from mst.errors import FormatError
from mst.fetch import drive
from mst.limits import BLOCK_BYTES_MAX, FILE_DEPTH_MAX, FILE_RANGE_LEAVES_MAX
from mst.unixfs import (
    EMPTY,
    FileBuilder,
    FileLink,
    FileNode,
    Leaf,
    decode_file_node,
    encode_file_node,
    leaf_ranges,
)

MIB = 2**20
PIECE = bytes(range(251)) * (4 * MIB // 251)


def counting_bytes(size: int) -> Iterator[bytes]:
    """Byte i is i % 251."""
    for _ in range(size // len(PIECE)):
        yield PIECE
    yield PIECE[: size % len(PIECE)]


def keystream(seed: str, size: int) -> Iterator[bytes]:
    """The ChaCha20 keystream under sha256(seed) and a zero nonce, as the published vectors use it."""
    stream = Cipher(algorithms.ChaCha20(sha256(seed.encode()).digest(), bytes(16)), None).encryptor()
    zeros = bytes(MIB)
    for _ in range(size // MIB):
        yield stream.update(zeros)
    yield stream.update(zeros[: size % MIB])


def cut(pieces: Iterator[bytes], chunk_bytes: int) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        data = rest + piece
        whole = len(data) - len(data) % chunk_bytes
        for at in range(0, whole, chunk_bytes):
            yield data[at : at + chunk_bytes]
        rest = data[whole:]
    if rest:
        yield rest


def build(chunks: Iterator[bytes], builder: FileBuilder, keep_leaves: bool = True) -> tuple[CID, dict[CID, bytes]]:
    """The file's CID and its blocks."""
    blocks: dict[CID, bytes] = {}
    for chunk in chunks:
        cid = CID.of(RAW, chunk)
        new = builder.add_leaf(cid, len(chunk))
        blocks.update(new)
        if keep_leaves:
            blocks[cid] = chunk
    root, new = builder.finish()
    blocks.update(new)
    return root, blocks


VECTORS = json.loads(
    (Path(__file__).resolve().parents[2] / "vectors" / "unixfs" / "unixfs_file_vectors.json").read_text()
)["vectors"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['size']}-{v['chunk_size']}-{v['width']}")
def test_cids_agree_with_two_public_implementations(vector: dict[str, Any]) -> None:
    size = vector["size"]
    data = counting_bytes(size) if vector["seed"] is None else keystream(vector["seed"], size)
    root, blocks = build(
        cut(data, vector["chunk_size"]),
        FileBuilder(vector["chunk_size"], vector["width"]),
        keep_leaves=size < MIB,
    )
    assert str(root) == vector["cid"]
    if size < MIB:
        # Equal blocks are stored once here and counted one by one there.
        assert len(blocks) <= vector["blocks"]
        leaves = drive(leaf_ranges(root, size, 0, size), lambda cids: [blocks[c] for c in cids])
        content = b"".join(counting_bytes(size))
        assert [content[leaf.offset :][: leaf.size_bytes] for leaf in leaves] == [blocks[leaf.cid] for leaf in leaves]
        assert b"".join(blocks[leaf.cid] for leaf in leaves) == content


def test_cids_agree_with_kubo(third_party: Callable[[str], Path]) -> None:
    """The profile's own vectors; the two of 1 GiB share their data but for a last byte."""
    vectors = json.loads(third_party("unixfs/ipip0499_kubo_vectors.json").read_text())
    for vector in vectors:
        seed, size = vector["seed"], vector["size"]
        data = iter([seed.encode()]) if vector["generator"] == "utf8(seed)" else keystream(seed, size)
        root, _ = build(cut(data, MIB), FileBuilder(), keep_leaves=False)
        assert str(root) == vector["cid"]
    assert len(vectors) == 5


def test_the_byte_form_of_a_node() -> None:
    first, second = CID.of(RAW, b"abcd"), CID.of(RAW, b"e")
    data = bytes.fromhex(f"122a0a24{first.hex()}12001804122a0a24{second.hex()}120018010a080802180520042001")
    node = FileNode((FileLink(first, 4, 4), FileLink(second, 1, 1)), 5)
    assert encode_file_node(node.links) == data
    assert decode_file_node(data) == node


def test_an_empty_file_is_the_empty_leaf() -> None:
    assert FileBuilder().finish() == (EMPTY.cid, [EMPTY])
    assert str(EMPTY.cid) == "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
    assert drive(leaf_ranges(EMPTY.cid, 0, 0, 10), _no_load) == []


def _no_load(wanted: Sequence[CID]) -> Sequence[bytes]:
    raise AssertionError(f"{wanted} should not be needed")


def test_a_file_of_one_chunk_is_its_leaf() -> None:
    builder = FileBuilder()
    leaf = Block.of(RAW, b"x" * MIB)
    assert builder.add_leaf(leaf.cid, MIB) == []
    assert builder.finish() == (leaf.cid, [])
    assert drive(leaf_ranges(leaf.cid, MIB, 5, 6), _no_load) == [Leaf(leaf.cid, 0, MIB)]


def test_children_come_before_their_parents() -> None:
    builder = FileBuilder(1, 2)
    known = {CID.of(RAW, b"x")}
    nodes = 0
    for step in range(10):
        new = builder.add_leaf(CID.of(RAW, b"x"), 1) if step < 9 else builder.finish()[1]
        for block in new:
            assert {link.cid for link in decode_file_node(block.data).links} <= known
            known.add(block.cid)
            nodes += 1
    assert nodes == 5 + 3 + 2 + 1


@pytest.mark.parametrize("width", [2, 3, 5])
def test_uneven_leaves_are_found_again(width: int) -> None:
    sizes = [7, 1, 30, 30, 2, 9, 30, 1, 1, 17, 30, 30, 4]
    chunks = [bytes([i]) * size for i, size in enumerate(sizes)]
    content = b"".join(chunks)
    root, blocks = build(iter(chunks), FileBuilder(30, width))
    for start in range(-1, len(content) + 1):
        for stop in (start, start + 1, start + 31, len(content) + 5):
            leaves = drive(leaf_ranges(root, len(content), start, stop), lambda cids: [blocks[c] for c in cids])
            low, high = max(start, 0), min(stop, len(content))
            if low >= high:
                assert leaves == []
                continue
            assert leaves[0].offset <= low < leaves[0].offset + leaves[0].size_bytes
            assert leaves[-1].offset < high <= leaves[-1].offset + leaves[-1].size_bytes
            joined = b"".join(blocks[leaf.cid] for leaf in leaves)
            assert joined[low - leaves[0].offset :][: high - low] == content[low:high]


def test_a_range_asks_for_whole_levels_of_its_own_subtrees_only() -> None:
    count, width = 64, 4
    root, blocks = build((bytes([i]) for i in range(count)), FileBuilder(1, width))

    def requests(start: int, stop: int) -> list[int]:
        sizes = []

        def load(wanted: Sequence[CID]) -> list[bytes]:
            sizes.append(len(wanted))
            return [blocks[cid] for cid in wanted]

        drive(leaf_ranges(root, count, start, stop), load)
        return sizes

    assert requests(0, count) == [1, 4, 16]
    assert requests(5, 6) == [1, 1, 1]
    assert requests(15, 17) == [1, 2, 2]
    assert requests(9, 9) == []


def test_a_node_in_many_places_is_asked_for_once() -> None:
    root, blocks = build((b"\x00" * 8 for _ in range(64)), FileBuilder(8, 4))
    asked: list[CID] = []

    def load(wanted: Sequence[CID]) -> list[bytes]:
        asked.extend(wanted)
        return [blocks[cid] for cid in wanted]

    leaves = drive(leaf_ranges(root, 512, 0, 512), load)
    assert len(leaves) == 64
    assert [leaf.offset for leaf in leaves] == list(range(0, 512, 8))
    assert len(asked) == 3


@pytest.mark.parametrize(("chunk_bytes", "width"), [(0, 4), (BLOCK_BYTES_MAX + 1, 4), (1, 1), (1, 0), (1, 1025)])
def test_builder_parameters_are_bounded(chunk_bytes: int, width: int) -> None:
    with pytest.raises(FormatError):
        FileBuilder(chunk_bytes, width)


@pytest.mark.parametrize(("cid", "size"), [(EMPTY.cid, 0), (EMPTY.cid, -1), (EMPTY.cid, 11), (CID.of(DAG_PB, b""), 5)])
def test_a_leaf_is_a_raw_block_of_a_chunk_at_most(cid: CID, size: int) -> None:
    with pytest.raises(FormatError):
        FileBuilder(10).add_leaf(cid, size)


LEAVES = [FileLink(CID.of(RAW, bytes([i])), 1, 1) for i in range(3)]
NODES = [FileLink(CID.of(DAG_PB, bytes([i])), 200, 100) for i in range(2)]


@pytest.mark.parametrize(
    "links",
    [
        [],
        [FileLink(LEAVES[0].cid, 0, 0)],
        [*LEAVES, FileLink(EMPTY.cid, 0, 0)],
        [FileLink(LEAVES[0].cid, 2, 1)],
        [FileLink(LEAVES[0].cid, 1, 2)],
        [FileLink(LEAVES[0].cid, BLOCK_BYTES_MAX + 1, BLOCK_BYTES_MAX + 1)],
        [LEAVES[0], NODES[0]],
        [NODES[0], LEAVES[0]],
        [FileLink(NODES[0].cid, 200, 0)],
        [FileLink(CID.of(DAG_CBOR, b""), 200, 100)],
        LEAVES[:1] * 1025,
    ],
)
def test_links_that_no_file_has_are_refused(links: list[FileLink]) -> None:
    with pytest.raises(FormatError):
        decode_file_node(encode_file_node(links))


LINE_ENDS = FileLink(CID.from_digest(RAW, b"\n" * 32), 10, 10)


@pytest.mark.parametrize("links", [LEAVES, NODES, LEAVES[:1], LEAVES[:1] * 1024, [LINE_ENDS] * 2])
def test_links_that_a_file_has_go_both_ways(links: list[FileLink]) -> None:
    node = decode_file_node(encode_file_node(links))
    assert node == FileNode(tuple(links), sum(link.blocksize for link in links))


NODE = encode_file_node(LEAVES)
DATA = "0a0a0802180320012001" + "2001"


@pytest.mark.parametrize(
    ("found", "instead"),
    [
        (DATA, ""),
        (DATA, DATA + "00"),
        (DATA, DATA + DATA),
        (DATA, DATA + "120b0a"),
        (DATA, "0a0808021803" + "20012001"),
        (DATA, "0a0c08021803" + "20012001" + "20012001"),
        (DATA, "0a0908021803" + "2001" * 3),
        (DATA, "0a8a000802180320012001" + "2001"),
        (DATA, "0a0a0802180420012001" + "2001"),
        (DATA, "0a0b080218830020012001" + "2001"),
        (DATA, "0a0a0802180320012001" + "2000"),
        (DATA, "0a0a0802180320012001" + "2801"),
        (DATA, "0a0a0801180320012001" + "2001"),
        (DATA, "0a0a0805180320012001" + "2001"),
        (DATA, "0a0c08021200180320012001" + "2001"),
        (DATA, "0a0908021803" + "2203010101"),
        (DATA, "0a0e080218032001200120014080ff03"),
        (DATA, "0a0c0802180320012001" + "20013801"),
        ("12001801", "1801"),
        ("12001801", "1201611801"),
        ("12001801", "12001800"),
        ("12001801", "1200188100"),
        ("12001801", "1200"),
        ("122a0a24", "122b0a24"),
        ("122a0a24", "12aa000a24"),
        ("122a0a24" + "01551220", "122a0a24" + "01511220"),
        ("122a0a24" + "01551220", "122a0a24" + "12200155"),
    ],
)
def test_other_forms_of_a_node_are_refused(found: str, instead: str) -> None:
    data = bytes.fromhex(NODE.hex().replace(found, instead))
    assert data != NODE
    with pytest.raises(FormatError):
        decode_file_node(data)


def test_data_before_links_is_refused() -> None:
    data = bytes.fromhex(DATA)
    assert NODE.endswith(data)
    with pytest.raises(FormatError):
        decode_file_node(data + NODE[: -len(data)])


def test_every_truncation_is_refused() -> None:
    for end in range(len(NODE)):
        with pytest.raises(FormatError):
            decode_file_node(NODE[:end])


@pytest.mark.parametrize("data", [bytes(BLOCK_BYTES_MAX + 1), b"\x12" * BLOCK_BYTES_MAX, NODE[:44] * 40_000])
def test_large_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        decode_file_node(data)


def _parent(child: bytes, size: int, *, tsize: int | None = None) -> bytes:
    tsize = len(child) + size if tsize is None else tsize
    return encode_file_node([FileLink(CID.of(DAG_PB, child), tsize, size)])


def _read(root: bytes, size: int, *more: bytes, stop: int | None = None) -> list[Leaf]:
    blocks = {CID.of(DAG_PB, data): data for data in (root, *more)}
    cid = CID.of(DAG_PB, root)
    return drive(
        leaf_ranges(cid, size, 0, size if stop is None else stop),
        lambda wanted: [blocks[c] for c in wanted],
    )


def test_sizes_must_agree_from_level_to_level() -> None:
    child = encode_file_node(LEAVES)
    assert len(_read(_parent(child, 3), 3, child)) == 3
    with pytest.raises(FormatError):
        _read(child, 4)
    with pytest.raises(FormatError):
        _read(child, 2)
    with pytest.raises(FormatError):
        _read(_parent(child, 4), 4, child)
    with pytest.raises(FormatError):
        _read(_parent(child, 3, tsize=len(child) + 4), 3, child)


def test_a_file_is_balanced() -> None:
    low = encode_file_node(LEAVES)
    high = _parent(low, 3)
    links = [
        FileLink(CID.of(DAG_PB, low), len(low) + 3, 3),
        FileLink(CID.of(DAG_PB, high), len(high) + len(low) + 3, 3),
    ]
    root = encode_file_node(links)
    assert len(_read(root, 6, low, high, stop=3)) == 3
    with pytest.raises(FormatError, match="balanced"):
        _read(root, 6, low, high)


def test_depth_is_bounded_for_reader_and_builder() -> None:
    def chain(depth: int) -> list[bytes]:
        nodes = [encode_file_node(LEAVES)]
        tsize = 3
        for _ in range(depth - 1):
            tsize += len(nodes[0])
            nodes.insert(0, _parent(nodes[0], 3, tsize=tsize))
        return nodes

    root, *more = chain(FILE_DEPTH_MAX)
    assert len(_read(root, 3, *more)) == 3
    root, *more = chain(FILE_DEPTH_MAX + 1)
    with pytest.raises(FormatError, match="levels"):
        _read(root, 3, *more)

    builder = FileBuilder(1, 2)
    leaf = LEAVES[0].cid
    for _ in range(2**FILE_DEPTH_MAX):
        builder.add_leaf(leaf, 1)
    builder.add_leaf(leaf, 1)
    with pytest.raises(FormatError, match="levels"):
        builder.finish()


def test_a_small_dag_that_claims_to_be_huge_is_refused() -> None:
    """Three blocks of 50 KB that stand for 2^30 one-byte leaves."""
    nodes = [encode_file_node([FileLink(LEAVES[0].cid, 1, 1)] * 1024)]
    size, tsize = 1024, 1024 + len(nodes[0])
    for _ in range(2):
        nodes.insert(0, encode_file_node([FileLink(CID.of(DAG_PB, nodes[0]), tsize, size)] * 1024))
        size, tsize = size * 1024, tsize * 1024 + len(nodes[0])
    root, *more = nodes
    with pytest.raises(FormatError, match="leaves"):
        _read(root, size, *more)
    assert len(_read(root, size, *more, stop=FILE_RANGE_LEAVES_MAX)) == FILE_RANGE_LEAVES_MAX


@pytest.mark.parametrize(("root", "size"), [(CID.of(DAG_CBOR, b""), 1), (EMPTY.cid, BLOCK_BYTES_MAX + 1)])
def test_a_root_that_is_no_file_is_refused(root: CID, size: int) -> None:
    with pytest.raises(FormatError):
        drive(leaf_ranges(root, size, 0, size), _no_load)
