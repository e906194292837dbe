"""The link between the owner of a data folder and one worker: messages in order, over a pair of sockets.

Both ends are this program, forked from one process, and nobody else can reach the sockets: so messages are pickled.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, NamedTuple, cast

from gateway.store.errors import StoreError
from gateway.store.mutations import Committed, Mutation, Outcome, Put
from mst.block import Block
from mst.cid import CID
from mst.entry import Entry

_LENGTH = Struct("<I")
_PROTOCOL = 5


class Ready(NamedTuple):
    """The worker accepts connections."""


class Submit(NamedTuple):
    """The worker hands in mutations, each with a ticket."""

    bare: list[tuple[int, Any]]

    @classmethod
    def of(cls, mutations: Sequence[tuple[int, Mutation]]) -> Submit:
        """For sending."""
        return cls([(ticket, _bare(mutation)) for ticket, mutation in mutations])

    @property
    def mutations(self) -> list[tuple[int, Mutation]]:
        """What was sent."""
        return [(ticket, _put(bare) if type(bare) is tuple else bare) for ticket, bare in self.bare]


class Refusal(NamedTuple):
    """An error on its way, whatever its constructor takes."""

    pickled: bytes

    @classmethod
    def of(cls, error: Exception) -> Refusal:
        """For sending."""
        try:
            return cls(pickle.dumps((type(error), error.args, error.__dict__), _PROTOCOL))
        except Exception:  # whatever an attribute's own pickling raises
            return cls(pickle.dumps((StoreError, (repr(error),), {}), _PROTOCOL))

    def error(self) -> Exception:
        """The error that was sent."""
        kind, args, state = pickle.loads(self.pickled)
        error = cast(Exception, kind.__new__(kind, *args))
        error.__dict__.update(state)
        return error


class Settled(NamedTuple):
    """The owner answers mutations, by their tickets."""

    bare: list[tuple[int, tuple[Any, ...] | Refusal]]

    @classmethod
    def of(cls, outcomes: Sequence[tuple[int, Outcome]]) -> Settled:
        """For sending."""
        return cls(
            [
                (ticket, Refusal.of(outcome) if isinstance(outcome, Exception) else tuple(outcome))
                for ticket, outcome in outcomes
            ]
        )

    @property
    def outcomes(self) -> list[tuple[int, Committed | Refusal]]:
        """What was sent."""
        return [(ticket, bare if isinstance(bare, Refusal) else Committed._make(bare)) for ticket, bare in self.bare]


def _bare(mutation: Mutation) -> Any:
    """A put, as most mutations are, as plain values: they are pickled five times as fast."""
    if type(mutation) is not Put:
        return mutation
    bucket, key, (body, *facts), blocks, *calls = mutation
    return bucket, key, bytes(body), facts, [(bytes(cid), data) for cid, data in blocks], calls


def _put(bare: tuple[Any, ...]) -> Put:
    bucket, key, body, facts, blocks, calls = bare
    return Put(bucket, key, Entry(CID(body), *facts), tuple(Block(CID(cid), data) for cid, data in blocks), *calls)


class Lend(NamedTuple):
    """The worker needs a bulk segment to write to."""

    ticket: int


class Lent(NamedTuple):
    """The owner lends the segment of that number and length in bytes, until it comes back or the worker ends."""

    ticket: int
    number: int
    size: int


class GivenBack(NamedTuple):
    """The worker writes to a lent segment no more; others may."""

    number: int


class LetGo(NamedTuple):
    """The worker writes to a lent segment no more, and nobody else may."""

    number: int


class NotLent(NamedTuple):
    """There is no segment to lend."""

    ticket: int
    refusal: Refusal


class Stored(NamedTuple):
    """The worker has made blocks (digest, offset, length) durable in a lent segment, which is ``size`` bytes long."""

    number: int
    places: list[tuple[bytes, int, int]]
    size: int


class Reload(NamedTuple):
    """The owner wants the worker to show the certificate as its files have it now."""


class Stop(NamedTuple):
    """The owner wants the worker to finish its requests, for at most that many seconds, and end."""

    seconds: float


class Stopped(NamedTuple):
    """The worker has ended all its requests, of which so many were cut off."""

    cut_off: int


class Link(asyncio.Protocol):
    """One end of the link.

    Args:
        received: called with each message, in order.
        lost: called when the other process has ended.
    """

    def __init__(self, received: Callable[[Any], None], lost: Callable[[], None]):
        self._received = received
        self._lost = lost
        self._buffer = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    def send(self, message: NamedTuple) -> None:
        """Send ``message``; a link that was lost swallows it."""
        data = pickle.dumps(message, _PROTOCOL)
        if self._transport is not None:
            self._transport.writelines((_LENGTH.pack(len(data)), data))

    def close(self) -> None:
        """Send what is on its way and end the link."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._buffer += data
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            stop = start + _LENGTH.size + _LENGTH.unpack_from(self._buffer, start)[0]
            if len(self._buffer) < stop:
                break
            with memoryview(self._buffer) as view:
                message = pickle.loads(view[start + _LENGTH.size : stop])
            start = stop
            self._received(message)
        del self._buffer[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._transport = None
        self._lost()
