"""A worker: speaks S3 on its share of the connections, reads by itself, and hands mutations to the owner."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import structlog
import uvloop

from gateway.config import Config
from gateway.processes.link import (
    GivenBack,
    Lend,
    Lent,
    LetGo,
    Link,
    NotLent,
    Ready,
    Reload,
    Settled,
    Stop,
    Stopped,
    Stored,
    Submit,
)
from gateway.processes.link import Refusal as Refused
from gateway.remote import reading_beside
from gateway.service import Service
from gateway.store.errors import StoreFull, StoreReadOnly
from gateway.store.folder import DataFolder
from gateway.store.mutations import Committed, Mutation, Mutator
from gateway.store.segment import Segment
from gateway.store.shared import SharedState
from gateway.store.store import Store, StoreSettings

_ORPHANED_STATUS = 1

log = structlog.get_logger(__name__)


def live(config: Config, settings: StoreSettings, fds: Sequence[int]) -> None:
    """Serve until the owner says stop, or is gone.

    Args:
        config: the configuration.
        settings: of the store, the same as the owner's.
        fds: the folder's lock, which is held as long as a worker lives; the link; the listening sockets.
    """
    _, link, *listening = fds
    uvloop.run(_serve(config, settings, socket.socket(fileno=link), [socket.socket(fileno=fd) for fd in listening]))


async def _serve(
    config: Config, settings: StoreSettings, link_socket: socket.socket, listening: list[socket.socket]
) -> None:
    owner = await _Owner.connect(link_socket)
    folder = DataFolder(config.data_dir)
    shared = SharedState.join(folder.shared)
    store = Store.open_for_serving(folder, settings, shared, _RemoteCommitter(owner, shared), _LentBulk(owner, folder))
    async with reading_beside(config, store, read_only=False), _letting_go(config, store):
        await _answer(Service(config, store), owner, listening)
    # In a thread: what was cut off may still wait for the owner, whose answer this event loop brings.
    await asyncio.to_thread(store.close)
    owner.close()


@asynccontextmanager
async def _letting_go(config: Config, store: Store) -> AsyncIterator[None]:
    """Close what the owner deletes, if it does."""
    if config.cache.max_bytes is None:
        yield
        return
    releasing = asyncio.create_task(_let_go_of_deleted(store, config.cache.trim_seconds))
    yield
    releasing.cancel()


async def _let_go_of_deleted(store: Store, seconds: float) -> None:
    """Segments that the owner has deleted take room on the disk while this process has them open."""
    while True:
        await asyncio.sleep(seconds)
        store.segments.let_go_of_deleted()


async def _answer(service: Service, owner: _Owner, listening: list[socket.socket]) -> None:
    owner.reload = service.reload
    await service.start(listening)
    owner.link.send(Ready())
    stop = await owner.stop
    cut_off = await service.stop(stop.seconds, owner.hurry)
    owner.link.send(Stopped(cut_off))


class _Owner:
    """The worker's end of the link: who waits for which answer."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.link = Link(self._received, self._lost)
        self.stop: asyncio.Future[Stop] = self.loop.create_future()
        self.hurry = asyncio.Event()
        self.reload: Callable[[], None] | None = None
        self._tickets = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._pending: list[tuple[int, Mutation]] = []
        self._closing = False

    @classmethod
    async def connect(cls, end: socket.socket) -> _Owner:
        owner = cls()
        await owner.loop.create_connection(lambda: owner.link, sock=end)
        return owner

    def submit(self, mutation: Mutation) -> asyncio.Future[Committed]:
        ticket, future = self._expect()
        self._pending.append((ticket, mutation))
        if len(self._pending) == 1:  # what this turn of the event loop and the next bring goes with it
            self.loop.call_soon(self.loop.call_soon, self._send_pending)
        return future

    async def lend(self) -> Lent:
        ticket, future = self._expect()
        self.link.send(Lend(ticket))
        lent: Lent = await future
        return lent

    def close(self) -> None:
        self._closing = True
        self.link.close()

    def _expect(self) -> tuple[int, asyncio.Future[Any]]:
        ticket, future = next(self._tickets), self.loop.create_future()
        self._waiting[ticket] = future
        return ticket, future

    def _send_pending(self) -> None:
        pending, self._pending = self._pending, []
        self.link.send(Submit.of(pending))

    def _received(self, message: Settled | Lent | NotLent | Reload | Stop) -> None:
        match message:
            case Settled():
                for ticket, outcome in message.outcomes:
                    self._settle(ticket, outcome)
            case Lent():
                self._settle(message.ticket, message)
            case NotLent():
                self._settle(message.ticket, message.refusal)
            case Reload():
                if self.reload is not None:  # else the files have yet to be read
                    self.reload()
            case Stop():
                if self.stop.done():
                    self.hurry.set()
                else:
                    self.stop.set_result(message)

    def _settle(self, ticket: int, outcome: Any) -> None:
        future = self._waiting.pop(ticket)
        if future.done():  # the caller was cancelled
            return
        if isinstance(outcome, Refused):
            future.set_exception(outcome.error())
        else:
            future.set_result(outcome)

    def _lost(self) -> None:
        if not self._closing:
            # Nothing can be committed any more, and the owner's successor waits for the folder.
            os._exit(_ORPHANED_STATUS)


class _RemoteCommitter(Mutator):
    """The owner's committer, as a worker sees it."""

    def __init__(self, owner: _Owner, shared: SharedState):
        self._owner = owner
        self._shared = shared

    @property
    def failure(self) -> str | None:
        """See `Mutator`."""
        return self._shared.failure

    def enqueue(self, mutation: Mutation) -> asyncio.Future[Committed]:
        """See `Mutator`."""
        return self._owner.submit(mutation)


class _LentBulk:
    """The owner's bulk segments, as a worker sees them; called in threads."""

    def __init__(self, owner: _Owner, folder: DataFolder):
        self._owner = owner
        self._folder = folder

    def lend(self) -> Segment:
        """See `gateway.store.bulk.BulkSource`."""
        lent = asyncio.run_coroutine_threadsafe(self._owner.lend(), self._owner.loop).result()
        try:
            return Segment.open_to_append(lent.number, self._folder.segment(lent.number, "bulk"), lent.size)
        except StoreFull:  # here and for now: nothing is wrong with the segment
            self._send(GivenBack(lent.number))
            raise
        except StoreReadOnly:
            self._send(LetGo(lent.number))
            raise

    def stored(self, segment: Segment, places: Sequence[tuple[bytes, int, int]]) -> None:
        """See `gateway.store.bulk.BulkSource`; a mutation that needs the blocks goes over the link after them."""
        self._send(Stored(segment.number, list(places), segment.size))

    def give_back(self, segment: Segment) -> None:
        """See `gateway.store.bulk.BulkSource`."""
        self._send(GivenBack(segment.number))

    def let_go(self, segment: Segment) -> None:
        """See `gateway.store.bulk.BulkSource`."""
        self._send(LetGo(segment.number))

    def _send(self, message: NamedTuple) -> None:
        self._owner.loop.call_soon_threadsafe(self._owner.link.send, message)
