"""The data folder that a verb is pointed at; apart from `reading` because `env` need not load the store."""

from __future__ import annotations

from pathlib import Path

from gateway.cli.failure import ExitCode, Failure
from gateway.store.folder import DataFolder


def require_folder(path: Path) -> DataFolder:
    """The data folder at ``path``.

    Raises:
        Failure: there is none.
    """
    folder = DataFolder(path)
    if not folder.registry.is_file():
        raise Failure(
            f"there is no data folder at {path}: run `ms3t serve --data-dir {path}` first,"
            " or name another folder with --data-dir",
            ExitCode.NOT_FOUND,
        )
    return folder
