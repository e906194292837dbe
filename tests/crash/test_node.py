"""A storage node killed at the system calls that change its folder: what it answered is so, and it can go on."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CALLS = ("fsync", "fdatasync", "rename", "unlink", "mkdir", "write", "pwrite64")
CALLS_MAX = 200
"""More than any of them is called; of most there are a dozen."""


@pytest.fixture
def strace() -> str:
    path = shutil.which("strace")
    if path is None or subprocess.run([path, "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace is not here, or may not trace")
    return path


def _flow(folder: Path, what: str, said: str = "", before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "tests.crash.node_flow", str(folder), what]
    return subprocess.run(command, cwd=REPOSITORY, input=said, capture_output=True, text=True, check=False)


def _look(folder: Path, said: str) -> list[str]:
    looked = _flow(folder, "look", said)
    assert looked.returncode == 0, looked.stderr
    wrong: list[str] = json.loads(looked.stdout.splitlines()[-1])
    return wrong


def _kill(strace: str, folder: Path, call: str, at: int) -> bool:
    """Kill the node at the ``at``-th such call of its main thread; returns whether it came to its end before."""
    data = folder / f"{call}-{at}"
    injection = f"inject={call}:signal=KILL:when={at}"
    spoil = (strace, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", injection)
    done = _flow(data, "run", before=spoil)
    lines = [line for line in done.stdout.splitlines(keepends=True) if line.endswith("\n")]
    assert _look(data, "".join(lines)) == [], (call, at)
    return '["end", ""]\n' in lines


def test_the_flow_comes_to_its_end(folder: Path) -> None:
    done = _flow(folder / "data", "run")
    assert done.stdout.splitlines()[-1] == '["end", ""]', done.stderr
    assert _look(folder / "data", done.stdout) == []


@pytest.mark.parametrize(
    ("call", "at"), [("rename", 1), ("rename", 2), ("unlink", 3), ("mkdir", 5), ("fsync", 11), ("fdatasync", 9)]
)
def test_killed_at_a_system_call(strace: str, folder: Path, call: str, at: int) -> None:
    assert not _kill(strace, folder, call, at)


@pytest.mark.crash_long
def test_killed_at_many_system_calls(strace: str, folder: Path, seconds: float) -> None:
    until = time.monotonic() + seconds
    places = [(call, at) for call in CALLS for at in range(1, CALLS_MAX)]
    random.shuffle(places)
    done = 0
    while places and time.monotonic() < until:
        call, at = places.pop()
        if _kill(strace, folder, call, at):  # there are fewer of them
            places = [(other, n) for other, n in places if other != call or n < at]
        done += 1
    print(f"{done} runs")


def test_this_would_find_a_row_without_its_file(folder: Path) -> None:
    done = _flow(folder / "data", "run")
    for found in (folder / "data" / "blobs").rglob("*"):
        if found.is_file():
            found.unlink()
    [first, *_] = _look(folder / "data", done.stdout)
    assert first.startswith("received without a file")
