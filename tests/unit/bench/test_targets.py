"""Ratios pair rounds, and say so when there is nothing to compare."""

from __future__ import annotations

import pytest

from bench.results import Measurement, middle
from bench.spec import LoadResult
from bench.targets import TARGETS, compared_in, judge


def _rate(peer: str, cell: str, round_number: int, rate: float) -> Measurement:
    result = LoadResult(operations=int(rate * 10), seconds=10.0, body_bytes=0, server_cpu_s=1.0)
    return Measurement.of_load(peer, cell, round_number, result)


def test_ratio_is_the_median_of_paired_rounds() -> None:
    measurements = [
        _rate("ms3t", "put-1k-c64", 0, 300.0),
        _rate("seaweedfs", "put-1k-c64", 0, 100.0),
        _rate("ms3t", "put-1k-c64", 1, 600.0),
        _rate("seaweedfs", "put-1k-c64", 1, 150.0),
        _rate("ms3t", "put-1k-c64", 2, 900.0),  # no partner: the peer failed in that round
        Measurement("seaweedfs", "put-1k-c64", 2, "1 failed: HTTP 500"),
    ]
    verdict = judge(measurements, ["ms3t", "seaweedfs"])[0]
    assert verdict.ratio == pytest.approx(3.5)
    assert (verdict.lowest, verdict.highest) == (pytest.approx(3.0), pytest.approx(4.0))
    assert verdict.met


def test_copies_are_held_against_the_fastest_peer() -> None:
    measurements = [
        _rate("ms3t", "cp-up-1g", 0, 1.0),
        _rate("rclone", "cp-up-1g", 0, 2.0),
        _rate("moto", "cp-up-1g", 0, 0.5),
    ]
    verdicts = {v.target.cell: v for v in judge(measurements, ["ms3t", "rclone", "moto"])}
    assert verdicts["cp-up-1g"].peer == "rclone"
    assert verdicts["cp-up-1g"].ratio == pytest.approx(0.5)
    assert not verdicts["cp-up-1g"].met
    assert verdicts["cp-down-1g"].ratio is None


def test_nothing_measured_meets_nothing() -> None:
    verdicts = judge([], ["ms3t"])
    assert len(verdicts) == len(TARGETS)
    assert not any(verdict.met for verdict in verdicts)


def test_only_compared_servers_are_repeated() -> None:
    everybody = ["ms3t", "seaweedfs", "rclone", "moto"]
    assert compared_in("put-1k-c64", everybody) == {"ms3t", "seaweedfs"}
    assert compared_in("list-100k-c16", everybody) == {"ms3t", "rclone"}
    assert compared_in("cp-up-1g", everybody) == set(everybody)
    assert compared_in("head-1k-c16", everybody) == set(everybody)


def test_failed_requests_leave_no_figure() -> None:
    """One in a hundred is far too many; one in ten thousand costs only us the target."""
    result = LoadResult(operations=100, seconds=1.0, errors=1, first_error="HTTP 503 SlowDown")
    measurement = Measurement.of_load("moto", "get-1k-c1", 0, result)
    assert measurement.problem == "1 failed: HTTP 503 SlowDown"
    assert measurement.ops_per_s == 0.0
    assert middle([measurement], "moto", "get-1k-c1") is None


def test_a_rare_failure_voids_our_own_figure_only() -> None:
    rare = LoadResult(operations=10_000, seconds=1.0, errors=1, first_error="HTTP 500")
    ours = Measurement.of_load("ms3t", "put-1k-c64", 0, rare)
    theirs = Measurement.of_load("seaweedfs", "put-1k-c64", 0, rare)
    assert (theirs.problem, theirs.failed, theirs.ops_per_s) == ("", 1, 10_000.0)
    assert judge([ours, theirs], ["ms3t", "seaweedfs"])[0].ratio is None
    good = _rate("ms3t", "put-1k-c64", 0, 10_000.0)
    assert judge([good, theirs], ["ms3t", "seaweedfs"])[0].ratio == pytest.approx(1.0)
