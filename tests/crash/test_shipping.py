"""Shipping that is killed at any step is finished by the next start: `tests.crash.shipping` says what a step is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def sweep(folder: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.crash.shipping", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def test_a_shipment_that_was_killed_is_finished(tmp_path: Path) -> None:
    report = sweep(tmp_path, "--first", "3", "--step", "29")
    assert report["wrong"] == []
    assert report["points"] >= 4


@pytest.mark.parametrize("bug", ["heads_before_acceptance", "left_over_is_gathered_anew"])
def test_this_would_find(tmp_path: Path, bug: str) -> None:
    assert sweep(tmp_path, "--first", "14", "--step", "7", "--bug", bug)["wrong"]


@pytest.mark.crash_long
def test_every_step(tmp_path: Path) -> None:
    report = sweep(tmp_path)
    assert report["wrong"] == []
    assert report["points"] >= 60
