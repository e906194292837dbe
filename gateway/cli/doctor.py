"""`ms3t doctor`: everything that can be checked without changing anything, and what to do about what is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import click
from rich import box
from rich.table import Table
from rich.text import Text

from gateway.checks import code, folder, heads, machine, remote
from gateway.checks.certificate import check_certificate
from gateway.checks.result import Result, fail, ok, warn
from gateway.cli.failure import ExitCode, Verb
from gateway.cli.folder import misplaced
from gateway.cli.options import CONFIG_OPTION, DATA_DIR_OPTION, as_json
from gateway.cli.output import print_table, printable, show_json
from gateway.cli.reading import look_into
from gateway.config import Config, ConfigError, load_config
from gateway.endpoint import local_host, read_running
from gateway.store.errors import StoreError
from gateway.store.folder import DataFolder
from registry.errors import RegistryError
from registry.key_file import KeyFileError
from registry.space import SpaceKey

_COLORS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command("doctor", cls=Verb)
@CONFIG_OPTION
@DATA_DIR_OPTION
@as_json
@click.pass_context
def verb(context: click.Context, config_file: Path | None, data_dir: str | None, as_json: bool) -> None:
    """Check everything that can go wrong.

    Looks at configuration, data folder, keys, buckets, storage node, clock, port, libraries and
    installation. Changes nothing, and may run beside a server. Ends with 1 if anything failed.

    \b
    Examples:
      ms3t doctor
      ms3t doctor --json | jq '.checks[] | select(.status != "ok")'
    """
    results = list(_examine(config_file, data_dir))
    failed = sum(result.status == "fail" for result in results)
    if as_json:
        show_json({"ok": not failed, "checks": [asdict(result) for result in results]})
    else:
        _show(results)
        click.echo(f"\n{len(results)} checks, {failed} failed")
    context.exit(ExitCode.FAILED if failed else ExitCode.OK)


def _examine(config_file: Path | None, data_dir: str | None) -> Iterator[Result]:
    yield code.check_codec()
    yield from code.check_imports()
    yield machine.check_http_parser()
    try:
        config = load_config(config_file, os.environ, {"data_dir": data_dir})
    except ConfigError as error:
        yield fail("configuration", str(error), "correct it; config.example.yaml explains every key")
        return
    yield ok("configuration", "every key and value is known")
    if config.tls.files is not None:
        buckets = [f"bucket.{domain}" for domain in config.s3.domains]
        yield from check_certificate(config.tls.files, [local_host(config.listen), *config.s3.domains, *buckets])
    yield from _examine_folder(config)


def _examine_folder(config: Config) -> Iterator[Result]:
    data = DataFolder(config.data_dir)
    if (absent := _absent(data.path)) is not None:
        yield absent
        yield machine.check_clock(None)
        yield machine.check_port(config.listen.host, config.listen.port)
        return
    yield from folder.check_folder(data)
    yield folder.check_room(data, config.store.reserve_free_bytes)
    yield from folder.check_keys(data, [section.access_key for section in config.credentials])
    newest_ms: int | None = None
    try:
        with look_into(data, config) as opened:
            yield from heads.check_segments(opened.store)
            yield from heads.check_heads(opened.store, _space(data))
            newest_ms = max((bucket.head_time_ms for bucket in opened.store.buckets()), default=None)
            if config.remote.is_set:
                yield from remote.check_shipped(opened.store)
    except (StoreError, RegistryError) as error:
        yield fail("store", str(error), "start the server once; if it cannot start, restore a backup")
    if config.remote.is_set and (key := _key(data)) is not None:
        yield from remote.check_node(config, key)
    yield machine.check_clock(newest_ms)
    running = read_running(data)
    if running is None:
        yield machine.check_port(config.listen.host, config.listen.port)
    else:
        yield machine.check_running(running.endpoint)


def _absent(path: Path) -> Result | None:
    """What is said of a place where no data folder is; None if one is there."""
    if reason := misplaced(path, "gateway"):
        return fail("data folder", reason, "name another with --data-dir")
    return None if path.is_dir() else warn("data folder", f"{path} is not there yet", "`ms3t serve` makes it")


def _space(data: DataFolder) -> str | None:
    key = _key(data)
    return None if key is None else key.did


def _key(data: DataFolder) -> SpaceKey | None:
    try:
        return SpaceKey.load(data.key)
    except KeyFileError:
        return None  # reported by the check of the keys


def _show(results: Iterable[Result]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("found", overflow="fold")
    table.add_column("what to do", overflow="fold")
    for result in results:
        status = Text(result.status, style=_COLORS[result.status])
        table.add_row(result.check, status, Text(printable(result.detail)), Text(printable(result.todo)))
    print_table(table, fold=True)
