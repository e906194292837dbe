"""Reading blobs: only what the space lets be read, to who proves it; and what everybody else gets, which is nothing."""

from __future__ import annotations

import json
import random
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from mst.cid import CID
from registry.ucan import header, message
from registry.ucan.capability import Retrieve, capability
from registry.ucan.delegation import Delegation, delegate, invoke
from registry.ucan.signing import KeySigner
from registry.ucan.token import Capability
from registry.ucan.v091 import UCAN_0_9_1
from tests.node_client import NodeClient, Reply, blob_of, call, failure, ok

BIG = random.Random(2).randbytes(3_000_000)
BLOB = blob_of(BIG)
LAST = len(BIG) - 1


@pytest.fixture
def stored(client: NodeClient) -> NodeClient:
    client.store(BIG)
    return client


def test_a_whole_blob(stored: NodeClient) -> None:
    reply, found = stored.get(stored.reading(BLOB.digest, 0, LAST))
    assert ok(found) == {}
    assert (reply.status, reply.body) == (200, BIG)
    assert reply.headers["Content-Length"] == str(len(BIG))
    assert reply.headers["ETag"].startswith('"zQm')
    assert "Content-Range" not in reply.headers
    assert header.NAME in reply.headers["Vary"]
    assert "immutable" in reply.headers["Cache-Control"]


@pytest.mark.parametrize(("start", "end"), [(0, 0), (LAST, LAST), (1, LAST), (10, 19), (999_999, 2_100_000)])
def test_a_range(start: int, end: int, stored: NodeClient) -> None:
    reply, found = stored.get(stored.reading(BLOB.digest, start, end))
    assert ok(found) == {}
    assert (reply.status, reply.body) == (206, BIG[start : end + 1])
    assert reply.headers["Content-Range"] == f"bytes {start}-{end}/{len(BIG)}"


def test_the_space_reads_without_a_delegation(stored: NodeClient) -> None:
    reply, _ = stored.get(stored.on_space(Retrieve(BLOB.digest, 5, 9)))
    assert reply.body == BIG[5:10]


def test_a_range_header_means_nothing(stored: NodeClient) -> None:
    sent = header.encode(message.request([stored.reading(BLOB.digest, 0, 3)]))
    assert call(stored.url, "GET", "/blob/z", headers={header.NAME: sent, "Range": "bytes=5-9"}).body == BIG[:4]


@pytest.mark.parametrize(("start", "end"), [(0, len(BIG)), (len(BIG), len(BIG)), (2**52, 2**52)])
def test_a_range_beyond_the_end(start: int, end: int, stored: NodeClient) -> None:
    reply, found = stored.get(stored.reading(BLOB.digest, start, end))
    assert (reply.status, reply.body, failure(found).name) == (416, b"", "RangeNotSatisfiable")


def test_a_blob_that_is_not_there(stored: NodeClient) -> None:
    reply, found = stored.get(stored.reading(bytes(32), 0, 0))
    assert (reply.status, reply.body, failure(found).name) == (404, b"", "NotFound")
    stored.allocate(blob_of(b"awaited"))
    reply, found = stored.get(stored.reading(blob_of(b"awaited").digest, 0, 0))
    assert (reply.status, reply.body, failure(found).message.split(":")[0]) == (404, b"", "blob not found")


def test_what_was_put_is_read_before_it_is_accepted(client: NodeClient) -> None:
    client.put(client.allocate(blob_of(b"a part")), b"a part")
    assert client.read(blob_of(b"a part").digest, 0, 5) == b"a part"


def _may(client: NodeClient, **how: Any) -> Delegation:
    space = how.pop("space", client.space)
    granted = Capability(how.pop("can", Retrieve.can), how.pop("resource", space.did), how.pop("nb", {}))
    audience = how.pop("audience", client.agent.did)
    return delegate(space, audience, [granted], **{"expires": client.now() + 60} | how)


def _tampered(client: NodeClient) -> Delegation:
    """A delegation for another blob, made one for this."""
    grant = _may(client, nb={"blob": {"digest": b"\x12\x20" + bytes(32)}})
    changed = grant.token.data.replace(bytes(32), BLOB.digest)
    assert changed != grant.token.data
    return client.reading(BLOB.digest, 0, 9, proofs=[Delegation(UCAN_0_9_1.decode(changed))])


def _signature_of_another(client: NodeClient) -> Delegation:
    asked, other = client.reading(BLOB.digest, 0, 9), client.reading(BLOB.digest, 0, 8)
    changed = asked.token.data.replace(asked.token.signature, other.token.signature)
    return replace(asked, token=UCAN_0_9_1.decode(changed))


STRANGER = KeySigner(b"\x09" * 32)
REFUSALS: dict[str, Callable[[NodeClient], Delegation]] = {
    "no delegation": lambda c: c.reading(BLOB.digest, 0, 9, proofs=[]),
    "expired delegation": lambda c: c.reading(BLOB.digest, 0, 9, proofs=[_may(c, expires=c.now() - 61)]),
    "expired invocation": lambda c: c.reading(BLOB.digest, 0, 9, expires=c.now() - 61),
    "delegation not yet valid": lambda c: c.reading(BLOB.digest, 0, 9, proofs=[_may(c, not_before=c.now() + 120)]),
    "delegation of a stranger": lambda c: c.reading(
        BLOB.digest, 0, 9, proofs=[_may(c, space=STRANGER, resource=c.space.did)]
    ),
    "delegation of a foreign space": lambda c: c.reading(BLOB.digest, 0, 9, proofs=[_may(c, space=STRANGER)]),
    "delegation to another": lambda c: c.reading(BLOB.digest, 0, 9, proofs=[_may(c, audience=STRANGER.did)]),
    "delegation of something else": lambda c: c.reading(BLOB.digest, 0, 9, proofs=[_may(c, can="space/blob/list")]),
    "delegation of another blob": lambda c: c.reading(
        BLOB.digest, 0, 9, proofs=[_may(c, nb={"blob": {"digest": b"\x12\x20" + bytes(32)}})]
    ),
    "delegation of other bytes": lambda c: c.reading(BLOB.digest, 0, 9, proofs=[_may(c, nb={"range": [0, 8]})]),
    "tampered delegation": _tampered,
    "signature of another": _signature_of_another,
    "for another node": lambda c: delegate(
        c.space, STRANGER.did, [capability(c.space.did, Retrieve(BLOB.digest, 0, 9))], expires=None
    ),
    "something else": lambda c: invoke(c.space, c.node, Capability("space/blob/list", c.space.did), expires=None),
    "no such range": lambda c: invoke(
        c.space, c.node, Capability(Retrieve.can, c.space.did, {"blob": {"digest": b"\x12\x20" + BLOB.digest}}),
        expires=None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_who_may_not_read_gets_nothing(name: str, stored: NodeClient) -> None:
    reply, found = stored.get(REFUSALS[name](stored))
    failure(found)
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["Cache-Control"] == "no-store"
    assert stored.read(BLOB.digest, 0, 9) == BIG[:10]


def test_another_space_gets_nothing(stored: NodeClient, node: Any) -> None:
    other = node.client(space=9)
    reply, found = other.get(other.reading(BLOB.digest, 0, 9))
    assert (reply.status, reply.body, failure(found).name) == (404, b"", "NotFound")


def test_a_delegation_for_some_bytes_gives_those(stored: NodeClient) -> None:
    nb = {"blob": {"digest": b"\x12\x20" + BLOB.digest}, "range": [10, 99]}
    asked = stored.reading(BLOB.digest, 20, 29, proofs=[_may(stored, nb=nb)])
    assert stored.get(asked)[0].body == BIG[20:30]


def test_an_invocation_may_be_sent_again(stored: NodeClient) -> None:
    asked = stored.reading(BLOB.digest, 20, 29)
    assert stored.get(asked)[0].body == stored.get(asked)[0].body == BIG[20:30]


def test_requests_that_are_none(stored: NodeClient) -> None:
    def get(text: str | None) -> Reply:
        return call(stored.url, "GET", "/blob/z", headers={} if text is None else {header.NAME: text})

    assert get(None).status == 415
    assert get("").status == 400
    assert get("m").status == 400
    assert get("mAAAA").status == 400
    assert get("m" + "A" * 4096).status == 431
    assert get("m" + b64encode(b"x" * 30).decode()).status == 400
    assert get(header.encode(message.request([]))).status == 400
    assert get("m" + "A" * 20_000).status == 400  # longer than any header may be
    two = [stored.reading(BLOB.digest, 0, n) for n in (1, 2)]
    reply = get(header.encode(message.request(two)))
    found = message.decode(header.decode(reply.headers[header.NAME])).receipt(two[0].cid)
    assert (reply.status, reply.body, failure(found).name) == (200, b"", "AgentMessageInvocationError")


def _probe(client: NodeClient, asked: CID, *blocks: Delegation) -> Reply:
    sent = message.partial_request([asked], [(one.cid, one.token.data) for one in blocks])
    return call(client.url, "GET", "/blob/z", headers={header.NAME: header.encode(sent)})


def _chain(client: NodeClient, length: int) -> tuple[Delegation, list[Delegation]]:
    """An invocation and its proofs, the last first."""
    keys = [client.space, *(KeySigner(bytes([50 + n]) * 32) for n in range(length - 1)), client.agent]
    links: list[Delegation] = []
    for signer, audience in pairwise(keys):
        links.insert(0, _may(client, space=signer, resource=client.space.did, audience=audience.did, proofs=links[:1]))
    return client.reading(BLOB.digest, 0, 9, proofs=links[:1]), links


def test_a_chain_may_arrive_in_pieces(stored: NodeClient, clock: Any) -> None:
    asked, links = _chain(stored, 5)
    reply = _probe(stored, asked.cid, asked)
    for link in links:
        assert reply.status == 510
        assert reply.headers["Content-Type"] == "application/json"
        assert int(reply.headers["X-UCAN-Cache-Expiry"]) == clock() + 600
        said = json.loads(reply.body)
        assert (said["name"], said["proofs"]) == ("MissingProofs", [{"/": str(link.cid)}])
        reply = _probe(stored, asked.cid, link)
    assert (reply.status, reply.body) == (206, BIG[:10])


def test_pieces_are_kept_for_a_while(stored: NodeClient, clock: Any) -> None:
    asked, [link] = _chain(stored, 1)
    assert _probe(stored, asked.cid, asked).status == 510
    clock.now_s += 600
    said = json.loads(_probe(stored, asked.cid, link).body)
    assert said["proofs"] == [{"/": str(asked.cid)}]


def test_a_missing_piece_is_no_authority(stored: NodeClient) -> None:
    asked, links = _chain(stored, 2)
    bad = _may(stored, space=STRANGER, resource=stored.space.did)
    assert _probe(stored, asked.cid, asked).status == 510
    reply = _probe(stored, asked.cid, bad, links[1])
    assert (reply.status, BIG[:10] in reply.body) == (510, False)


def test_too_many_proofs(stored: NodeClient) -> None:
    many = [_may(stored, can="space/blob/list", nonce=str(n)) for n in range(32)]
    outer = _may(stored, proofs=many)
    asked = stored.reading(BLOB.digest, 0, 9, proofs=[outer])
    _probe(stored, asked.cid, asked)
    reply = _probe(stored, asked.cid, outer)
    found = message.decode(header.decode(reply.headers[header.NAME])).receipt(asked.cid)
    assert (reply.status, reply.body, failure(found).name) == (200, b"", "Unauthorized")


def test_a_refusal_fits_its_header(stored: NodeClient) -> None:
    """Many reasons, each with names in it."""
    proofs = [_may(stored, audience=KeySigner(bytes([n]) * 32).did, nonce=str(n)) for n in range(30, 38)]
    asked = stored.reading(BLOB.digest, 0, 9, proofs=proofs)
    _probe(stored, asked.cid, asked)
    for proof in proofs:
        reply = _probe(stored, asked.cid, proof)
    found = message.decode(header.decode(reply.headers[header.NAME])).receipt(asked.cid)
    assert (reply.status, failure(found).name) == (200, "Unauthorized")
