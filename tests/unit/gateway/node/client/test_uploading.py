"""Blobs to the node: the whole flow, again after any interruption, and what does not fit."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from itertools import groupby

import pytest
from aiohttp import web

from gateway.node.client import (
    Allocated,
    NodeLied,
    NodeRefused,
    NodeUnavailable,
    Piece,
    PublishedIndex,
    Source,
    SourceDamaged,
    invoking,
)
from gateway.node.client.uploading import PUTS_MAX
from registry.ucan.capability import AssertIndex, Blob, BlobAccept, BlobAllocate, Location, capability
from registry.ucan.delegation import Delegation, delegate
from registry.ucan.index import NO_CONTENT, Index, Slice
from registry.ucan.results import Address
from registry.ucan.signing import KeySigner
from tests.storage_node import NOW, Handler, StorageNode
from tests.unit.gateway.node.client.conftest import Runner, World, round_trips, source

DATA = random.Random(1).randbytes(300_000)
BLOB = Blob(sha256(DATA).digest(), len(DATA))


def _index_of(*datas: bytes) -> bytes:
    shards = {sha256(data).digest(): {sha256(data).digest(): Slice(0, len(data))} for data in datas}
    return Index(NO_CONTENT, shards).encode()


@pytest.mark.parametrize("many", [1, 6, 30])
def test_any_number_of_blobs_with_their_index_take_three_round_trips(
    run: Runner, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invoking, "INVOCATIONS_MAX", 20)
    datas = [b"%d" % number * 100 for number in range(many)]
    archive = _index_of(*datas)
    index = PublishedIndex(NO_CONTENT, source(archive).blob)

    async def talk(world: World) -> None:
        sites = await world.client.upload([source(data) for data in [*datas, archive]], [index])
        assert [world.node.blobs[site.digest] for site in sites] == [*datas, archive]
        assert world.node.indexed.keys() == {sha256(data).digest() for data in datas}
        # Of PUTs only so many are under way at once; all the same, none waits for the answer to another.
        assert [method for method, _ in groupby(method for method, _ in world.node.requests)] == ["POST", "PUT", "POST"]
        assert many > PUTS_MAX or round_trips(world.observed) == 3

    run(talk)


def test_the_index_goes_along_with_the_acceptance(run: Runner) -> None:
    archive = _index_of(DATA)

    async def talk(world: World) -> None:
        await world.client.upload([source(archive)], [PublishedIndex(NO_CONTENT, source(archive).blob)])
        assert world.node.abilities == [[BlobAllocate.can], [BlobAccept.can, AssertIndex.can]]

    run(talk)


@pytest.mark.parametrize("own_agent", [False, True])
def test_an_index_that_came_too_early_is_told_again(run: Runner, own_agent: bool) -> None:
    archive = _index_of(DATA)

    async def talk(world: World) -> None:
        world.node.eager_indexing = True
        await world.client.upload([source(archive)], [PublishedIndex(NO_CONTENT, source(archive).blob)])
        assert world.node.abilities[-1] == [AssertIndex.can]
        assert BLOB.digest in world.node.indexed
        assert round_trips(world.observed) == 4

    run(talk, agent=run.agent if own_agent else None)


def test_another_indexer_is_told_after_the_acceptance(run: Runner) -> None:
    archive = _index_of(DATA)
    indexer = StorageNode(KeySigner(b"\x04" * 32))

    async def talk(world: World) -> None:
        (site,) = await world.client.upload([source(archive)])
        indexer.blobs[site.digest], indexer.accepted[site.digest] = archive, site.claim
        await world.client.publish([PublishedIndex(NO_CONTENT, source(archive).blob)])
        assert indexer.requests == [("POST", "/claims")]
        assert BLOB.digest in indexer.indexed
        assert world.node.abilities == [[BlobAllocate.can], [BlobAccept.can]]

    run(talk, indexer=indexer)


def test_an_index_of_a_blob_that_nobody_has_is_refused(run: Runner) -> None:
    async def talk(world: World) -> None:
        with pytest.raises(NodeRefused, match="no location of the index is known"):
            await world.client.publish([PublishedIndex(NO_CONTENT, BLOB)])

    run(talk)


def test_nothing_costs_nothing(run: Runner) -> None:
    async def talk(world: World) -> None:
        assert await world.client.upload([]) == []
        await world.client.publish([])
        assert await world.client.retrieve([], {}) == []
        assert world.observed == []

    run(talk)


def test_a_blob_that_is_asked_for_twice_is_put_once(run: Runner) -> None:
    async def talk(world: World) -> None:
        first, second = await world.client.upload([source(DATA), source(DATA)])
        assert first.digest == second.digest == BLOB.digest
        assert [method for method, _ in world.node.requests] == ["POST", "PUT", "POST"]

    run(talk)


def test_a_blob_that_the_node_has_is_not_put_again(run: Runner) -> None:
    async def talk(world: World) -> None:
        before = await world.stored(DATA)
        again = await world.stored(DATA)
        assert [method for method, _ in world.node.requests].count("PUT") == 1
        assert again == before

    run(talk)


@pytest.mark.parametrize("nowhere", [None, Address("")])
def test_without_an_address_or_its_url_there_is_nothing_to_put(run: Runner, nowhere: Address | None) -> None:
    async def talk(world: World) -> None:
        world.node.nowhere = nowhere
        world.node.blobs[BLOB.digest] = DATA
        (site,) = await world.client.upload([source(DATA)])
        assert site.digest == BLOB.digest
        assert [method for method, _ in world.node.requests] == ["POST", "POST"]

    run(talk)


def test_acceptance_can_wait(run: Runner) -> None:
    async def talk(world: World) -> None:
        (allocated,) = await world.client.allocate_and_put([source(DATA)])
        kept = Allocated(allocated.blob, allocated.allocation)
        world.clock[0] += 3600
        (site,) = await world.client.accept([kept])
        assert await world.read({site.digest: [site]}, Piece(site.digest, 1, 2)) == [DATA[1:3]]

    run(talk)


def test_what_was_never_put_is_not_accepted(run: Runner) -> None:
    async def talk(world: World) -> None:
        (allocated,) = await world.client.allocate_and_put([source(DATA)])
        world.node.blobs.clear()
        with pytest.raises(NodeRefused, match="HandlerExecutionError: blob not found"):
            await world.client.accept([allocated])
        await world.client.upload([source(DATA)])
        assert world.node.blobs == {BLOB.digest: DATA}

    run(talk)


def test_a_put_has_the_headers_it_was_given_and_no_others(run: Runner) -> None:
    async def talk(world: World) -> None:
        world.node.put_headers = {"X-Amz-Checksum-Sha256": "abc="}
        await world.client.allocate_and_put([source(DATA)])
        (seen,) = world.node.seen_put_headers
        assert seen == {
            "Host": world.node.url.removeprefix("http://"),
            "Content-Length": str(len(DATA)),
            "X-Amz-Checksum-Sha256": "abc=",
        }

    run(talk)


@pytest.mark.parametrize(
    "headers", [{"Content-Length": "1"}, {"Transfer-Encoding": "chunked"}, {"a b": "c"}, {"Connection": "close"}]
)
def test_headers_that_no_put_should_have_are_not_sent(run: Runner, headers: dict[str, str]) -> None:
    async def talk(world: World) -> None:
        world.node.put_headers = headers
        with pytest.raises(NodeLied):
            await world.client.allocate_and_put([source(DATA)])
        assert [method for method, _ in world.node.requests] == ["POST"]

    run(talk)


def test_an_expired_allocation_is_made_anew(run: Runner) -> None:
    async def expired(request: web.BaseRequest, _: Handler) -> web.StreamResponse:
        return web.Response(status=403)

    async def talk(world: World) -> None:
        world.node.faults["PUT"] = [expired]
        sites = await world.stored(DATA, b"other")
        assert len(sites) == 2
        assert world.node.abilities[:2] == [[BlobAllocate.can] * 2, [BlobAllocate.can]]

    run(talk)


def test_an_allocation_that_has_ended_already_is_not_used(run: Runner) -> None:
    async def talk(world: World) -> None:
        world.node.put_expires = NOW
        with pytest.raises(NodeRefused, match="does not take what it has just allocated"):
            await world.client.allocate_and_put([source(DATA)])
        assert {method for method, _ in world.node.requests} == {"POST"}

    run(talk)


def test_what_cannot_be_put_does_not_stop_the_others(run: Runner) -> None:
    async def refused(request: web.BaseRequest, _: Handler) -> web.StreamResponse:
        return web.Response(status=413, text="too\nlarge")

    async def talk(world: World) -> None:
        world.node.faults["PUT"] = [refused]
        with pytest.raises(NodeRefused, match="HTTP 413: too large"):
            await world.client.allocate_and_put([source(b"%d" % number) for number in range(9)])
        assert len(world.node.blobs) == 8

    run(talk)


@pytest.mark.parametrize("wrong", [DATA[:-1], DATA + b"x", DATA[:-1] + b"x", b""])
def test_bytes_that_are_not_the_blob_never_arrive_whole(run: Runner, wrong: bytes) -> None:
    async def talk(world: World) -> None:
        opened = []

        def chunks() -> AsyncIterator[bytes]:
            opened.append(1)
            return source(wrong).open()  # type: ignore[return-value]

        with pytest.raises(SourceDamaged):
            await world.client.allocate_and_put([Source(BLOB, chunks)])
        assert world.node.blobs == {}
        assert len(opened) == 1
        assert set(world.client.breakers.values()) == {world.client.breakers[world.node.url].CLOSED}

    run(talk)


def test_what_a_source_raises_is_what_the_caller_sees(run: Runner) -> None:
    async def talk(world: World) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield DATA[:10]
            raise OSError("the disk is gone")

        with pytest.raises(OSError, match="the disk is gone"):
            await world.client.allocate_and_put([Source(BLOB, chunks)])

    run(talk)


def test_a_node_without_a_grant_refuses(run: Runner) -> None:
    async def talk(world: World) -> None:
        world.node.did = run.agent.did
        with pytest.raises(NodeRefused, match="InvalidAudienceError"):
            await world.client.allocate_and_put([source(DATA)])

    run(talk)


def _claim(key: KeySigner, audience: str | None = None, resource: str | None = None, **fields: object):
    def alter(claim: Delegation) -> Delegation:
        location = Location(BLOB.digest, ("http://127.0.0.1:1/x",), claim.token.payload.audience, 0, BLOB.size)
        to = claim.token.payload.audience if audience is None else audience
        cap = capability(claim.capability.resource if resource is None else resource, replace(location, **fields))
        return delegate(key, to, [cap], expires=None)

    return alter


def _forged(claim: Delegation) -> Delegation:
    payload = replace(claim.token.payload, nonce="x")
    from registry.ucan.v091 import UCAN_0_9_1

    signed = UCAN_0_9_1.sign(payload, KeySigner(b"\x03" * 32))
    # The claim says one thing and its signature is over another.
    other = UCAN_0_9_1.sign(replace(payload, nonce="y"), KeySigner(b"\x03" * 32))
    return Delegation(UCAN_0_9_1.decode(signed.data.replace(signed.signature, other.signature)))


NODE, STRANGER = KeySigner(b"\x03" * 32), KeySigner(b"\x09" * 32)


@pytest.mark.parametrize(
    "alter",
    [
        pytest.param(_forged, id="forged"),
        pytest.param(_claim(STRANGER), id="of a stranger"),
        pytest.param(_claim(NODE, resource=STRANGER.did), id="with somebody else"),
        pytest.param(_claim(NODE, audience=STRANGER.did, space=STRANGER.did), id="for another space"),
        pytest.param(_claim(NODE, audience=STRANGER.did, space=None), id="for another audience"),
        pytest.param(_claim(NODE, digest=b"\x00" * 32), id="of another blob"),
        pytest.param(_claim(NODE, length=BLOB.size - 1), id="of another size"),
        pytest.param(_claim(NODE, offset=1), id="of a part"),
        pytest.param(_claim(NODE, urls=("file:///etc/passwd",)), id="at a file"),
        pytest.param(_claim(NODE, urls=("http://user:secret@127.0.0.1/",)), id="with a password"),
        pytest.param(lambda claim: claim.__class__(claim.token), id="fine"),
    ],
)
def test_a_location_claim_is_of_the_right_node_for_the_right_blob(run: Runner, alter, request) -> None:
    async def talk(world: World) -> None:
        world.node.alter_claim = alter
        if "fine" in request.node.callspec.id:
            assert len(await world.client.upload([source(DATA)])) == 1
        else:
            with pytest.raises(NodeLied):
                await world.client.upload([source(DATA)])

    run(talk)


def test_an_unreachable_node_is_unavailable(run: Runner) -> None:
    async def talk(world: World) -> None:
        async def gone(request: web.BaseRequest, _: Handler) -> web.StreamResponse:
            request.transport.abort()
            return web.Response()

        world.node.always["POST"] = gone
        with pytest.raises(NodeUnavailable):
            await world.client.upload([source(DATA)])

    run(talk)
