"""Every way in which a node or the network can fail, in every operation: one declared error, in bounded time, and the
same call works when the fault has ended."""

from __future__ import annotations

import asyncio
import gzip
import socket
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import replace
from hashlib import sha256
from typing import cast

import pytest
from aiohttp import web

from gateway.node.client import (
    NodeClient,
    NodeError,
    NodeLied,
    NodeRefused,
    NodeUnavailable,
    Piece,
    PublishedIndex,
    Retries,
    Service,
    State,
)
from registry.ucan import header, receipt
from registry.ucan.index import NO_CONTENT, Index, Slice
from registry.ucan.receipt import Ok, Receipt
from registry.ucan.signing import KeySigner
from tests.storage_node import Fault, Handler, resigned
from tests.unit.gateway.node.client.conftest import RETRIES, TIMEOUTS, Runner, World, source

DATA = bytes(range(256)) * 400
DIGEST = sha256(DATA).digest()
INDEX = Index(NO_CONTENT, {DIGEST: {DIGEST: Slice(0, len(DATA))}}).encode()
PUBLISHED = PublishedIndex(NO_CONTENT, source(INDEX).blob)

IMPATIENT = replace(TIMEOUTS, read_seconds=0.3, total_seconds=2)

Call = Callable[[], Awaitable[object]]


async def _allocating(world: World) -> Call:
    return lambda: world.client.allocate_and_put([source(DATA)])


async def _accepting(world: World) -> Call:
    allocated = await world.client.allocate_and_put([source(DATA)])
    return lambda: world.client.accept(allocated)


async def _publishing(world: World) -> Call:
    await world.client.upload([source(INDEX)])
    return lambda: world.client.publish([PUBLISHED])


async def _retrieving(world: World) -> Call:
    sites = await world.stored(DATA)

    async def call() -> None:
        assert await world.read(sites, Piece(DIGEST, 5, 5000)) == [DATA[5:5005]]

    return call


async def _locating(world: World) -> Call:
    await world.client.upload([source(DATA), source(INDEX)], [PUBLISHED])

    async def call() -> None:
        located = await world.client.locate([DIGEST])
        assert set(located.sites) == {DIGEST, sha256(INDEX).digest()}

    return call


POSTS = [("POST", _allocating), ("POST", _accepting), ("POST", _publishing)]
GETS = [("GET", _retrieving), ("GET", _locating)]
EVERYTHING = pytest.mark.parametrize("method, prepare", [*POSTS, ("PUT", _allocating), *GETS])
ANSWERING = pytest.mark.parametrize("method, prepare", [*POSTS, *GETS])


def _raw(request: web.BaseRequest, data: bytes) -> None:
    if request.transport is None:
        raise ConnectionResetError
    cast(asyncio.Transport, request.transport).write(data)


async def hang(request: web.BaseRequest, _: Handler) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def reset(request: web.BaseRequest, _: Handler) -> web.StreamResponse:
    cast(asyncio.Transport, request.transport).abort()
    return web.Response()


async def reset_in_body(request: web.BaseRequest, _: Handler) -> web.StreamResponse:
    _raw(request, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegin")
    return await reset(request, _)


async def truncated(request: web.BaseRequest, _: Handler) -> web.StreamResponse:
    _raw(request, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegin")
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def truncated_chunks(request: web.BaseRequest, _: Handler) -> web.StreamResponse:
    _raw(request, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n")
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def slow_body(request: web.BaseRequest, _: Handler) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "4000"})
    await response.prepare(request)
    while True:
        await response.write(b"x")
        await asyncio.sleep(0.02)


async def slow_head(request: web.BaseRequest, _: Handler) -> web.StreamResponse:
    _raw(request, b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        _raw(request, b"x")
        await asyncio.sleep(0.02)


async def no_http(request: web.BaseRequest, _: Handler) -> web.StreamResponse:
    _raw(request, b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    return await hang(request, _)


def status(code: int, **headers: str) -> Fault:
    async def fault(request: web.BaseRequest, _: Handler) -> web.StreamResponse:
        return web.Response(status=code, text="not today", headers=headers)

    return fault


async def lost_after_effect(request: web.BaseRequest, answer: Handler) -> web.StreamResponse:
    await answer(request)
    return await reset(request, answer)


async def _gives_up(world: World, method: str, call: Call, fault: Fault) -> NodeError:
    """The error of a client that does not wait for long and does not try again."""
    remote = replace(world.remote, timeouts=IMPATIENT, retries=replace(RETRIES, attempts=1))
    patient = world.client
    async with NodeClient(remote, now=lambda: world.clock[0]) as impatient:
        world.node.always[method] = fault
        world.client = impatient
        with pytest.raises(NodeUnavailable) as raised:
            await call()
    del world.node.always[method]
    world.client = patient
    await call()
    return raised.value


async def _fails(world: World, method: str, call: Call, fault: Fault, kind: type[NodeError]) -> NodeError:
    """The error while the fault lasts; the call works after it."""
    world.observed.clear()
    world.node.always[method] = fault
    with pytest.raises(kind) as raised:
        await call()
    del world.node.always[method]
    world.tried = sum(one.method == method for one in world.observed)
    await call()
    return raised.value


@EVERYTHING
@pytest.mark.parametrize("fault", [hang, slow_head])
def test_a_node_that_is_silent_or_too_slow_is_given_up(
    run: Runner, method: str, prepare: Callable[[World], Awaitable[Call]], fault: Fault
) -> None:
    async def talk(world: World) -> None:
        assert "failed: too slow" in str(await _gives_up(world, method, await prepare(world), fault))

    run(talk)


@EVERYTHING
def test_an_answer_of_a_byte_now_and_then_is_cut_off(
    run: Runner, method: str, prepare: Callable[[World], Awaitable[Call]]
) -> None:
    async def talk(world: World) -> None:
        assert "failed: too slow" in str(await _gives_up(world, method, await prepare(world), slow_body))

    run(talk)


def test_a_node_that_reads_nothing_of_an_upload_is_given_up(run: Runner) -> None:
    large = source(bytes(8 * 2**20))  # more than fits the sockets' buffers

    async def talk(world: World) -> None:
        error = await _gives_up(world, "PUT", lambda: world.client.allocate_and_put([large]), hang)
        assert "failed: too slow" in str(error)

    run(talk)


def test_all_attempts_together_are_bounded_in_time(run: Runner) -> None:
    async def talk(world: World) -> None:
        call = await _allocating(world)
        world.node.always["POST"] = hang
        with pytest.raises(NodeUnavailable, match="was not answered within"):
            await call()

    quick = replace(IMPATIENT, read_seconds=5, total_seconds=0.3, bytes_per_second=2**40)
    run(talk, timeouts=quick)


@EVERYTHING
@pytest.mark.parametrize("fault", [reset, reset_in_body, truncated, truncated_chunks, no_http])
def test_a_connection_that_breaks_is_tried_again_so_often(
    run: Runner, method: str, prepare: Callable[[World], Awaitable[Call]], fault: Fault
) -> None:
    async def talk(world: World) -> None:
        call = await prepare(world)
        await _fails(world, method, call, fault, NodeUnavailable)
        assert world.tried == RETRIES.attempts
        world.node.faults[method] = [fault]
        await call()

    run(talk)


@EVERYTHING
@pytest.mark.parametrize("code", [500, 503, 429])
def test_a_node_that_says_not_now_is_asked_again(
    run: Runner, method: str, prepare: Callable[[World], Awaitable[Call]], code: int
) -> None:
    async def talk(world: World) -> None:
        call = await prepare(world)
        error = await _fails(world, method, call, status(code), NodeUnavailable)
        assert f"{code} not today" in str(error)
        world.node.faults[method] = [status(code, **{"Retry-After": "0"})]
        await call()

    run(talk)


def test_a_long_retry_after_is_left_to_the_caller(run: Runner) -> None:
    async def talk(world: World) -> None:
        call = await _allocating(world)
        error = await _fails(world, "POST", call, status(429, **{"Retry-After": "100"}), NodeUnavailable)
        assert isinstance(error, NodeUnavailable)
        assert error.retry_after_seconds == 100
        assert world.tried == 1

    run(talk)


@EVERYTHING
@pytest.mark.parametrize("code", [301, 307])
def test_redirects_are_not_followed(
    run: Runner, method: str, prepare: Callable[[World], Awaitable[Call]], code: int
) -> None:
    async def talk(world: World) -> None:
        connected: list[object] = []
        elsewhere = await asyncio.start_server(lambda reader, writer: connected.append(writer), "127.0.0.1", 0)
        url = f"http://127.0.0.1:{elsewhere.sockets[0].getsockname()[1]}/"
        error = await _fails(world, method, await prepare(world), status(code, Location=url), NodeRefused)
        assert isinstance(error, NodeRefused)
        assert error.name == f"HTTP {code}"
        assert connected == []
        elsewhere.close()

    run(talk)


@EVERYTHING
@pytest.mark.parametrize("code", [400, 404, 501])
def test_a_refusal_is_not_repeated(
    run: Runner, method: str, prepare: Callable[[World], Awaitable[Call]], code: int
) -> None:
    async def talk(world: World) -> None:
        error = await _fails(world, method, await prepare(world), status(code), NodeRefused)
        assert str(error) == f"HTTP {code}: not today"
        assert world.tried == 1

    run(talk)


@EVERYTHING
def test_a_lost_answer_does_no_harm(run: Runner, method: str, prepare: Callable[[World], Awaitable[Call]]) -> None:
    async def talk(world: World) -> None:
        call = await prepare(world)
        await _fails(world, method, call, lost_after_effect, NodeUnavailable)
        world.node.faults[method] = [lost_after_effect]
        await call()
        assert world.node.blobs.keys() <= {DIGEST, sha256(INDEX).digest()}

    run(talk)


def _body(body: bytes, **headers: str) -> Fault:
    async def fault(request: web.BaseRequest, _: Handler) -> web.StreamResponse:
        return web.Response(body=body, headers=headers)

    return fault


async def endless(request: web.BaseRequest, _: Handler) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(bytes(2**20))


@ANSWERING
@pytest.mark.parametrize("fault", [_body(b""), _body(b"<html>"), _body(b"\xff" * 5000)])
def test_an_answer_of_another_kind_is_a_lie(
    run: Runner, method: str, prepare: Callable[[World], Awaitable[Call]], fault: Fault
) -> None:
    async def talk(world: World) -> None:
        await _fails(world, method, await prepare(world), fault, NodeLied)

    run(talk)


@pytest.mark.parametrize("method, prepare", [*POSTS, ("PUT", _allocating), ("GET", _retrieving)])
def test_an_endless_answer_is_cut_off(run: Runner, method: str, prepare: Callable[[World], Awaitable[Call]]) -> None:
    async def talk(world: World) -> None:
        error = await _fails(world, method, await prepare(world), endless, NodeLied)
        assert "more than" in str(error)

    run(talk)


def test_an_endless_error_is_read_only_so_far(run: Runner) -> None:
    async def fault(request: web.BaseRequest, _: Handler) -> web.StreamResponse:
        response = web.StreamResponse(status=400)
        await response.prepare(request)
        while True:
            await response.write(b"no " * 2**16)

    async def talk(world: World) -> None:
        error = await _fails(world, "POST", await _allocating(world), fault, NodeRefused)
        assert len(str(error)) < 300

    run(talk)


@ANSWERING
def test_a_bomb_in_a_body_is_not_unpacked(
    run: Runner, method: str, prepare: Callable[[World], Awaitable[Call]]
) -> None:
    async def talk(world: World) -> None:
        bomb = gzip.compress(bytes(2**22), 9)
        await _fails(world, method, await prepare(world), _body(bomb, **{"Content-Encoding": "gzip"}), NodeLied)

    run(talk)


def test_a_bomb_in_a_header_is_not_unpacked(run: Runner) -> None:
    text = "m" + b64encode(gzip.compress(bytes(2**21), 9)).decode().rstrip("=")
    assert len(text) <= 4096

    async def talk(world: World) -> None:
        await _fails(world, "GET", await _retrieving(world), _body(DATA[5:5005], **{header.NAME: text}), NodeLied)

    run(talk)


STRANGER = KeySigner(b"\x09" * 32)


def _signed_by_stranger(one: Receipt) -> Receipt:
    return resigned(one, STRANGER)


def _stranger_in_the_name_of_the_node(one: Receipt) -> Receipt:
    """What the node would say, with its name, under another signature: only the signature tells."""

    class Impostor:
        did = KeySigner(b"\x03" * 32).did

        def sign(self, data: bytes) -> bytes:
            return STRANGER.sign(data)

    return receipt.issue(Impostor(), one.ran, one.out, fork=one.fork, attached=one.attached.items())


def _of_another_invocation(one: Receipt) -> Receipt:
    other = receipt.issue(KeySigner(b"\x03" * 32), one.cid, one.out, attached=one.attached.items())
    return _Misfiled(one.ran, other)  # type: ignore[return-value]


class _Misfiled:
    """A receipt that a message reports for an invocation that it is not of."""

    def __init__(self, ran: object, other: Receipt) -> None:
        self.ran, self.cid, self.blocks = ran, other.cid, other.blocks


@pytest.mark.parametrize("method, prepare", [*POSTS, ("GET", _retrieving)])
@pytest.mark.parametrize("alter", [_signed_by_stranger, _stranger_in_the_name_of_the_node, _of_another_invocation])
def test_only_the_nodes_own_receipt_for_this_invocation_is_believed(
    run: Runner,
    method: str,
    prepare: Callable[[World], Awaitable[Call]],
    alter: Callable[[Receipt], Receipt],
) -> None:
    async def talk(world: World) -> None:
        call = await prepare(world)
        world.node.alter = alter
        with pytest.raises(NodeLied, match="without a receipt to believe"):
            await call()
        world.node.alter = lambda one: one
        await call()

    run(talk)


@pytest.mark.parametrize("prepare", [_allocating, _accepting])
def test_a_success_that_says_something_else_is_a_lie(run: Runner, prepare: Callable[[World], Awaitable[Call]]) -> None:
    async def talk(world: World) -> None:
        call = await prepare(world)
        world.node.alter = lambda one: receipt.issue(world.node.key, one.ran, Ok({"surprise": 1}))
        with pytest.raises(NodeLied):
            await call()

    run(talk)


def test_nobody_there_is_unavailable_and_opens_the_circuit_breaker(run: Runner) -> None:
    retries = Retries(attempts=2, base_seconds=0.001, cap_seconds=0.01, failures_max=4, open_seconds=60)

    async def talk(world: World) -> None:
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
            remote = replace(world.remote, node=Service(url, world.node.did), retries=retries)
            async with NodeClient(remote, observer=world.observed.append) as client:
                for _ in range(2):
                    with pytest.raises(NodeUnavailable):
                        await client.allocate_and_put([source(DATA)])
                assert client.breakers == {url: State.OPEN}
                assert len(world.observed) == 4
                with pytest.raises(NodeUnavailable, match="4 times in a row") as raised:
                    await client.allocate_and_put([source(DATA)])
                assert 0 < (raised.value.retry_after_seconds or 0) <= 60
                assert len(world.observed) == 4

    run(talk)


def test_the_circuit_breaker_closes_when_the_node_is_back(run: Runner) -> None:
    retries = Retries(attempts=1, base_seconds=0.001, cap_seconds=0.01, failures_max=2, open_seconds=0)

    async def talk(world: World) -> None:
        call = await _allocating(world)
        world.node.faults["POST"] = [status(500), status(500), status(500)]
        for _ in range(3):
            with pytest.raises(NodeUnavailable):
                await call()
            assert world.client.breakers[world.node.url] in (State.CLOSED, State.HALF_OPEN)
        assert world.client.breakers == {world.node.url: State.HALF_OPEN}
        await call()
        assert world.client.breakers == {world.node.url: State.CLOSED}

    run(talk, retries=retries)


def test_cancelling_leaves_nothing_behind(run: Runner) -> None:
    async def talk(world: World) -> None:
        call = await _retrieving(world)
        arrived = asyncio.Event()

        async def hold(request: web.BaseRequest, _: Handler) -> web.StreamResponse:
            arrived.set()
            return await hang(request, _)

        world.node.faults["GET"] = [hold]
        before = asyncio.all_tasks()
        task = asyncio.ensure_future(call())
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert {one for one in asyncio.all_tasks() - before if "NodeClient" in repr(one)} == set()
        await call()

    run(talk)
