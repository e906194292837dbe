"""Starting the process that crashes."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MEMORY = Path("/dev/shm")
"""Where a killed process's files are as safe as on a disk, and quicker."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder, in memory where there is one."""
    made = Path(tempfile.mkdtemp(prefix="ms3t-crash-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def seconds() -> float:
    """How long a test goes on that could go on for ever."""
    return float(os.environ.get("CRASH_SECONDS", "60"))


@pytest.fixture
def seed() -> int:
    """Another one each time; the command that is printed repeats it."""
    return random.randrange(10**6)


@pytest.fixture
def crash(folder: Path) -> Callable[..., dict[str, Any]]:
    """Runs the driver and returns what it reports.

    `crash("kill", "--cycles", "20", seed=7, bug=None)`
    """

    def run(*arguments: str, seed: int = 0, bug: str | None = None) -> dict[str, Any]:
        command = [sys.executable, "-m", "tests.crash.driver", str(folder), "--seed", str(seed), *arguments]
        environment = {key: value for key, value in os.environ.items() if key != "SEEDED_BUG"}
        if bug is not None:
            environment["SEEDED_BUG"] = bug
        print("cd", REPOSITORY.name, "&& python", shlex.join(command[1:]))
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        print(done.stdout)
        report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return report

    return run
