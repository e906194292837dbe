"""Search for inputs that break a parser: ``python -m tests.fuzz`` (see ``--help``); `make fuzz` does it for all.

What was found worth keeping stays in a corpus between runs.  The first broken promise ends the search, with the input
and the command that repeats it.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from time import monotonic

from tests.fuzz.all import TARGETS
from tests.fuzz.requests import fuzz
from tests.servers import running

REQUESTS = "requests"
INPUT_BYTES_MAX = 4096
MEMORY_MIB_MAX = 1024
SEEDS = 10**9


def main() -> int:
    """Do what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Search for inputs that break a parser.")
    parser.add_argument("targets", nargs="*", help=f"which (all): {', '.join((*TARGETS, REQUESTS))}")
    parser.add_argument("--seconds", type=int, default=60, help="how long for each (%(default)s)")
    parser.add_argument("--corpus", type=Path, default=Path(".fuzz"), help="where inputs are kept (%(default)s)")
    parser.add_argument("--replay", metavar="INPUT", help="a file, or the number of a request, to give to one target")
    options = parser.parse_args()
    chosen = options.targets or [*TARGETS, REQUESTS]
    if unknown := {*chosen} - {*TARGETS, REQUESTS}:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if options.replay is not None:
        return _replay(chosen[0], options.replay)
    for name in chosen:
        search = _requests if name == REQUESTS else _search
        if not search(name, options.corpus, options.seconds):
            return 1
    print(f"{len(chosen)} targets, {options.seconds} s each: nothing found")
    return 0


def _search(name: str, corpus: Path, seconds: int) -> bool:
    """Run atheris on one target; whether it kept its promises."""
    folder = corpus / name
    folder.mkdir(parents=True, exist_ok=True)
    found = corpus / "found"
    found.mkdir(exist_ok=True)
    before = {*found.iterdir()}
    command = [
        sys.executable, "-m", "tests.fuzz.engine", name, f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES_MAX}",
        f"-rss_limit_mb={MEMORY_MIB_MAX}", f"-artifact_prefix={found}/{name}-", "-print_final_stats=1", str(folder),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    executed = [line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
    print(f"{name:22}{executed[0] if executed else '?':>10} inputs", flush=True)
    if done.returncode == 0:
        return True
    print(done.stdout[-3000:] + done.stderr[-5000:])
    for path in {*found.iterdir()} - before:
        print(f"\ninput   {path.read_bytes()!r}\nrepeat  {sys.executable} -m tests.fuzz {name} --replay {path}")
    return False


def _requests(_: str, __: Path, seconds: int) -> bool:
    """Send damaged requests to a server; whether it answered them all as it should."""
    try:
        sent = sum(_fuzz_server(_numbers(seconds)))
    except AssertionError as failure:
        number = str(failure).removeprefix("request ").partition(":")[0]
        print(f"{failure.__cause__!r}\n\n{failure}")
        print(f"\nrepeat  {sys.executable} -m tests.fuzz {REQUESTS} --replay {number}")
        return False
    print(f"{REQUESTS:22}{sent:>10} inputs", flush=True)
    return True


def _numbers(seconds: int) -> Iterator[int]:
    """Numbers of requests for so long, from the first one on that is asked for."""
    end = monotonic() + seconds
    for number in count(random.randrange(SEEDS)):
        if monotonic() >= end:
            return
        yield number


def _fuzz_server(seeds: Iterable[int]) -> list[int]:
    """Start a server and fuzz it; how often each status was the answer."""
    config = {"limits": {"body_idle_seconds": 1}}
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), config=config) as server:
        return list(fuzz(server, seeds).values())


def _replay(name: str, text: str) -> int:
    """Give one input to one target; what it breaks is raised."""
    if name == REQUESTS:
        _fuzz_server([int(text)])
    else:
        print("accepted" if TARGETS[name](Path(text).read_bytes()) else "refused")
    return 0


if __name__ == "__main__":
    sys.exit(main())
