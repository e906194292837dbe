"""Claims: which are told of what, to whom; and indexes, published and found."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from gateway.node.server.claims import INDEXES_MAX
from mst.block import Block
from mst.cid import CID, DAG_CBOR, RAW, Link, multihash
from registry import base58
from registry.ucan import archive, car, header, message, query
from registry.ucan.capability import AssertIndex, ClaimCache, Location, Retrieve, arguments, capability
from registry.ucan.delegation import Delegation, delegate, invoke
from registry.ucan.did import DID
from registry.ucan.index import NO_CONTENT, Index, Slice
from registry.ucan.signing import KeySigner
from registry.ucan.token import Capability
from registry.ucan.v091 import UCAN_0_9_1
from tests.node_client import NodeClient, blob_of, call, failure, mh, ok

BLOCKS = [Block.of(RAW, bytes([n]) * 100) for n in range(4)]
CAR = car.encode(BLOCKS[0].cid, BLOCKS)
SLICES = {block.cid.digest: Slice(CAR.index(block.data), 100) for block in BLOCKS}
INDEX = Index(NO_CONTENT, {blob_of(CAR).digest: SLICES})
ARCHIVE = INDEX.encode()
ROOT = CID.of(DAG_CBOR, b"root")


@pytest.fixture
def published(client: NodeClient) -> NodeClient:
    """A shard and its index, stored and published."""
    client.store(CAR)
    client.store(ARCHIVE)
    assert ok(client.execute(client.publication(ARCHIVE))[0]) == {}
    return client


def _locations(client: NodeClient, found: Any) -> dict[bytes, Location]:
    claims = [found.claim(cid) for cid in found.claims]
    for claim in claims:
        UCAN_0_9_1.verify(claim.token)
    read = [arguments(Location, claim.capability) for claim in claims if claim.capability.can == Location.can]
    return {location.digest: location for location in read}


def test_where_a_blob_is(published: NodeClient) -> None:
    found = published.query(mh(CAR))
    assert _locations(published, found)[blob_of(CAR).digest].urls[0].startswith(published.url)
    assert published.query(mh(b"something else")).claims == ()


def test_where_a_block_is(published: NodeClient) -> None:
    """Index and shard are found at once, and the block is where they say."""
    for block in BLOCKS:
        found = published.query(multihash(block.cid.digest))
        [name] = found.indexes
        index = found.index(name)
        assert index == INDEX
        [(shard, slices)] = index.shards.items()
        location = _locations(published, found)[shard]
        at = slices[block.cid.digest]
        reply, _ = published.get(
            published.reading(shard, at.offset, at.offset + at.length - 1), location.urls[0].removeprefix(published.url)
        )
        assert reply.body == block.data


def test_who_published_is_told(published: NodeClient) -> None:
    found = published.query(multihash(BLOCKS[0].cid.digest))
    [claim] = [one for one in map(found.claim, found.claims) if one.capability.can == AssertIndex.can]
    assert claim.token.payload.issuer == published.agent.did
    assert arguments(AssertIndex, claim.capability).digest == blob_of(ARCHIVE).digest


def test_an_index_is_told_to_who_may_read_it(published: NodeClient, node: Any) -> None:
    wanted = multihash(BLOCKS[0].cid.digest)
    without = published.query(wanted, allow=False)
    assert (len(without.claims), without.indexes) == (1, {})
    other = node.client(space=7)
    assert other.query(wanted).indexes == {}

    def by(nb: Any) -> Any:
        granted = [Capability(Retrieve.can, published.space.did, nb)]
        grant = delegate(published.space, published.node, granted, expires=None)
        sent = {header.NAME: header.encode(message.request([grant]))}
        return query.decode(call(published.url, "GET", f"/claims?multihash=z{base58.encode(wanted)}", None, sent).body)

    index = blob_of(ARCHIVE)
    assert by({"blob": {"digest": multihash(index.digest)}, "range": [0, index.size - 1]}).indexes
    assert not by({"blob": {"digest": mh(CAR)}}).indexes
    assert not by({"range": [0, index.size - 2]}).indexes


def test_a_delegation_that_does_not_hold_is_said(published: NodeClient) -> None:
    for signer, expires in ((KeySigner(b"\x09" * 32), None), (published.space, published.now() - 61)):
        grant = delegate(signer, published.node, [Capability(Retrieve.can, published.space.did)], expires=expires)
        sent = {header.NAME: header.encode(message.request([grant]))}
        reply = call(published.url, "GET", f"/claims?multihash=z{base58.encode(mh(CAR))}", headers=sent)
        assert reply.status == 403


def test_what_is_asked_for(published: NodeClient) -> None:
    block, shard = multihash(BLOCKS[0].cid.digest), mh(CAR)
    assert published.query(block, extra="&type=location").claims == ()
    assert published.query(block, extra="&type=location").indexes == {}
    assert len(published.query(block, shard, extra="&type=standard").claims) == 2
    assert len(published.query(shard).indexes) == 1  # a shard is found by its own name too
    assert len(published.query(shard, spaces=[published.space.did]).claims) == 2
    assert published.query(shard, spaces=[KeySigner(b"\x09" * 32).did]).claims == ()
    assert len(published.query(shard, spaces=[published.space.did, "did:web:a"]).claims) == 2


@pytest.mark.parametrize(
    ("search", "status"),
    [
        ("", 400),
        ("multihash=", 400),
        ("multihash=zzz", 400),
        ("multihash=z0", 400),
        ("multihash=m1", 400),
        ("multihash=zQm&type=other", 400),
        (f"multihash=z{base58.encode(mh(CAR))}&spaces=x", 400),
        ("&".join(["multihash=z11"] * 65), 400),
        ("a=&" * 300, 400),
        ("multihash=" + "z" * 17_000, 414),
    ],
    ids=lambda value: str(value)[:30],
)
def test_queries_that_are_none(search: str, status: int, node: Any) -> None:
    assert call(node.url, "GET", f"/claims?{search}").status == status


def test_what_is_packed_on_the_way(published: NodeClient) -> None:
    path = f"/claims?multihash=z{base58.encode(mh(CAR))}"
    assert "Content-Encoding" not in call(published.url, "GET", path).headers
    assert call(published.url, "GET", path, headers={"Accept-Encoding": "gzip"}).headers["Content-Encoding"] == "gzip"


def test_indexes_are_found_by_what_they_are_of(client: NodeClient) -> None:
    client.store(CAR)
    archives = [Index(ROOT, {blob_of(CAR).digest: {bytes([n]) * 32: Slice(n, 1)}}).encode() for n in range(3)]
    for one in archives:
        client.store(one)
        ok(client.execute(client.publication(one, content=ROOT))[0])
    found = client.query(ROOT.multihash)
    assert {found.blocks[link] for link in found.indexes.values()} == set(archives)
    asserted = [arguments(AssertIndex, found.claim(cid).capability) for cid in found.claims]
    assert [one.digest for one in asserted] == [blob_of(one).digest for one in archives[::-1]]  # the newest first
    assert client.query(Link(NO_CONTENT).multihash).claims == ()


def test_a_claim_by_its_name(published: NodeClient) -> None:
    [cid] = published.query(mh(CAR), extra="&type=location").claims
    reply = call(published.url, "GET", f"/claim/{cid}")
    claim = archive.decode(reply.body)
    assert (reply.status, claim.cid) == (200, cid)
    assert call(published.url, "GET", f"/claim/{ROOT}").status == 404
    assert call(published.url, "GET", "/claim/x").status == 400


def test_what_is_removed_is_not_told(published: NodeClient) -> None:
    block = multihash(BLOCKS[0].cid.digest)
    published.remove(blob_of(ARCHIVE).digest)
    assert published.query(block).claims == ()
    assert len(published.query(mh(CAR)).claims) == 1
    published.remove(blob_of(CAR).digest)
    assert published.query(mh(CAR)).claims == ()


def test_publishing_again_changes_nothing(published: NodeClient, node: Any) -> None:
    asked = published.publication(ARCHIVE, nonce="again")
    ok(published.execute(asked)[0])
    ok(published.execute(asked)[0])
    found = published.query(multihash(BLOCKS[0].cid.digest))
    assert len(found.claims) == 2
    assert asked.cid in found.claims


def test_in_one_message(client: NodeClient) -> None:
    """Both blobs are accepted and the index is published in one go."""
    for data in (CAR, ARCHIVE):
        client.put(client.allocate(blob_of(data)), data)
    some = CID.of(DAG_CBOR, b"")
    for found in client.execute(
        client.acceptance(blob_of(CAR), some), client.acceptance(blob_of(ARCHIVE), some), client.publication(ARCHIVE)
    ):
        ok(found)
    assert client.query(multihash(BLOCKS[3].cid.digest)).indexes


def test_indexes_that_are_not_published(client: NodeClient, node: Any) -> None:
    def refused(asked: Delegation) -> str:
        return failure(client.execute(asked)[0]).name

    assert refused(client.publication(ARCHIVE)) == "IndexNotFound"
    client.put(client.allocate(blob_of(ARCHIVE)), ARCHIVE)
    assert refused(client.publication(ARCHIVE)) == "IndexNotFound"
    client.accept(blob_of(ARCHIVE))
    assert refused(client.publication(ARCHIVE, facts=[], proofs=[])) == "IndexNotFound"
    stranger = node.client(space=7)
    assert failure(stranger.execute(stranger.publication(ARCHIVE))[0]).name == "IndexNotFound"
    # An authority that is not the space's, that is for something else, or that has ended.
    thief = KeySigner(b"\x09" * 32)
    for signer, nb, expires, name in (
        (thief, {}, None, "Unauthorized"),
        (client.space, {"range": [0, 1]}, None, "IndexNotReadable"),
        (client.space, {"blob": {"digest": mh(CAR)}}, None, "IndexNotReadable"),
        (client.space, {}, client.now() - 61, "Unauthorized"),
    ):
        granted = [Capability(Retrieve.can, client.space.did, nb)]
        grant = delegate(signer, client.node, granted, expires=expires)
        assert refused(client.publication(ARCHIVE, proofs=[grant], facts=[{"retrievalAuth": grant.cid}])) == name
    client.store(b"no index")
    assert refused(client.publication(b"no index")) == "InvocationMalformed"
    ok(client.execute(client.publication(ARCHIVE))[0])


def test_other_spaces_cannot_crowd_an_index_out(node: Any) -> None:
    """Anybody who may store here can publish an index that names a block of somebody else."""
    ours, others = node.client(), node.client(agent=3, space=4)
    for client, many in ((ours, 1), (others, INDEXES_MAX + 1)):
        for number in range(many):
            data = car.encode(BLOCKS[0].cid, [*BLOCKS[:1], Block.of(RAW, b"%d" % number)])
            archive = Index(NO_CONTENT, {blob_of(data).digest: {BLOCKS[0].cid.digest: Slice(0, 1)}}).encode()
            client.store(archive)
            assert ok(client.execute(client.publication(archive))[0]) == {}
    wanted = multihash(BLOCKS[0].cid.digest)
    assert len(ours.query(wanted).indexes) == 0, "the answer has room for the newest alone"
    assert len(ours.query(wanted, spaces=[ours.space.did]).indexes) == 1


def test_the_space_publishes_by_itself(client: NodeClient) -> None:
    client.store(ARCHIVE)
    asked = client.on_space(AssertIndex(NO_CONTENT, blob_of(ARCHIVE).digest))
    ok(client.execute(asked)[0])
    assert client.query(multihash(BLOCKS[0].cid.digest)).indexes


def test_claims_of_other_nodes(client: NodeClient, node: Any, clock: Any) -> None:
    other = KeySigner(b"\x08" * 32)
    grant = delegate(node.node.key, other.did, [Capability("claim/cache", client.node)], expires=None)

    def cached(claim: Delegation, *, proofs: list[Delegation], resource: DID = client.node) -> Any:
        asked = capability(resource, ClaimCache(claim.cid, (b"\x04\x7f\x00\x00\x01",)))
        made = delegate(other, client.node, [asked], expires=None, proofs=proofs, attached=claim.blocks())
        return client.execute(made)[0]

    location = Location(blob_of(b"far").digest, ("http://127.0.0.1:1/far",), client.space.did, 0, 3)
    claim = invoke(other, client.space.did, capability(other.did, location), expires=clock() + 100)
    assert failure(cached(claim, proofs=[])).name == "Unauthorized"
    assert failure(cached(claim, proofs=[], resource=other.did)).name == "UnknownResource"
    assert ok(cached(claim, proofs=[grant])) == {}
    assert client.query(mh(b"far")).claims == (claim.cid,)
    clock.now_s += 100
    assert client.query(mh(b"far")).claims == ()
    assert failure(cached(claim, proofs=[grant])).name == "ClaimNotBelieved"
    node.node.sweep()
    assert call(client.url, "GET", f"/claim/{claim.cid}").status == 404
    foreign = invoke(other, client.space.did, capability(client.node, location), expires=None)
    assert failure(cached(foreign, proofs=[grant])).name == "ClaimNotBelieved"
    assert failure(cached(grant, proofs=[grant])).name == "InvocationMalformed"


def test_who_the_node_is(node: Any) -> None:
    document = json.loads(call(node.url, "GET", "/.well-known/did.json").body)
    assert document["id"] == node.node.did
    [key] = document["verificationMethod"]
    assert "did:key:" + key["publicKeyMultibase"] == node.node.did
    reply = call(node.url, "GET", "/")
    assert (reply.status, node.node.did in reply.body.decode()) == (200, True)
    assert call(node.url, "GET", "/.well-known/other").status == 404


def test_many_blocks(client: NodeClient) -> None:
    names = [random.Random(n).randbytes(32) for n in range(20_000)]
    large = Index(NO_CONTENT, {bytes(32): {name: Slice(n, 1) for n, name in enumerate(names)}}).encode()
    client.store(large)
    ok(client.execute(client.publication(large))[0])
    for name in names[::5000]:
        assert len(client.query(multihash(name)).indexes) == 1
    assert client.remove(blob_of(large).digest) == len(large)
    assert client.query(multihash(names[0])).indexes == {}
