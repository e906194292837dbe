"""What holds for every decoder: it accepts a document only if encoding it again gives the same bytes, and whatever
bytes it meets it raises nothing but FormatError.

Documents are valid ones, damaged: random bytes would be refused at the first of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mst import car, cbor, entry, varint
from mst.block import Block
from mst.cid import CID, DAG_CBOR, DAG_PB, RAW
from mst.commit import Commit
from mst.entry import Entry
from mst.errors import FormatError
from mst.unixfs import FileLink, decode_file_node, encode_file_node

UINT63 = st.integers(0, 2**63 - 1) | st.integers(0, 300)
DIGEST = st.binary(min_size=32, max_size=32)


def cids(*codecs: int) -> st.SearchStrategy[CID]:
    return st.builds(CID.from_digest, st.sampled_from(codecs), DIGEST)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.integers(-300, 300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.binary(max_size=40)
    | cids(RAW, DAG_PB, DAG_CBOR)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner, max_size=5),
    max_leaves=20,
)
METAS = (
    st.none()
    | cids(DAG_CBOR)
    | st.dictionaries(st.text(max_size=4), SCALARS, min_size=1, max_size=3).filter(
        lambda meta: len(cbor.encode(meta)) <= 256
    )
)
ETAGS = st.binary(min_size=16, max_size=16) | st.builds(
    lambda md5, parts: md5 + parts.to_bytes(2, "big"),
    st.binary(min_size=16, max_size=16),
    st.integers(1, 2**16 - 1),
)
ENTRIES = st.builds(Entry, cids(RAW, DAG_PB, DAG_CBOR), UINT63, UINT63, ETAGS, METAS)
COMMITS = st.builds(
    Commit,
    space=st.text(min_size=1, max_size=20).map("did:".__add__),
    bucket=st.text(min_size=1, max_size=20),
    instance=st.binary(min_size=16, max_size=16),
    sequence=UINT63,
    time_ms=UINT63,
    tree=cids(DAG_CBOR),
    versions=st.none() | cids(DAG_CBOR),
    prev=st.none() | cids(DAG_CBOR),
    bits=st.integers(1, 6),
    salt=st.none() | DIGEST,
    objects=UINT63,
    size_bytes=UINT63,
    signature=st.binary(min_size=64, max_size=64),
)
LEAF_LINKS = st.builds(lambda cid, size: FileLink(cid, size, size), cids(RAW), st.integers(1, 2**21))
NODE_LINKS = st.builds(FileLink, cids(DAG_PB), st.integers(0, 2**50), st.integers(1, 2**50))
FILE_NODES = st.lists(LEAF_LINKS, min_size=1, max_size=6) | st.lists(NODE_LINKS, min_size=1, max_size=6)


def _read_varint(data: bytes) -> bytes:
    number, end = varint.decode(data)
    return varint.encode(number) + data[end:]


class Format(NamedTuple):
    """``again`` decodes a document and encodes the result."""

    documents: st.SearchStrategy[bytes]
    again: Callable[[bytes], bytes]


FORMATS = {
    "varint": Format(UINT63.map(varint.encode), _read_varint),
    "cid": Format(cids(RAW, DAG_PB, DAG_CBOR).map(bytes), lambda data: bytes(CID.parse(data))),
    "cbor": Format(VALUES.map(cbor.encode), lambda data: cbor.encode(cbor.decode(data))),
    "entry": Format(ENTRIES.map(Entry.encode), lambda data: Entry.decode(data).encode()),
    "commit": Format(COMMITS.map(Commit.encode), lambda data: Commit.decode(data).encode()),
    "file node": Format(
        FILE_NODES.map(encode_file_node),
        lambda data: encode_file_node(decode_file_node(data).links),
    ),
}

# Bytes that mean something in one format or another, so that damage is often nearly right.
BYTES = st.integers(0, 255) | st.sampled_from(
    bytes.fromhex("00010a121617181920242a37385055587071788081829f9fa0a1d8f4f5f6f7f9fafbff")
)


@st.composite
def damaged(draw: st.DrawFn, documents: st.SearchStrategy[bytes]) -> bytes:
    data = bytearray(draw(documents))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        stop = min(at + draw(st.sampled_from([0, 1, 1, 1, 1, 2, 9])), len(data))
        data[at:stop] = bytes(draw(st.lists(BYTES, min_size=0 if stop > at else 1, max_size=2)))
    return bytes(data)


@pytest.mark.parametrize("name", FORMATS)
@given(st.data())
def test_valid_documents_are_accepted(name: str, data: st.DataObject) -> None:
    document = data.draw(FORMATS[name].documents)
    assert FORMATS[name].again(document) == document


@pytest.mark.parametrize("name", FORMATS)
@given(st.data())
def test_damaged_documents_are_canonical_or_refused(name: str, data: st.DataObject) -> None:
    document = data.draw(damaged(FORMATS[name].documents))
    try:
        again = FORMATS[name].again(document)
    except FormatError:
        return
    assert again == document


@pytest.mark.parametrize("name", FORMATS)
@given(st.data())
def test_nonsense_is_canonical_or_refused(name: str, data: st.DataObject) -> None:
    """Arbitrary bytes, for the errors that only nonsense finds."""
    document = data.draw(st.binary(max_size=64))
    try:
        again = FORMATS[name].again(document)
    except FormatError:
        return
    assert again == document


@given(damaged(ENTRIES.map(Entry.encode)))
def test_entries_are_what_the_general_codec_takes_for_entries(document: bytes) -> None:
    """The regular expression against an obviously right decoder."""
    expected = _slow_entry(document)
    try:
        found = Entry.decode(document)
        end = entry.skip(document, 0)
    except FormatError:
        assert expected is None
        return
    assert found == expected
    assert end == len(document)


def _slow_entry(document: bytes) -> Entry | None:
    try:
        fields = cbor.decode(document)
    except FormatError:
        return None
    if not isinstance(fields, list) or len(fields) != 5:
        return None
    body, size, mtime, etag, meta = fields
    numbers = all(type(n) is int and 0 <= n < 2**63 for n in (size, mtime))
    plain = type(etag) is bytes and len(etag) == 16
    parts = type(etag) is bytes and len(etag) == 18 and etag[16:] != b"\x00\x00"
    linked = isinstance(meta, CID) and meta.codec == DAG_CBOR
    inline = isinstance(meta, dict) and meta and len(cbor.encode(meta)) <= 256
    if isinstance(body, CID) and numbers and (plain or parts) and (meta is None or linked or inline):
        return Entry(*fields)
    return None


BLOCKS = st.lists(st.builds(Block.of, st.sampled_from([RAW, DAG_CBOR]), st.binary(max_size=200)), max_size=5)
FILES = BLOCKS.map(lambda blocks: car.HEADER + b"".join(car.section(*block) for block in blocks))


@given(BLOCKS, st.lists(st.integers(1, 60), min_size=1))
def test_a_car_file_reads_back_whatever_its_pieces(blocks: list[Block], sizes: list[int]) -> None:
    data = car.HEADER + b"".join(car.section(*block) for block in blocks)
    reader = car.Reader()
    found = []
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        found += reader.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    reader.finish()
    assert found == blocks


@given(damaged(FILES))
def test_a_damaged_car_file_gives_verified_blocks_or_an_error(data: bytes) -> None:
    reader = car.Reader()
    found = []
    try:
        for block in reader.feed(data):
            block.verify()
            found.append(block)
        reader.finish()
    except FormatError:
        return
    if not reader.roots and data.startswith(car.HEADER):
        assert data == car.HEADER + b"".join(car.section(*block) for block in found)


@given(ENTRIES)
def test_the_facts_of_an_entry_are_those_it_decodes_to(value: Entry) -> None:
    assert entry.facts(value.encode()) == (value.size, value.mtime_ms, value.etag)
    assert entry.etag_text(value.etag) == value.etag_text
