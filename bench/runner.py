"""Runs a plan's cells on all servers, in alternation, within the plan's bounds."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import process
from bench.cells import GIBIBYTE, READ_SET_KEYS, Cell, Plan
from bench.cli_client import CliClient, CliError, Sources
from bench.generator import run_in_process
from bench.peers import Peer, Running
from bench.results import Measurement, PeerInfo
from bench.server import StartError
from bench.spec import LoadResult, LoadSpec
from bench.targets import compared_in

FILL_CONCURRENCY = 32
FILL_PROBE_KEYS = 1000
PRIME_KEYS = 300
LIST_BODY_BYTES = 64
MIN_FREE_DISK_BYTES = 6 * GIBIBYTE
IN_MEMORY_MAX_BYTES = GIBIBYTE // 2
"""What one cell may write to a server that keeps every body in memory."""
IDLE_TIMEOUT_SECONDS = 20.0
IDLE_CORES = 0.1
_IDLE_POLL_SECONDS = 0.5
_BUCKET = "bench"
_LIST_PREFIX = "key-"
_TIME_OVER = "not run: the time for this run was over"

Progress = Callable[[str], None]


class _NotRunError(Exception):
    """A cell that cannot be measured on a server; the text is its entry in the report."""


@dataclass(slots=True)
class _Contestant:
    """A started server and what this run has put into it."""

    peer: Peer
    running: Running
    folder: Path
    next_index: dict[str, int] = field(default_factory=dict)
    fill_rate: float = 0.0
    """Small PUTs per second, as a probe before the first large filling found."""
    filled: set[tuple[str, str]] = field(default_factory=set)
    too_slow: dict[str, str] = field(default_factory=dict)


class Runner:
    """Collects the measurements of one run; they are whole after each cell, also if interrupted."""

    def __init__(self, plan: Plan, peers: Sequence[Peer], folder: Path, *, signed: bool, progress: Progress) -> None:
        self._plan = plan
        self._peers = peers
        self._folder = folder
        self._signed = signed
        self._progress = progress
        self._deadline = time.monotonic() + plan.budget_s
        self._sources: Sources | None = None
        self.infos: dict[str, PeerInfo] = {}
        self.measurements: list[Measurement] = []

    def run(self) -> None:
        """Run every group of cells, each on freshly started servers."""
        for cells in self._plan.groups:
            with self._contestants() as contestants:
                for cell in cells:
                    self._run_cell(cell, contestants)

    @contextmanager
    def _contestants(self) -> Iterator[list[_Contestant]]:
        """All peers that start, on fresh folders; they are stopped on the way out."""
        with ExitStack() as stack:
            started = []
            for peer in self._peers:
                folder = self._folder / peer.name
                shutil.rmtree(folder, ignore_errors=True)  # the data of the group before
                folder.mkdir()
                contestant = self._start(peer, folder)
                if contestant is not None:
                    stack.callback(contestant.running.process.stop)
                    started.append(contestant)
            yield started

    def _start(self, peer: Peer, folder: Path) -> _Contestant | None:
        self._progress(f"starting {peer.name}")
        version = ""
        try:
            version = peer.version()
            running = peer.start(folder)
        except StartError as error:
            self.infos[peer.name] = PeerInfo(peer.name, version, peer.durability, str(error))
            self._progress(f"{peer.name} cannot be measured: {error}")
            return None
        self.infos[peer.name] = PeerInfo(peer.name, version, peer.durability)
        return _Contestant(peer, running, folder)

    def _run_cell(self, cell: Cell, contestants: Sequence[_Contestant]) -> None:
        repeated = compared_in(cell.name, [contestant.peer.name for contestant in contestants])
        for round_number in range(cell.rounds):
            # There and back: whoever is first pays for caches that the others then find warm.
            for contestant in contestants if round_number % 2 == 0 else reversed(contestants):
                if round_number and contestant.peer.name not in repeated:
                    continue
                measurement = self._measure(cell, round_number, contestant)
                self.measurements.append(measurement)
                self._progress(_progress_line(measurement))

    def _measure(self, cell: Cell, round_number: int, contestant: _Contestant) -> Measurement:
        name = contestant.peer.name
        try:
            self._check_bounds(cell, contestant)
            run = self._cli if cell.operation == "cli" else self._load
            result = run(cell, contestant)
        except (_NotRunError, CliError, StartError) as error:
            return Measurement(name, cell.name, round_number, str(error))
        return Measurement.of_load(name, cell.name, round_number, result)

    def _check_bounds(self, cell: Cell, contestant: _Contestant) -> None:
        contestant.running.process.check_alive()
        if time.monotonic() > self._deadline:
            raise _NotRunError(_TIME_OVER)
        if shutil.disk_usage(self._folder).free < MIN_FREE_DISK_BYTES:
            raise _NotRunError("not run: the disk is nearly full")
        at_once = cell.concurrency * cell.size_bytes
        if contestant.peer.in_memory and at_once > IN_MEMORY_MAX_BYTES:
            raise _NotRunError("not run: it would keep every body in memory")

    def _cli(self, cell: Cell, contestant: _Contestant) -> LoadResult:
        if self._sources is None:
            self._progress("writing the files that aws copies")
            folder = self._folder / "sources"
            folder.mkdir()
            self._sources = Sources.make(folder)
        _settle()
        client = CliClient(contestant.running, self._sources, contestant.folder, self._plan.cli_limit_s)
        try:
            return client.run(cell.name)
        except CliError:
            _wait_until_idle(contestant)
            raise

    def _load(self, cell: Cell, contestant: _Contestant) -> LoadResult:
        contestant.running.make_bucket(_BUCKET)
        # The first PUTs of a bucket pay for its set-up (SeaweedFS makes seven volumes).
        self._fill(contestant, _BUCKET, "prime/", LIST_BODY_BYTES, keys=PRIME_KEYS)
        if cell.operation == "list":
            bucket = self._filled_list_bucket(cell, contestant)
            return self._generate(cell, contestant, bucket, prefix=_LIST_PREFIX, keys=cell.keys)
        if cell.operation == "put":
            prefix = f"written-{cell.size_bytes}/"
            first = contestant.next_index.get(prefix, 0)
            result = self._generate(cell, contestant, _BUCKET, prefix=prefix, first_index=first)
            contestant.next_index[prefix] = result.next_index
            return result
        keys = READ_SET_KEYS[cell.size_bytes]
        prefix = f"read-{cell.size_bytes}/"
        self._fill(contestant, _BUCKET, prefix, cell.size_bytes, keys=keys)
        return self._generate(cell, contestant, _BUCKET, prefix=prefix, keys=keys)

    def _filled_list_bucket(self, cell: Cell, contestant: _Contestant) -> str:
        """Fill the bucket that is listed, unless a probe says that it would take too long."""
        bucket = f"list-{cell.keys}"
        if bucket in contestant.too_slow:
            raise _NotRunError(contestant.too_slow[bucket])
        contestant.running.make_bucket(bucket)
        if (bucket, _LIST_PREFIX) not in contestant.filled:
            probe = self._fill(contestant, _BUCKET, "probe/", LIST_BODY_BYTES, keys=FILL_PROBE_KEYS)
            if probe is not None:
                contestant.fill_rate = probe.operations / probe.seconds
            seconds = cell.keys / contestant.fill_rate
            if seconds > self._plan.fill_limit_s:
                reason = f"not run: filling with {cell.keys} keys would take {seconds:.0f} s"
                contestant.too_slow[bucket] = reason
                raise _NotRunError(reason)
            if time.monotonic() + seconds > self._deadline:
                raise _NotRunError(_TIME_OVER)
            self._fill(contestant, bucket, _LIST_PREFIX, LIST_BODY_BYTES, keys=cell.keys)
        return bucket

    def _fill(
        self, contestant: _Contestant, bucket: str, prefix: str, size_bytes: int, *, keys: int
    ) -> LoadResult | None:
        """PUT exactly these objects once; None when they are there already."""
        if (bucket, prefix) in contestant.filled:
            return None
        cell = Cell("fill", "fill", size_bytes, min(FILL_CONCURRENCY, keys))
        result = self._generate(cell, contestant, bucket, prefix=prefix, keys=keys)
        if result.errors or result.operations != keys:
            raise _NotRunError(f"not run: cannot be filled: {result.first_error or 'too slow'}")
        contestant.filled.add((bucket, prefix))
        return result

    def _generate(
        self,
        cell: Cell,
        contestant: _Contestant,
        bucket: str,
        *,
        prefix: str,
        first_index: int = 0,
        keys: int = 0,
    ) -> LoadResult:
        _settle()
        running, plan = contestant.running, self._plan
        filling = cell.operation == "fill"
        in_memory = contestant.peer.in_memory and cell.operation == "put"
        return run_in_process(
            LoadSpec(
                port=running.port,
                access_key=running.credentials.access_key,
                secret_key=running.credentials.secret_key,
                region=running.credentials.region,
                bucket=bucket,
                operation=cell.operation,
                size_bytes=cell.size_bytes,
                concurrency=cell.concurrency,
                duration_s=2 * plan.fill_limit_s if filling else plan.duration_s,
                warmup_s=plan.warmup_s,
                prefix=prefix,
                first_index=first_index,
                keys=keys,
                max_bytes=IN_MEMORY_MAX_BYTES if in_memory else plan.max_bytes,
                signed_payload=self._signed,
                server_pid=running.process.pid,
            )
        )


def _settle() -> None:
    """Write back what an unsynced server left dirty, so that the next one does not pay for it."""
    os.sync()


def _wait_until_idle(contestant: _Contestant) -> None:
    """A server whose client was stopped may work on; the next cell must not pay for it."""
    pid = contestant.running.process.pid
    deadline = time.monotonic() + IDLE_TIMEOUT_SECONDS
    used = process.cpu_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(_IDLE_POLL_SECONDS)
        before, used = used, process.cpu_seconds(pid)
        if used - before < _IDLE_POLL_SECONDS * IDLE_CORES:
            return


def _progress_line(measurement: Measurement) -> str:
    start = f"{measurement.cell:16} {measurement.peer:10}"
    if measurement.problem:
        return f"{start} {measurement.problem[:150]}"
    if measurement.is_command:
        return f"{start} {measurement.seconds:10.1f} s    {measurement.mb_per_s:8.1f} MB/s"
    return (
        f"{start} {measurement.ops_per_s:10.1f} op/s {measurement.mb_per_s:8.1f} MB/s"
        f"  p50 {measurement.p50_ms:7.2f} ms  {measurement.server_us_per_op:9.0f} us CPU/op"
    )
