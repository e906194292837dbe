"""Fuzz targets for what storage nodes and their clients send each other: whatever arrives, a decoder raises `UcanError`
and nothing else, and what it accepts is what it would write.
"""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import suppress
from typing import Any

from mst.cid import CID, DAG_CBOR, RAW, Link, multihash
from registry.ucan import archive, car, dagjson, header, index, message, query, receipt, wire
from registry.ucan.capability import Blob, BlobAccept, Location, Retrieve, capability
from registry.ucan.delegation import delegate, invoke
from registry.ucan.did import DID
from registry.ucan.errors import UcanError
from registry.ucan.index import NO_CONTENT, Index, Slice
from registry.ucan.message import Message
from registry.ucan.query import QueryResult
from registry.ucan.receipt import Failure, Ok, Receipt
from registry.ucan.signing import KeySigner
from registry.ucan.token import Capability, Token
from registry.ucan.v091 import UCAN_0_9_1
from tests.fuzz.formats import CBOR_TOKENS
from tests.fuzz.target import Target

SPACE, AGENT, NODE = (KeySigner(bytes([n]) * 32) for n in (1, 2, 3))
DIGEST = bytes(range(32))
SOME = CID.of(DAG_CBOR, b"")
GRANT = delegate(NODE, AGENT.did, [Capability("blob/*", NODE.did), Capability("*", "ucan:*", None)], expires=None)
ACCEPT = invoke(
    AGENT, NODE.did, capability(NODE.did, BlobAccept(SPACE.did, Blob(DIGEST, 5), SOME)), expires=1_893_456_000,
    proofs=[GRANT], facts=[{"why": "because"}], nonce="1",
)  # fmt: skip
CLAIM = invoke(NODE, SPACE.did, capability(NODE.did, Location(DIGEST, ("http://a/b",), SPACE.did, 0, 5)), expires=None)
READ = invoke(SPACE, NODE.did, capability(SPACE.did, Retrieve(DIGEST, 0, 4)), expires=1_893_456_000)
DONE = receipt.issue(NODE, ACCEPT.cid, Ok({"site": CLAIM.cid}), fork=[CLAIM.cid], attached=CLAIM.blocks())
FAILED = receipt.issue(NODE, ACCEPT.cid, Failure.of("NotFound", "it is not there"))
INDEX = Index(NO_CONTENT, {DIGEST: {bytes(32): Slice(96, 9), DIGEST: Slice(300, 70_000)}}).encode()
TOKENS = (*CBOR_TOKENS, b"\x9d\x1aweb:a", b"\xed\xa1\x03\x40", multihash(DIGEST), b"ucan:*", b"\x01\x55\x00\x00")


def _token_check(data: bytes, token: Token) -> None:
    assert token.data == data
    try:
        UCAN_0_9_1.verify(token)
    except UcanError:
        return
    again = UCAN_0_9_1.decode(data)
    assert again == token


def _receipt_check(data: bytes, found: Receipt) -> None:
    assert found.data == data
    assert wire.decode(found.signed, "receipt", limit_bytes=len(data)) is not None
    if isinstance(found.out, Failure):
        assert isinstance(found.out.name + found.out.message, str)


def _blocks_match(blocks: Any) -> None:
    for cid, block in blocks.items():
        assert cid.multihash == multihash(CID.of(RAW, block).digest)


def _message_check(data: bytes, found: Message) -> None:
    _blocks_match(found.blocks)
    for ran in found.report:
        with suppress(UcanError):
            assert found.receipt(ran).data in found.blocks.values()


def _query_check(data: bytes, found: QueryResult) -> None:
    _blocks_match(found.blocks)
    for reading in (lambda: [found.claim(cid) for cid in found.claims], lambda: [*map(found.index, found.indexes)]):
        with suppress(UcanError):
            reading()


def _index_check(data: bytes, found: Index) -> None:
    assert index.decode(found.encode()) == found


def _car_check(data: bytes, found: car.Car) -> None:
    _blocks_match(found.blocks)
    again = car.encode(found.root, found.blocks.items())
    assert car.decode(again, "file", limit_bytes=len(again)) == found


UCAN = {
    "ucan": Target(
        UCAN_0_9_1.decode, UcanError, _token_check,
        tuple(one.token.data for one in (GRANT, ACCEPT, CLAIM, READ)), TOKENS,
    ),
    "ucan-receipt": Target(receipt.decode, UcanError, _receipt_check, (DONE.data, FAILED.data), TOKENS),
    "ucan-car": Target(
        lambda data: car.decode(data, "file", limit_bytes=1 << 20), UcanError, _car_check,
        (car.encode(SOME, []), archive.encode(ACCEPT)), TOKENS,
    ),
    "ucan-message": Target(
        message.decode, UcanError, _message_check, (message.request([ACCEPT, READ]), message.response([DONE])), TOKENS
    ),
    "ucan-archive": Target(archive.decode, UcanError, lambda data, found: None, (archive.encode(ACCEPT),), TOKENS),
    "ucan-text": Target(
        lambda data: archive.from_text(data.decode("latin-1")), UcanError, lambda data, found: None,
        (archive.to_text(GRANT).encode(),), (b"mAYIEA", b"=", b"z", b"M"),
    ),
    "ucan-header": Target(
        lambda data: header.decode(data.decode("latin-1")), UcanError,
        lambda data, found: None, (header.encode(message.request([READ])).encode(),), (b"mH4sI", b"=", b"+", b"/"),
    ),
    "ucan-index": Target(index.decode, UcanError, _index_check, (INDEX,), TOKENS),
    "ucan-query": Target(
        query.decode, UcanError, _query_check,
        (query.encode([CLAIM], {b"\x12\x20" + b"\xff" * 32: INDEX}), query.encode([], {})), TOKENS,
    ),
    "ucan-did": Target(
        DID.read, UcanError, lambda data, did: _same(did.binary, data), (SPACE.did.binary, DID("did:web:a.b").binary),
        (b"\xed\x01", b"\x9d\x1a", b"web:", b"key:", b"%3A", b"#"),
    ),
    "ucan-did-text": Target(
        lambda data: DID.parse(data.decode("latin-1")), UcanError,
        lambda data, did: _same(DID.read(did.binary), did), (SPACE.did.encode(), b"did:web:a.b", b"did:mailto:a:b"),
        (b"did:key:z6Mk", b"did:", b"%3A", b"#", b":"),
    ),
    "dag-json": Target(
        lambda data: (wire.decode(data, "document", limit_bytes=1 << 16)), UcanError,
        lambda data, value: _json_check(value), (GRANT.token.data, READ.token.data), TOKENS,
    ),
}  # fmt: skip


def _same(one: object, other: object) -> None:
    assert one == other


def _json_check(value: Any) -> None:
    try:
        text = dagjson.encode(value)
    except UcanError:
        return
    assert text == json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _plain(value: Any) -> Any:
    """As DAG-JSON says bytes and links."""
    if isinstance(value, Link):
        return {"/": str(value)}
    if isinstance(value, bytes):
        return {"/": {"bytes": b64encode(value).decode().rstrip("=")}}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
