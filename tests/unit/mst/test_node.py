"""The node codec: one byte form per node, every bound on both sides, everything that is not a node refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path

import pytest

from mst import cbor, node, tree
from mst.cid import CID, DAG_CBOR, DAG_PB, RAW
from mst.entry import Entry
from mst.errors import FormatError
from mst.layer import TreeParams
from mst.limits import KEY_BYTES_MAX, NODE_BYTES_MAX, NODE_ENTRIES_MAX
from mst.node import EMPTY, KEYLESS, Node

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "mst"
FAN_OUT_4 = TreeParams(2)
FAN_OUT_64 = TreeParams(6)
CHILD = CID.of(DAG_CBOR, b"a child")
VALUE = node.link(CID.of(DAG_CBOR, b"a value"))
VALID_ONLY_IN_PLACE = "valid empty intermediate node"
VALID_ONLY_AS_ROOT = "valid empty node"


def _validity_cases() -> list[tuple[str, bytes, bool]]:
    cases = json.loads((VECTORS / "node_validity.json").read_text())["cases"]
    return [(case["name"], bytes.fromhex(case["hex"]), case["valid"]) for case in cases]


def _build(keys: list[bytes], params: TreeParams = FAN_OUT_4, values: bytes = VALUE) -> Node:
    """A node of these keys without subtrees."""
    rows = []
    previous = b""
    for key in keys:
        rows.append(node.row(previous, key, None, values))
        previous = key
    layer = params.layer(keys[0]) if keys else KEYLESS
    return Node(tuple(keys), (values,) * len(keys), (None,) * (len(keys) + 1), tuple(rows), layer)


def _keys_of_layer(layer: int, count: int, params: TreeParams = FAN_OUT_4, form: str = "k/{:06}") -> list[bytes]:
    found = []
    number = 0
    while len(found) < count:
        key = form.format(number).encode()
        if params.layer(key) == layer:
            found.append(key)
        number += 1
    return found


@pytest.mark.parametrize(("name", "data", "valid"), _validity_cases(), ids=[name for name, _, _ in _validity_cases()])
def test_the_validity_vectors(name: str, data: bytes, valid: bool) -> None:
    if not valid:
        with pytest.raises(FormatError):
            node.decode(data, FAN_OUT_4)
        return
    decoded = node.decode(data, FAN_OUT_4)
    assert node.encode(decoded) == data
    if name.startswith(VALID_ONLY_IN_PLACE):
        assert tree.check_child(decoded, 1, None, None) is decoded
        for wrong_layer in (0, -1):
            with pytest.raises(FormatError):
                tree.check_child(decoded, wrong_layer, None, None)
        with pytest.raises(FormatError):
            tree.check_root(decoded)
    elif name.startswith(VALID_ONLY_AS_ROOT):
        assert tree.check_root(decoded) is decoded
        with pytest.raises(FormatError):
            tree.check_child(decoded, 1, None, None)
    else:
        assert tree.check_root(decoded) is decoded


def test_the_empty_node() -> None:
    assert node.encode(EMPTY).hex() == "a2616580616cf6"
    assert node.decode(node.encode(EMPTY), FAN_OUT_4) == EMPTY
    assert str(tree.EMPTY_ROOT) == "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"


def test_one_key_of_atproto() -> None:
    value = node.link(CID.from_text("bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454"))
    data = node.encode(_build([b"com.example.record/3jqfcqzm3fo2j"], values=value))
    assert len(data) == 93
    assert str(CID.of(DAG_CBOR, data)) == "bafyreibj4lsc3aqnrvphp5xmrnfoorvru4wynt6lwidqbm2623a6tatzdu"


def test_a_node_is_the_dag_cbor_of_its_schema() -> None:
    keys = _keys_of_layer(1, 3)
    data = node.encode(
        Node(
            tuple(keys),
            (VALUE,) * 3,
            (CHILD, None, CHILD, None),
            (
                node.row(b"", keys[0], None, VALUE),
                node.row(keys[0], keys[1], CHILD, VALUE),
                node.row(keys[1], keys[2], None, VALUE),
            ),
            1,
        )
    )
    value = CID(VALUE[5:])
    shared = [0, node.common_prefix_length(keys[0], keys[1]), node.common_prefix_length(keys[1], keys[2])]
    assert data == cbor.encode(
        {
            "e": [
                {"k": keys[0], "p": 0, "t": None, "v": value},
                {"k": keys[1][shared[1] :], "p": shared[1], "t": CHILD, "v": value},
                {"k": keys[2][shared[2] :], "p": shared[2], "t": None, "v": value},
            ],
            "l": CHILD,
        }
    )
    decoded = node.decode(data, FAN_OUT_4)
    assert decoded.keys == tuple(keys)
    assert decoded.children == (CHILD, None, CHILD, None)
    assert decoded.layer == 1


META = {"content-type": "text/plain", "meta": {"a": "b"}}
VALUES = [
    node.link(CID.of(RAW, b"")),
    node.link(CID.of(DAG_PB, b"")),
    node.link(CID.of(DAG_CBOR, b"")),
    Entry(CID.of(RAW, b""), 0, 0, md5(b"").digest(), None).encode(),
    Entry(CID.of(DAG_PB, b""), 2**40, 2**41, md5(b"").digest() + b"\x00\x09", CHILD).encode(),
    Entry(CID.of(RAW, b""), 24, 256, md5(b"").digest(), META).encode(),
]


def test_links_and_entries_may_stand_side_by_side() -> None:
    keys = _keys_of_layer(0, len(VALUES))
    rows = tuple(
        node.row(previous, key, None, value) for previous, key, value in zip([b"", *keys], keys, VALUES, strict=False)
    )
    built = Node(tuple(keys), tuple(VALUES), (None,) * (len(keys) + 1), rows, 0)
    assert node.decode(node.encode(built), FAN_OUT_4) == built


@pytest.mark.parametrize("value", [b"\xf6", b"\x00", b"\x40", b"\x80", b"\x85", b"\xd8\x2a", CHILD, b"\xa0"])
def test_other_values_are_refused(value: bytes) -> None:
    data = node.encode(_build(_keys_of_layer(0, 1), values=value))
    with pytest.raises(FormatError):
        node.decode(data, FAN_OUT_4)


def test_a_link_of_another_hash_is_no_value() -> None:
    sha512_prefix = VALUE.replace(b"\x01\x71\x12\x20", b"\x01\x71\x13\x20")
    with pytest.raises(FormatError):
        node.decode(node.encode(_build(_keys_of_layer(0, 1), values=sha512_prefix)), FAN_OUT_4)


@pytest.mark.parametrize("count", [0, 1, 23, 24, 255, 256, NODE_ENTRIES_MAX])
def test_every_width_of_the_entry_count(count: int) -> None:
    built = _build(_keys_of_layer(0, count, FAN_OUT_64), FAN_OUT_64)
    assert node.decode(node.encode(built), FAN_OUT_64) == built


def test_one_entry_too_many() -> None:
    data = node.encode(_build(_keys_of_layer(0, NODE_ENTRIES_MAX + 1, FAN_OUT_64), FAN_OUT_64))
    with pytest.raises(FormatError, match="more than 1024"):
        node.decode(data, FAN_OUT_64)


@pytest.mark.parametrize("length", [1, 23, 24, 255, 256, KEY_BYTES_MAX])
def test_every_width_of_a_key(length: int) -> None:
    key = next(k for n in range(10**6) if FAN_OUT_4.layer(k := (f"{n:x}" + "y" * length)[:length].encode()) == 0)
    built = _build([key])
    assert node.decode(node.encode(built), FAN_OUT_4) == built


def test_a_key_of_one_byte_too_many() -> None:
    key = next(k for n in range(100) if FAN_OUT_4.layer(k := b"x" * 1021 + b"%04d" % n) == 0)
    assert len(key) == KEY_BYTES_MAX + 1
    with pytest.raises(FormatError, match="exceeds 1024"):
        node.decode(node.encode(_build([key])), FAN_OUT_4)


def test_the_key_of_a_version_may_be_longer_by_its_suffix() -> None:
    def keys(length: int) -> Iterator[bytes]:
        return (b"x" * (length - 3) + b"%03d" % n + b"\0" + b"0" * 16 for n in range(100))

    key = next(k for k in keys(KEY_BYTES_MAX) if FAN_OUT_4.layer(k) == 0)
    built = _build([key])
    assert node.decode(node.encode(built), FAN_OUT_4) == built
    longer = next(k for k in keys(KEY_BYTES_MAX + 1) if FAN_OUT_4.layer(k) == 0)
    with pytest.raises(FormatError, match="exceeds 1024"):
        node.decode(node.encode(_build([longer])), FAN_OUT_4)


def test_a_long_shared_prefix() -> None:
    keys = _keys_of_layer(0, 5, form="p" * 1000 + "/{:03}")
    built = _build(keys)
    assert len(node.encode(built)) < 1024 + 5 * 80
    assert node.decode(node.encode(built), FAN_OUT_4) == built


def test_a_prefix_may_end_inside_a_character() -> None:
    keys = sorted(key for n in range(0x80, 0xC0) if FAN_OUT_4.layer(key := f"k/{chr(n)}".encode()) == 0)
    built = _build(keys)
    assert node.decode(node.encode(built), FAN_OUT_4) == built
    assert node.common_prefix_length(*keys[:2]) == 3


@pytest.mark.parametrize("prefix", [b"\x01q\x12 ", b"\x12 "])
def test_keys_that_look_like_cids_stay_keys(prefix: bytes) -> None:
    keys = [key for n in range(40) if FAN_OUT_4.layer(key := prefix + b"%032d" % n) == 0]
    built = _build(keys)
    decoded = cbor.decode(node.encode(built))
    assert isinstance(decoded, dict)
    assert type(decoded["e"][0]["k"]) is bytes
    assert node.decode(node.encode(built), FAN_OUT_4) == built


def test_too_many_bytes() -> None:
    with pytest.raises(FormatError, match="exceeds"):
        node.decode(b"\xa2" * (NODE_BYTES_MAX + 1), FAN_OUT_4)


def test_truncation_at_every_offset() -> None:
    keys = _keys_of_layer(1, 3)
    rows = (
        node.row(b"", keys[0], CHILD, VALUES[-1]),
        node.row(keys[0], keys[1], None, VALUES[0]),
        node.row(keys[1], keys[2], CHILD, VALUES[4]),
    )
    data = node.encode(Node(tuple(keys), (), (CHILD, CHILD, None, CHILD), rows, 1))
    node.decode(data, FAN_OUT_4)
    for length in range(len(data)):
        with pytest.raises(FormatError):
            node.decode(data[:length], FAN_OUT_4)


def test_whether_keys_belong_together_depends_on_fan_out_and_salt() -> None:
    keys = [key for n in range(1000) if FAN_OUT_64.layer(key := b"%d" % n) == 0 and FAN_OUT_4.layer(key) == 1][:1]
    keys += [key for n in range(1000) if FAN_OUT_64.layer(key := b"%d" % n) == 0 and FAN_OUT_4.layer(key) == 0][:1]
    data = node.encode(_build(sorted(keys), FAN_OUT_64))
    node.decode(data, FAN_OUT_64)
    with pytest.raises(FormatError, match="different layers"):
        node.decode(data, FAN_OUT_4)
    salts = [TreeParams(2, bytes([n]) * 32) for n in range(64)]
    verdicts = {len({params.layer(key) for key in keys}) == 1 for params in salts}
    assert verdicts == {True, False}
    for params in salts:
        if len({params.layer(key) for key in keys}) != 1:
            with pytest.raises(FormatError, match="different layers"):
                node.decode(data, params)


def test_a_subtree_below_layer_0_is_refused_on_either_side() -> None:
    (key,) = _keys_of_layer(0, 1)
    for children in ((CHILD, None), (None, CHILD)):
        built = Node((key,), (VALUE,), children, (node.row(b"", key, children[1], VALUE),), 0)
        with pytest.raises(FormatError, match="below layer 0"):
            node.decode(node.encode(built), FAN_OUT_4)


@pytest.mark.parametrize(
    ("a", "b", "length"),
    [
        (b"", b"", 0), (b"a", b"", 0), (b"abc", b"abc", 3), (b"abc", b"abd", 2), (b"\x00", b"\x00\x00", 1),
        (b"b", b"a", 0), (b"\x00" * 9 + b"\x01", b"\x00" * 9 + b"\x02", 9), (b"x" * 1024, b"x" * 1023 + b"\xff", 1023),
    ],
)  # fmt: skip
def test_common_prefixes(a: bytes, b: bytes, length: int) -> None:
    assert node.common_prefix_length(a, b) == length
    assert node.common_prefix_length(b, a) == length
