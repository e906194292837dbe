"""A circuit breaker: who failed often in a row is left alone for a while, then tried by one request.

https://martinfowler.com/bliki/CircuitBreaker.html
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from gateway.node.client.errors import NodeUnavailable


class State(Enum):
    """Whether requests are let through."""

    CLOSED = "closed"
    """All are."""
    OPEN = "open"
    """None is."""
    HALF_OPEN = "half-open"
    """One is, to find out."""


class Breaker:
    """The circuit breaker of one server.

    Args:
        name: whose it is, for messages.
        failures_max: so many failures in a row open it.
        open_seconds: how long it stays open.
        clock: monotonic seconds.
    """

    def __init__(self, name: str, failures_max: int, open_seconds: float, clock: Callable[[], float]) -> None:
        self._name = name
        self._failures_max = failures_max
        self._open_seconds = open_seconds
        self._clock = clock
        self._failures = 0
        self._opened: float | None = None
        self._probing = False

    @property
    def state(self) -> State:
        """Whether requests are let through now."""
        if self._opened is None:
            return State.CLOSED
        return State.OPEN if self._left_seconds() > 0 else State.HALF_OPEN

    def admit(self) -> None:
        """Let a request through; `succeeded`, `failed` or `abandoned` must follow.

        Raises:
            NodeUnavailable: it is open, or half-open and another request is finding out.
        """
        if self._opened is None:
            return
        left = self._left_seconds()
        if left > 0 or self._probing:
            raise NodeUnavailable(f"{self._name} failed {self._failures} times in a row: not asked", max(left, 0))
        self._probing = True

    def succeeded(self) -> None:
        """The server answered."""
        self._failures = 0
        self._opened = None
        self._probing = False

    def failed(self) -> None:
        """The server did not answer, or said that it cannot."""
        self._failures += 1
        self._probing = False
        if self._failures >= self._failures_max:
            self._opened = self._clock()

    def abandoned(self) -> None:
        """The request ended without telling anything about the server."""
        self._probing = False

    def _left_seconds(self) -> float:
        assert self._opened is not None
        return self._opened + self._open_seconds - self._clock()
