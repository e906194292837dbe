"""The command line: ``ms3t VERB``.  One file per verb, loaded when it is called; what they share is beside them.

A verb reads its arguments, asks the store and shows the answer; nothing here knows how anything is stored.
"""

from __future__ import annotations

import io
import sys
from importlib import import_module

import click

VERBS = ("serve", "env", "roots", "ls", "tree", "cat", "log", "keys", "node", "recover", "doctor")
"""Every verb in the order ``--help`` shows them; each is a module of this package with a ``verb``."""


class _Verbs(click.Group):
    """A group that imports a verb's module only when it is wanted: `env` runs at the start of every shell."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(f"{__name__}.{cmd_name}").verb
        return command


@click.command(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with `ms3t serve`. Exit codes are in docs/cli.md.",
)
@click.version_option(package_name="ms3t", message="%(prog)s %(version)s")
def main() -> None:
    """An S3 server whose buckets are Merkle Search Trees, and a look inside them."""
    for stream in (sys.stdout, sys.stderr):
        # Keys are any UTF-8; a terminal of another encoding shows what it cannot as \u escapes.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
