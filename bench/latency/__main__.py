"""The command: `python -m bench.latency`, see bench/README.md."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table

from bench.cli_client import CliError
from bench.command import end_on_sigterm, work_dir_option
from bench.latency import far, proxy
from bench.latency.syncing import FILE_BYTES, Synced, sync
from bench.server import StartError
from bench.workspace import workspace

REFERENCE_ROUND_TRIPS = 7
"""A write that is shipped by itself, and its index, one request after the other: allocate, PUT, accept, the same for
the index, and the assertion of the index."""
ROUND_TRIPS = 3
"""Of one of our shipments: allocations, PUTs, acceptances."""
WARM_UP_FILES = 5
REPORT_COLUMNS = 200


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--delay-ms", type=click.FloatRange(0, 1000), default=50.0, show_default=True, help="Each way.")
@click.option("--files", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="With 10 at once.")
@click.option("--singly", type=click.IntRange(1, 100_000), default=100, show_default=True, help="One at a time.")
@click.option("--at-once", type=click.IntRange(2, 100), default=10, show_default=True, help="Most requests at once.")
@work_dir_option
def main(*, delay_ms: float, files: int, singly: int, at_once: int, work_dir: Path) -> None:
    """Time `aws s3 sync` of small files with ack: remote and a storage node far away."""
    end_on_sigterm()
    began = datetime.now(UTC)
    try:
        with workspace(work_dir) as folder, proxy.running(delay_ms / 1000) as line, far.started(folder, line) as pair:
            sync(pair, line, folder, files=WARM_UP_FILES, at_once=1)
            one = sync(pair, line, folder, files=singly, at_once=1)
            many = sync(pair, line, folder, files=files, at_once=at_once)
    except (StartError, CliError) as error:
        raise click.ClickException(str(error)) from error
    console = Console(width=REPORT_COLUMNS, highlight=False)
    console.print(f"Begun {began.isoformat(timespec='seconds')}; {delay_ms:g} ms each way; files of {FILE_BYTES} bytes")
    console.print(_table([one, many], files, delay_ms))


def _table(measured: Sequence[Synced], files: int, delay_ms: float) -> Table:
    table = Table("shipping", box=box.MARKDOWN)
    for heading in ("files", "seconds", "files/s", "shipments", "requests", "round trips per file",
                    f"seconds for {files:,}", "times as fast", "other cores"):  # fmt: skip
        table.add_column(heading, justify="right")
    alone_seconds = REFERENCE_ROUND_TRIPS * 2 * delay_ms / 1000
    table.add_row(
        "seven round trips a write, computed", "-", "-", f"{1 / alone_seconds:.2f}", "-",
        "-", f"{REFERENCE_ROUND_TRIPS:.2f}", f"{alone_seconds * files:.1f}", "1.0", "-",
    )  # fmt: skip
    for one in measured:
        table.add_row(
            "one request at a time" if one.at_once == 1 else f"{one.at_once} requests at once",
            f"{one.files:,}",
            f"{one.seconds:.1f}",
            f"{one.files_per_second:.2f}",
            f"{one.shipments:,}",
            f"{one.requests:,}",
            f"{ROUND_TRIPS * one.shipments / one.files:.2f}",
            f"{files / one.files_per_second:.1f}",
            f"{one.files_per_second * alone_seconds:.1f}",
            f"{one.other_cores:.2f}",
        )
    return table


if __name__ == "__main__":
    main(prog_name="python -m bench.latency")
