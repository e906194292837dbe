"""Power cuts at every moment of a recorded run, in all the ways a disk may keep or lose what was not synced: nothing
that was answered is lost, and nothing else is taken for damage.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Crash = Callable[..., dict[str, Any]]


def test_a_power_cut_at_every_moment(crash: Crash) -> None:
    report = crash("cut", "--operations", "8", "--losses", "2")
    assert report["wrong"] == []
    assert report["states"] > 200
    assert report["answered"] > 25


@pytest.mark.parametrize("failing_sync", [2, 9, 20])
def test_a_power_cut_after_a_sync_that_failed(crash: Crash, failing_sync: int) -> None:
    """The disk lost what that sync was for, and says no more about it."""
    report = crash("cut", "--operations", "6", "--failing-sync", str(failing_sync))
    assert report["wrong"] == []


@pytest.mark.crash_long
def test_power_cuts_of_every_kind_in_ever_new_runs(crash: Crash, seed: int, seconds: float) -> None:
    report = crash("cut-at-random", "--operations", "25", "--seconds", str(seconds), seed=seed)
    assert report["wrong"] == []


@pytest.mark.parametrize(
    ("bug", "arguments"),
    [
        ("no_sync", []),
        ("no_directory_sync", ["--losses", "5"]),
        ("head_before_sync", []),
        ("sync_is_retried", ["--failing-sync", "2"]),
    ],
)
def test_this_would_find(crash: Crash, bug: str, arguments: list[str]) -> None:
    assert crash("cut", "--operations", "6", *arguments, bug=bug)["wrong"]
