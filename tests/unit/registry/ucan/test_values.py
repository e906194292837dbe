"""DIDs, keys, signed text, arguments and results: what is read, what is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mst.cid import CID, DAG_CBOR, Link
from registry import base58
from registry.ucan import dagjson
from registry.ucan.capability import AssertIndex, Location, Retrieve, arguments
from registry.ucan.delegation import delegate
from registry.ucan.did import DID
from registry.ucan.errors import Malformed, Untrusted
from registry.ucan.results import Acceptance, Address, Allocation
from registry.ucan.signing import KeySigner, sign, verify
from registry.ucan.token import Capability, Payload
from registry.ucan.v091 import UCAN_0_9_1

MULTIHASH = b"\x12\x20" + bytes(range(32))
SOME = CID.of(DAG_CBOR, b"")


@pytest.mark.parametrize(
    ("data", "text"), [(b"", ""), (b"\x00", "1"), (b"\x00\x00a", "112g"), (b"hello world", "StV1DL6CwTryKyV")]
)
def test_base58(data: bytes, text: str) -> None:
    assert base58.encode(data) == text
    assert base58.decode(text) == data


@pytest.mark.parametrize("text", ["0", "I", "l", "O", " ", "é", "1" * 257])
def test_base58_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="base58"):
        base58.decode(text)


def test_a_did_has_two_forms(keys: SimpleNamespace) -> None:
    assert keys.space.did.binary.hex().startswith("ed018a88e3dd74")
    for text in (keys.space.did, "did:web:up.example.com", "did:mailto:example.com:alice", "did:web:a%3A80"):
        did = DID.parse(text)
        assert DID.read(did.binary) == did == text
    assert DID.parse("did:web:up.example.com").binary == b"\x9d\x1aweb:up.example.com"


@pytest.mark.parametrize("text", ["", "did:", "did:key:", "did:key:z6Mk", "did:web:", "did:web:a/b", "did:web:a#b",
                                  "did:web:a?b", "DID:web:a", "did:Web:a", "did:web:a ", "did:web:%g0", "did:web::a",
                                  "did:web:" + "a" * 300, "did:web:é", "did:web:a\n"])  # fmt: skip
def test_texts_that_are_no_did(text: str) -> None:
    with pytest.raises(Malformed):
        DID.parse(text)


@pytest.mark.parametrize("data", [b"", b"\xed\x01", b"\xed\x01" + bytes(31), b"\xed\x01" + bytes(33), b"\x9d\x1a",
                                  b"\x85\x24" + bytes(300), b"\x9d\x1aweb:\xff", b"\x9d\x1a" + b"a" * 300,
                                  b"did:web:a"])  # fmt: skip
def test_bytes_that_are_no_did(data: bytes) -> None:
    with pytest.raises(Malformed):
        DID.read(data)


def test_a_key_has_one_binary_form(keys: SimpleNamespace) -> None:
    with pytest.raises(Malformed, match="other methods"):
        DID.read(b"\x9d\x1a" + keys.space.did.removeprefix("did:").encode())


def test_a_key_has_a_text(keys: SimpleNamespace) -> None:
    text = keys.space.to_text()
    assert text == ("MgCYBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAe0Biojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=")
    assert KeySigner.from_text(text).did == keys.space.did
    for bad in ("", text[:-1], "m" + text[1:], text[:40] + "Z" + text[41:], text[:40] + "!" + text[41:]):
        with pytest.raises(Malformed):
            KeySigner.from_text(bad)
    with pytest.raises(Malformed):
        KeySigner(bytes(31))


def test_a_signature_says_its_kind(keys: SimpleNamespace) -> None:
    signature = sign(keys.space, b"message")
    assert signature.startswith(b"\xed\xa1\x03\x40")
    verify(keys.space.did, signature, b"message")
    for bad in (signature[4:], b"\xe7" + signature[1:], signature + b"\x00", signature[:-1], b""):
        with pytest.raises(Untrusted, match="kind EdDSA"):
            verify(keys.space.did, bad, b"message")
    with pytest.raises(Untrusted):
        verify(keys.other.did, signature, b"message")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None, "é\n\x01\x7f<&"]}, '{"a":[true,null,"é\\n\\u0001\x7f<&"],"b":1}'),
        (b"\x01\x02\x03", '{"/":{"bytes":"AQID"}}'),
        (SOME, f'{{"/":"{SOME}"}}'),
        (Link(b"\x01\x55\x00\x00"), '{"/":"bafkqaaa"}'),
        ({"bb": 1, "a": 2, "\N{DECIDUOUS TREE}": 3, "\ufffd": 4}, '{"a":2,"bb":1,"\ufffd":4,"\N{DECIDUOUS TREE}":3}'),
        ([], "[]"),
        ({}, "{}"),
    ],
)
def test_dag_json(value: Any, text: str) -> None:
    assert dagjson.encode(value) == text


@pytest.mark.parametrize("value", [1.0, 2**53, -(2**53), "\b", "\f", "\u2028", "\ud800", {"/": 1}, {"\u2029": 1}, {1},
                                   {"/": {"bytes": "AA"}}, [{"/": str(SOME)}]])  # fmt: skip
def test_what_implementations_write_differently_is_not_signed(value: Any, keys: SimpleNamespace) -> None:
    with pytest.raises(Malformed):
        dagjson.encode(value)
    with pytest.raises(Malformed):
        delegate(keys.space, keys.agent.did, [Capability("test/do", "a:b", {"x": value})], expires=None)


@pytest.mark.parametrize(
    "how",
    [
        {"capabilities": []},
        {"capabilities": [Capability("test/do", "a:b")] * 65},
        {"capabilities": [Capability("do", "a:b")]},
        {"capabilities": [Capability("Test/do", "a:b")]},
        {"capabilities": [Capability("test/" + "d" * 128, "a:b")]},
        {"capabilities": [Capability("test/do", "ab")]},
        {"capabilities": [Capability("test/do", "a:" + "b" * 1024)]},
        {"expires": -1},
        {"expires": 2**53},
        {"not_before": -1},
        {"nonce": "x" * 20_000},
    ],
    ids=str,
)
def test_ucans_that_are_not_written(how: dict[str, Any], keys: SimpleNamespace) -> None:
    with pytest.raises(Malformed):
        delegate(keys.space, keys.agent.did, **{"capabilities": [Capability("test/do", "a:b")], "expires": None} | how)


def test_a_ucan_is_signed_by_its_issuer(keys: SimpleNamespace) -> None:
    payload = Payload(
        issuer=keys.space.did, audience=keys.agent.did, capabilities=(Capability("*", "a:b"),), expires=None
    )
    with pytest.raises(Untrusted):
        UCAN_0_9_1.sign(payload, keys.other)


def test_a_capability_without_conditions_is_signed_so(keys: SimpleNamespace) -> None:
    made = delegate(keys.space, keys.agent.did, [Capability("test/do", "a:b", None)], expires=None)
    assert b"bnb" not in made.token.data
    again = UCAN_0_9_1.decode(made.token.data)
    UCAN_0_9_1.verify(again)
    assert again.payload.capabilities[0].nb is None


@pytest.mark.parametrize(
    ("ok", "expected"),
    [
        ({"size": 5}, Allocation(5, None)),
        ({"size": 0, "address": None}, Allocation(0, None)),
        ({"size": 5, "address": {"url": "", "headers": {}, "expires": 1}}, Allocation(5, None)),
        (
            {"size": 5, "address": {"url": "http://a/b", "headers": {"x": "y"}, "expires": 9, "new": 1}, "new": 2},
            Allocation(5, Address("http://a/b", {"x": "y"}, 9)),
        ),
    ],
)
def test_allocations(ok: Any, expected: Allocation) -> None:
    assert Allocation.read(ok) == expected
    assert Allocation.read(expected.value()) == expected


@pytest.mark.parametrize(
    "ok",
    [
        None,
        {},
        {"size": -1},
        {"size": True},
        {"size": 1, "address": 5},
        {"size": 1, "address": {"url": "http://a"}},
        {"size": 1, "address": {"url": "http://a", "headers": {"x": 1}, "expires": 1}},
        {"size": 1, "address": {"url": "http://a", "headers": {"x": "a\r\nb"}, "expires": 1}},
        {"size": 1, "address": {"url": "http://a" * 400, "headers": {}, "expires": 1}},
        {"size": 1, "address": {"url": "http://a", "headers": {}, "expires": -1}},
    ],
    ids=str,
)
def test_what_is_no_allocation(ok: Any) -> None:
    with pytest.raises(Malformed):
        Allocation.read(ok)


def test_acceptances() -> None:
    assert Acceptance.read({"site": SOME, "pdp": SOME}) == Acceptance(SOME)
    for bad in (None, {}, {"site": None}, {"site": bytes(SOME)}, {"site": Link(b"\x01\x55\x00\x00")}):
        with pytest.raises(Malformed):
            Acceptance.read(bad)


@pytest.mark.parametrize(
    "content", [{"digest": MULTIHASH}, Link.of_multihash(0x55, MULTIHASH), Link.of_multihash(0x0202, MULTIHASH)]
)
def test_a_location_by_digest_or_by_link(content: Any) -> None:
    found = arguments(Location, Capability("assert/location", "a:b", {"content": content, "location": ["http://a"]}))
    assert found == Location(MULTIHASH[2:], ("http://a",))


GOOD_LOCATION = {"content": {"digest": MULTIHASH}, "location": ["http://a"]}


@pytest.mark.parametrize(
    ("kind", "nb"),
    [
        (Location, None),
        (Location, {**GOOD_LOCATION, "location": []}),
        (Location, {**GOOD_LOCATION, "location": ["http://a"] * 17}),
        (Location, {**GOOD_LOCATION, "location": [b"http://a"]}),
        (Location, {**GOOD_LOCATION, "location": ["http://a" * 400]}),
        (Location, {**GOOD_LOCATION, "content": {"digest": MULTIHASH[:-1]}}),
        (Location, {**GOOD_LOCATION, "content": Link(b"\x01\x55\x00\x00")}),
        (Location, {**GOOD_LOCATION, "range": {"length": 5}}),
        (Location, {**GOOD_LOCATION, "range": {"offset": 0, "length": -5}}),
        (Location, {**GOOD_LOCATION, "space": b"\xed\x01"}),
        (Retrieve, {"blob": {"digest": MULTIHASH}}),
        (Retrieve, {"blob": {"digest": MULTIHASH}, "range": [5, 4]}),
        (Retrieve, {"blob": {"digest": MULTIHASH}, "range": [0, 2**63]}),
        (Retrieve, {"blob": {"digest": MULTIHASH}, "range": [True, 4]}),
        (Retrieve, {"blob": MULTIHASH, "range": [0, 4]}),
        (AssertIndex, {"content": SOME, "index": SOME}),
        (AssertIndex, {"content": SOME, "index": Link(b"\x01\x82\x04\x00\x00")}),
    ],
    ids=str,
)
def test_arguments_that_are_refused(kind: Any, nb: Any) -> None:
    with pytest.raises(Malformed):
        arguments(kind, Capability(kind.can, "a:b", nb))
