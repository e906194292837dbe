"""Waiting for what nothing tells of: it is looked at again and again, for so long and no longer."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

PATIENCE_SECONDS = 30.0
"""Time enough on a machine that does many things at once."""
LOOK_SECONDS = 0.02

T = TypeVar("T")


def wait_until(look: Callable[[], T], seconds: float = PATIENCE_SECONDS, *, log: Callable[[], str] = str) -> T:
    """What ``look`` returns as soon as that is true.

    Args:
        look: called again and again.
        seconds: how long that may take.
        log: what is shown of the one waited for, where it took longer.
    """
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not after {seconds} s: {log()[-3000:]}"
        time.sleep(LOOK_SECONDS)
    return seen


def wait_for_server(data: Path, process: subprocess.Popen[Any], log: Callable[[], str]) -> dict[str, Any]:
    """What a gateway's ``server.json`` says as soon as that is of ``process``, which must not end meanwhile."""

    def written() -> dict[str, Any] | None:
        assert process.poll() is None, f"the server ended at once: {log()[-3000:]}"
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            note: dict[str, Any] = json.loads((data / "server.json").read_text())
            return note if note["pid"] == process.pid else None
        return None

    return wait_until(written, log=log)


def wait_until_refused(host: str) -> None:
    """Return as soon as nobody accepts connections at ``host``, an address and a port."""
    address, _, port = host.rpartition(":")

    def is_refused() -> bool:
        try:
            socket.create_connection((address, int(port))).close()
        except ConnectionRefusedError:
            return True
        return False

    wait_until(is_refused)
