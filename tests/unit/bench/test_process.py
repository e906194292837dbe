"""CPU and memory of a process tree."""

from __future__ import annotations

import os
import subprocess
import sys

from bench import process

CHILD = """
import subprocess, sys, time
if sys.argv[1] == "parent":
    child = subprocess.Popen([sys.executable, "-c", sys.stdin.read(), "child"])
else:
    kept = bytearray(40_000_000)
    while time.process_time() < 0.15:
        pass
    print("ready", flush=True)
time.sleep(30)
"""


def test_grandchildren_count() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", CHILD, "parent"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(CHILD)
        parent.stdin.close()
        assert parent.stdout.readline() == "ready\n"
        assert len(process.tree(parent.pid)) == 2
        assert process.cpu_seconds(parent.pid) >= 0.1
        assert process.peak_rss_bytes(parent.pid) > 40_000_000
        process.reset_peak(parent.pid)
        assert process.peak_rss_bytes(parent.pid) > 40_000_000
        assert process.busy_seconds() > 0
    finally:
        os.killpg(parent.pid, 9)
        parent.wait()
        if parent.stdout is not None:
            parent.stdout.close()


def test_a_process_that_is_gone_has_nothing() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert process.tree(gone.pid) == []
    assert process.cpu_seconds(gone.pid) == 0
    assert process.peak_rss_bytes(gone.pid) == 0
