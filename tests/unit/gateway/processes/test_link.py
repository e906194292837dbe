"""The link between two processes: messages in order whatever the stream does to them, errors as they were raised."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.processes.link import (
    GivenBack,
    Lend,
    Lent,
    LetGo,
    Link,
    NotLent,
    Ready,
    Refusal,
    Settled,
    Stop,
    Stopped,
    Stored,
    Submit,
)
from gateway.s3.errors import S3Error
from gateway.store import errors as store_errors
from gateway.store.mutations import Committed, Delete, Put
from mst.block import Block
from mst.cid import RAW
from mst.entry import Entry
from mst.errors import TreeLimitError
from registry.database import DatabaseFailed
from registry.heads import HeadMoved
from registry.uploads import UploadMissing

BLOCK = Block.of(RAW, b"body")
ENTRY = Entry(BLOCK.cid, 4, 1_790_000_000_000, bytes(16), {"a": [1, b"2"]})


def _comparable(message: object) -> object:
    """Refusals and what holds them by the errors they carry, everything else as it is."""
    if isinstance(message, Refusal):
        error = message.error()
        return type(error), error.args, vars(error)
    if isinstance(message, tuple | list):
        return [type(message), *map(_comparable, message)]
    return message


MESSAGES: list[NamedTuple] = [
    Ready(),
    Submit.of([(0, Put("b", b"k", ENTRY, (BLOCK,))), (1, Delete("b", b"k"))]),
    Settled.of([(0, Committed(None, ENTRY, value=[1, "x"])), (1, UploadMissing("01"))]),
    Lend(7),
    Lent(7, 3, 1 << 33),
    NotLent(8, Refusal.of(store_errors.StoreFull("no room"))),
    GivenBack(3),
    LetGo(3),
    Stored(3, [(bytes(32), 1 << 33, 1 << 20)] * 3, 1 << 34),
    Stop(30.0),
    Stopped(2),
]


class _Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()

    def writelines(self, list_of_data: Any) -> None:
        self.written += b"".join(list_of_data)


def _sent(messages: list[NamedTuple]) -> bytes:
    transport = _Transport()
    link = Link(lambda _: None, lambda: None)
    link.connection_made(transport)
    for message in messages:
        link.send(message)
    return bytes(transport.written)


@given(st.lists(st.sampled_from(MESSAGES), max_size=12), st.data())
def test_any_split_of_the_stream_gives_the_same_messages(messages: list[NamedTuple], data: st.DataObject) -> None:
    stream = _sent(messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    received: list[Any] = []
    link = Link(received.append, lambda: None)
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        link.data_received(stream[start:stop])
    assert _comparable(received) == _comparable(messages)


def test_one_byte_at_a_time() -> None:
    received: list[Any] = []
    link = Link(received.append, lambda: None)
    for byte in _sent(MESSAGES):
        link.data_received(bytes([byte]))
    assert _comparable(received) == _comparable(MESSAGES)


def _over_sockets(send: Callable[[Link], None]) -> list[Any]:
    """What one end hears of what the other says before it ends."""
    received: list[Any] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        lost = asyncio.Event()
        ends = socket.socketpair()
        hearing = Link(received.append, lost.set)
        speaking = Link(lambda _: None, lambda: None)
        await loop.create_connection(lambda: hearing, sock=ends[0])
        await loop.create_connection(lambda: speaking, sock=ends[1])
        send(speaking)
        speaking.close()
        await asyncio.wait_for(lost.wait(), 20)
        hearing.send(Ready())  # swallowed

    asyncio.run(main())
    return received


def test_large_messages_cross_whole_and_in_order() -> None:
    blocks = [Block.of(RAW, bytes([number]) * (8 << 20)) for number in range(4)]
    messages = [Submit.of([(number, Put("b", b"k", ENTRY, (block,)))]) for number, block in enumerate(blocks)]

    def send(link: Link) -> None:
        for message in messages:
            link.send(message)
            link.send(Ready())

    received = _over_sockets(send)
    assert received[0::2] == messages
    assert received[1::2] == [Ready()] * len(messages)


class _Odd(Exception):
    """An error whose constructor takes something else than what it passes on."""

    def __init__(self, one: int, *, other: str) -> None:
        super().__init__(f"{one} and {other}")
        self.one = one
        self.other = other


@pytest.mark.parametrize(
    "error",
    [
        S3Error("NoSuchKey", Key="k"),
        S3Error("PreconditionFailed", "not now", Condition="If-Match"),
        UploadMissing("0123"),
        HeadMoved(bytes(16), BLOCK.cid),
        TreeLimitError("too large", b"key"),
        DatabaseFailed("no room", disk_full=True),
        store_errors.NoSuchBucket("b"),
        store_errors.BucketExists("b"),
        store_errors.BucketNotEmpty("b"),
        store_errors.StoreFull("full"),
        store_errors.StoreReadOnly("broken"),
        store_errors.BlockMissing("gone"),
        store_errors.BlockCorrupt("damaged"),
        OSError(5, "Input/output error"),
        KeyError("k"),
        ValueError(),
        _Odd(1, other="two"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_stays_what_it_is(error: Exception) -> None:
    (settled,) = _over_sockets(lambda link: link.send(Settled.of([(4, error)])))
    ((ticket, refusal),) = settled.outcomes
    assert ticket == 4
    arrived = refusal.error()
    assert type(arrived) is type(error)
    assert (str(arrived), arrived.args, vars(arrived)) == (str(error), error.args, vars(error))


class _Unwilling:
    def __reduce__(self) -> str:
        raise RuntimeError("not me")


@pytest.mark.parametrize("baggage", [threading.Lock(), lambda: None, _Unwilling()], ids=["lock", "lambda", "unwilling"])
def test_of_an_error_that_cannot_cross_the_words_do(baggage: object) -> None:
    error = store_errors.StoreFull("no room")
    error.baggage = baggage  # type: ignore[attr-defined]
    arrived = Refusal.of(error).error()
    assert type(arrived) is store_errors.StoreError
    assert "StoreFull('no room')" in str(arrived)
