"""Closed-loop S3 load generator, run in a process of its own: `python -m bench.load < spec.json`.

Every connection sends its next request as soon as it has the whole answer to the last one.
Requests are signed before the clock starts, connections are kept alive, and every answer's status
is checked; for GET also the length and samples of the content, for LIST the number of keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import uvloop

from bench import process
from bench.batch import Request, RequestMaker
from bench.bodies import BodyPool
from bench.connection import MAX_ERRORS, Connection, Phase
from bench.spec import LoadResult, LoadSpec

GRACE_SECONDS = 30.0
"""How long requests that are under way at the end may still take."""
SPARE_FACTOR = 1.6
"""PUTs signed beforehand, as a multiple of what the warm-up's rate would use."""
MAX_SIGNED_REQUESTS = 400_000


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """Nearest-rank percentile of values in ascending order; 0 for no values."""
    if not ordered:
        return 0.0
    rank = math.ceil(fraction * len(ordered))
    return ordered[min(len(ordered), max(1, rank)) - 1]


class _Run:
    """One specification's warm-up and measurement."""

    def __init__(self, spec: LoadSpec) -> None:
        self._spec = spec
        self._pool = BodyPool(spec.size_bytes) if spec.operation in ("put", "get", "fill") else None
        self._maker = RequestMaker(spec, self._pool)
        self._connections = [Connection(spec, self._pool) for _ in range(spec.concurrency)]
        self._next_index = spec.first_index

    async def result(self) -> LoadResult:
        for connection in self._connections:
            await connection.open()
        try:
            if self._spec.operation == "fill":
                puts = self._maker.puts(self._spec.first_index, self._spec.keys)
                return await self._measure(iter(puts))
            if self._spec.operation == "put":
                return await self._measure_puts()
            reads = self._maker.reads()
            await self._phase(self._bounded(reads), self._spec.warmup_s)
            return await self._measure(self._bounded(reads))
        finally:
            for connection in self._connections:
                connection.close()

    async def _measure_puts(self) -> LoadResult:
        """The warm-up signs as it goes; its rate says how many PUTs to sign before the clock."""
        spec = self._spec
        lazily = (self._maker.puts(index, 1)[0] for index in itertools.count(spec.first_index))
        warm = await self._phase(self._bounded(lazily), spec.warmup_s)
        if warm.errors >= MAX_ERRORS:
            return self._to_result(warm)
        self._next_index = max(spec.first_index, warm.last_index + 1)
        rate = len(warm.latencies_s) / max(warm.finished - warm.started, 1e-6)
        wanted = int(rate * spec.duration_s * SPARE_FACTOR) + 2 * spec.concurrency
        count = min(wanted, self._max_requests(), MAX_SIGNED_REQUESTS)
        return await self._measure(iter(self._maker.puts(self._next_index, count)))

    async def _measure(self, requests: Iterator[Request]) -> LoadResult:
        pid = self._spec.server_pid
        if pid:
            process.reset_peak(pid)
        server_before = process.cpu_seconds(pid) if pid else 0.0
        client_before, busy_before = time.process_time(), process.busy_seconds()
        phase = await self._phase(requests, self._spec.duration_s)
        result = self._to_result(phase)
        result.client_cpu_s = time.process_time() - client_before
        if pid:
            result.server_cpu_s = process.cpu_seconds(pid) - server_before
            result.server_peak_rss_bytes = process.peak_rss_bytes(pid)
        busy = process.busy_seconds() - busy_before
        result.other_cpu_s = max(0.0, busy - result.client_cpu_s - result.server_cpu_s)
        return result

    async def _phase(self, requests: Iterator[Request], duration_s: float) -> Phase:
        gc.collect()
        gc.disable()  # a collection over 100 k signed requests would show up as a server's p99
        try:
            phase = Phase(requests, duration_s)
            ended = asyncio.gather(*(connection.run(phase) for connection in self._connections))
            try:
                await asyncio.wait_for(ended, duration_s + GRACE_SECONDS)
            except TimeoutError:
                phase.fail(f"no answer within {GRACE_SECONDS:.0f} s after the end")
                phase.finished = time.perf_counter()
            return phase
        finally:
            gc.enable()

    def _max_requests(self) -> int:
        bound = self._spec.max_bytes // max(self._spec.size_bytes, 1)
        return max(bound, self._spec.concurrency)

    def _bounded(self, requests: Iterator[Request]) -> Iterator[Request]:
        return itertools.islice(requests, self._max_requests())

    def _to_result(self, phase: Phase) -> LoadResult:
        ordered = sorted(phase.latencies_s)
        return LoadResult(
            operations=len(ordered),
            seconds=phase.finished - phase.started,
            body_bytes=phase.body_bytes,
            p50_ms=percentile(ordered, 0.50) * 1000,
            p99_ms=percentile(ordered, 0.99) * 1000,
            errors=phase.errors,
            first_error=phase.first_error,
            next_index=max(self._next_index, phase.last_index + 1),
        )


def run_load(spec: LoadSpec) -> LoadResult:
    """Run one specification in this process."""
    return uvloop.run(_Run(spec).result())


def main() -> None:
    """Read a specification from standard input, write the result to standard output, both JSON."""
    spec = LoadSpec(**json.load(sys.stdin))
    with contextlib.suppress(KeyboardInterrupt):
        json.dump(asdict(run_load(spec)), sys.stdout)


if __name__ == "__main__":
    main()
