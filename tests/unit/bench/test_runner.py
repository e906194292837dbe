"""What a run does with servers that do not start, and how the report names them."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from bench.cells import full_plan, load_cell, quick_plan
from bench.peers import Peer, Running, parse_exports
from bench.report import Report
from bench.results import Measurement
from bench.runner import Runner
from bench.server import ServerProcess, StartError
from bench.signing import Credentials
from bench.spec import LoadResult
from bench.targets import TARGETS, judge


def _never(folder: Path) -> Running:
    ServerProcess(["/nonexistent/server"], folder)
    raise AssertionError("unreachable")


def test_a_peer_that_cannot_start_is_named(tmp_path: Path) -> None:
    lines: list[str] = []
    peer = Peer("absent", "not synced", False, _never, lambda: "1.0")
    plan = replace(quick_plan(), groups=((load_cell("put", "1k", 1),),))
    runner = Runner(plan, [peer], tmp_path, signed=True, progress=lines.append)
    runner.run()
    assert runner.infos["absent"].problem == "cannot run /nonexistent/server: No such file or directory"
    assert runner.measurements == []
    assert any("absent cannot be measured" in line for line in lines)


def test_the_report_shows_figures_and_what_is_missing(tmp_path: Path) -> None:
    peer = Peer("absent", "not synced", False, _never, lambda: "1.0")
    runner = Runner(quick_plan(), [peer], tmp_path, signed=True, progress=lambda line: None)
    runner.run()
    good = LoadResult(operations=1234, seconds=1.0, body_bytes=1234, p50_ms=0.5, p99_ms=2.0)
    measurements = [Measurement.of_load("ms3t", "put-1k-c64", 0, good)]
    report = Report(
        mode="quick",
        started="2026-11-21T12:00:00+00:00",
        seconds=1.0,
        machine={"cores": "2"},
        limits=[],
        peers=[*runner.infos.values()],
        measurements=[*measurements, Measurement("ms3t", "put-1m-c16", 0, "not run: why")],
        verdicts=judge(measurements, ["ms3t"]),
    )
    output = io.StringIO()
    report.show(Console(file=output, width=150))
    assert "No such file or directory" in output.getvalue()
    assert "not run: why" in output.getvalue()
    document = json.loads(json.dumps(report.to_json()))
    assert document["measurements"][0]["ops_per_s"] == 1234.0
    assert [target["met"] for target in document["targets"]] == [False] * len(TARGETS)


def test_both_plans_measure_every_target() -> None:
    for plan in (quick_plan(), full_plan()):
        cells = {cell.name: cell for group in plan.groups for cell in group}
        assert {target.cell for target in TARGETS} <= cells.keys()
        assert len(cells) == sum(len(group) for group in plan.groups)


def test_credentials_come_from_export_lines() -> None:
    text = (
        "# ms3t\nexport AWS_ACCESS_KEY_ID=AK\nexport AWS_SECRET_ACCESS_KEY='s/+ =x'\n"
        "export AWS_ENDPOINT_URL=http://127.0.0.1:9000\nexport AWS_DEFAULT_REGION=eu-west-1\n"
    )
    assert parse_exports(text) == Credentials("AK", "s/+ =x", "eu-west-1")
    with pytest.raises(StartError, match="AWS_SECRET_ACCESS_KEY"):
        parse_exports("export AWS_ACCESS_KEY_ID=AK\n")
