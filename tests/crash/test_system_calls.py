"""The system calls of a whole process spoiled from outside, those of SQLite and LMDB with the rest."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.crash.driver import in_time

REPOSITORY = Path(__file__).resolve().parents[2]
REFUSED = re.compile(r"(registry\.database\.Database|gateway\.store\.errors\.Store)\w+: ")


@pytest.fixture
def strace() -> str:
    path = shutil.which("strace")
    if path is None:
        pytest.skip("strace is not installed")
    if subprocess.run([path, "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace may not trace processes here")
    return path


def _driver(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.crash.driver", str(folder), *arguments]


def _run(command: list[str], said: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=REPOSITORY, input=said, capture_output=True, text=True, check=False)


def _spoil(strace: str, folder: Path, call: str, what: str, at: int) -> dict[str, Any]:
    """Run the workload with the ``at``-th such call of each thread spoiled, and look at what is left."""
    data = folder / f"{call}-{what}-{at}"
    assert json.loads(_run(_driver(data, "look")).stdout)["wrong"] == []
    injection = f"inject={call}:{what}:when={at}"
    done = _run(
        [
            strace,
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            f"trace={call}",
            "-e",
            injection,
            *_driver(data, "run", "--operations", "8"),
        ]
    )
    started = '["ready"]' in done.stdout
    if not started and "signal" not in what:
        # A start may be refused, in so many words.
        assert REFUSED.match(done.stderr.splitlines()[-1]), done.stderr
    report: dict[str, Any] = json.loads(_run(_driver(data, "look"), done.stdout).stdout)
    report["started"] = started
    report["ended"] = '"end"' in done.stdout
    return report


@pytest.mark.parametrize(("call", "at"), [("fdatasync", 8), ("pwrite64", 30)])
def test_killed_at_a_system_call(strace: str, folder: Path, call: str, at: int) -> None:
    report = _spoil(strace, folder, call, "signal=KILL", at)
    assert report["wrong"] == []
    assert report["started"]
    assert not report["ended"]


@pytest.mark.parametrize("at", [8, 9])
def test_a_sync_that_fails(strace: str, folder: Path, at: int) -> None:
    """Of the log or of the registry, whichever comes then."""
    report = _spoil(strace, folder, "fdatasync", "error=EIO", at)
    assert report["wrong"] == []
    assert report["ended"]
    assert report["refused"]["StoreReadOnly"] > 0


@pytest.mark.crash_long
@pytest.mark.parametrize(
    ("call", "what"),
    [
        ("fdatasync", "signal=KILL"),
        ("pwrite64", "signal=KILL"),
        ("fdatasync", "error=EIO"),
        ("pwrite64", "error=ENOSPC"),
    ],
)
def test_many_system_calls(strace: str, folder: Path, call: str, what: str, seconds: float) -> None:
    places = random.sample(range(1, 90), 89)
    runs = [
        _spoil(strace, folder, call, what, at) | {"at": at} for at, _ in zip(places, in_time(seconds), strict=False)
    ]
    print(len(runs), "runs")
    assert [run for run in runs if run["wrong"]] == []
