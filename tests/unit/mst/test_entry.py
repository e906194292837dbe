"""Entries: the byte form of each variant, every limit on both sides, everything that is not an entry."""

from __future__ import annotations

from typing import Any

import pytest

from mst import cbor, entry
from mst.cid import CID, DAG_CBOR, DAG_PB, RAW
from mst.entry import Entry
from mst.errors import FormatError
from mst.limits import ENTRY_META_INLINE_BYTES_MAX

BODY = CID.of(RAW, b"x")
MD5 = bytes.fromhex("9e107d9d372bb6826bd81d3542a419d6")
META_BLOCK = CID.of(DAG_CBOR, b"\xa0")
LINK = "d82a582500"
PLAIN = Entry(BODY, 1, 1_700_000_000_000, MD5, None)

FORMS = [
    (PLAIN, f"85{LINK}{BODY.hex()}011b0000018bcfe5680050{MD5.hex()}f6"),
    (Entry(BODY, 0, 0, MD5, None), f"85{LINK}{BODY.hex()}000050{MD5.hex()}f6"),
    (
        Entry(CID.of(DAG_PB, b"x"), 2**32, 23, MD5 + b"\x00\x03", META_BLOCK),
        f"85{LINK}01701220{BODY.digest.hex()}1b00000001000000001752{MD5.hex()}0003{LINK}{META_BLOCK.hex()}",
    ),
    (
        Entry(BODY, 24, 256, MD5, {"t": "text/plain"}),
        f"85{LINK}{BODY.hex()}181819010050{MD5.hex()}a161746a746578742f706c61696e",
    ),
    # Line ends are bytes like any others, whatever a regular expression thinks of them.
    (
        Entry(CID.from_digest(RAW, b"\n" * 32), 0x0A0A, 0x0A0A0A0A, b"\n" * 18, CID.from_digest(DAG_CBOR, b"\n" * 32)),
        f"85{LINK}01551220{'0a' * 32}190a0a1a0a0a0a0a52{'0a' * 18}{LINK}01711220{'0a' * 32}",
    ),
]


@pytest.mark.parametrize(("value", "hexed"), FORMS)
def test_forms_go_both_ways(value: Entry, hexed: str) -> None:
    data = bytes.fromhex(hexed)
    assert value.encode() == data
    decoded = Entry.decode(data)
    assert decoded == value
    assert type(decoded) is Entry
    assert type(decoded.body) is CID
    assert type(decoded.meta) is type(value.meta)
    assert entry.skip(b"\x85" + data + b"\x85", 1) == 1 + len(data)
    assert data[0] == entry.FIRST_BYTE


@pytest.mark.parametrize("number", [0, 23, 24, 255, 256, 2**16 - 1, 2**16, 2**32 - 1, 2**32, 2**63 - 1])
def test_numbers_have_the_form_dag_cbor_gives_them(number: int) -> None:
    value = Entry(BODY, number, number, MD5, None)
    data = value.encode()
    assert data == cbor.encode([BODY, number, number, MD5, None])
    assert Entry.decode(data) == value


def test_etag_text() -> None:
    assert PLAIN.etag_text == "9e107d9d372bb6826bd81d3542a419d6"
    assert PLAIN._replace(etag=MD5 + b"\x27\x10").etag_text == "9e107d9d372bb6826bd81d3542a419d6-10000"


def _meta_of(size: int) -> dict[str, cbor.Value]:
    """A map whose encoding has exactly ``size`` bytes."""
    meta: dict[str, cbor.Value] = {"a": "x" * (size - 5)}
    assert len(cbor.encode(meta)) == size
    return meta


@pytest.mark.parametrize(
    "value",
    [
        PLAIN._replace(size=-1),
        PLAIN._replace(size=2**63),
        PLAIN._replace(mtime_ms=-1),
        PLAIN._replace(mtime_ms=2**63),
        PLAIN._replace(etag=b""),
        PLAIN._replace(etag=MD5 + b"\x00"),
        PLAIN._replace(etag=MD5 + b"\x00\x00"),
        PLAIN._replace(meta={}),
        PLAIN._replace(meta=_meta_of(ENTRY_META_INLINE_BYTES_MAX + 1)),
        PLAIN._replace(meta={"a": float("nan")}),
        PLAIN._replace(meta=BODY),
        PLAIN._replace(body=CID(b"\x01\x55\x00\x00")),
    ],
)
def test_an_encoder_refuses_what_a_decoder_would(value: Entry) -> None:
    with pytest.raises(FormatError):
        value.encode()


def test_the_largest_inline_metadata() -> None:
    value = PLAIN._replace(meta=_meta_of(ENTRY_META_INLINE_BYTES_MAX))
    data = value.encode()
    assert Entry.decode(data) == value
    assert entry.skip(data, 0) == len(data)


GOOD: list[Any] = [BODY, 1, 2, MD5, None]


@pytest.mark.parametrize(
    "document",
    [
        GOOD[:4],
        [*GOOD, None],
        [None, *GOOD[1:]],
        [bytes(BODY), *GOOD[1:]],
        [BODY, -1, *GOOD[2:]],
        [BODY, True, *GOOD[2:]],
        [BODY, 1.0, *GOOD[2:]],
        [BODY, 2**63, *GOOD[2:]],
        [BODY, 1, 2**64 - 1, *GOOD[3:]],
        [BODY, 1, 2, MD5.hex(), None],
        [BODY, 1, 2, MD5[:15], None],
        [BODY, 1, 2, MD5 + b"\x01", None],
        [BODY, 1, 2, MD5 + b"\x00\x00", None],
        [BODY, 1, 2, MD5 + b"\x00\x00\x01", None],
        [BODY, 1, 2, MD5, False],
        [BODY, 1, 2, MD5, []],
        [BODY, 1, 2, MD5, {}],
        [BODY, 1, 2, MD5, BODY],
        [BODY, 1, 2, MD5, CID.of(DAG_PB, b"")],
        [BODY, 1, 2, MD5, _meta_of(ENTRY_META_INLINE_BYTES_MAX + 1)],
        {"body": BODY},
        BODY,
        None,
    ],
)
def test_other_documents_are_no_entry(document: cbor.Value) -> None:
    data = cbor.encode(document)
    with pytest.raises(FormatError):
        Entry.decode(data)
    with pytest.raises(FormatError):
        entry.skip(data, 0)


@pytest.mark.parametrize(
    ("found", "instead"),
    [
        ("0102", "180102"),
        ("0102", "01190002"),
        ("0102", "011a00000002"),
        ("0102", "011b0000000000000002"),
        ("0102", "011818" + "02"),
        ("50" + MD5.hex(), "5810" + MD5.hex()),
        ("f6", "f7"),
        ("f6", "a1617818" + "01"),
        ("f6", "a2616101616102"),
        ("f6", "bf616101ff"),
        ("f6", ""),
        ("f6", "f6f6"),
    ],
)
def test_other_forms_of_an_entry_are_refused(found: str, instead: str) -> None:
    good = Entry(BODY, 1, 2, MD5, None).encode()
    data = good.replace(bytes.fromhex(found), bytes.fromhex(instead))
    assert data != good
    with pytest.raises(FormatError):
        Entry.decode(data)


@pytest.mark.parametrize(("value", "hexed"), FORMS)
def test_every_truncation_is_refused(value: Entry, hexed: str) -> None:
    data = bytes.fromhex(hexed)
    for end in range(len(data)):
        with pytest.raises(FormatError):
            Entry.decode(data[:end])
        with pytest.raises(FormatError):
            entry.skip(data[:end], 0)
