"""Commands that a verb tells the person to run next, ready to be pasted."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from gateway.config import Config


def command(verb: str, config: Config, config_file: Path | None) -> str:
    """How this program is called with another verb on the same data folder.

    Args:
        verb: the verb.
        config: the configuration, which says where the folder is.
        config_file: where it came from, if it was named; it may hold the access keys.
    """
    options = f"--data-dir {shlex.quote(str(config.data_dir.absolute()))}"
    if config_file is not None:
        options += f" --config {shlex.quote(str(config_file.absolute()))}"
    return f"{shlex.quote(str(Path(sys.argv[0]).absolute()))} {verb} {options}"
