"""Recovering that is killed at any step leaves nothing that a server starts on; the next recovery makes it whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def sweep(folder: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.crash.recovering", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def test_a_recovery_that_was_killed(tmp_path: Path) -> None:
    report = sweep(tmp_path, "--first", "3", "--step", "6")
    assert report["wrong"] == []
    assert report["points"] >= 3


def test_this_would_find(tmp_path: Path) -> None:
    assert sweep(tmp_path, "--first", "5", "--step", "12", "--bug", "registry_first")["wrong"]


@pytest.mark.crash_long
def test_every_step(tmp_path: Path) -> None:
    report = sweep(tmp_path)
    assert report["wrong"] == []
    assert report["points"] >= 20
