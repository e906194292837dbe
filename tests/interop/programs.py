"""Programs that are not ours, run to their end."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FROM_THE_MACHINE = frozenset(
    {"aws CLI 2", "docker-registry", "fusermount3", "node", "npm", "restic", "s3fs", "terraform"}
)
"""Programs that `make interop` does not install."""
PROGRAM_SECONDS_MAX = 120


@dataclass(frozen=True)
class Program:
    """A client that is a program, with the arguments every call has."""

    path: str
    folder: Path
    common: tuple[str, ...] = ()

    def with_arguments(self, *common: str) -> Program:
        return Program(self.path, self.folder, self.common + common)

    def start(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
        """The program, started."""
        command = [self.path, *self.common, *map(str, arguments)]
        return subprocess.Popen(command, cwd=self.folder, **options)

    def __call__(self, *arguments: str | Path, stdin: bytes = b"", status: int = 0) -> bytes:
        """What it wrote; it has to exit with ``status``."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with self.start(*arguments, **pipes) as process:
            try:
                output, errors = process.communicate(stdin, timeout=PROGRAM_SECONDS_MAX)
            except BaseException:
                process.kill()
                raise
        assert process.returncode == status, (arguments, process.returncode, output[-2000:], errors[-4000:])
        return output if status == 0 else output + errors
