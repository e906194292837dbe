"""Tables on a terminal that is too narrow for them."""

from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path
from typing import Any

MS3T = Path(sys.executable).with_name("ms3t")


def _on_terminal(columns: int, *arguments: str) -> str:
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm"}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen([MS3T, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    out = b""
    try:
        while piece := os.read(ours, 65536):
            out += piece
    except OSError:  # how Linux says that the other end was closed
        pass
    os.close(ours)
    assert process.wait() == 0
    return out.decode()


def test_rows_become_lines_with_whole_cids(made: Any) -> None:
    out = _on_terminal(80, "roots", "--data-dir", str(made.path))
    assert f"root      {made.head.tree}" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_wide_terminal_has_the_table(made: Any) -> None:
    out = _on_terminal(220, "roots", "--data-dir", str(made.path))
    (line,) = (line for line in out.splitlines() if line.startswith("photos"))
    assert str(made.head.tree) in line
    assert str(made.head.commit) in line


def test_doctor_folds(made: Any) -> None:
    out = _on_terminal(70, "doctor", "--data-dir", str(made.path))
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert max(map(len, plain.splitlines())) <= 70
    assert "checks, 0 failed" in plain
