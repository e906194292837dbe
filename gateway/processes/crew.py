"""The owner's side of its workers: starts them, answers them, starts those anew that end unasked."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import structlog

from gateway.listener import CUT_OFF_SECONDS
from gateway.processes.link import (
    GivenBack,
    Lend,
    Lent,
    LetGo,
    Link,
    NotLent,
    Ready,
    Refusal,
    Reload,
    Settled,
    Stop,
    Stopped,
    Stored,
    Submit,
)
from gateway.processes.nursery import Nursery
from gateway.store.bulk import OwnedBulk
from gateway.store.committer import Taking
from gateway.store.errors import StoreError
from gateway.store.mutations import Outcome
from gateway.store.segment import Segment
from gateway.store.store import Owned, Store

START_SECONDS = 60.0
"""How long workers may take until they accept connections."""
RESTART_SECONDS = 0.5
"""How long after a worker's end its successor is started."""
SWITCH_SECONDS = 0.0005
"""How long a thread of the owner computes before another may: answers on their way must not wait for the next batch."""
LAST_WORD_SECONDS = 2.0
"""How long after its last request a worker may take to end."""

log = structlog.get_logger(__name__)


class WorkersFailed(StoreError):
    """The workers did not start; each has said on standard error why."""


class Crew:
    """The workers of one data folder.

    Args:
        nursery: where they come from.
        store: the folder, owned by this process and shared.  They hold its lock too, so that no other process takes
            it while one of them lives.
        listening: for each worker, the sockets it accepts connections on; this process keeps them open, so that
            clients wait while a worker is started anew.
    """

    def __init__(self, nursery: Nursery, store: Store, listening: Sequence[Sequence[socket.socket]]):
        assert store.owned is not None
        assert store.folder.lock_fd is not None
        self._nursery = nursery
        self._lock_fd = store.folder.lock_fd
        self._owned = store.owned
        self._listening = listening
        self._members: list[_Member] = []
        self._watches: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start all workers, and return when they accept connections.

        Raises:
            WorkersFailed: one of them did not.
        """
        sys.setswitchinterval(SWITCH_SECONDS)
        try:
            self._members = [await self._fork(listening) for listening in self._listening]
        except BrokenPipeError as error:
            raise WorkersFailed("the process that was to start workers is gone") from error
        await asyncio.wait([member.ready for member in self._members], timeout=START_SECONDS)
        if not all(member.ready.done() and member.ready.result() for member in self._members):
            raise WorkersFailed("a process that was to answer requests did not start")
        self._watches = [asyncio.create_task(self._watch(number)) for number in range(len(self._members))]

    def reload(self) -> None:
        """Have all workers read their certificate anew; see `gateway.service.Service.reload`."""
        for member in self._members:
            member.link.send(Reload())

    async def stop(self, seconds: float, hurry: asyncio.Event) -> int:
        """Let all workers finish their requests and end; see `gateway.listener.Listener.stop`."""
        for watch in self._watches:
            watch.cancel()
        # Closed here before anywhere else: no connection may wait in a queue that nobody will look into.
        for sockets in self._listening:
            for listening in sockets:
                listening.close()
        for member in self._members:
            member.stop(seconds)
        ended = asyncio.ensure_future(asyncio.wait([member.ended for member in self._members]))
        hurried = asyncio.ensure_future(hurry.wait())
        await asyncio.wait([ended, hurried], return_when=asyncio.FIRST_COMPLETED)
        if hurry.is_set():
            for member in self._members:
                member.stop(0)
        hurried.cancel()
        await asyncio.wait([ended], timeout=seconds + CUT_OFF_SECONDS + LAST_WORD_SECONDS)
        return sum(member.cut_off for member in self._members)

    async def _fork(self, listening: Sequence[socket.socket]) -> _Member:
        ours, theirs = socket.socketpair()
        member = _Member(self._owned)
        await asyncio.get_running_loop().create_connection(lambda: member.link, sock=ours)
        with theirs:
            try:
                self._nursery.fork([self._lock_fd, theirs.fileno(), *(each.fileno() for each in listening)])
            except BaseException:
                member.link.close()
                raise
        return member

    async def _watch(self, number: int) -> None:
        """Start a worker anew whenever it ends."""
        while True:
            await asyncio.wait([self._members[number].ended])
            log.error("a worker ended unasked; its requests are lost, the others go on", worker=number)
            self._owned.shared.forget_dead_readers()
            await asyncio.sleep(RESTART_SECONDS)
            try:
                self._members[number] = await self._fork(self._listening[number])
            except BrokenPipeError:
                log.critical("NO WORKER CAN BE STARTED ANY MORE; restart the server", worker=number)
                for listening in self._listening[number]:  # the kernel gives its connections to the others
                    listening.close()
                return
            except OSError as error:
                log.error("a worker cannot be started for now", worker=number, reason=str(error))


class _Member:
    """One worker, as the owner sees it."""

    def __init__(self, owned: Owned):
        loop = asyncio.get_running_loop()
        self.link = Link(self._received, self._lost)
        self.ready: asyncio.Future[bool] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.cut_off = 0
        self._loop = loop
        self._committer: Taking = owned.committer
        self._bulk: OwnedBulk = owned.bulk
        self._lent: dict[int, Segment] = {}

    def stop(self, seconds: float) -> None:
        self.link.send(Stop(seconds))

    def _received(self, message: Any) -> None:
        match message:
            case Submit():
                for ticket, mutation in message.mutations:
                    self._committer.take(mutation, ticket, self._answer)
            case Stored():
                segment = self._lent[message.number]
                segment.size = message.size
                self._enter(segment, message.places)
            case Lend():
                lending = self._loop.run_in_executor(None, self._bulk.lend)
                lending.add_done_callback(lambda done: self._lend(message.ticket, done))
            case GivenBack():
                self._bulk.give_back(self._lent.pop(message.number))
            case LetGo():
                self._bulk.let_go(self._lent.pop(message.number))
            case Ready():
                self.ready.set_result(True)
            case Stopped():
                self.cut_off = message.cut_off

    def _enter(self, segment: Segment, places: list[tuple[bytes, int, int]]) -> None:
        try:
            self._bulk.stored(segment, places)
        except Exception as error:  # no mutation may name blocks that nobody finds
            self._committer.fail(f"cannot enter the blocks of {segment.path.name}: {error!r}")

    def _answer(self, outcomes: list[tuple[int, Outcome]]) -> None:
        with suppress(RuntimeError):  # the loop is closed: the server has stopped without waiting for this
            self._loop.call_soon_threadsafe(lambda: self.link.send(Settled.of(outcomes)))

    def _lend(self, ticket: int, done: asyncio.Future[Segment]) -> None:
        error = done.exception()
        if isinstance(error, Exception):
            self.link.send(NotLent(ticket, Refusal.of(error)))
            return
        segment = done.result()
        if self.ended.done():  # before it could take what it asked for
            self._bulk.give_back(segment)
            return
        self._lent[segment.number] = segment
        self.link.send(Lent(ticket, segment.number, segment.size))

    def _lost(self) -> None:
        # Nobody writes to what it was lent: the next start cuts off what it left half written.
        for segment in self._lent.values():
            self._bulk.let_go(segment)
        self._lent.clear()
        if not self.ready.done():
            self.ready.set_result(False)
        if not self.ended.done():
            self.ended.set_result(None)
