"""The ratios that this project sets itself, taken from one run.

A ratio is the median over the rounds of (our rate / the peer's rate in the same round): both were
measured within seconds of each other, so the machine's noise hits both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.results import NOISY_CORES, Measurement, median_rate, rounds_of

OURS = "ms3t"
FASTEST = "fastest peer"


@dataclass(frozen=True, slots=True)
class Target:
    """Our rate in a cell must be at least `at_least` times that of the peer."""

    cell: str
    peer: str
    at_least: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and what was measured; `ratio` is None when one side has no figure."""

    target: Target
    peer: str
    """The peer that was compared with: for FASTEST, the one that was."""
    ratio: float | None
    lowest: float = 0.0
    highest: float = 0.0
    other_cores: float = 0.0
    """The most that anything else used of the machine in the rounds that were compared."""

    @property
    def met(self) -> bool:
        return self.ratio is not None and self.ratio >= self.target.at_least

    @property
    def noisy(self) -> bool:
        """Whether the ratio says little, because the machine was busy with something else."""
        return self.other_cores > NOISY_CORES


TARGETS: tuple[Target, ...] = (
    Target("put-1k-c64", "seaweedfs", 2.0),
    Target("get-1k-c64", "seaweedfs", 1.0),
    Target("list-100k-c16", "rclone", 2.0),
    Target("list-100k-c1", "rclone", 2.0),
    Target("put-1m-c16", "seaweedfs", 1.3),
    Target("get-1m-c16", "seaweedfs", 0.8),
    Target("cp-up-1g", FASTEST, 1.0),
    Target("cp-down-1g", FASTEST, 1.0),
)


def compared_in(cell: str, peers: Sequence[str]) -> set[str]:
    """The servers whose ratio a target takes in that cell: only these are run in every round."""
    named = {target.peer for target in TARGETS if target.cell == cell}
    if not named:
        return set(peers)
    return set(peers) if FASTEST in named else named | {OURS}


def judge(measurements: Sequence[Measurement], peers: Sequence[str]) -> list[Verdict]:
    """A verdict for each target, as far as the measurements reach."""
    return [_verdict(target, measurements, peers) for target in TARGETS]


def _verdict(target: Target, measurements: Sequence[Measurement], peers: Sequence[str]) -> Verdict:
    peer: str | None = target.peer
    if target.peer == FASTEST:
        rates = {
            name: rate
            for name in peers
            if name != OURS and (rate := median_rate(measurements, name, target.cell)) is not None
        }
        peer = max(rates, key=lambda name: rates[name]) if rates else None
    if peer is None:
        return Verdict(target, target.peer, None)
    theirs = {m.round: m for m in rounds_of(measurements, peer, target.cell)}
    pairs = [
        (ours, theirs[ours.round])
        for ours in rounds_of(measurements, OURS, target.cell)
        if ours.round in theirs and not ours.failed
    ]
    if not pairs:
        return Verdict(target, peer, None)
    ratios = [ours.ops_per_s / other.ops_per_s for ours, other in pairs]
    busiest = max(m.other_cores for pair in pairs for m in pair)
    return Verdict(target, peer, median(ratios), min(ratios), max(ratios), busiest)
