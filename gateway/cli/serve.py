"""`ms3t serve`: run the server."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import click
import structlog
import uvloop

from gateway.app import Gateway, start_nursery
from gateway.checks.machine import check_http_parser
from gateway.cli.again import command
from gateway.cli.failure import Failure, Verb
from gateway.cli.folder import require_place
from gateway.cli.options import CONFIG_OPTION, DATA_DIR_OPTION
from gateway.config import Config, load_config
from gateway.logs import set_up_logs
from gateway.processes.crew import WorkersFailed
from gateway.sockets import CannotListen
from gateway.store.folder import DataFolder
from gateway.store.segment import Segment

log = structlog.get_logger(__name__)


@click.command("serve", cls=Verb)
@CONFIG_OPTION
@DATA_DIR_OPTION
@click.option(
    "--listen", metavar="HOST:PORT", help="Where to accept connections  [default: 127.0.0.1:9000, or as configured]"
)
@click.option("--workers", metavar="N", help="How many processes answer requests  [default: auto, one a core]")
@click.option("--s3-region", metavar="NAME", help="The region requests are signed for.")
@click.option("--log-level", metavar="LEVEL", help="The least serious message: debug, info, warning or error.")
@click.option("--log-format", metavar="FORM", help="How messages are written: text or json.")
@click.option("--log-access/--no-log-access", default=None, help="Whether every request is written.")
def verb(config_file: Path | None, data_dir: str | None, **flags: str | bool | None) -> None:
    """Serve the buckets of a data folder over S3.

    The first start makes the folder, a key that signs every change, and an access key. Everything that
    was answered survives kill -9 and power loss. SIGTERM and Ctrl-C let requests in progress finish; a
    second one does not. SIGHUP has the TLS certificate read anew and ends nothing.

    Every setting of config.example.yaml but credentials can also be given as a variable, such as
    MS3T_LISTEN.

    \b
    Examples:
      ms3t serve
      ms3t serve --data-dir /srv/ms3t --listen 0.0.0.0:9000
      MS3T_LIMITS_CONNECTIONS_MAX=4096 ms3t serve --config ms3t.yaml
    """
    keys = ("listen", "workers", "s3.region", "log.level", "log.format", "log.access")
    settings = {key: flags[key.replace(".", "_")] for key in keys}
    config = load_config(config_file, os.environ, {"data_dir": data_dir, **settings})
    require_place(config.data_dir, "gateway")
    set_up_logs(config.log.level, config.log.format)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something that it could have read anew
    parser = check_http_parser()
    if parser.status == "fail":
        raise Failure(f"{parser.detail}: {parser.todo}")
    nursery = start_nursery(config)
    with _recovery_shown(DataFolder(config.data_dir)) as progress:
        gateway = Gateway.open(config, progress, nursery)

    def started(endpoint: str) -> None:
        with suppress(OSError):  # whoever read the output is gone, or its disk is full: serve all the same
            click.echo(_welcome(config, config_file, endpoint, is_empty=gateway.is_empty))

    try:
        uvloop.run(gateway.serve(started))
    except (CannotListen, WorkersFailed) as error:
        raise Failure(str(error)) from error
    finally:
        gateway.close()


def _welcome(config: Config, config_file: Path | None, endpoint: str, *, is_empty: bool) -> str:
    lines = [
        f"ms3t {version('ms3t')} serves {config.data_dir} at {endpoint}",
        "To use it from another terminal:",
        "",
        f'  eval "$({command("env", config, config_file)})"',
    ]
    if is_empty:
        lines += [
            "  aws s3 mb s3://my-bucket",
            "  aws s3 cp README.md s3://my-bucket/",
            "  aws s3 ls s3://my-bucket",
            "",
            "and to see the root that pins everything in the bucket:",
            "",
            f"  {command('roots', config, config_file)}",
        ]
    return "\n".join([*lines, ""])


@contextmanager
def _recovery_shown(folder: DataFolder) -> Iterator[Callable[[Segment], None]]:
    """A progress bar over the segments on a terminal, else a message for each."""
    if not sys.stderr.isatty() or not folder.segments.is_dir():
        yield lambda segment: log.info("looking through a segment", segment=segment.path.name, bytes=segment.size)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    begins: dict[str, int] = {}
    total = 0
    # In the order of recovery: commit log before bulk segments.
    for path in sorted(folder.segments.iterdir(), key=lambda path: (path.name.startswith("bulk"), path.name)):
        begins[path.name] = total
        total += path.stat().st_size
    columns = (TextColumn("checking {task.description}"), BarColumn(), DownloadColumn(binary_units=True))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("segments", total=total, visible=False)

        def progress(segment: Segment) -> None:
            name = segment.path.name
            bar.update(task, description=name, completed=begins.get(name, total), visible=True)

        yield progress
