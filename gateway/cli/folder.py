"""The data folder that a verb is pointed at; apart from `reading` because `env` need not load the store."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, TypeAlias

from gateway.cli.failure import ExitCode, Failure
from gateway.store.folder import DataFolder

Kind: TypeAlias = Literal["gateway", "storage node"]

_KEYS: Final[dict[Kind, str]] = {"gateway": "space.key", "storage node": "node.key"}
"""The file by which a folder of each kind is told."""


def require_folder(path: Path) -> DataFolder:
    """The data folder at ``path``.

    Raises:
        Failure: there is none.
    """
    require_place(path, "gateway")
    folder = DataFolder(path)
    if not folder.registry.is_file():
        raise Failure(
            f"there is no data folder at {path}: run `ms3t serve --data-dir {path}` first,"
            " or name another folder with --data-dir",
            ExitCode.NOT_FOUND,
        )
    return folder


def require_place(path: Path, kind: Kind) -> None:
    """Refuse a place where no data folder of that kind can be.

    Raises:
        Failure: see `misplaced`.
    """
    if reason := misplaced(path, kind):
        raise Failure(f"{reason}: name another with --data-dir", ExitCode.USAGE)


def misplaced(path: Path, kind: Kind) -> str:
    """Why ``path`` cannot be, or become, a data folder of that kind; empty if it can."""
    if path.exists() and not path.is_dir():
        return f"{path} is a file, not a folder"
    if (path / _KEYS[kind]).exists():
        return ""
    others = [other for other, key in _KEYS.items() if (path / key).exists()]
    return f"{path} is the folder of a {others[0]}, not of a {kind}" if others else ""
