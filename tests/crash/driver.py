"""The process that the crash tests start: it forks children that write, ends them badly, and looks at what is left.

A process of its own because it forks, which a test runner with threads should not; and a short one, because forking
a process that has everything imported already is what makes hundreds of crashes a matter of seconds.

The last line it prints is what it found, in JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pickle
import random
import select
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import structlog

from tests.crash import bugs, power, workload
from tests.crash.faults import KILLED, Fault, Faults
from tests.crash.workload import Journal

Report: TypeAlias = dict[str, Any]
Say: TypeAlias = Callable[[list[Any]], None]
FAULTS: tuple[Fault, ...] = ("kill", "torn", "eio", "enospc", "full")
NEVER = 10**9
"""The number of a call that no run comes to."""
MOMENTS_OF_A_RUN = 20
FAILING_SYNC_MAX = 40
SNAPSHOTS = "snapshots"


class Child:
    """A forked process at work, and what it says.

    Args:
        work: what it does; its argument is how it speaks.
    """

    def __init__(self, work: Callable[[Say], None]) -> None:
        self._hearing, speaking = os.pipe()
        self._buffer = b""
        self.pid = os.fork()
        if self.pid:
            os.close(speaking)
            return
        os.close(self._hearing)
        status = 1
        try:
            work(lambda line: _write_line(speaking, line))
            status = 0
        except BaseException:
            _write_line(speaking, ["crashed", traceback.format_exc()])
        finally:
            os._exit(status)

    def lines(self, until: float | None = None) -> Iterator[list[Any]]:
        """What it says until it ends, or until the clock shows ``until``; a last half line is not heard."""
        while True:
            line, end, rest = self._buffer.partition(b"\n")
            if end:
                self._buffer = rest
                yield json.loads(line)
                continue
            left = None if until is None else max(0.0, until - time.monotonic())
            if not select.select([self._hearing], [], [], left)[0]:
                return
            data = os.read(self._hearing, 1 << 16)
            if not data:
                return
            self._buffer += data

    def end(self) -> int:
        """Wait for its end; returns its exit code."""
        os.close(self._hearing)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _write_line(fd: int, line: list[Any]) -> None:
    data = json.dumps(line).encode() + b"\n"
    while data:
        data = data[os.write(fd, data) :]


def inspect(path: Path, journal: Journal, *, tidy: bool) -> list[str]:
    """Look at what is left in a child, which is a start after the crash; returns what is wrong."""
    child = Child(lambda say: say(["inspected", asyncio.run(workload.inspect(path, tidy=tidy))]))
    lines = list(child.lines())
    child.end()
    match lines:
        case [["inspected", {"found": found, "damaged": damaged}]]:
            return journal.check(found) + [f"{file} is reported as damaged" for file in damaged]
        case _:
            return [str(lines)]


def write(path: Path, say: Say, seed: int, writers: int, operations: int) -> None:
    """A child's run of the workload."""
    asyncio.run(workload.run(path, say, seed=seed, writers=writers, operations=operations))


def template(path: Path) -> None:
    """A fresh data folder: making a registry takes longer than all else, so it is made once."""
    problems = inspect(path, Journal(), tidy=True)
    assert not problems, problems


def in_time(seconds: float) -> Iterator[int]:
    """1, 2, 3 and so on until so many seconds have passed; at least 1."""
    until = time.monotonic() + seconds
    for number in count(1):
        yield number
        if time.monotonic() >= until:
            return


def kill(folder: Path, cycles: Iterable[int], seed: int) -> Report:
    """Kill a child at random moments, again and again on one folder."""
    dice = random.Random(seed)
    path = folder / "data"
    template(path)
    journal, wrong, in_the_air, at_start = Journal(), [], 0, 0
    for cycle in cycles:
        ready = _run_and_kill(path, journal, dice)
        at_start += not ready
        in_the_air += len(journal.pending)
        wrong = [f"cycle {cycle}: {problem}" for problem in inspect(path, journal, tidy=dice.random() < 0.3)]
        if wrong:
            break
    return {
        "wrong": wrong, "cycles": cycle, "answered": journal.answered, "in the air": in_the_air,
        "killed while starting": at_start,
    }  # fmt: skip


def _run_and_kill(path: Path, journal: Journal, dice: random.Random) -> bool:
    """Most are killed at work, some while they start; returns whether it had started."""
    seed, writers = dice.getrandbits(30), dice.randint(4, 16)
    child = Child(lambda say: write(path, say, seed, writers, operations=10**6))
    ready = False
    until = time.monotonic() + (dice.uniform(0, 0.06) if dice.random() < 0.15 else 60)
    for line in child.lines(until):
        if line == ["ready"]:
            ready = True
            break
        assert line[0] != "crashed", line[1]
    if ready:
        for line in child.lines(time.monotonic() + dice.uniform(0.005, 0.4)):
            journal.hear(line)
    os.kill(child.pid, signal.SIGKILL)
    for line in child.lines():
        journal.hear(line)
    child.end()
    return ready


def sweep(folder: Path, fault: Fault, seed: int, operations: int) -> Report:
    """Let the ``fault`` strike at the first call that reaches the disk, at the second, and so on through a run."""
    template(folder / "template")
    report = Strikes()
    for at in count(1):
        calls = _strike(folder, fault, at, seed, operations, report)
        if report.wrong or calls < at:
            break
    return vars(report)


def strike(folder: Path, fault: Fault, seed: int, operations: int, seconds: float) -> Report:
    """Let the ``fault`` strike at random calls of ever new runs."""
    template(folder / "template")
    dice = random.Random(seed)
    report = Strikes()
    calls = _strike(folder, fault, NEVER, seed, operations, report)
    for _ in in_time(seconds):
        _strike(folder, fault, dice.randint(1, calls), dice.getrandbits(30), operations, report)
        if report.wrong:
            break
    return vars(report)


@dataclass
class Strikes:
    """What came of runs with a fault in them."""

    wrong: list[str] = field(default_factory=list)
    points: int = 0
    answered: int = 0
    refused: Counter[str] = field(default_factory=Counter)


def _strike(folder: Path, fault: Fault, at: int, seed: int, operations: int, report: Strikes) -> int:
    """One run that is struck at call ``at``; returns how many calls there were up to its end."""
    path = folder / "struck"
    shutil.copytree(folder / "template", path)
    journal = Journal()
    problems, calls = _struck_run(path, fault, at, seed, operations, journal)
    report.wrong += [f"seed {seed}, call {at}: {problem}" for problem in problems]
    report.points += 1
    report.answered += journal.answered
    report.refused.update(journal.refused)
    shutil.rmtree(path)
    return calls


def _struck_run(
    path: Path, fault: Fault, at: int, seed: int, operations: int, journal: Journal
) -> tuple[list[str], int]:
    faults = Faults(fault, at, seed + at)

    def work(say: Say) -> None:
        def speak(line: list[Any]) -> None:
            if line == ["through"]:
                faults.lift()
            say(line)

        faults.install()
        write(path, speak, seed, 2, operations)
        say(["calls", faults.calls])

    problems: list[str] = []
    calls = 0
    child = Child(work)
    for line in child.lines():
        match line:
            case ["found", found]:
                # Whoever lives on shows what was answered, and nothing of what was refused.
                problems += [f"before the restart, {problem}" for problem in journal.check(found)]
            case ["end", failure]:
                if failure is not None and fault in ("enospc", "full"):
                    problems.append(f"the disk was full for a while, and after it: {failure}")
            case ["calls", calls]:
                pass
            case ["crashed", trace]:
                problems.append(trace)
            case _:
                journal.hear(line)
    killed = child.end() == KILLED
    if killed:
        # The start after it may be killed as well.
        _start_and_die(path, 1 + at % 3)
    problems += inspect(path, journal, tidy=at % 2 == 0)
    if killed and not problems:
        # What is written after the crash must survive the next.
        problems += _live_on(path, seed + at, journal)
    return problems, at if killed else calls


def _live_on(path: Path, seed: int, journal: Journal) -> list[str]:
    def work(say: Say) -> None:
        def speak(line: list[Any]) -> None:
            say(line)
            if line[0] == "end":
                os._exit(KILLED)

        write(path, speak, seed, 2, 3)

    child = Child(work)
    for line in child.lines():
        journal.hear(line)
    child.end()
    return [f"after living on, {problem}" for problem in inspect(path, journal, tidy=False)]


def _start_and_die(path: Path, at: int) -> None:
    def work(_: Say) -> None:
        Faults("kill", at).install()
        asyncio.run(workload.inspect(path, tidy=False))

    child = Child(work)
    list(child.lines())
    child.end()


def cut(folder: Path, seed: int, operations: int, losses: int, failing_sync: int) -> Report:
    """Record a run, then cut its power at every moment, losing ``losses`` different things at each."""
    events = _record(folder, seed, operations, failing_sync)
    report = Cuts()
    _cut(folder, events, power.moments(events), losses, random.Random(seed), report)
    return vars(report)


def cut_at_random(folder: Path, seed: int, operations: int, seconds: float) -> Report:
    """Record ever new runs, every other one with a sync that fails, and cut the power at a few moments of each."""
    dice = random.Random(seed)
    report = Cuts()
    for number in in_time(seconds):
        run = folder / str(number)
        run.mkdir()
        failing_sync = dice.randint(1, FAILING_SYNC_MAX) if number % 2 else 0
        events = _record(run, dice.getrandbits(30), operations, failing_sync)
        moments = sorted(dice.sample(list(power.moments(events)), MOMENTS_OF_A_RUN))
        _cut(run, events, moments, len(power.LOSSES), dice, report)
        shutil.rmtree(run)
        if report.wrong:
            break
    return vars(report)


@dataclass
class Cuts:
    """What came of power cuts."""

    wrong: list[str] = field(default_factory=list)
    runs: int = 0
    states: int = 0
    answered: int = 0


def _cut(
    folder: Path, events: list[power.Event], moments: Iterable[int], losses: int, dice: random.Random, report: Cuts
) -> None:
    """Cut the power of a recorded run at these moments, until something is wrong."""
    report.runs += 1
    answered = 0
    for number in moments:
        journal = Journal()
        for event in events[:number]:
            if event.what == "said":
                journal.hear(event.data)
        answered = journal.answered
        for loss in dice.sample(power.LOSSES, losses):
            target = folder / "cut"
            power.rebuild(events[:number], folder / SNAPSHOTS, target, loss, dice, with_index=dice.random() < 0.5)
            problems = _inspect_here(target, deepcopy(journal))
            report.wrong += [f"after event {number}, losing {loss}: {problem}" for problem in problems]
            shutil.rmtree(target)
            report.states += 1
        if report.wrong:
            break
    report.answered += answered


def _record(folder: Path, seed: int, operations: int, failing_sync: int) -> list[power.Event]:
    """What happened in a run on a folder that has a registry and nothing else."""
    path, kept, snapshots = folder / "data", folder / "events", folder / SNAPSHOTS
    snapshots.mkdir()
    template(path)
    for file in (path / "segments").iterdir():
        file.unlink()
    shutil.rmtree(path / "index")

    def work(_: Say) -> None:
        bugs.plant()
        recorder = power.Recorder(path, snapshots, failing_sync)
        with recorder.installed():
            write(path, recorder.say, seed, 4, operations)
        kept.write_bytes(pickle.dumps(recorder.events))

    child = Child(work)
    problems = list(child.lines())
    child.end()
    assert not problems, problems
    events: list[power.Event] = pickle.loads(kept.read_bytes())
    return events


def _inspect_here(path: Path, journal: Journal) -> list[str]:
    """`inspect` without a child: nothing was killed, and there are hundreds of these."""
    try:
        seen = asyncio.run(workload.inspect(path, tidy=False))
    except Exception:
        return [traceback.format_exc()]
    return journal.check(seen["found"]) + [f"{file} is reported as damaged" for file in seen["damaged"]]


def run(folder: Path, seed: int, operations: int) -> None:
    """The workload alone, in this process: for whoever ends it from outside."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    write(folder, lambda line: print(json.dumps(line), flush=True), seed, 3, operations)


def look(folder: Path) -> Report:
    """What is wrong with a folder, given on the standard input what its writer said."""
    journal = Journal(unsure=True)
    for line in sys.stdin:
        if line.endswith("\n"):
            journal.hear(json.loads(line))
    return {"wrong": inspect(folder, journal, tidy=False), "answered": journal.answered, "refused": journal.refused}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    kinds = parser.add_subparsers(dest="kind", required=True)
    killing = kinds.add_parser("kill").add_mutually_exclusive_group(required=True)
    killing.add_argument("--cycles", type=int)
    killing.add_argument("--seconds", type=float)
    sweeping = kinds.add_parser("sweep")
    sweeping.add_argument("fault", choices=FAULTS)
    sweeping.add_argument("--operations", type=int, required=True)
    striking = kinds.add_parser("strike")
    striking.add_argument("fault", choices=FAULTS)
    striking.add_argument("--operations", type=int, required=True)
    striking.add_argument("--seconds", type=float, required=True)
    cutting = kinds.add_parser("cut")
    cutting.add_argument("--operations", type=int, required=True)
    cutting.add_argument("--losses", type=int, default=1)
    cutting.add_argument("--failing-sync", type=int, default=0)
    random_cutting = kinds.add_parser("cut-at-random")
    random_cutting.add_argument("--operations", type=int, required=True)
    random_cutting.add_argument("--seconds", type=float, required=True)
    kinds.add_parser("run").add_argument("--operations", type=int, required=True)
    kinds.add_parser("look")
    return parser.parse_args()


def _report(options: argparse.Namespace) -> Report:
    folder, seed = options.folder, options.seed
    match options.kind:
        case "kill":
            cycles = in_time(options.seconds) if options.cycles is None else range(1, options.cycles + 1)
            return kill(folder, cycles, seed)
        case "sweep":
            return sweep(folder, options.fault, seed, options.operations)
        case "strike":
            return strike(folder, options.fault, seed, options.operations, options.seconds)
        case "cut":
            return cut(folder, seed, options.operations, options.losses, options.failing_sync)
        case "cut-at-random":
            return cut_at_random(folder, seed, options.operations, options.seconds)
        case _:
            return look(folder)


def main() -> None:
    options = _options()
    if options.kind in ("kill", "sweep", "strike", "run"):  # the others look at what is left with good code
        bugs.plant()
    if options.kind == "run":
        run(options.folder, options.seed, options.operations)
    else:
        print(json.dumps(_report(options)))


if __name__ == "__main__":
    main()
