"""Times the aws command itself, as a whole process: sync of 1,000 files, cp of one 1 GiB file.

For small files the command is the limit (about 3 ms of its own CPU time a file), so these figures
say how a user waits, not how fast a server is.
"""

from __future__ import annotations

import filecmp
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import process
from bench.bodies import BodyPool
from bench.cells import GIBIBYTE, MEBIBYTE
from bench.peers import Running, find_program
from bench.server import clean_environment
from bench.spec import LoadResult

SYNC_FILES = 1000
SYNC_FILE_BYTES = 4096
_FOLDERS = 10
_PIECE_BYTES = 16 * MEBIBYTE
BUCKET = "cli"


class CliError(Exception):
    """The aws command failed, took too long, or brought back something else."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The local files that are copied up; made once for all servers."""

    tree: Path
    big: Path

    @staticmethod
    def make(folder: Path) -> Sources:
        """Write them below the folder: incompressible, all different."""
        generator = random.Random(SYNC_FILES)
        tree = folder / "tree"
        for number in range(SYNC_FILES):
            path = tree / f"{number % _FOLDERS}" / f"file-{number:04d}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(generator.randbytes(SYNC_FILE_BYTES))
        big = folder / "big.bin"
        pool = BodyPool(_PIECE_BYTES)
        with big.open("wb") as file:
            for number in range(GIBIBYTE // _PIECE_BYTES):
                file.write(pool.body(number))
        return Sources(tree, big)


class CliClient:
    """Runs the aws command against one server."""

    def __init__(
        self,
        running: Running,
        sources: Sources,
        folder: Path,
        limit_s: float,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """StartError when there is no aws command; `settings` are variables that it is run with besides."""
        self._aws = find_program("aws")
        self._running = running
        self._sources = sources
        self._folder = folder
        self._limit_s = limit_s
        self._environment = aws_environment(running, folder) | dict(settings or {})

    def run(self, cell: str) -> LoadResult:
        """One cell's transfer, timed and afterwards compared; CliError when it went wrong."""
        self._running.make_bucket(BUCKET)
        transfers: dict[str, Callable[[], LoadResult]] = {
            "sync-up-1000": self._sync_up,
            "sync-down-1000": self._sync_down,
            "cp-up-1g": self._copy_up,
            "cp-down-1g": self._copy_down,
        }
        return transfers[cell]()

    def _sync_up(self) -> LoadResult:
        self._remove(f"s3://{BUCKET}/tree")
        timed = self._aws_s3("sync", str(self._sources.tree), f"s3://{BUCKET}/tree")
        return self._result(timed, SYNC_FILES, SYNC_FILES * SYNC_FILE_BYTES)

    def _sync_down(self) -> LoadResult:
        target = self._folder / "tree-down"
        try:
            timed = self._aws_s3("sync", f"s3://{BUCKET}/tree", str(target))
            _compare_trees(self._sources.tree, target)
        finally:
            shutil.rmtree(target, ignore_errors=True)
        return self._result(timed, SYNC_FILES, SYNC_FILES * SYNC_FILE_BYTES)

    def _copy_up(self) -> LoadResult:
        timed = self._aws_s3("cp", str(self._sources.big), f"s3://{BUCKET}/big.bin")
        return self._result(timed, 1, GIBIBYTE)

    def _copy_down(self) -> LoadResult:
        target = self._folder / "big-down.bin"
        # Memory that the machine has not used for a while is slow at first: every server's file finds it warm.
        shutil.copyfile(self._sources.big, target)
        target.unlink()
        os.sync()
        try:
            timed = self._aws_s3("cp", f"s3://{BUCKET}/big.bin", str(target))
            if not target.exists() or not filecmp.cmp(self._sources.big, target, shallow=False):
                raise CliError("the file that came back is another one")
        finally:
            target.unlink(missing_ok=True)
        return self._result(timed, 1, GIBIBYTE)

    def _result(self, timed: _Timed, operations: int, size_bytes: int) -> LoadResult:
        return LoadResult(
            operations=operations,
            seconds=timed.seconds,
            body_bytes=size_bytes,
            server_cpu_s=timed.server_cpu_s,
            client_cpu_s=timed.client_cpu_s,
            other_cpu_s=timed.other_cpu_s,
            server_peak_rss_bytes=process.peak_rss_bytes(self._running.process.pid),
        )

    def _remove(self, url: str) -> None:
        """Earlier rounds' objects, so that sync has everything to do again; not timed."""
        self._aws_s3("rm", "--recursive", url)

    def _aws_s3(self, *arguments: str) -> _Timed:
        command = [self._aws, "s3", *arguments, "--only-show-errors"]
        pid = self._running.process.pid
        process.reset_peak(pid)
        cpu_before, own_before = process.cpu_seconds(pid), os.times()
        busy_before = process.busy_seconds()
        started = time.perf_counter()
        run_bounded(command, self._environment, self._limit_s)
        seconds = time.perf_counter() - started
        own = os.times()
        client = (own.children_user - own_before.children_user) + (own.children_system - own_before.children_system)
        server = process.cpu_seconds(pid) - cpu_before
        other = process.busy_seconds() - busy_before - server - client
        return _Timed(seconds, server, client, max(0.0, other))


@dataclass(frozen=True, slots=True)
class _Timed:
    seconds: float
    server_cpu_s: float
    client_cpu_s: float
    other_cpu_s: float


def aws_environment(running: Running, folder: Path) -> dict[str, str]:
    """Credentials by environment, and no configuration of the person who runs this."""
    credentials = running.credentials
    return clean_environment(
        folder,
        AWS_ACCESS_KEY_ID=credentials.access_key,
        AWS_SECRET_ACCESS_KEY=credentials.secret_key,
        AWS_DEFAULT_REGION=credentials.region,
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{running.port}",
        AWS_CONFIG_FILE=str(folder / "no-aws-config"),
        AWS_SHARED_CREDENTIALS_FILE=str(folder / "no-aws-credentials"),
        AWS_EC2_METADATA_DISABLED="true",
        AWS_MAX_ATTEMPTS="2",
    )


def run_bounded(command: Sequence[str], environment: dict[str, str], limit_s: float) -> None:
    """Run a command to its end; CliError when it fails, or takes more than ``limit_s`` seconds."""
    child = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, errors = child.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired as error:
        raise CliError(f"stopped after {limit_s:.0f} s") from error
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if child.returncode != 0:
        raise CliError(f"aws ended with {child.returncode}: {' '.join(errors.split())[:300]}")


def _compare_trees(expected: Path, found: Path) -> None:
    for path in expected.rglob("*.bin"):
        other = found / path.relative_to(expected)
        if not other.exists() or not filecmp.cmp(path, other, shallow=False):
            raise CliError(f"{path.name} did not come back as it was")
