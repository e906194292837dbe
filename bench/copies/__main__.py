"""The command: `python -m bench.copies`, see bench/README.md."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import click
from rich import box
from rich.console import Console
from rich.table import Table

from bench.cli_client import CliError
from bench.command import end_on_sigterm, work_dir_option
from bench.copies.copying import Copies, Way, copy_in_rounds, middle, ratios
from bench.server import StartError
from bench.workspace import workspace

REPORT_COLUMNS = 200
OURS, OURS_UNCHECKED = Way("ms3t", True), Way("ms3t", False)
PEER = Way("seaweedfs", False)
BARE, BARE_UNCHECKED = Way("bare", True), Way("bare", False)
COMPARISONS = ((OURS, PEER), (OURS_UNCHECKED, PEER), (OURS, BARE), (OURS_UNCHECKED, BARE_UNCHECKED))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", type=click.IntRange(1, 100), default=9, show_default=True, help="Copies of each kind.")
@work_dir_option
def main(*, rounds: int, work_dir: Path) -> None:
    """Time `aws s3 cp` of 1 GiB down: from ms3t, from SeaweedFS, from a server that only sends a file."""
    end_on_sigterm()
    began = datetime.now(UTC)
    try:
        with workspace(work_dir) as folder:
            copies = copy_in_rounds(folder, rounds, lambda line: click.echo(line, err=True))
    except (StartError, CliError) as error:
        raise click.ClickException(str(error)) from error
    console = Console(width=REPORT_COLUMNS, highlight=False)
    console.print(f"Begun {began.isoformat(timespec='seconds')}; {rounds} rounds; medians")
    console.print(_copies_table(copies))
    console.print(_ratios_table(copies))


def _copies_table(copies: Copies) -> Table:
    table = Table("server", "the command checks", box=box.MARKDOWN)
    for heading in ("seconds", "from", "to", "command CPU s", "server CPU s", "stolen CPU s"):
        table.add_column(heading, justify="right")
    for way, found in copies.items():
        median_copy = middle(found)
        table.add_row(
            way.server,
            "CRC64NVME of each part" if way.checked else "nothing",
            f"{median_copy.seconds:.2f}",
            f"{min(copy.seconds for copy in found):.2f}",
            f"{max(copy.seconds for copy in found):.2f}",
            f"{median_copy.command_cpu_s:.2f}",
            f"{median_copy.server_cpu_s:.2f}",
            f"{median_copy.stolen_s:.2f}",
        )
    return table


def _ratios_table(copies: Copies) -> Table:
    table = Table("ours", "compared with", box=box.MARKDOWN)
    for heading in ("times as fast", "from", "to"):
        table.add_column(heading, justify="right")
    for ours, theirs in COMPARISONS:
        found = ratios(copies, ours, theirs)
        table.add_row(str(ours), str(theirs), *(f"{value:.2f}" for value in (median(found), min(found), max(found))))
    return table


if __name__ == "__main__":
    main(prog_name="python -m bench.copies")
