"""A storage node as a child process: `ms3t node serve`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

MS3T = Path(sys.executable).with_name("ms3t")
WAIT_SECONDS = 30


class NodeProcess:
    """A node that answers.

    Args:
        data: its data folder.
        options: of `ms3t node serve`; the port is a free one, unless they name another.
    """

    def __init__(self, data: Path, *options: str) -> None:
        self.data = data
        command = [MS3T, "node", "serve", "--data-dir", str(data), "--listen", "127.0.0.1:0", "--json", *options]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        text = ""
        for line in self.process.stdout:
            text += line
            if line == "}\n":
                break
        self.ready: dict[str, Any] = json.loads(text)

    def grant(self, gateway: str) -> str:
        """What lets the gateway of that DID store here."""
        command = [MS3T, "node", "grant", gateway, "--data-dir", str(self.data)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait for its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(WAIT_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code
