"""CIDs: known values, both forms, everything that is not one; and blocks, which are checked against them."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from mst.block import Block
from mst.cid import CAR, CID, DAG_CBOR, DAG_PB, RAW, Link, multihash
from mst.errors import FormatError

EMPTY_RAW = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
EMPTY_TREE = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"


def test_known_cids() -> None:
    assert str(CID.of(RAW, b"")) == EMPTY_RAW
    assert str(CID.of(DAG_CBOR, bytes.fromhex("a2616580616cf6"))) == EMPTY_TREE


@pytest.mark.parametrize("codec", [RAW, DAG_PB, DAG_CBOR])
def test_the_forms_of_a_cid_agree(codec: int) -> None:
    digest = sha256(b"x").digest()
    cid = CID.of(codec, b"x")
    assert cid == bytes((1, codec, 0x12, 0x20)) + digest
    assert hash(cid) == hash(bytes(cid))
    assert (cid.codec, cid.digest) == (codec, digest)
    assert CID.from_digest(codec, digest) == cid
    assert CID.parse(bytes(cid)) == cid
    assert CID.from_text(str(cid)) == cid
    assert type(CID.parse(bytes(cid))) is CID
    assert repr(cid) == f"CID('{cid}')"
    assert f"{cid}" == str(cid)


GOOD = bytes(CID.of(RAW, b""))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD[:-1],
        GOOD + b"\x00",
        b"\x00" + GOOD,
        b"\x00" + GOOD[1:],
        b"\x02" + GOOD[1:],
        GOOD[:1] + b"\x51" + GOOD[2:],
        GOOD[:2] + b"\x13" + GOOD[3:],
        GOOD[:3] + b"\x1f" + GOOD[4:],
        b"\x12\x20" + GOOD[4:],
        b"\x01\x55\x00\x00",
    ],
)
def test_other_bytes_are_no_cid(data: bytes) -> None:
    with pytest.raises(FormatError):
        CID.parse(data)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        EMPTY_RAW.upper(),
        EMPTY_RAW[:-1],
        EMPTY_RAW + "a",
        EMPTY_RAW + "=",
        " " + EMPTY_RAW[:-1],
        EMPTY_RAW[:-1] + "\n",
        # The last character has two bits that belong to no byte: only one of four spellings counts.
        EMPTY_RAW[:-1] + "v",
        EMPTY_RAW[:-1] + "1",
        EMPTY_RAW[:-1] + "U",
        EMPTY_RAW[:-1] + "\N{LATIN SMALL LETTER SHARP S}",
        EMPTY_RAW[:-1] + "\N{KELVIN SIGN}",
        "z" + EMPTY_RAW[1:],
        "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR",
        "bafkqaaa",
    ],
)
def test_other_text_is_no_cid(text: str) -> None:
    with pytest.raises(FormatError):
        CID.from_text(text)


def test_a_cid_needs_a_known_codec_and_a_whole_digest() -> None:
    with pytest.raises(FormatError):
        CID.from_digest(0x51, bytes(32))
    with pytest.raises(FormatError):
        CID.from_digest(RAW, bytes(31))


def test_a_block_is_checked_against_its_cid() -> None:
    block = Block.of(RAW, b"x")
    block.verify()
    assert block == (CID.of(RAW, b"x"), b"x")
    with pytest.raises(FormatError):
        Block(block.cid, b"y").verify()


def test_published_syntax_examples(third_party: Callable[[str], Path]) -> None:
    """Of the valid ones ours are those in base32 of a sha2-256 block; the rest are refused, not crashed on."""
    folder = third_party("mst/atproto-interop-tests/syntax")
    accepted = []
    for name in ("cid_syntax_valid.txt", "cid_syntax_invalid.txt"):
        for line in (folder / name).read_text().splitlines():
            if line and not line.startswith("# "):
                try:
                    accepted.append(str(CID.from_text(line)))
                except FormatError:
                    continue
                assert accepted[-1] == line
                assert name == "cid_syntax_valid.txt"
    assert accepted == [
        "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
        "bafybeie5gq4jxvzmsym6hjlwxej4rwdoxt7wadqvmmwbqi7r27fclha2va",
    ]


def test_links_of_others_keep_their_bytes() -> None:
    digest = sha256(b"x").digest()
    car = Link.of_multihash(CAR, multihash(digest))
    assert (car.codec, car.multihash) == (CAR, b"\x12\x20" + digest)
    assert str(car).startswith("bagbaiera")
    assert repr(car) == f"Link('{car}')"
    nothing = Link.read(b"\x01\x55\x00\x00")
    assert (str(nothing), nothing.codec, nothing.multihash) == ("bafkqaaa", RAW, b"\x00\x00")
    ours = Link.read(bytes(CID.of(RAW, b"x")))
    assert type(ours) is CID
    assert (ours.codec, ours.multihash) == (RAW, multihash(digest))
    assert ours == CID.of(RAW, b"x")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"\x01\x55",
        b"\x01\x55\x12\x20",
        GOOD[:-1],
        GOOD + b"\x00",
        b"\x00" + GOOD[1:],
        b"\x12\x20" + GOOD[4:],
        b"\x01\xd5\x00\x00\x00",
        b"\x01" + b"\xff" * 12,
    ],
)
def test_other_bytes_are_no_link(data: bytes) -> None:
    with pytest.raises(FormatError):
        Link.read(data)


def test_a_link_is_made_from_a_whole_multihash() -> None:
    for bad in (b"", b"\x12", b"\x12\x20", multihash(bytes(31)), multihash(bytes(33))):
        with pytest.raises(FormatError):
            Link.of_multihash(RAW, bad)
