"""kill -9 at random moments, under concurrent writers, on one folder that lives through all of it: nothing that was
answered is lost, nothing is found that was never asked for, every commit verifies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Crash = Callable[..., dict[str, Any]]


def _check(report: dict[str, Any]) -> None:
    assert report["wrong"] == []
    # It was at work when it was killed.
    assert report["answered"] > 10 * report["cycles"]
    assert report["in the air"] > report["cycles"]


def test_kill_at_random_moments(crash: Crash, seed: int) -> None:
    report = crash("kill", "--cycles", "14", seed=seed)
    _check(report)
    assert report["cycles"] == 14


@pytest.mark.crash_long
def test_kill_again_and_again(crash: Crash, seed: int, seconds: float) -> None:
    _check(crash("kill", "--seconds", str(seconds), seed=seed))


def test_this_would_find_a_head_that_moves_late(crash: Crash) -> None:
    assert crash("kill", "--cycles", "20", bug="head_moves_late")["wrong"]
