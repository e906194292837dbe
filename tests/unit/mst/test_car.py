"""CARv1: the frozen files, any cut into pieces, torn and damaged files."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest

from mst import car, cbor, varint
from mst.block import Block
from mst.cid import CID, DAG_CBOR, RAW
from mst.errors import FormatError
from mst.fetch import drive
from mst.limits import BLOCK_BYTES_MAX, CAR_HEADER_BYTES_MAX, CAR_SECTION_BYTES_MAX
from mst.unixfs import leaf_ranges

ROOT = CID.from_text("bafybeigrcfkiz6y2jcb2xqymu2tlgyjh44oqrzsukv66wrx3qpzxm7vzru")
BLOCKS = [Block.of(RAW, b""), Block.of(RAW, b"x" * 300), Block.of(DAG_CBOR, b"\xa0")]
FILE = car.HEADER + b"".join(car.section(*block) for block in BLOCKS)


def read(data: bytes, piece_bytes: int = 2**20) -> tuple[car.Reader, list[Block]]:
    reader = car.Reader()
    blocks = []
    for at in range(0, len(data), piece_bytes):
        blocks += reader.feed(data[at : at + piece_bytes])
    reader.finish()
    return reader, blocks


def test_the_header_has_the_placeholder_root() -> None:
    assert car.HEADER.hex() == "19a265726f6f747381d82a4500015500006776657273696f6e01"


def test_a_section_is_its_head_and_its_data() -> None:
    cid, data = BLOCKS[1]
    assert car.section(cid, data) == bytes.fromhex("d002") + cid + data
    assert car.section_head(cid, len(data)) + data == car.section(cid, data)


def test_a_section_is_bounded() -> None:
    car.section_head(BLOCKS[0].cid, BLOCK_BYTES_MAX)
    with pytest.raises(FormatError):
        car.section_head(BLOCKS[0].cid, BLOCK_BYTES_MAX + 1)


@pytest.mark.parametrize("piece_bytes", [1, 2, 35, 36, 37, 300, 10_000])
def test_pieces_of_any_size_give_the_same_blocks(piece_bytes: int) -> None:
    reader, blocks = read(FILE, piece_bytes)
    assert blocks == BLOCKS
    assert reader.roots == ()


def test_blocks_not_asked_for_come_later() -> None:
    reader = car.Reader()
    assert next(reader.feed(FILE)) == BLOCKS[0]
    assert list(reader.feed(b"")) == BLOCKS[1:]
    reader.finish()


def test_the_file_may_grow_while_its_blocks_are_handed_out() -> None:
    reader = car.Reader()
    seen = []
    for block in reader.feed(FILE):
        seen.append(block)
        if len(seen) == 1:
            seen += reader.feed(car.section(*BLOCKS[1]))
    assert seen == [*BLOCKS, BLOCKS[1]]


def test_frozen_files(vectors: Path) -> None:
    whole, blocks = read((vectors / "car" / "unixfs-20000-c1024-w3.v1.car").read_bytes())
    assert whole.roots == (ROOT,)
    assert len(blocks) == 31
    stored = dict(blocks)
    leaves = drive(leaf_ranges(ROOT, 20_000, 0, 20_000), lambda cids: [stored[c] for c in cids])
    assert sum(leaf.size_bytes for leaf in leaves) == 20_000

    duplicates, again = read((vectors / "car" / "dup.car").read_bytes())
    assert (duplicates.roots, dict(again), len(again)) == ((ROOT,), stored, 32)

    none, few = read((vectors / "car" / "noroots.car").read_bytes())
    placeholder, same = read((vectors / "car" / "placeholder-root.car").read_bytes())
    assert none.roots == placeholder.roots == ()
    assert few == same
    assert len(few) == 3


@pytest.mark.parametrize(
    ("name", "blocks", "reason"),
    [("torn.car", 30, "truncated"), ("zerotail.car", 31, "0 bytes"), ("unixfs-20000-c1024-w3.v2.car", 0, "CARv2")],
)
def test_frozen_files_that_are_not_whole(vectors: Path, name: str, blocks: int, reason: str) -> None:
    reader = car.Reader()
    seen = []

    def read_all() -> None:
        for block in reader.feed((vectors / "car" / name).read_bytes()):
            seen.append(block)
        reader.finish()

    with pytest.raises(FormatError, match=reason):
        read_all()
    assert len(seen) == blocks


def test_every_truncation_is_told() -> None:
    ends = {len(car.HEADER)}
    for block in BLOCKS:
        ends.add(max(ends) + len(car.section(*block)))
    for end in range(len(FILE)):
        if end not in ends:
            with pytest.raises(FormatError, match="truncated"):
                read(FILE[:end])


def _with_header(body: bytes) -> bytes:
    return bytes([len(body)]) + body


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"\x80" * 9,
        b"\x99\x00" + car.HEADER[1:],
        varint.encode(CAR_HEADER_BYTES_MAX + 1) + bytes(CAR_HEADER_BYTES_MAX + 1),
        _with_header(b"\xa0"),
        _with_header(cbor.encode({"roots": [], "version": 2})),
        _with_header(cbor.encode({"roots": None, "version": 1})),
        _with_header(cbor.encode({"roots": ["x"], "version": 1})),
        _with_header(cbor.encode({"version": 1})),
        _with_header(cbor.encode({"rootz": [ROOT], "version": 1})),
        _with_header(cbor.encode({"roots": [ROOT], "version": 1, "x": 1})),
        _with_header(cbor.encode({"roots": [ROOT], "version": 1}) + b"\x00"),
        car.HEADER + b"\x00",
        car.HEADER + b"\x23" + bytes(35),
        car.HEADER + b"\xff\xff\xff\xff\x0f",
        car.HEADER + b"\x80" * 9,
        car.HEADER + b"\xa4\x00" + bytes(36),
        car.HEADER + b"\x24" + bytes(36),
        car.HEADER + b"\x05\x01\x55\x00\x00x",
        car.HEADER + car.section(BLOCKS[0].cid, b"y"),
    ],
)
def test_bad_framing_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        read(data)
    with pytest.raises(FormatError):
        read(data, 1)


@pytest.mark.parametrize(
    "data",
    [
        varint.encode(CAR_HEADER_BYTES_MAX + 1),
        car.HEADER + varint.encode(CAR_SECTION_BYTES_MAX + 1),
        car.HEADER + b"\xff" * 8 + b"\x7f",
    ],
)
def test_a_length_over_its_limit_is_not_waited_for(data: bytes) -> None:
    with pytest.raises(FormatError, match="allowed"):
        list(car.Reader().feed(data))


def test_an_error_is_repeated() -> None:
    reader = car.Reader()
    for piece in (car.HEADER + b"\x00", car.section(*BLOCKS[0])):
        with pytest.raises(FormatError, match="0 bytes"):
            list(reader.feed(piece))


def test_several_roots() -> None:
    header = _with_header(cbor.encode({"roots": [ROOT, BLOCKS[0].cid], "version": 1}))
    assert read(header)[0].roots == (ROOT, BLOCKS[0].cid)


def test_published_files_with_older_cids_are_refused_not_misread(
    third_party: Callable[[str], Path],
) -> None:
    """go-car's fixture has two roots, and CIDv0 blocks, which nothing here can name."""
    reader = car.Reader()
    iterator = reader.feed(third_party("car/carv1-basic.car").read_bytes())
    assert str(next(iterator).cid) == "bafyreihyrpefhacm6kkp4ql6j6udakdit7g3dmkzfriqfykhjw6cad5lrm"
    assert len(reader.roots) == 2
    with pytest.raises(FormatError):
        next(iterator)


def test_published_files_are_read(third_party: Callable[[str], Path]) -> None:
    cases = json.loads(third_party("car/atproto-car-file-fixtures.json").read_text())
    for case in cases:
        reader, blocks = read(b64decode(case["car"] + "=="))
        assert [str(root) for root in reader.roots] == [case["root"]]
        assert [(str(cid), data) for cid, data in blocks] == [
            (block["cid"], b64decode(block["bytes"] + "==")) for block in case["blocks"]
        ]
    assert cases
