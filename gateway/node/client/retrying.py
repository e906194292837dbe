"""When a request is tried again: after which answers, after how long, and how many in all.

Pauses have full jitter, so that those who failed together do not come back together.  Retries are paid from a budget
that successes fill, so that a node which fails half of the time is asked at most half as often again.
https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.node.client.settings import Retries

BUDGET_RETRIES = 20.0
"""Most retries that can be saved up, and what there is at first."""
EARNED_RETRIES = 0.5
"""What one success adds."""
PATIENCE_SECONDS_MAX = 24 * 3600
"""Longest Retry-After that is believed."""

_SERVER_ERRORS = range(500, 600)
_NOT_FOR_NOW = frozenset((408, 425, 429))
_FOR_EVER = frozenset((501, 505, 510))
"""Errors of a server that a second attempt does not mend; 510 asks for something (`registry.ucan.header`)."""


def is_for_now(status: int) -> bool:
    """Whether an answer of that status says that the same request may work later."""
    return status in _NOT_FOR_NOW or (status in _SERVER_ERRORS and status not in _FOR_EVER)


def is_of_server(status: int) -> bool:
    """Whether an answer of that status says that something is wrong with the server."""
    return status in _SERVER_ERRORS and status not in _FOR_EVER


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """The seconds that a ``Retry-After`` header asks for, or None without one, or with a date."""
    text = headers.get("Retry-After", "")
    if not text.isascii() or not text.isdigit() or len(text) > len(str(PATIENCE_SECONDS_MAX)):
        return None
    return float(min(int(text), PATIENCE_SECONDS_MAX))


class Retrying:
    """Paces the retries of one client.

    Args:
        retries: how often and how soon.
        random: a number in [0, 1).
    """

    def __init__(self, retries: Retries, random: Callable[[], float]) -> None:
        self._retries = retries
        self._random = random
        self._budget = BUDGET_RETRIES

    def succeeded(self) -> None:
        """A request was answered."""
        self._budget = min(BUDGET_RETRIES, self._budget + EARNED_RETRIES)

    def pause_seconds(self, attempt: int, attempts: int, asked_seconds: float | None) -> float | None:
        """How long to wait before another attempt, or None if there should be none.

        Args:
            attempt: how many there were.
            attempts: how many there may be.
            asked_seconds: what the server asked for.
        """
        if attempt >= attempts or self._budget < 1 or (asked_seconds or 0) > self._retries.cap_seconds:
            return None
        self._budget -= 1
        longest = min(self._retries.cap_seconds, self._retries.base_seconds * 2.0 ** (attempt - 1))
        return (asked_seconds or 0) + self._random() * longest
