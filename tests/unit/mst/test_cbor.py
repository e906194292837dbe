"""Strict DAG-CBOR: frozen vectors, published fixtures, limits, and what has no form."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from mst import cbor
from mst.cid import CAR, CID, RAW, Link, multihash
from mst.errors import FormatError
from mst.limits import CBOR_DEPTH_MAX

LINK = CID.of(RAW, b"x")

VALUES: list[tuple[cbor.Value, str]] = [
    (None, "f6"),
    (False, "f4"),
    (True, "f5"),
    (0, "00"),
    (23, "17"),
    (24, "1818"),
    (255, "18ff"),
    (256, "190100"),
    (65535, "19ffff"),
    (65536, "1a00010000"),
    (2**32 - 1, "1affffffff"),
    (2**32, "1b0000000100000000"),
    (2**64 - 1, "1bffffffffffffffff"),
    (-1, "20"),
    (-25, "3818"),
    (-(2**63), "3b7fffffffffffffff"),
    (-(2**64), "3bffffffffffffffff"),
    (0.0, "fb0000000000000000"),
    (1.5, "fb3ff8000000000000"),
    (-1e300, "fbfe37e43c8800759c"),
    ("", "60"),
    ("\u00fc", "62c3bc"),
    ("x" * 24, "7818" + "78" * 24),
    (b"", "40"),
    (b"\x01q\x12 " + b"A" * 32, "5824" + "01711220" + "41" * 32),
    (LINK, "d82a582500" + LINK.hex()),
    ([], "80"),
    ([1, [2, [3]]], "820182028103"),
    ({}, "a0"),
    ({"b": 1, "a": 2, "aa": 3}, "a3616102616201626161" + "03"),
]


@pytest.mark.parametrize(("value", "hexed"), VALUES)
def test_values_go_both_ways(value: cbor.Value, hexed: str) -> None:
    data = bytes.fromhex(hexed)
    assert cbor.encode(value) == data
    decoded = cbor.decode(data)
    assert decoded == value
    assert type(decoded) is type(value)
    assert cbor.skip(b"\xff" + data + b"\xff", 1) == 1 + len(data)


def test_map_order_is_length_then_bytes() -> None:
    keys = ["", "a", "b", "z", "aa", "\u00fc", "ab\u00fc", "x" * 24]
    data = cbor.encode(dict.fromkeys(reversed(keys), 0))
    decoded = cbor.decode(data)
    assert isinstance(decoded, dict)
    assert list(decoded) == sorted(keys, key=lambda key: (len(key.encode()), key.encode()))


def test_tuples_and_mappings_are_arrays_and_maps() -> None:
    assert cbor.encode((1, 2)) == cbor.encode([1, 2])
    assert cbor.encode(MappingProxyType({"a": 1})) == cbor.encode({"a": 1})


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        -float("inf"),
        2**64,
        -(2**64) - 1,
        {1: 2},
        {b"a": 1},
        {"\ud800": 1},
        "\udfff",
        {1, 2},
        object(),
        bytearray(b"x"),
        CID(b"\x01\x55\x00\x00"),
        CID(LINK + b"\x00"),
        [object()],
    ],
)
def test_what_has_no_form_is_refused(value: Any) -> None:
    with pytest.raises(FormatError):
        cbor.encode(value)


def _nested(depth: int) -> cbor.Value:
    value: cbor.Value = None
    for i in range(depth):
        value = [value] if i % 2 else {"": value}
    return value


def test_nesting_is_bounded_in_both_directions() -> None:
    deepest = _nested(CBOR_DEPTH_MAX)
    data = cbor.encode(deepest)
    assert cbor.decode(data) == deepest
    with pytest.raises(FormatError):
        cbor.encode(_nested(CBOR_DEPTH_MAX + 1))
    with pytest.raises(FormatError):
        cbor.decode(b"\x81" + data)
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(FormatError):
        cbor.encode(endless)


@pytest.mark.parametrize("key", ["00", "17", "20", "4161", "80", "a0", "f6", "d82a582500" + LINK.hex()])
@pytest.mark.parametrize("before", ["", "7896" + "61" * 150])
def test_map_keys_are_text(key: str, before: str) -> None:
    # With something before it, so that a length below zero would find bytes to read.
    document = f"82{before or '00'}a1{key}00"
    with pytest.raises(FormatError, match="another type"):
        cbor.decode(bytes.fromhex(document))


@pytest.mark.parametrize("hexed", ["c0", "c100", "c249010000000000000000", "d74100", "d82b00", "d90100" + "00"])
def test_other_tags_are_refused(hexed: str) -> None:
    with pytest.raises(FormatError):
        cbor.decode(bytes.fromhex(hexed))


@pytest.mark.parametrize("unit", [b"\x81", b"\xa1\x60", b"\xd8\x2a", b"\x9b" + b"\xff" * 8, b"\xc1"])
def test_hostile_nesting_is_refused(unit: bytes) -> None:
    with pytest.raises(FormatError):
        cbor.decode(unit * 100_000)


@pytest.mark.parametrize("major", ["5b", "7b", "9b", "bb"])
def test_a_length_beyond_the_document_is_refused(major: str) -> None:
    with pytest.raises(FormatError):
        cbor.decode(bytes.fromhex(major + "7fffffffffffffff"))


def test_the_size_limit_comes_first() -> None:
    data = cbor.encode("x" * 100)
    assert cbor.decode(data, limit_bytes=len(data)) == "x" * 100
    with pytest.raises(FormatError, match="exceeds"):
        cbor.decode(data, limit_bytes=len(data) - 1)


def test_every_truncation_is_refused() -> None:
    data = cbor.encode({"a": [1, 2**40, -300, 1.5, b"x" * 30], "link": LINK, "t": "\u00fc" * 20})
    for end in range(len(data)):
        with pytest.raises(FormatError):
            cbor.decode(data[:end])


def test_heads() -> None:
    assert cbor.read_head(b"\x00\x99\x01\x00", 1, cbor.ARRAY) == (256, 4)
    for data in (b"", b"\x60", b"\x98\x17", b"\x9f", b"\x9c"):
        with pytest.raises(FormatError):
            cbor.read_head(data, 0, cbor.ARRAY)


def _accepts(data: bytes) -> bool:
    try:
        value = cbor.decode(data)
    except FormatError:
        return False
    assert cbor.encode(value) == data
    return True


def test_strictness_vectors(vectors: Path) -> None:
    cases = json.loads((vectors / "dagcbor_strictness.json").read_text())["cases"]
    wrong = [c["name"] for c in cases if _accepts(bytes.fromhex(c["hex"])) == c["must_reject"]]
    assert len(cases) == 58
    assert wrong == []


# Published cases that follow a rule of another profile than DAG-CBOR's.
OTHER_PROFILES = {
    "Big DASL CID",  # BLAKE3; links here are sha2-256
    "CIDv1 that isn't raw or cbor",  # DASL has no dag-pb
    "negative zero float64",  # every DAG-CBOR implementation keeps it, and it has one form
    "negative zero",
    "float reduction",  # shorter floats
    "text not in Unicode Normalization Form C",
    "short NaN",
    "zero float16",
    "smallest unsigned bigint",
    "highest negative bigint",
    "map with equal int and float keys",
}


def test_published_fixtures(third_party: Callable[[str], Path]) -> None:
    wrong = set()
    count = 0
    for path in sorted(third_party("dagcbor/fixtures").rglob("*.json")):
        for case in json.loads(path.read_text()):
            accepted = _accepts(bytes.fromhex(case["data"]))
            count += 1
            # Those of type invalid_out say what an encoder must not write, so they are no DAG-CBOR either.
            if accepted != (case["type"] == "roundtrip"):
                wrong.add(case["name"])
    assert count > 80
    assert wrong == OTHER_PROFILES


def test_published_negative_fixtures(third_party: Callable[[str], Path]) -> None:
    cases = json.loads(third_party("dagcbor/negative-fixtures/dag-cbor/decode/duplicate-keys.json").read_text())
    assert [case["name"] for case in cases if _accepts(bytes.fromhex(case["hex"]))] == []


def test_published_data_model(third_party: Callable[[str], Path]) -> None:
    folder = third_party("mst/atproto-interop-tests/data-model")
    cases = json.loads((folder / "data-model-fixtures.json").read_text())
    for case in cases:
        encoded = cbor.encode(_from_json(case["json"]))
        assert encoded == _base64(case["cbor_base64"])
        assert str(CID.of(0x71, encoded)) == case["cid"]
    assert cases


def _base64(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4))


def _from_json(value: Any) -> cbor.Value:
    """The atproto data model's JSON form: links and bytes are objects with one reserved key."""
    if isinstance(value, dict):
        if value.keys() == {"$link"}:
            return CID.from_text(value["$link"])
        if value.keys() == {"$bytes"}:
            return _base64(value["$bytes"])
        return {key: _from_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    assert value is None or isinstance(value, bool | int | str)
    return value


@pytest.mark.parametrize(
    ("link", "hexed"),
    [
        (Link(b"\x01\x55\x00\x00"), "d82a450001550000"),
        (Link.of_multihash(CAR, multihash(bytes(32))), "d82a582600018204" + "1220" + "00" * 32),
        (LINK, "d82a582500" + LINK.hex()),
    ],
)
def test_links_of_others_are_read_by_who_asks_for_them(link: Link, hexed: str) -> None:
    data = bytes.fromhex("81" + hexed)
    assert cbor.encode([link]) == data
    found = cbor.decode(data, read_link=Link.read)
    assert found == [link]
    assert type(found[0]) is type(link)
    for end in range(len(data)):
        with pytest.raises(FormatError):
            cbor.decode(data[:end], read_link=Link.read)
    if type(link) is Link:
        with pytest.raises(FormatError):
            cbor.decode(data)


@pytest.mark.parametrize(
    "hexed",
    ["d82a40", "d82a4100", "d82a4101", "d82a4401550000", "d82a44000155", "d82a5805" + "0001550000", "d82a450001550001",
     "d82a65" + "0001550000", "d82b450001550000", "d82a5f450001550000ff", "d82a00", "d9002a450001550000"],
)  # fmt: skip
def test_what_is_no_link_to_anybody(hexed: str) -> None:
    with pytest.raises(FormatError):
        cbor.decode(bytes.fromhex(hexed), read_link=Link.read)


def test_a_link_that_is_none_is_not_written() -> None:
    with pytest.raises(FormatError):
        cbor.encode(Link(b"\x01"))
