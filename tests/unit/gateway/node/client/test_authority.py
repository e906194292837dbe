"""What the client signs: who it is for, what it leans on, and for how long."""

from __future__ import annotations

import pytest

from gateway.node.client.authority import INDEXING_SECONDS, INVOCATION_SECONDS, READING_SECONDS, Authority
from gateway.node.client.settings import Remote, Service
from mst.cid import CID
from registry.ucan.capability import Blob, BlobAccept, BlobAllocate, HttpPut, Retrieve, arguments, capability
from registry.ucan.delegation import Delegation, delegate, gather, invoke
from registry.ucan.index import NO_CONTENT
from registry.ucan.signing import KeySigner
from registry.ucan.validate import authorize
from tests.storage_node import NOW, StorageNode

SPACE, AGENT, NODE, INDEXER = (KeySigner(bytes([number]) * 32) for number in (1, 2, 3, 4))
BLOB = Blob(b"\x05" * 32, 1000)


@pytest.fixture(params=[None, AGENT], ids=["the space asks", "an agent asks"])
def agent(request: pytest.FixtureRequest) -> KeySigner | None:
    return request.param


@pytest.fixture
def authority(agent: KeySigner | None) -> Authority:
    grant = StorageNode(NODE).grant((agent or SPACE).did)
    remote = Remote(node=Service("http://n/", NODE.did), grant=grant, space=SPACE, agent=agent)
    return Authority(remote, lambda: NOW + 0.9)


def _authorized(one: Delegation, executor: KeySigner) -> None:
    """Any node would execute it."""
    assert authorize(one.token, dict(one.blocks()), audiences={executor.did}, now=NOW) == one.capability


def test_an_allocation_is_for_the_space_by_the_grant(authority: Authority) -> None:
    asked = authority.allocation(BLOB)
    _authorized(asked, NODE)
    wanted = arguments(BlobAllocate, asked.capability)
    assert (wanted.space, wanted.blob) == (SPACE.did, BLOB)
    assert asked.token.payload.expires == NOW + INVOCATION_SECONDS


def test_an_acceptance_refers_to_the_put_of_its_allocation(authority: Authority) -> None:
    allocation = authority.allocation(BLOB).cid
    asked = authority.acceptance(BLOB, allocation)
    _authorized(asked, NODE)
    key = KeySigner(BLOB.digest)
    facts = ({"keys": {"id": key.did, "keys": {key.did: key.encode()}}},)
    put = invoke(
        key, key.did, capability(key.did, HttpPut(BLOB, allocation)), expires=NOW + INVOCATION_SECONDS, facts=facts
    )
    assert arguments(BlobAccept, asked.capability) == BlobAccept(SPACE.did, BLOB, put.cid)


def test_a_retrieval_is_for_just_those_bytes(authority: Authority) -> None:
    asked = authority.retrieval(BLOB.digest, 10, 20)
    _authorized(asked, NODE)
    assert arguments(Retrieve, asked.capability) == Retrieve(BLOB.digest, 10, 19)
    assert asked.capability.resource == SPACE.did


def test_an_indexer_may_read_the_index_for_minutes_and_not_for_ever(
    authority: Authority, agent: KeySigner | None
) -> None:
    asked = authority.indexing(INDEXER.did, NO_CONTENT, BLOB)
    _authorized(asked, INDEXER)
    link = asked.token.payload.facts[0]["retrievalAuth"]
    assert isinstance(link, CID)
    allowed = gather(link, dict(asked.blocks()))
    assert allowed.token.payload.expires == NOW + INDEXING_SECONDS <= NOW + 15 * 60
    assert arguments(Retrieve, allowed.capability) == Retrieve(BLOB.digest, 0, BLOB.size - 1)
    assert all(proof.expires is not None for proof in _payloads(allowed))
    # By that the indexer reads the whole index from the node, and nothing else.
    whole, other = Retrieve(BLOB.digest, 0, BLOB.size - 1), Retrieve(b"\x06" * 32, 0, 1)
    read = invoke(INDEXER, NODE.did, capability(SPACE.did, whole), expires=NOW + 30, proofs=[allowed])
    _authorized(read, NODE)
    more = invoke(INDEXER, NODE.did, capability(SPACE.did, other), expires=NOW + 30, proofs=[allowed])
    with pytest.raises(Exception, match="may not"):
        _authorized(more, NODE)


def _payloads(one: Delegation) -> list:
    return [gather(cid, dict(one.blocks())).token.payload for cid, _ in one.blocks()]


def test_a_right_to_read_ends_soon_and_is_for_one_reader(authority: Authority) -> None:
    node, indexer = authority.reading(NODE.did), authority.reading(INDEXER.did)
    assert (node.token.payload.audience, indexer.token.payload.audience) == (NODE.did, INDEXER.did)
    assert node.token.payload.expires == NOW + READING_SECONDS
    assert authority.reading(NODE.did) is node


def test_a_grant_of_a_grant_goes_along_whole(agent: KeySigner | None) -> None:
    from registry.ucan import archive
    from registry.ucan.token import Capability

    middle, asking = KeySigner(b"\x08" * 32), agent or SPACE
    first = delegate(NODE, middle.did, [Capability("blob/*", NODE.did)], expires=None)
    second = delegate(middle, asking.did, [Capability("*", NODE.did)], expires=None, proofs=[first])
    remote = Remote(node=Service("http://n/", NODE.did), grant=archive.to_text(second), space=SPACE, agent=agent)
    _authorized(Authority(remote, lambda: NOW).allocation(BLOB), NODE)
