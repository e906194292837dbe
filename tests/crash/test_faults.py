"""Every call by which segments reach the disk, spoiled one after the other: the process dies before it or in the
middle of a write, or lives on with an error.  What was answered is there; what was refused is not, before and after a
restart; a disk that was full is forgiven once it is not; a start may be killed like anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Crash = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("fault", ["kill", "torn", "eio", "enospc", "full"])
def test_a_fault_at_every_call(crash: Crash, fault: str) -> None:
    report = crash("sweep", fault, "--operations", "4")
    assert report["wrong"] == []
    assert report["points"] > 30
    assert report["answered"] > 100
    expected = {"eio": "StoreReadOnly", "enospc": "StoreFull", "full": "StoreFull"}.get(fault)
    assert expected is None or report["refused"][expected] > 10


@pytest.mark.crash_long
@pytest.mark.parametrize("fault", ["kill", "torn", "eio", "enospc", "full"])
def test_faults_in_ever_new_runs(crash: Crash, fault: str, seed: int, seconds: float) -> None:
    report = crash("strike", fault, "--operations", "25", "--seconds", str(seconds), seed=seed)
    assert report["wrong"] == []


@pytest.mark.parametrize(
    ("bug", "fault"),
    [
        ("head_moves_late", "kill"),
        ("header_is_not_completed", "kill"),
        ("failed_write_is_ignored", "enospc"),
        ("failed_write_is_ignored", "eio"),
        ("refused_write_becomes_visible", "full"),
    ],
)
def test_this_would_find(crash: Crash, bug: str, fault: str) -> None:
    assert crash("sweep", fault, "--operations", "4", bug=bug)["wrong"]
