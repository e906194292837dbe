"""kill -9 at random moments, under concurrent writers, on one folder that lives through all of it: nothing that was
answered is lost, nothing is found that was never asked for, every commit verifies.

``pytest -m crash_long tests/crash`` kills 500 times.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

Crash = Callable[..., dict[str, Any]]


def _survive(crash: Crash, cycles: int) -> None:
    # A new seed each time; the command that repeats it is in the output.
    report = crash("kill", "--cycles", str(cycles), seed=random.randrange(10**6))
    assert report["wrong"] == []
    assert report["cycles"] == cycles
    # It was at work when it was killed.
    assert report["answered"] > 10 * cycles
    assert report["in the air"] > cycles


def test_kill_at_random_moments(crash: Crash) -> None:
    _survive(crash, 20)


@pytest.mark.crash_long
def test_kill_500_times(crash: Crash) -> None:
    _survive(crash, 500)


def test_this_would_find_a_head_that_moves_late(crash: Crash) -> None:
    assert crash("kill", "--cycles", "20", bug="head_moves_late")["wrong"]
