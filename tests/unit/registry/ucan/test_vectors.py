"""The whole flow, allocate to retrieve and publish, byte for byte as public JS libraries have it."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mst.block import Block
from mst.cid import DAG_CBOR, RAW
from registry.ucan import archive, car, header, index, message, query, receipt
from registry.ucan.capability import (
    AssertIndex,
    Blob,
    BlobAccept,
    BlobAllocate,
    ClaimCache,
    HttpPut,
    Location,
    Retrieve,
    SpaceBlobAdd,
    arguments,
    capability,
)
from registry.ucan.delegation import Delegation, delegate, gather, invoke
from registry.ucan.did import DID
from registry.ucan.errors import Malformed
from registry.ucan.index import NO_CONTENT, Index, Slice
from registry.ucan.receipt import Failure, Ok
from registry.ucan.signing import KeySigner
from registry.ucan.token import Capability
from registry.ucan.v091 import UCAN_0_9_1
from registry.ucan.validate import authorize

DATA = b"hello world"
BLOB = Blob(sha256(DATA).digest(), len(DATA))
EXPIRES = 1_893_456_000
INVOCATIONS = ("proof", "cause", "alloc", "put", "accept", "location", "retrieveProof", "retrieve", "cache", "auth1",
               "auth2", "assertIndex")  # fmt: skip


@pytest.fixture(scope="module")
def flow(keys: SimpleNamespace, seeded: dict[str, bytes]) -> dict[str, Delegation]:
    """Every delegation and invocation of the flow, made here."""
    space, agent, node, indexer = keys.space, keys.agent, keys.node, keys.indexer
    made: dict[str, Delegation] = {}
    made["proof"] = delegate(
        node, agent.did, [Capability("blob/allocate", node.did), Capability("blob/accept", node.did)], expires=None
    )
    made["cause"] = invoke(agent, agent.did, capability(space.did, SpaceBlobAdd(BLOB)), expires=EXPIRES)
    allocate = BlobAllocate(space.did, BLOB, made["cause"].cid)
    made["alloc"] = invoke(agent, node.did, capability(node.did, allocate), expires=EXPIRES, proofs=[made["proof"]])
    key = KeySigner(BLOB.digest)
    made["put"] = invoke(
        key, key.did, capability(key.did, HttpPut(BLOB, made["alloc"].cid)), expires=EXPIRES,
        facts=[{"keys": {"id": key.did, "keys": {key.did: key.encode()}}}],
    )  # fmt: skip
    accept = BlobAccept(space.did, BLOB, made["put"].cid)
    made["accept"] = invoke(agent, node.did, capability(node.did, accept), expires=None, proofs=[made["proof"]])
    location = Location(BLOB.digest, ("http://127.0.0.1:3000/blob/zQm",), space.did, 0, len(DATA))
    made["location"] = invoke(node, space.did, capability(node.did, location), expires=None)
    made["cache"] = invoke(
        node, indexer.did, capability(node.did, ClaimCache(made["location"].cid)), expires=EXPIRES,
        proofs=[made["location"]],
    )  # fmt: skip
    read_all = Capability("space/content/retrieve", space.did)
    made["retrieveProof"] = delegate(space, agent.did, [read_all], expires=EXPIRES)
    made["retrieve"] = invoke(
        agent, node.did, capability(space.did, Retrieve(BLOB.digest, 0, 10)), expires=EXPIRES,
        proofs=[made["retrieveProof"]],
    )  # fmt: skip
    indexed = auth_digest(seeded["auth1"])
    index_range = arguments(Retrieve, UCAN_0_9_1.decode(seeded["auth1"]).payload.capabilities[0])
    read_index = capability(space.did, index_range)
    made["auth1"] = delegate(space, agent.did, [read_index], expires=None)
    made["auth2"] = delegate(agent, indexer.did, [read_index], expires=None, proofs=[made["auth1"]])
    made["assertIndex"] = invoke(
        agent, indexer.did, capability(agent.did, AssertIndex(NO_CONTENT, indexed)), expires=EXPIRES,
        facts=[{"retrievalAuth": made["auth2"].cid}], proofs=[made["auth2"]],
    )  # fmt: skip
    return made


def auth_digest(token: bytes) -> bytes:
    return arguments(Retrieve, UCAN_0_9_1.decode(token).payload.capabilities[0]).digest


@pytest.mark.parametrize("name", INVOCATIONS)
def test_ucans_are_the_bytes_of_the_js_libraries(
    name: str, flow: dict[str, Delegation], seeded: dict[str, bytes], cids: dict[str, str]
) -> None:
    assert flow[name].token.data == seeded[name]
    assert str(flow[name].cid) == cids[name]


@pytest.mark.parametrize("name", INVOCATIONS)
def test_their_ucans_are_read_and_verify(name: str, flow: dict[str, Delegation], seeded: dict[str, bytes]) -> None:
    token = UCAN_0_9_1.decode(seeded[name])
    assert token == flow[name].token
    UCAN_0_9_1.verify(token)


def test_arguments_read_back(flow: dict[str, Delegation], keys: SimpleNamespace) -> None:
    kinds: dict[str, Any] = {
        "cause": SpaceBlobAdd, "alloc": BlobAllocate, "put": HttpPut, "accept": BlobAccept, "location": Location,
        "cache": ClaimCache, "retrieve": Retrieve, "assertIndex": AssertIndex,
    }  # fmt: skip
    for name, kind in kinds.items():
        found = flow[name].capability
        assert capability(found.resource, arguments(kind, found)) == Capability(
            found.can, found.resource, {**(found.nb or {})}
        )
        with pytest.raises(Malformed):
            arguments(kind, Capability("test/other", found.resource, found.nb))


def test_what_the_flow_asks_is_authorized(flow: dict[str, Delegation], keys: SimpleNamespace, now: int) -> None:
    for name, executor in (("alloc", keys.node), ("accept", keys.node), ("retrieve", keys.node),
                           ("cache", keys.indexer), ("assertIndex", keys.indexer)):  # fmt: skip
        made = flow[name]
        assert authorize(made.token, made.attached, audiences={executor.did}, now=now) == made.capability


def test_a_receipt_and_the_message_with_it(
    flow: dict[str, Delegation], seeded: dict[str, bytes], cids: dict[str, str], keys: SimpleNamespace
) -> None:
    site = flow["location"]
    made = receipt.issue(keys.node, flow["accept"].cid, Ok({"site": site.cid}), fork=[site.cid], attached=site.blocks())
    assert (made.data, str(made.cid)) == (seeded["acceptReceipt"], cids["acceptReceipt"])
    assert message.response([made]) == seeded["acceptResponse"]
    answered = message.decode(seeded["acceptResponse"])
    found = answered.receipt(flow["accept"].cid)
    found.verify(keys.node.did, flow["accept"].cid)
    assert found.out == Ok({"site": site.cid})
    assert gather(found.fork[0], found.attached) == site


def test_a_request_and_its_header(flow: dict[str, Delegation], seeded: dict[str, bytes], vectors: Path) -> None:
    made = message.request([flow["retrieve"]])
    assert made == seeded["retrieveMessage"]
    asked = message.decode(made)
    assert (asked.execute, asked.report) == ((flow["retrieve"].cid,), {})
    assert gather(asked.execute[0], asked.blocks) == flow["retrieve"]
    frozen = json.loads((vectors / "ucan_vectors.json").read_text())["py_x_agent_message_header"]
    assert header.decode(frozen["header"]) == b64decode(frozen["decodes_to_car_b64"]) == made
    assert header.decode(header.encode(made)) == made


def test_an_archive_and_its_text(flow: dict[str, Delegation]) -> None:
    text = archive.to_text(flow["auth2"])
    assert text.startswith("mAYIEA")
    assert archive.from_text(text) == archive.decode(archive.encode(flow["auth2"])) == flow["auth2"]


def test_an_index(seeded: dict[str, bytes], flow: dict[str, Delegation]) -> None:
    blocks = [Block.of(RAW, b"block one"), Block.of(RAW, b"block two!")]
    data = car.encode(blocks[0].cid, blocks)
    assert data == seeded["car"]
    slices = {block.cid.digest: Slice(data.index(block.data), len(block.data)) for block in blocks}
    made = Index(NO_CONTENT, {sha256(data).digest(): slices})
    assert made.encode() == seeded["index"]
    assert index.decode(seeded["index"]) == made
    assert slices[blocks[0].cid.digest] == (96, 9)


def test_an_answer_to_a_query(seeded: dict[str, bytes], flow: dict[str, Delegation]) -> None:
    assert query.encode([flow["location"]], {b"ctx": seeded["index"]}) == seeded["query"]
    found = query.decode(seeded["query"])
    assert found.claims == (flow["location"].cid,)
    assert found.claim(found.claims[0]) == flow["location"]
    assert found.index(b"ctx") == index.decode(seeded["index"])


def test_an_empty_answer_of_the_js_library() -> None:
    """It writes the fields that others leave out when they are empty (@storacha/indexing-service-client 2.6.10)."""
    found = query.decode(
        b64decode(
            "OqJlcm9vdHOB2CpYJQABcRIgh+EiRM9fPdT1plY10Vyspne4iTROgUCqk7IqeAjIMKpndmVyc2lvbgFOAXESIIfhIkTPXz3U9aZW"
            "NdFcrKZ3uIk0ToFAqpOyKngIyDCqoXZpbmRleC9xdWVyeS9yZXN1bHRAMC4xomZjbGFpbXOAZ2luZGV4ZXOg"
        )
    )
    assert (found.claims, found.indexes) == ((), {})


def test_a_request_of_the_js_client(vectors: Path, now: int) -> None:
    found = json.loads((vectors / "ucan_vectors.json").read_text())
    body = b64decode(found["js_request_body_b64"])
    asked = message.decode(body)
    assert str(car.decode(body, "message", limit_bytes=10_000).root) == found["js_request_root"]
    invocation = gather(asked.execute[0], asked.blocks)
    assert message.request([invocation]) == body
    authorize(invocation.token, asked.blocks, audiences={invocation.token.payload.audience}, now=now)


@pytest.fixture(scope="module")
def theirs(third_party: Callable[[str], Path]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(third_party("ucan_fixture_vectors.json").read_text())
    return found


@pytest.mark.parametrize("name", ["js_all_fields", "js_alice_to_bob_retrieve", "js_no_expiry_didweb_aud"])
def test_ucans_of_others(name: str, theirs: dict[str, Any]) -> None:
    data = b64decode(theirs[name]["bytes"])
    token = UCAN_0_9_1.decode(data)
    assert str(token.cid) == theirs[name]["cid"]
    UCAN_0_9_1.verify(token)
    assert Block.of(DAG_CBOR, data).cid == token.cid


def test_an_archive_of_others(theirs: dict[str, Any]) -> None:
    data = b64decode(theirs["js_alice_to_bob_retrieve"]["archive"])
    assert archive.encode(archive.decode(data)) == data


def test_receipts_of_others(theirs: dict[str, Any]) -> None:
    executor = DID.parse(theirs["dids"]["mallory"])
    for name, outcome in (("js_receipt_ok", Ok), ("js_receipt_error", Failure)):
        found = receipt.decode(b64decode(theirs[name]["bytes"]))
        assert str(found.cid) == theirs[name]["cid"]
        assert type(found.out) is outcome
        found.verify(executor, found.ran)
        assert found.issuer == executor
        assert found.join is None
    assert isinstance(found.out, Failure)
    assert (found.out.name, found.out.message) == ("NotFound", "blob not found")


def test_an_answer_of_the_go_indexer(theirs: dict[str, Any]) -> None:
    found = query.decode(b64decode(theirs["go_query_result_car_b64"]))
    assert len(found.claims) == 3
    for cid in found.claims:
        UCAN_0_9_1.verify(found.claim(cid).token)
    assert [len(found.index(context).shards) for context in found.indexes] == [1]
