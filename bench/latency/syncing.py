"""`aws s3 sync` of many small files, timed as a whole process, with as many requests at once as it is told."""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

from bench import process
from bench.cli_client import aws_environment, run_bounded
from bench.latency.far import Far
from bench.latency.proxy import DelayProxy
from bench.peers import find_program

FILE_BYTES = 1024
LIMIT_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Synced:
    """One sync.

    Attributes:
        at_once: most requests at once.
        files: how many files.
        seconds: what it took.
        shipments: how many shipments brought them.
        requests: what those sent to the node.
        other_cores: CPU time of others on this machine, in cores.
    """

    at_once: int
    files: int
    seconds: float
    shipments: int
    requests: int
    other_cores: float

    @property
    def files_per_second(self) -> float:
        return self.files / self.seconds


def sync(far: Far, proxy: DelayProxy, folder: Path, *, files: int, at_once: int) -> Synced:
    """Make so many files and sync them up into a bucket of their own.

    Raises:
        CliError: it failed, or took too long.
        StartError: there is no aws command.
    """
    name = f"{files}-files-{at_once}-at-once"
    source = folder / name
    source.mkdir()
    generator = random.Random(name)
    for number in range(files):
        (source / f"file-{number:04d}.bin").write_bytes(generator.randbytes(FILE_BYTES))
    settings = folder / f"{name}.aws"
    settings.write_text(f"[default]\ns3 =\n    max_concurrent_requests = {at_once}\n")
    far.gateway.make_bucket(name)
    environment = aws_environment(far.gateway, folder) | {"AWS_CONFIG_FILE": str(settings)}
    command = [find_program("aws"), "s3", "sync", str(source), f"s3://{name}", "--only-show-errors"]
    shipments, requests = far.shipments(), proxy.requests
    busy, own = process.busy_seconds(), _own_seconds(far)
    started = time.perf_counter()
    run_bounded(command, environment, LIMIT_SECONDS)
    seconds = time.perf_counter() - started
    others = process.busy_seconds() - busy - (_own_seconds(far) - own)
    return Synced(
        at_once, files, seconds, far.shipments() - shipments, proxy.requests - requests, max(0.0, others / seconds)
    )


def _own_seconds(far: Far) -> float:
    """CPU time of the servers, of this process and of the commands that it ran."""
    used = os.times()
    own = used.user + used.system + used.children_user + used.children_system
    return own + sum(process.cpu_seconds(server.pid) for server in far.servers)
