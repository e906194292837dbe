"""kill -9 of a real server's owner and of its workers at random moments, under mixed load: no read shows anything but
what was answered, neither from another worker nor after a restart.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.crash.driver import in_time
from tests.crash.load import Load, look, set_up
from tests.servers import PROGRAM, Server, start_server

WORKERS = 2
CYCLES = 2
CYCLES_UNTIL_FOUND_MAX = 20
WORKERS_KILLED_MAX = 2
ANSWERS_MAX = 40
"""Until the next is killed."""
PLANTED = (sys.executable, "-m", "tests.crash.serve")


@dataclass
class Outcome:
    """What came of all cycles."""

    wrong: list[str] = field(default_factory=list)
    cycles: int = 0
    workers_killed: int = 0
    in_the_air: int = 0
    answered: int = 0
    reads: int = 0


def kill_in_cycles(server: Server, cycles: Iterable[int], seed: int) -> Outcome:
    """Load a server and kill it, again and again on one folder, until something is wrong."""
    dice = random.Random(seed)
    load, outcome = Load(server), Outcome()
    set_up(server)
    for cycle in cycles:
        load.start(dice)
        try:
            for _ in range(dice.randint(0, WORKERS_KILLED_MAX)):
                load.wait(dice.randint(1, ANSWERS_MAX))
                if workers := server.workers():
                    os.kill(dice.choice(workers), signal.SIGKILL)
                    outcome.workers_killed += 1
            load.wait(dice.randint(1, ANSWERS_MAX))
            if cycle % 2:
                load.stop()
                load.put_last(dice)
            server.kill()
        finally:
            load.stop()
        outcome.cycles = cycle
        outcome.in_the_air += len(load.journal.pending)
        server.restart()
        wrong = load.wrong + load.journal.check(look(server))
        outcome.wrong = [f"cycle {cycle}: {problem}" for problem in wrong]
        if wrong:
            break
    outcome.answered, outcome.reads = load.journal.answered, load.reads
    print(f"seed {seed}: {outcome}")
    return outcome


@pytest.fixture
def server(folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of several processes; with the parameter, one with that bug."""
    bug = getattr(request, "param", None)
    if bug is not None:
        monkeypatch.setenv("SEEDED_BUG", bug)
    started = start_server(folder, config={"workers": WORKERS}, program=PLANTED if bug else PROGRAM)
    yield started
    started.kill()


def _check(server: Server, outcome: Outcome) -> None:
    assert outcome.wrong == []
    assert outcome.answered > outcome.cycles
    assert outcome.reads > 0
    assert outcome.in_the_air > 0
    assert "damaged" not in server.log
    assert "Traceback" not in server.log
    assert server.stop() == 0


def test_kill_under_load(server: Server, seed: int) -> None:
    _check(server, kill_in_cycles(server, range(1, CYCLES + 1), seed))


@pytest.mark.crash_long
def test_kill_under_load_again_and_again(server: Server, seed: int, seconds: float) -> None:
    _check(server, kill_in_cycles(server, in_time(seconds), seed))


@pytest.mark.parametrize("server", ["head_moves_late", "heads_are_shown_late"], indirect=True)
def test_this_would_find(server: Server, seed: int) -> None:
    assert kill_in_cycles(server, range(1, CYCLES_UNTIL_FOUND_MAX + 1), seed).wrong
