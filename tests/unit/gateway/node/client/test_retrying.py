"""After which answers, after how long and how often a request is sent again."""

from __future__ import annotations

import pytest

from gateway.node.client.retrying import PATIENCE_SECONDS_MAX, Retrying, is_for_now, is_of_server, retry_after_seconds
from gateway.node.client.settings import Retries

RETRIES = Retries(attempts=5, base_seconds=1, cap_seconds=3)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507, 599])
def test_these_answers_are_for_now(status: int) -> None:
    assert is_for_now(status)


@pytest.mark.parametrize("status", [200, 206, 301, 400, 401, 403, 404, 409, 413, 415, 416, 431, 501, 505, 510])
def test_these_are_not(status: int) -> None:
    assert not is_for_now(status)
    assert not is_of_server(status)


def test_a_server_that_wants_fewer_requests_is_not_broken() -> None:
    assert not is_of_server(429)
    assert is_of_server(500)


@pytest.mark.parametrize(
    "text, seconds",
    [("0", 0), ("7", 7), ("99999", PATIENCE_SECONDS_MAX), ("-1", None), ("1.5", None), ("", None), ("²", None)],
)
def test_retry_after_is_read(text: str, seconds: float | None) -> None:
    assert retry_after_seconds({"Retry-After": text}) == seconds
    assert retry_after_seconds({}) is None


def test_pauses_double_up_to_a_cap_with_full_jitter() -> None:
    longest = Retrying(RETRIES, lambda: 1.0)
    assert [longest.pause_seconds(attempt, 5, None) for attempt in range(1, 5)] == [1, 2, 3, 3]
    shortest = Retrying(RETRIES, lambda: 0.0)
    assert [shortest.pause_seconds(attempt, 5, None) for attempt in range(1, 5)] == [0, 0, 0, 0]


def test_the_last_attempt_is_the_last() -> None:
    assert Retrying(RETRIES, lambda: 0.5).pause_seconds(5, 5, None) is None


def test_what_the_server_asks_for_is_waited_for_unless_it_is_too_long() -> None:
    retrying = Retrying(RETRIES, lambda: 0.5)
    assert retrying.pause_seconds(1, 5, 2) == 2.5
    assert retrying.pause_seconds(1, 5, 4) is None


def test_a_node_that_fails_half_of_the_time_is_asked_at_most_half_as_often_again() -> None:
    retrying = Retrying(RETRIES, lambda: 0.5)
    asked, sent, answers = 2000, 0, 0
    for _ in range(asked):
        attempt = 0
        while True:
            attempt += 1
            sent += 1
            answers += 1
            if answers % 2 == 0:
                retrying.succeeded()
                break
            if retrying.pause_seconds(attempt, 5, None) is None:
                break
    assert sent <= 1.5 * asked + 20
