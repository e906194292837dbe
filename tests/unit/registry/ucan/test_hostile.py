"""Bytes from strangers: every decoder raises `UcanError` and nothing else, and accepts only what it would write."""

from __future__ import annotations

import gzip
import zlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mst import cbor, varint
from mst.block import Block
from mst.cid import CAR, CID, DAG_CBOR, RAW, Link, multihash
from registry.ucan import archive, car, header, index, message, query, receipt
from registry.ucan.archive import unpadded_base64
from registry.ucan.capability import BlobAllocate, Location, Retrieve, arguments
from registry.ucan.delegation import gather
from registry.ucan.did import DID
from registry.ucan.errors import HeaderTooLong, Malformed, UcanError
from registry.ucan.index import NO_CONTENT, Index, Slice
from registry.ucan.limits import HEADER_CHARS_MAX, HEADER_MESSAGE_BYTES_MAX, INVOCATIONS_MAX, MESSAGE_BLOCKS_MAX
from registry.ucan.receipt import Failure, Ok
from registry.ucan.results import Allocation
from registry.ucan.token import Capability
from registry.ucan.v091 import UCAN_0_9_1
from registry.ucan.wire import Fields

DECODERS: dict[str, tuple[str, Callable[[bytes], Any]]] = {
    "ucan": ("retrieve", UCAN_0_9_1.decode),
    "receipt": ("acceptReceipt", receipt.decode),
    "message": ("retrieveMessage", message.decode),
    "response": ("acceptResponse", message.decode),
    "index": ("index", index.decode),
    "query": ("query", query.decode),
}


def _outcome(decode: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return decode(data)
    except UcanError as error:
        assert str(error)
        return None


@pytest.mark.parametrize("name", DECODERS)
@given(data=st.binary(max_size=200))
def test_nonsense(name: str, data: bytes) -> None:
    _outcome(DECODERS[name][1], data)


@pytest.mark.parametrize("name", DECODERS)
def test_every_truncation_and_every_flipped_bit(name: str, seeded: dict[str, bytes]) -> None:
    vector, decode = DECODERS[name]
    data = seeded[vector]
    assert decode(data) is not None
    in_car = name not in ("ucan", "receipt")
    for at in range(len(data)):
        # A CAR file may end after any section: what is missing then is for who looks for it.
        if _outcome(decode, data[:at]) is not None:
            assert in_car
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        found = _outcome(decode, bytes(flipped))
        # A block whose codec changed is another block: what is meant is missing then, which is told later.
        if in_car and found is not None:
            assert set(found.blocks) != set(decode(data).blocks)
    for after in (b"\x00", b"\xff", data):
        if after is not data or not in_car:
            assert _outcome(decode, data + after) is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-300, 300) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5) | st.binary(max_size=5) | st.sampled_from([CID.of(RAW, b""), CID.of(DAG_CBOR, b"")])
    | st.sampled_from([Link(b"\x01\x55\x00\x00"), Link.of_multihash(CAR, multihash(bytes(32)))]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4), max_leaves=10,
)  # fmt: skip


def _with_a_field_replaced(value: Any, draw: st.DataObject) -> Any:
    """The document with one value in it, however deep, replaced or left out."""
    if isinstance(value, Mapping) and value and draw.draw(st.integers(0, 4)):
        key = draw.draw(st.sampled_from(sorted(value)))
        if not draw.draw(st.integers(0, 5)):
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: _with_a_field_replaced(value[key], draw)}
    if isinstance(value, list) and value and draw.draw(st.integers(0, 4)):
        at = draw.draw(st.integers(0, len(value) - 1))
        return [*value[:at], _with_a_field_replaced(value[at], draw), *value[at + 1 :]]
    return draw.draw(VALUES)


@given(st.data())
def test_a_ucan_with_other_fields(seeded: dict[str, bytes], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["proof", "alloc", "put", "location", "assertIndex"]))
    document = cbor.decode(seeded[name], read_link=Link.read)
    changed = cbor.encode(_with_a_field_replaced(document, data))
    token = _outcome(UCAN_0_9_1.decode, changed)
    if token is not None:
        assert token.data == changed
        _outcome(lambda _: UCAN_0_9_1.verify(token), b"")
        for kind in (BlobAllocate, Location, Retrieve):
            for capability in token.payload.capabilities:
                _outcome(lambda _, of=capability, kind=kind: arguments(kind, of), b"")


@given(st.data())
def test_a_receipt_with_other_fields(seeded: dict[str, bytes], data: st.DataObject) -> None:
    document = cbor.decode(seeded["acceptReceipt"])
    changed = cbor.encode(_with_a_field_replaced(document, data))
    found = _outcome(receipt.decode, changed)
    if found is not None and isinstance(found.out, Failure):
        assert isinstance(found.out.name + found.out.message, str)


@given(st.data())
def test_files_with_other_documents(seeded: dict[str, bytes], data: st.DataObject) -> None:
    name, decode = data.draw(st.sampled_from([("acceptResponse", message.decode), ("index", index.decode)]))
    found = car.decode(seeded[name], name, limit_bytes=10_000)
    at = data.draw(st.integers(0, len(found.blocks) - 1))
    blocks = []
    root = found.root
    for n, (cid, block) in enumerate(found.blocks.items()):
        if n == at:
            document = cbor.decode(block, read_link=Link.read)
            made = Block.of(DAG_CBOR, cbor.encode(_with_a_field_replaced(document, data)))
            root = made.cid if cid == root else root
            blocks.append((Link(made.cid), made.data))
        else:
            blocks.append((cid, block))
    _outcome(decode, car.encode(root, blocks))


@given(VALUES)
def test_results_of_any_value(value: Any) -> None:
    _outcome(lambda _: Allocation.read(value), b"")


@given(st.text(max_size=80) | st.text("did:key:z6Mkwebx", max_size=60))
def test_texts(text: str) -> None:
    for read in (DID.parse, archive.from_text, header.decode):
        _outcome(lambda _, read=read: read(text), b"")


@given(st.binary(max_size=60))
def test_bytes_of_dids(data: bytes) -> None:
    did = _outcome(DID.read, data)
    if did is not None:
        assert did.binary == data


def _packed(data: bytes) -> str:
    return "m" + b64encode(data).decode().rstrip("=")


def test_a_header_of_any_size_is_bounded() -> None:
    most = bytes(HEADER_MESSAGE_BYTES_MAX)
    assert header.decode(_packed(gzip.compress(most, mtime=0))) == most
    for size in (HEADER_MESSAGE_BYTES_MAX + 1, 2_500_000):
        bomb = _packed(gzip.compress(bytes(size), mtime=0))
        assert len(bomb) <= HEADER_CHARS_MAX
        with pytest.raises(Malformed, match="unpacks to more"):
            header.decode(bomb)
    with pytest.raises(HeaderTooLong):
        header.decode("m" + "A" * HEADER_CHARS_MAX)
    with pytest.raises(HeaderTooLong):
        header.encode(b"".join(bytes([n * n % 251, n % 256]) * (n % 7) for n in range(4000)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "m",
        "z111",
        "mH4sI\n",
        "m====",
        "mH",
        _packed(b"not gzip"),
        _packed(gzip.compress(b"x", mtime=0))[:-3],
        _packed(gzip.compress(b"x", mtime=0) + b"x"),
        _packed(gzip.compress(b"x", mtime=0) * 2),
        _packed(zlib.compress(b"x")),
        "M" + b64encode(gzip.compress(b"xy", mtime=0)).decode(),
    ],
)
def test_headers_that_are_refused(text: str) -> None:
    with pytest.raises(Malformed):
        header.decode(text)


def test_base64_has_one_form() -> None:
    assert unpadded_base64("QQ", "it") == b"A"
    for bad in ("QR", "QQ==", "Q", "Q Q", "Q-", "é"):
        with pytest.raises(Malformed):
            unpadded_base64(bad, "it")


def _car(*sections: bytes, roots: int = 1, version: int = 1) -> bytes:
    head = cbor.encode({"roots": [CID.of(RAW, b"")] * roots, "version": version})
    return varint.encode(len(head)) + head + b"".join(varint.encode(len(one)) + one for one in sections)


EMPTY = bytes(CID.of(RAW, b""))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        _car(roots=0),
        _car(roots=2),
        _car(version=2),
        _car(b""),
        _car(EMPTY + b"x"),
        _car(EMPTY[:-1]),
        _car(b"\x01\x55\x00\x05hello"),
        _car(b"\x01\x55\x12\x14" + bytes(20)),
        _car(b"\x12\x20" + bytes(32)),
        _car(b"\x02" + EMPTY[1:]),
        _car(EMPTY)[:-1],
        _car(EMPTY) + b"\x00",
        _car(EMPTY) + b"\xff" * 10,
        _car(EMPTY) + b"\x80\x00",
        _car(*[EMPTY] * (MESSAGE_BLOCKS_MAX + 1)),
    ],
)
def test_car_files_that_are_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        car.decode(data, "file", limit_bytes=2**20)


def test_car_files_are_bounded() -> None:
    data = _car(EMPTY)
    assert car.decode(data, "file", limit_bytes=len(data)).blocks == {CID(EMPTY): b""}
    with pytest.raises(Malformed, match="exceed"):
        car.decode(data, "file", limit_bytes=len(data) - 1)
    block = Block.of(RAW, b"x" * 100)
    data = car.encode(block.cid, [block])
    car.decode(data, "file", limit_bytes=1000, block_bytes_max=136)
    with pytest.raises(Malformed, match="too large"):
        car.decode(data, "file", limit_bytes=1000, block_bytes_max=135)


def test_a_message_is_bounded(keys: SimpleNamespace) -> None:
    ran = [CID.of(DAG_CBOR, bytes([n % 256, n // 256])) for n in range(INVOCATIONS_MAX + 1)]
    message.partial_request(ran[:-1], ())
    with pytest.raises(Malformed, match="more than"):
        message.partial_request(ran, ())
    tag = "ucanto/message@7.0.0"
    for content in ({"execute": ran}, {"report": {str(cid): cid for cid in ran}}, {"execute": [EMPTY]}, {"more": []},
                    {"report": {"x": ran[0]}}, {"report": {str(ran[0]): 1}}, [], None):  # fmt: skip
        root = Block.of(DAG_CBOR, cbor.encode({tag: content}))
        with pytest.raises(Malformed):
            message.decode(car.encode(root.cid, [root]))
    for good in ({}, {"execute": [], "report": {}}):
        root = Block.of(DAG_CBOR, cbor.encode({tag: good}))
        assert message.decode(car.encode(root.cid, [root])).execute == ()
    with pytest.raises(Malformed, match="root is missing"):
        message.decode(car.encode(root.cid, []))
    with pytest.raises(Malformed, match="no receipt"):
        message.decode(message.request([])).receipt(ran[0])


def test_a_receipt_is_for_one_thing_and_by_one_node(keys: SimpleNamespace) -> None:
    ran, other = CID.of(DAG_CBOR, b"1"), CID.of(DAG_CBOR, b"2")
    made = receipt.issue(keys.node, ran, Failure.of("NotFound", "it is not there"))
    made.verify(keys.node.did, ran)
    with pytest.raises(UcanError, match="instead of"):
        made.verify(keys.node.did, other)
    with pytest.raises(UcanError, match="instead of"):
        made.verify(keys.other.did, ran)
    forged = receipt.decode(made.data.replace(b"not there", b"all there"))
    with pytest.raises(UcanError, match="signature"):
        forged.verify(keys.node.did, ran)
    assert receipt.issue(keys.node, ran, Ok(None)).out == Ok(None)


def test_gathering_takes_what_is_there(seeded: dict[str, bytes]) -> None:
    asked = message.decode(seeded["retrieveMessage"])
    alone = {asked.execute[0]: asked.blocks[asked.execute[0]]}
    assert gather(asked.execute[0], alone).attached == {}
    with pytest.raises(Malformed, match="missing"):
        gather(asked.execute[0], {})
    with pytest.raises(Malformed, match="does not name"):
        gather(CID.of(RAW, seeded["retrieve"]), {CID.of(RAW, seeded["retrieve"]): seeded["retrieve"]})


def test_an_index_is_bounded_and_well_formed() -> None:
    shard, tag = bytes(32), "index/sharded/dag@0.1"
    assert index.decode(Index(NO_CONTENT, {}).encode()).shards == {}
    many = Index(NO_CONTENT, {bytes([n]) * 32: {shard: Slice(n, 1)} for n in range(5)})
    assert index.decode(many.encode()) == many

    def archive_of(*shards: Any, **more: Any) -> bytes:
        blocks = [Block.of(DAG_CBOR, cbor.encode(one)) for one in shards]
        content = {"shards": [block.cid for block in blocks], "content": NO_CONTENT, **more}
        root = Block.of(DAG_CBOR, cbor.encode({tag: content}))
        return car.encode(root.cid, [*blocks, root])

    name = multihash(shard)
    assert index.decode(archive_of([name, []])).shards == {shard: {}}
    for bad in (archive_of([name, []], [name, []]), archive_of([name]), archive_of(None), archive_of([shard, []]),
                archive_of([name, [[name, [0]]]]), archive_of([name, [[name, [0, -1]]]]),
                archive_of([name, [[name, 0, 1]]]), archive_of([name, [[name, [True, 1]]]]),
                archive_of([name, None]), archive_of(more=1), archive_of(shards=[CID.of(RAW, b"")])):  # fmt: skip
        with pytest.raises(Malformed):
            index.decode(bad)


def test_the_names_of_indexes_are_any_bytes() -> None:
    names = {b"\x12\x20" + b"\xff" * 32: Index(NO_CONTENT, {}).encode(), b"": b"x", b"text": b"y"}
    found = query.decode(query.encode([], names))
    assert set(found.indexes) == set(names)
    assert found.index(b"\x12\x20" + b"\xff" * 32).shards == {}
    with pytest.raises(Malformed):
        found.index(b"text")
    empty = query.decode(query.encode([], {}))
    assert (empty.claims, empty.indexes) == ((), {})
    with pytest.raises(Malformed):
        query.encode([], {bytes(257): b""})


def test_an_archive_says_what_is_meant(seeded: dict[str, bytes], vectors: Path) -> None:
    token = Block.of(DAG_CBOR, seeded["proof"])
    for document in ({"ucan@1.0.0": token.cid}, {"ucan@0.9.1": 5}, {"ucan@0.9.1": CID.of(DAG_CBOR, b"")}, 5):
        root = Block.of(DAG_CBOR, cbor.encode(document))
        with pytest.raises(Malformed):
            archive.decode(car.encode(root.cid, [token, root]))
    with pytest.raises(Malformed, match="root is missing"):
        archive.decode(car.encode(token.cid, []))


def test_fields_are_taken_with_their_types() -> None:
    with pytest.raises(Malformed, match="not a map"):
        Fields([], "it")
    with pytest.raises(Malformed, match="of another type"):
        Fields({"n": True}, "it").take("n", int)
    fields = Fields({"n": None, "links": [CID(EMPTY)], "more": 1}, "it")
    assert fields.take_nullable("n", int) is None
    assert fields.take_list("links", Link, many=1) == (CID(EMPTY),)
    with pytest.raises(Malformed, match="unknown field 'more'"):
        fields.end()
    for bad in ([1, 2], [None], "x"):
        with pytest.raises(Malformed):
            Fields({"l": bad}, "it").take_list("l", int, many=1)
    with pytest.raises(Malformed):
        arguments(Retrieve, Capability("space/content/retrieve", "a:b", None))
