"""What a run found, as plain values: the report and the JSON file are both made from these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from bench.spec import LoadResult

MEGABYTE = 10**6
NOISY_CORES = 0.3
TOLERATED_FAILURES = 0.001
"""Failed requests per answered one with which a peer still gets a figure; we ourselves do not."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One round of one cell on one server; `problem` says why there is no figure."""

    peer: str
    cell: str
    round: int
    problem: str = ""
    operations: int = 0
    failed: int = 0
    """Requests that went wrong; above TOLERATED_FAILURES there is no figure at all."""
    seconds: float = 0.0
    ops_per_s: float = 0.0
    mb_per_s: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    server_us_per_op: float = 0.0
    server_cores: float = 0.0
    client_cores: float = 0.0
    other_cores: float = 0.0
    """How busy the rest of the machine was: above NOISY_CORES the figure is not to be trusted."""
    rss_mb: float = 0.0

    @property
    def is_command(self) -> bool:
        """Whether the aws command was timed: it has a duration, but no latencies."""
        return self.p50_ms == 0.0

    @staticmethod
    def of_load(peer: str, cell: str, round_number: int, result: LoadResult) -> Measurement:
        """Rates from a generator's counts, unless more than a very few requests failed."""
        tolerated = result.operations * TOLERATED_FAILURES
        if result.errors > tolerated or not result.operations or result.seconds <= 0:
            reason = result.first_error or "no request was answered"
            return Measurement(peer, cell, round_number, f"{result.errors} failed: {reason}")
        seconds = result.seconds
        return Measurement(
            peer=peer,
            cell=cell,
            round=round_number,
            operations=result.operations,
            failed=result.errors,
            seconds=seconds,
            ops_per_s=result.operations / seconds,
            mb_per_s=result.body_bytes / seconds / MEGABYTE,
            p50_ms=result.p50_ms,
            p99_ms=result.p99_ms,
            server_us_per_op=result.server_cpu_s / result.operations * 1e6,
            server_cores=result.server_cpu_s / seconds,
            client_cores=result.client_cpu_s / seconds,
            other_cores=result.other_cpu_s / seconds,
            rss_mb=result.server_peak_rss_bytes / MEGABYTE,
        )


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """A server as the report names it; `problem` says why it could not be measured."""

    name: str
    version: str
    durability: str
    problem: str = ""


def rounds_of(measurements: Iterable[Measurement], peer: str, cell: str) -> list[Measurement]:
    """The rounds of a cell on a server that gave a figure."""
    return [m for m in measurements if m.peer == peer and m.cell == cell and not m.problem]


def middle(measurements: Iterable[Measurement], peer: str, cell: str) -> Measurement | None:
    """The round with the median duration per operation; None when no round gave a figure."""
    rounds = sorted(rounds_of(measurements, peer, cell), key=lambda m: m.ops_per_s)
    return rounds[(len(rounds) - 1) // 2] if rounds else None


def median_rate(measurements: Iterable[Measurement], peer: str, cell: str) -> float | None:
    """The median operations per second over a cell's rounds."""
    rates = [m.ops_per_s for m in rounds_of(measurements, peer, cell)]
    return median(rates) if rates else None
