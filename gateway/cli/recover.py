"""`ms3t recover`: a lost data folder back from the storage node."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click

from gateway.app import ROOT_USER
from gateway.cli.again import command
from gateway.cli.buckets import COLUMNS, cells, facts
from gateway.cli.failure import ExitCode, Failure, Verb
from gateway.cli.folder import require_place
from gateway.cli.options import CONFIG_OPTION, DATA_DIR_OPTION, as_json, load
from gateway.cli.output import printable, show_json, show_table, size_text, time_json, time_text, warn
from gateway.config import Config, ConfigError
from gateway.node.client import NodeError
from gateway.recovering.asking import Progress
from gateway.recovering.errors import NothingThere, SpaceDamaged
from gateway.recovering.new_folder import NewFolder, begun, require_new
from gateway.recovering.recovering import Recoverer, Recovery
from gateway.remote import open_client
from gateway.store.folder import DataFolder
from registry.space import SpaceKey

SHOWN_MAX: Final = 20
"""How many of what was passed over, or is missing, are shown to a person."""


@click.command("recover", cls=Verb)
@CONFIG_OPTION
@DATA_DIR_OPTION
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The space key, copied into the folder  [default: space.key in the data folder]",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be recovered.")
@click.option("--verify", is_flag=True, help="Read every byte that the buckets need, and say what is missing.")
@as_json
def verb(
    config_file: Path | None, data_dir: str | None, key_file: Path | None, dry_run: bool, verify: bool, as_json: bool
) -> None:
    """Get a lost data folder back from the storage node.

    Needs the space key, the node as it is configured under remote, and a new folder. Makes the folder
    as it was at the last shipment; the server then reads from the node, and ships on. What was never
    shipped, access keys, and uploads in progress are not there.

    \b
    Examples:
      ms3t recover --config ms3t.yaml --key space.key.backup --dry-run
      ms3t recover --config ms3t.yaml --key space.key.backup
      ms3t recover --data-dir /srv/ms3t --verify --json
    """
    config = load(config_file, data_dir)
    require_place(config.data_dir, "gateway")
    folder = DataFolder(config.data_dir)
    require_new(folder)
    key = _key(folder, key_file)
    if not config.remote.is_set:
        raise ConfigError(
            f"no storage node is configured: set remote.url, remote.did and remote.proof; the space is {key.did}"
        )
    begin = _in_a_folder_of_its_own if dry_run else lambda: _in(folder)
    recovery = _recover(config, key, begin, verify)
    if as_json:
        show_json(_facts(recovery, key.did, dry_run))
    else:
        _show(recovery)
        if not dry_run:
            click.echo(_next_steps(config, config_file))
    if recovery.holes:
        raise Failure(f"{len(recovery.holes)} blocks are missing on the storage node", ExitCode.DAMAGED)


def _recover(
    config: Config, key: SpaceKey, begin: Callable[[], AbstractContextManager[NewFolder]], verify: bool
) -> Recovery:
    root_user = "" if config.credentials else ROOT_USER

    async def run(progress: Progress) -> Recovery:
        async with open_client(config, key) as client:
            return await Recoverer(client, key, begin, root_user, progress).recover(verify=verify)

    try:
        with _progress_shown() as progress:
            return asyncio.run(run(progress))
    except NodeError as error:
        raise Failure(f"the storage node {config.remote.url} cannot be used: {error}. Nothing was recovered") from error
    except NothingThere as error:
        raise Failure(str(error), ExitCode.NOT_FOUND) from error
    except SpaceDamaged as error:
        raise Failure(f"{error}. Nothing was recovered", ExitCode.DAMAGED) from error


def _key(folder: DataFolder, key_file: Path | None) -> SpaceKey:
    """The space key that was named, or the one in the folder.

    Raises:
        Failure: there is none, or there are two.
        KeyFileError: it cannot be used.
    """
    here = folder.key.exists()
    if key_file is None and not here:
        raise Failure(f"there is no {folder.key}: name the space key's backup with --key", ExitCode.NOT_FOUND)
    key = SpaceKey.load(folder.key if key_file is None else key_file)
    if here and SpaceKey.load(folder.key).did != key.did:
        raise Failure(f"{folder.key} is another key than {key_file}: move away the wrong one")
    return key


@contextmanager
def _in(folder: DataFolder) -> Iterator[NewFolder]:
    """Make the folder itself, which no other process may use meanwhile."""
    folder.make()
    folder.own()
    try:
        require_new(folder)
        with begun(folder) as new:
            yield new
    finally:
        folder.release()


@contextmanager
def _in_a_folder_of_its_own() -> Iterator[NewFolder]:
    """Make a folder that is gone afterwards."""
    with TemporaryDirectory(prefix="ms3t-recover-") as path, begun(DataFolder(Path(path))) as new:
        yield new


@contextmanager
def _progress_shown() -> Iterator[Progress]:
    """A line that says how far it is, on a terminal; else nothing."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def progress(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield progress


def _show(recovery: Recovery) -> None:
    if recovery.buckets:
        show_table(COLUMNS, map(cells, recovery.buckets))
        click.echo()
    newest = recovery.newest
    click.echo(
        f"{_count(len(recovery.buckets), 'bucket')} as of {time_text(newest.time_ms)}, when"
        f" {_count(newest.sequence, 'manifest')} had been shipped;"
        f" {_count(recovery.shards, 'shard')} of {size_text(recovery.size_bytes)} on the storage node"
    )
    if recovery.newer:
        warn(f"{_count(len(recovery.newer), 'manifest')} that may be newer cannot be used:")
    for one in recovery.passed_over[:SHOWN_MAX]:
        number = "" if one.sequence is None else f" {one.sequence}"
        click.echo(f"  passed over: manifest{number} {one.manifest}: {printable(one.reason)}", err=True)
    if recovery.holes is not None and not recovery.holes:
        click.echo("Every block that the buckets need is there.")
    for hole in (recovery.holes or ())[:SHOWN_MAX]:
        click.echo(f"  missing: {hole.bucket} {hole.block}: {printable(hole.reason)}", err=True)
    for shown in (recovery.passed_over, recovery.holes or ()):
        if len(shown) > SHOWN_MAX:
            click.echo(f"  and {len(shown) - SHOWN_MAX} more: --json shows all", err=True)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _facts(recovery: Recovery, space: str, dry_run: bool) -> dict[str, Any]:
    return {
        "space": space,
        "dry_run": dry_run,
        "buckets": [facts(bucket) for bucket in recovery.buckets],
        "manifests": recovery.newest.sequence,
        "time": time_json(recovery.newest.time_ms),
        "shards": recovery.shards,
        "shard_bytes": recovery.size_bytes,
        "passed_over": [
            {"manifest": str(one.manifest), "sequence": one.sequence, "reason": one.reason}
            for one in recovery.passed_over
        ],
        "missing": None
        if recovery.holes is None
        else [{"bucket": hole.bucket, "block": str(hole.block), "reason": hole.reason} for hole in recovery.holes],
    }


def _next_steps(config: Config, config_file: Path | None) -> str:
    key = "the access keys of the configuration" if config.credentials else "a new access key: the old ones are lost"
    return "\n".join(
        [
            "",
            f"{config.data_dir} is a data folder again, with {key}. To use it:",
            "",
            f"  {command('serve', config, config_file)}",
            "",
            "and from another terminal:",
            "",
            f'  eval "$({command("env", config, config_file)})"',
            "",
        ]
    )
