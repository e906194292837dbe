"""The command line: ``ms3t VERB``.  One file per verb, loaded when it is called; what they share is beside them.

A verb reads its arguments, asks the store and shows the answer; nothing here knows how anything is stored.
"""

from __future__ import annotations

import io
import sys
from importlib import import_module

import click

VERBS = {
    "serve": "Serve the buckets of a data folder over S3.",
    "env": "Print the shell settings that aws needs to use this server.",
    "roots": "Show the root of every bucket.",
    "ls": "List objects and common prefixes, as `aws s3 ls` does.",
    "tree": "Draw a bucket's tree, or the path of one key.",
    "cat": "Write an object's bytes, every block verified.",
    "log": "Show a bucket's commits, newest first.",
    "keys": "Make, list, disable and enable access keys.",
    "node": "Run a storage node, and let gateways use it.",
    "recover": "Get a lost data folder back from the storage node.",
    "doctor": "Check everything that can go wrong.",
}
"""Every verb in the order ``--help`` shows them, and what it says; each is a module of this package with a ``verb``."""


class _Verbs(click.Group):
    """A group that imports a verb's module only when it is wanted: `env` runs at the start of every shell."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(f"{__name__}.{cmd_name}").verb
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the verbs without loading any: all of them take more than a second."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


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
