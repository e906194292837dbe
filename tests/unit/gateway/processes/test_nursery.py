"""The nursery: forks workers with the files they are given, survives what can pass, and ends with its owner."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[4]

# In a process of its own: a test runner has threads, and a nursery is forked before there are any.
PRELUDE = """
import os, signal, socket, sys, threading
from gateway.processes.nursery import FDS_MAX, Nursery

def say(fds):
    os.write(fds[0], b"%d %d %d\\n" % (os.getpid(), os.getppid(), len(fds)))

"""


def _run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(program)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_workers_have_their_own_copies_of_the_files_they_are_given() -> None:
    out = _run(
        """
        nursery = Nursery.start(say)
        threading.Thread(target=threading.Event().wait, daemon=True).start()  # threads later are no matter
        reading, writing = os.pipe()
        for _ in range(3):
            nursery.fork([writing] * 2)
        nursery.fork([writing] * FDS_MAX)
        os.close(writing)
        print(open(reading).read())  # until the last worker has ended
        nursery.close()
        print(os.getpid(), nursery._pid)
        """
    )
    *workers, _, own = out.splitlines()
    rows = [tuple(map(int, line.split())) for line in workers]
    owner, nursery = map(int, own.split())
    assert len({pid for pid, _, _ in rows} | {owner, nursery}) == 6
    assert {parent for _, parent, _ in rows} == {nursery}
    assert sorted(count for _, _, count in rows) == [2, 2, 2, 64]


def test_workers_outlive_the_nursery() -> None:
    out = _run(
        """
        def wait(fds):
            os.read(fds[0], 1)
            os.write(fds[1], b"still here")

        nursery = Nursery.start(wait)
        ask, answer = os.pipe(), os.pipe()
        nursery.fork([ask[0], answer[1]])
        nursery.close()
        os.write(ask[1], b"?")
        print(os.read(answer[0], 100))
        """
    )
    assert "still here" in out


def test_a_worker_that_fails_says_why_and_the_next_one_starts() -> None:
    out = _run(
        """
        def fail_first(fds):
            if len(fds) == 2:
                os.dup2(fds[0], 2)
                raise ValueError("what went wrong")
            say(fds)

        nursery = Nursery.start(fail_first)
        reading, writing = os.pipe()
        nursery.fork([writing, writing])
        nursery.fork([writing])
        os.close(writing)
        print(open(reading).read())
        nursery.close()
        """
    )
    assert "ValueError: what went wrong" in out
    assert " 1\n" in out


def test_a_fork_that_fails_closes_the_files_and_the_next_may_succeed() -> None:
    out = _run(
        """
        fork, calls = os.fork, []

        def short_of_memory():
            calls.append(1)
            if len(calls) == 2:
                raise BlockingIOError(11, "Resource temporarily unavailable")
            return fork()

        os.fork = short_of_memory
        nursery = Nursery.start(say)
        for _ in range(2):
            reading, writing = os.pipe()
            nursery.fork([writing])
            os.close(writing)
            print(len(open(reading).read().splitlines()))
        nursery.close()
        """
    )
    assert out.split() == ["0", "1"]


def test_signals_that_stop_a_server_are_the_owner_s_to_hear() -> None:
    out = _run(
        """
        def heed(fds):
            for number in (signal.SIGINT, signal.SIGTERM):
                os.kill(os.getppid(), number)
                os.kill(os.getpid(), number)
            say(fds)

        nursery = Nursery.start(heed)
        reading, writing = os.pipe()
        nursery.fork([writing])
        nursery.fork([writing])
        os.close(writing)
        print(open(reading).read())
        nursery.close()
        """
    )
    assert len(out.split()) == 6


def test_it_ends_with_an_owner_that_is_killed() -> None:
    program = """
    nursery = Nursery.start(say)
    print(nursery._pid, flush=True)
    signal.pause()
    """
    with subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(program)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        nursery = os.pidfd_open(int(owner.stdout.readline()))
        owner.send_signal(signal.SIGKILL)
    ended, _, _ = select.select([nursery], [], [], 20)
    os.close(nursery)
    assert ended
