"""``ack: remote``: a change is answered when it has been shipped, not when it is durable here.

It stands before the committer, in the process that owns the data folder, so nobody else has to know.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from gateway.store.committer import Answer, Taking
from gateway.store.errors import NotShipped
from gateway.store.mutations import Committed, MarkShipped, Mutation, Outcome, Record


class _Ticket(NamedTuple):
    """Whom an outcome is for, and which bucket's settings the mutation changed, if it did."""

    ticket: Any
    answer: Answer
    instance: bytes | None


class _Withheld(NamedTuple):
    ticket: Any
    answer: Answer
    outcome: Committed
    instance: bytes
    number: int
    until: float


class ShippedFirst(Taking):
    """Withholds the answers to changes of buckets until they have been shipped.

    Args:
        committer: what commits them.
        seconds: how long an answer is withheld; then the client is told that the change is not shipped yet.

    Attributes:
        want: called in the event loop's thread when an answer is withheld.
    """

    def __init__(self, committer: Taking, seconds: float):
        self.want: Callable[[], None] = lambda: None
        self._committer = committer
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._number = 0
        self._withheld: list[_Withheld] = []  # oldest first
        self._waited = 0  # how many there were when some were answered last
        self._timer: asyncio.TimerHandle | None = None

    @property
    def failure(self) -> str | None:
        """See `gateway.store.mutations.Mutator`."""
        return self._committer.failure

    def fail(self, reason: str) -> None:
        """See `Taking`."""
        self._committer.fail(reason)

    def take(self, mutation: Mutation, ticket: Any, answer: Answer) -> None:
        """See `Taking`; the answer comes in any thread."""
        instance = None
        if isinstance(mutation, MarkShipped | Record):
            instance = mutation.instance if isinstance(mutation, Record) else None
            if instance is None:
                self._committer.take(mutation, ticket, answer)
                return
        self._committer.take(mutation, _Ticket(ticket, answer, instance), self._committed)

    def mark(self) -> int:
        """See `gateway.shipping.shipper.Watch`."""
        with self._lock:
            return self._number

    def shipped(self, mark: int, left_out: frozenset[bytes]) -> None:
        """See `gateway.shipping.shipper.Watch`."""
        with self._lock:
            self._waited = len(self._withheld)
        self._answer(
            lambda one: one.number <= mark and one.instance not in left_out, lambda one: _as_shipped(one.outcome)
        )

    def expects_more(self) -> bool:
        """See `gateway.shipping.shipper.Watch`."""
        with self._lock:
            return len(self._withheld) < self._waited

    def close(self) -> None:
        """Answer everybody who still waits: nothing more will be shipped by this process."""
        if self._timer is not None:
            self._timer.cancel()
        self._answer(lambda _: True, lambda _: NotShipped())

    def _committed(self, outcomes: list[tuple[_Ticket, Outcome]]) -> None:
        """In the committer's thread."""
        at_once: list[tuple[_Ticket, Outcome]] = []
        until = time.monotonic() + self._seconds
        with self._lock:
            self._number += 1
            for to, outcome in outcomes:
                if isinstance(outcome, Exception):
                    at_once.append((to, outcome))
                    continue
                instance = to.instance if outcome.bucket is None else outcome.bucket.instance
                assert instance is not None
                self._withheld.append(_Withheld(to.ticket, to.answer, outcome, instance, self._number, until))
        _deliver([(to.ticket, to.answer, outcome) for to, outcome in at_once])
        if len(at_once) < len(outcomes):
            with suppress(RuntimeError):  # the loop is closed: the server has stopped without waiting for this
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._expire)
        self.want()

    def _expire(self) -> None:
        now = time.monotonic()
        self._answer(lambda one: one.until <= now, lambda _: NotShipped())
        with self._lock:
            oldest = self._withheld[0].until if self._withheld else None
        self._timer = None if oldest is None else self._loop.call_later(max(oldest - now, 0), self._expire)

    def _answer(self, which: Callable[[_Withheld], bool], how: Callable[[_Withheld], Outcome]) -> None:
        with self._lock:
            chosen = [one for one in self._withheld if which(one)]
            self._withheld = [one for one in self._withheld if not which(one)]
        _deliver([(one.ticket, one.answer, how(one)) for one in chosen])


def _as_shipped(outcome: Committed) -> Committed:
    bucket = outcome.bucket
    if bucket is None:
        return outcome
    return outcome._replace(bucket=replace(bucket, shipped=bucket.commit, shipped_sequence=bucket.sequence))


def _deliver(settled: list[tuple[Any, Answer, Outcome]]) -> None:
    by_caller: dict[Answer, list[tuple[Any, Outcome]]] = {}
    for ticket, answer, outcome in settled:
        by_caller.setdefault(answer, []).append((ticket, outcome))
    for answer, outcomes in by_caller.items():
        answer(outcomes)
