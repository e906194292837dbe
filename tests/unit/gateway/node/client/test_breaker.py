"""When the circuit breaker lets requests through."""

from __future__ import annotations

import pytest

from gateway.node.client.breaker import Breaker, State
from gateway.node.client.errors import NodeUnavailable


@pytest.fixture
def clock() -> list[float]:
    return [100.0]


@pytest.fixture
def breaker(clock: list[float]) -> Breaker:
    return Breaker("http://node", 3, 10, lambda: clock[0])


def _fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.admit()
        breaker.failed()


def test_failures_in_a_row_open_it(breaker: Breaker) -> None:
    _fail(breaker, 2)
    assert breaker.state is State.CLOSED
    _fail(breaker, 1)
    assert breaker.state is State.OPEN
    with pytest.raises(NodeUnavailable, match="3 times in a row") as raised:
        breaker.admit()
    assert raised.value.retry_after_seconds == 10


def test_a_success_between_them_does_not(breaker: Breaker) -> None:
    for _ in range(5):
        _fail(breaker, 2)
        breaker.admit()
        breaker.succeeded()
    assert breaker.state is State.CLOSED


def test_after_a_while_one_request_may_find_out(breaker: Breaker, clock: list[float]) -> None:
    _fail(breaker, 3)
    clock[0] += 10
    assert breaker.state is State.HALF_OPEN
    breaker.admit()
    with pytest.raises(NodeUnavailable):
        breaker.admit()
    breaker.succeeded()
    assert breaker.state is State.CLOSED
    breaker.admit()


def test_a_probe_that_fails_opens_it_again(breaker: Breaker, clock: list[float]) -> None:
    _fail(breaker, 3)
    clock[0] += 10
    _fail(breaker, 1)
    assert breaker.state is State.OPEN
    clock[0] += 10
    assert breaker.state is State.HALF_OPEN


def test_a_probe_that_is_cancelled_lets_the_next_one_find_out(breaker: Breaker, clock: list[float]) -> None:
    _fail(breaker, 3)
    clock[0] += 10
    breaker.admit()
    breaker.abandoned()
    breaker.admit()
