"""The command: `python -m bench`, see bench/README.md."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from bench.cells import Plan, full_plan, quick_plan
from bench.command import end_on_sigterm, work_dir_option
from bench.limits import Limit, machine, measure
from bench.peers import PEERS, Peer
from bench.report import Report
from bench.runner import Runner
from bench.targets import judge
from bench.workspace import warm_disk, workspace

REPORT_COLUMNS = 150
INTERRUPTED_STATUS = 130


def _names(context: click.Context, parameter: click.Parameter, value: str | None) -> list[str]:
    known = [peer.name for peer in PEERS]
    names = value.split(",") if value else known
    for name in names:
        if name not in known:
            raise click.BadParameter(f"{name!r} is none of {', '.join(known)}")
    return names


def _only_cells(plan: Plan, parts: str | None) -> Plan:
    """The plan's cells whose name holds one of the comma-separated parts."""
    if parts is None:
        return plan
    wanted = parts.split(",")
    groups = (tuple(cell for cell in group if any(part in cell.name for part in wanted)) for group in plan.groups)
    kept = tuple(group for group in groups if group)
    if not kept:
        raise click.BadParameter(f"no cell's name holds any of {parts!r}", param_hint="--cells")
    return replace(plan, groups=kept)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--full/--quick", default=False, help="About an hour, or (default) ten minutes.")
@click.option("--only", callback=_names, help="Servers to run, separated by commas.")
@click.option("--cells", help="Only cells whose name holds one of these parts (commas).")
@click.option("--duration", type=click.FloatRange(0.2, 60), help="Seconds of each cell's clock.")
@click.option("--unsigned", is_flag=True, help="UNSIGNED-PAYLOAD instead of each body's SHA-256.")
@click.option("--no-limits", is_flag=True, help="Skip the machine's own limits and the disk warm-up.")
@work_dir_option
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Also write JSON.")
def main(
    *,
    full: bool,
    only: list[str],
    cells: str | None,
    duration: float | None,
    unsigned: bool,
    no_limits: bool,
    work_dir: Path,
    json_path: Path | None,
) -> None:
    """Compare S3 servers on this machine: load generator, aws command, machine limits, targets."""
    plan = _only_cells(full_plan(duration) if full else quick_plan(duration), cells)
    peers = [peer for peer in PEERS if peer.name in only]
    errors = Console(stderr=True, highlight=False)
    end_on_sigterm()
    started = time.monotonic()

    def progress(line: str) -> None:
        errors.print(f"[{time.monotonic() - started:5.0f} s] {line}", markup=False, soft_wrap=True)

    with workspace(work_dir) as folder:
        report, interrupted = _run(
            plan, peers, folder, signed=not unsigned, with_limits=not no_limits, progress=progress
        )
        report.show(Console(width=REPORT_COLUMNS, highlight=False))
        if json_path is not None:
            json_path.write_text(json.dumps(report.to_json(), indent=1) + "\n")
        progress(f"deleting {folder}")
    if interrupted:
        sys.exit(INTERRUPTED_STATUS)
    if all(measurement.problem for measurement in report.measurements):
        raise click.ClickException("no server could be measured")


def _run(
    plan: Plan,
    peers: Sequence[Peer],
    folder: Path,
    *,
    signed: bool,
    with_limits: bool,
    progress: Callable[[str], None],
) -> tuple[Report, bool]:
    """The whole run; what was measured before an interruption is still reported."""
    began = datetime.now(UTC)
    runner = Runner(plan, peers, folder, signed=signed, progress=progress)
    limits: list[Limit] = []
    interrupted = False
    try:
        if with_limits:
            written = warm_disk(folder, plan.warm_disk_bytes)
            progress(f"disk warmed with {written / 1e9:.1f} GB")
            for limit in measure(folder):
                progress(f"{limit.name}: {limit.value:.3f} {limit.unit}")
                limits.append(limit)
        runner.run()
    except KeyboardInterrupt:
        interrupted = True
        progress("interrupted: all servers are stopped")
    report = Report(
        mode=plan.name,
        started=began.isoformat(timespec="seconds"),
        seconds=(datetime.now(UTC) - began).total_seconds(),
        machine=machine(folder),
        limits=limits,
        peers=list(runner.infos.values()),
        measurements=runner.measurements,
        verdicts=judge(runner.measurements, [peer.name for peer in peers]),
    )
    return report, interrupted


if __name__ == "__main__":
    main(prog_name="python -m bench")
