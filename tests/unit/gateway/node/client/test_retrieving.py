"""Bytes from the node: which requests, by whose authority, and what is believed of the answers."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import pytest
from aiohttp import web

from gateway.node.client import NodeClient, NodeLied, NodeRefused, NodeUnavailable, Piece, Site, ranges, retrieving
from gateway.node.client.authority import READING_SECONDS, RENEWAL_SECONDS
from registry.ucan import header
from registry.ucan.capability import Location, capability
from registry.ucan.delegation import delegate
from registry.ucan.signing import KeySigner
from tests.storage_node import NOW, Fault, Handler
from tests.unit.gateway.node.client.conftest import TIMEOUTS, Runner, World

DATA = random.Random(2).randbytes(1_000_000)
DIGEST = sha256(DATA).digest()
NODE = KeySigner(b"\x03" * 32)


def _piece(offset: int, length: int) -> Piece:
    return Piece(DIGEST, offset, length, sha256(DATA[offset : offset + length]).digest())


def _gets(world: World) -> int:
    return sum(method == "GET" for method, _ in world.node.requests)


def _site(world: World, *urls: str, expires: int | None = None) -> Site:
    """A claim of the node for this blob at those URLs."""
    space = world.remote.space.did
    said = capability(NODE.did, Location(DIGEST, urls, KeySigner(b"\x01" * 32).did, 0, len(DATA)))
    return Site.of(delegate(NODE, space, [said], expires=expires), NODE.did, space)  # type: ignore[arg-type]


def _changed(change: Callable[[bytes], bytes], status: int | None = None) -> Fault:
    """The right answer with other bytes, or another status."""

    async def fault(request: web.BaseRequest, answer: Handler) -> web.StreamResponse:
        right = await answer(request)
        assert isinstance(right, web.Response)
        assert isinstance(right.body, bytes)
        headers = {header.NAME: right.headers[header.NAME]}
        return web.Response(status=status or right.status, body=change(right.body), headers=headers)

    return fault


@pytest.mark.parametrize("own_agent", [False, True])
def test_neighbours_come_with_one_request_and_in_their_order(run: Runner, own_agent: bool) -> None:
    wanted = [(500_000, 1000), (0, 300_000), (300_000, 10), (299_990, 20), (0, 0), (500_000, 1000), (999_999, 1)]

    async def talk(world: World) -> None:
        sites = await world.stored(DATA)
        got = await world.read(sites, *(_piece(*one) for one in wanted))
        assert got == [DATA[offset : offset + length] for offset, length in wanted]
        assert _gets(world) == 3

    run(talk, agent=run.agent if own_agent else None)


def test_nothing_of_a_blob_costs_nothing(run: Runner) -> None:
    async def talk(world: World) -> None:
        assert await world.read({}, Piece(DIGEST, 0, 0), Piece(DIGEST, 2**40, 0)) == [b"", b""]
        assert world.node.requests == []

    run(talk)


def test_several_blobs_at_once(run: Runner) -> None:
    datas = [bytes([number]) * (number + 1) for number in range(12)]

    async def talk(world: World) -> None:
        sites = await world.stored(*datas)
        pieces = [Piece(sha256(data).digest(), 0, len(data)) for data in datas]
        assert await world.read(sites, *pieces) == datas
        assert _gets(world) == len(datas)

    run(talk)


def test_a_piece_that_is_too_large_is_cut(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (ranges, retrieving):
        monkeypatch.setattr(module, "RANGE_BYTES_MAX", 300_000)

    async def talk(world: World) -> None:
        sites = await world.stored(DATA)
        assert await world.read(sites, _piece(0, len(DATA)), _piece(5, 10)) == [DATA, DATA[5:15]]
        assert _gets(world) == 4
        with pytest.raises(NodeLied, match="wrong bytes"):
            await world.read(sites, replace(_piece(0, len(DATA)), digest=b"\x00" * 32))

    run(talk)


def test_wrong_bytes_are_never_given_out(run: Runner) -> None:
    async def talk(world: World) -> None:
        sites = await world.stored(DATA)
        world.node.always["GET"] = _changed(lambda body: body[:-1] + bytes([body[-1] ^ 1]))
        for piece in (_piece(7, 100), _piece(0, len(DATA))):
            with pytest.raises(NodeLied, match="wrong bytes"):
                await world.read(sites, piece)

    run(talk)


@pytest.mark.parametrize(
    "change", [lambda body: body[:-1], lambda body: b"", lambda body: body + b"x", lambda body: body * 2]
)
def test_another_number_of_bytes_is_a_lie_even_where_no_digest_is_known(
    run: Runner, change: Callable[[bytes], bytes]
) -> None:
    async def talk(world: World) -> None:
        sites = await world.stored(DATA)
        world.node.always["GET"] = _changed(change)
        with pytest.raises(NodeLied):
            await world.read(sites, Piece(DIGEST, 10, 100))

    run(talk)


@pytest.mark.parametrize("status", [201, 203, 204, 404])
def test_bytes_come_with_the_status_of_bytes(run: Runner, status: int) -> None:
    async def talk(world: World) -> None:
        sites = await world.stored(DATA)
        world.node.always["GET"] = _changed(lambda body: body, status)
        with pytest.raises(NodeRefused, match=f"HTTP {status}"):
            await world.read(sites, Piece(DIGEST, 10, 100))

    run(talk)


def test_bytes_without_a_receipt_are_a_lie(run: Runner) -> None:
    async def without(request: web.BaseRequest, answer: Handler) -> web.StreamResponse:
        return web.Response(status=206, body=DATA[10:110])

    async def talk(world: World) -> None:
        sites = await world.stored(DATA)
        world.node.always["GET"] = without
        with pytest.raises(NodeLied, match="without a receipt"):
            await world.read(sites, _piece(10, 100))

    run(talk)


@pytest.mark.parametrize("own_agent", [False, True])
def test_what_is_not_authorized_comes_as_200_without_bytes_and_is_a_refusal(run: Runner, own_agent: bool) -> None:
    async def talk(world: World) -> None:
        sites = await world.stored(DATA)
        world.clock[0] = NOW - 3600  # whatever is signed now has ended for the node
        with pytest.raises(NodeRefused) as raised:
            await world.read(sites, _piece(0, 10))
        assert raised.value.name == "Unauthorized"
        assert world.observed[-1].status == 200

    run(talk, agent=run.agent if own_agent else None)


def test_a_space_cannot_read_what_is_of_another(run: Runner) -> None:
    async def talk(world: World) -> None:
        sites = await world.stored(DATA)
        other = KeySigner(b"\x07" * 32)
        remote = replace(world.remote, space=other, agent=run.space)
        async with NodeClient(remote, now=lambda: world.clock[0]) as client:
            with pytest.raises(NodeRefused, match="NotFound: blob not found"):
                await client.retrieve([_piece(0, 10)], sites)
            with pytest.raises(NodeLied):
                client.site(sites[DIGEST][0].archive())

    run(talk)


def test_bytes_behind_the_end_are_refused(run: Runner) -> None:
    async def talk(world: World) -> None:
        sites = await world.stored(DATA)
        with pytest.raises(NodeRefused, match="RangeNotSatisfiable"):
            await world.read(sites, Piece(DIGEST, len(DATA), 1))

    run(talk)


def test_every_place_is_tried(run: Runner) -> None:
    async def talk(world: World) -> None:
        await world.stored(DATA)
        right = world.node.piece_url(DIGEST)
        gone = "http://127.0.0.1:1/gone"
        world.node.faults["GET"] = [_changed(lambda body: body[::-1]), _changed(lambda body: body, 404)]
        sites = {DIGEST: [_site(world, gone, right), _site(world, right, right)]}
        assert await world.read(sites, _piece(0, 100)) == [DATA[:100]]
        assert [one.url.endswith("/gone") for one in world.observed if one.method == "GET"] == [True] + [False] * 3

    run(talk)


def test_where_no_place_answers_it_may_work_later(run: Runner) -> None:
    async def talk(world: World) -> None:
        await world.stored(DATA)
        sites = {DIGEST: [_site(world, world.node.piece_url(b"\x00" * 32), "http://127.0.0.1:1/")]}
        world.node.always["GET"] = _changed(lambda body: body[::-1])
        with pytest.raises(NodeUnavailable):
            await world.read(sites, _piece(0, 100))

    run(talk)


def test_claims_that_have_ended_are_passed_over(run: Runner) -> None:
    async def talk(world: World) -> None:
        await world.stored(DATA)
        right = world.node.piece_url(DIGEST)
        ended, good = _site(world, "http://127.0.0.1:1/", expires=NOW), _site(world, right, expires=NOW + 1)
        assert await world.read({DIGEST: [ended, good]}, _piece(0, 100)) == [DATA[:100]]
        assert [one.url for one in world.observed if one.method == "GET"] == [right]
        with pytest.raises(NodeUnavailable, match="no place"):
            await world.read({DIGEST: [ended]}, _piece(0, 100))
        with pytest.raises(NodeUnavailable, match="no place"):
            await world.read({}, _piece(0, 100))

    run(talk)


def test_the_space_key_signs_once_a_minute_and_not_for_every_read(run: Runner) -> None:
    signed = []

    class Counting(KeySigner):
        def sign(self, message: bytes) -> bytes:
            signed.append(message)
            return super().sign(message)

    run.space = Counting(b"\x01" * 32)

    async def talk(world: World) -> None:
        sites = await world.stored(DATA)
        signed.clear()
        for _ in range(20):
            await world.read(sites, _piece(0, 10))
        assert len(signed) == 1
        world.clock[0] += READING_SECONDS - RENEWAL_SECONDS
        await world.read(sites, _piece(0, 10))
        assert len(signed) == 1
        world.clock[0] += 1
        await world.read(sites, _piece(0, 10))
        assert len(signed) == 2

    run(talk, agent=run.agent)


def test_proofs_are_shown_one_by_one_where_the_node_wants_it_so(run: Runner) -> None:
    async def talk(world: World) -> None:
        sites = await world.stored(DATA)
        world.node.one_by_one = True
        assert await world.read(sites, _piece(0, 10)) == [DATA[:10]]
        assert [one.status for one in world.observed if one.method == "GET"] == [431, 510, 206]
        assert await world.read(sites, _piece(10, 10)) == [DATA[10:20]]

    run(talk, agent=run.agent)


def test_proofs_that_are_too_long_for_the_header_are_shown_one_by_one(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def talk(world: World) -> None:
        sites = await world.stored(DATA)
        monkeypatch.setattr(header, "HEADER_CHARS_MAX", 800)
        assert await world.read(sites, _piece(0, 10)) == [DATA[:10]]
        assert [one.status for one in world.observed if one.method == "GET"] == [510, 206]
        monkeypatch.setattr(header, "HEADER_CHARS_MAX", 100)
        with pytest.raises(NodeRefused, match="HeaderTooLong"):
            await world.read(sites, _piece(0, 10))

    run(talk, agent=run.agent)


@pytest.mark.parametrize(
    "body, error",
    [
        ('{"proofs":[{"/":"bafyreiefwjwfxtm3hzxfhihcegvwpoql5dqnpxomptxbnoc4j25exa24gm"}]}', NodeRefused),
        ('{"proofs":[]}', NodeLied),
        ('{"proofs":[{"/":"x"}]}', NodeLied),
        ('{"proofs":{"/":"x"}}', NodeLied),
        ("[" * 60_000, NodeLied),
        ("no", NodeLied),
        ("", NodeLied),
    ],
)
def test_a_node_that_wants_proofs_for_ever_is_given_up(run: Runner, body: str, error: type[Exception]) -> None:
    async def wants(request: web.BaseRequest, answer: Handler) -> web.StreamResponse:
        return web.Response(status=510, text=body)

    async def talk(world: World) -> None:
        sites = await world.stored(DATA)
        world.node.always["GET"] = wants
        with pytest.raises(error):
            await world.read(sites, _piece(0, 10))

    run(talk, agent=run.agent)


def test_a_node_that_asks_twice_for_one_proof_is_given_up(run: Runner) -> None:
    async def talk(world: World) -> None:
        sites = await world.stored(DATA)
        first: list[web.Response] = []

        async def again(request: web.BaseRequest, answer: Handler) -> web.StreamResponse:
            if not first:
                right = await answer(request)
                assert isinstance(right, web.Response)
                first.append(right)
            return web.Response(status=first[0].status, body=first[0].body)

        monkey = pytest.MonkeyPatch()
        monkey.setattr(header, "HEADER_CHARS_MAX", 800)
        world.node.always["GET"] = again
        with pytest.raises(NodeRefused, match="which is no help"):
            await world.read(sites, _piece(0, 10))
        monkey.undo()
        assert first[0].status == 510
        assert _gets(world) == 2

    run(talk, agent=run.agent)


def test_only_so_many_ranges_are_fetched_at_once(run: Runner) -> None:
    datas = [b"%d" % number for number in range(3 * retrieving.RANGES_AT_ONCE)]
    now, most = [0], [0]

    async def counted(request: web.BaseRequest, answer: Handler) -> web.StreamResponse:
        now[0] += 1
        most[0] = max(most[0], now[0])
        response = await answer(request)
        await response.prepare(request)
        now[0] -= 1
        return response

    async def talk(world: World) -> None:
        sites = await world.stored(*datas)
        world.node.always["GET"] = counted
        await world.read(sites, *(Piece(sha256(data).digest(), 0, len(data)) for data in datas))
        assert 1 <= most[0] <= retrieving.RANGES_AT_ONCE

    run(talk, timeouts=TIMEOUTS)
