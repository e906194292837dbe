"""The options that verbs share."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from gateway.config import Config, load_config

CONFIG_OPTION: Final = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration file, as config.example.yaml; else the one MS3T_CONFIG names, if any.",
)
DATA_DIR_OPTION: Final = click.option(
    "--data-dir", metavar="DIR", help="Data folder  [default: ms3t-data, or as configured]"
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")

at_commit = click.option(
    "--at", metavar="CID", help="Look at the bucket as it was at this commit, or at this tree root."
)


def load(config_file: Path | None, data_dir: str | None) -> Config:
    """The configuration that ``--config`` and ``--data-dir`` lead to.

    Raises:
        ConfigError: it is not allowed.
    """
    return load_config(config_file, os.environ, {"data_dir": data_dir})


def configured(command: Callable[..., None]) -> Callable[..., None]:
    """Give a verb ``--config`` and ``--data-dir`` and pass it the configuration they lead to as ``config``."""

    @CONFIG_OPTION
    @DATA_DIR_OPTION
    @wraps(command)
    def run(*args: Any, config_file: Path | None, data_dir: str | None, **options: Any) -> None:
        command(*args, config=load(config_file, data_dir), **options)

    return run
