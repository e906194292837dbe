"""What the commands of the benchmarks share: where they work, and how they are ended."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType

import click

from bench.workspace import MEMORY_FILESYSTEMS, filesystem

DEFAULT_WORK_DIR = "/var/tmp"
"""Kept on disk by convention, unlike /tmp, which may be memory."""


def _on_disk(context: click.Context, parameter: click.Parameter, folder: Path) -> Path:
    if filesystem(folder) in MEMORY_FILESYSTEMS:
        raise click.BadParameter(f"{folder} is in memory: nothing is synced there")
    return folder


work_dir_option = click.option(
    "--work-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=DEFAULT_WORK_DIR,
    show_default=True,
    callback=_on_disk,
    help="Where the servers' folders go; must be a real disk.",
)


def end_on_sigterm() -> None:
    """Have SIGTERM end the program as Ctrl-C does: servers are stopped and folders deleted on the way out."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
