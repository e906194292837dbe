"""`ms3t env`: what a shell needs so that the aws command line and every SDK talk to this server."""

from __future__ import annotations

import shlex

import click

from gateway.cli.failure import ExitCode, Failure, Verb
from gateway.cli.folder import require_folder
from gateway.cli.options import as_json, configured
from gateway.cli.output import show_json
from gateway.config import Config
from gateway.endpoint import endpoint_of, read_running
from gateway.store.folder import DataFolder
from registry import credentials
from registry.credentials import Credential
from registry.database import Database

_IN_THE_WAY = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL_S3")
"""Variables that would win over the ones that are set."""


@click.command("env", cls=Verb)
@configured
@as_json
def verb(config: Config, as_json: bool) -> None:
    """Print the shell settings that aws needs to use this server.

    The output holds a secret key: let a shell read it, as in the examples.

    \b
    Examples:
      eval "$(ms3t env)"
      eval "$(ms3t env --data-dir /srv/ms3t)"; aws s3 ls
      ms3t env --json
    """
    folder = require_folder(config.data_dir)
    key = _first_key(folder, config)
    running = read_running(folder)
    configured_endpoint = endpoint_of(config.listen, tls=config.tls.files is not None)
    exports = {
        "AWS_ACCESS_KEY_ID": key.access_key,
        "AWS_SECRET_ACCESS_KEY": key.secret,
        "AWS_ENDPOINT_URL": running.endpoint if running else configured_endpoint,
        "AWS_DEFAULT_REGION": running.region if running else config.s3.region,
    }
    if as_json:
        show_json(exports)
        return
    click.echo(f"unset {' '.join(_IN_THE_WAY)}")
    for name, value in exports.items():
        click.echo(f"export {name}={shlex.quote(value)}")


def _first_key(folder: DataFolder, config: Config) -> Credential:
    database = Database.open(folder.registry, read_only=True)
    try:
        with database.read() as connection:
            keys = credentials.list_all(connection)
    finally:
        database.close()
    for key in (*keys, *(section.credential for section in config.credentials)):
        if not key.disabled:
            return key
    reason = (
        "no access key is enabled: run `ms3t keys enable ACCESS_KEY`, or `ms3t keys create`"
        if keys
        else "there is no access key yet: run `ms3t serve` first, or `ms3t keys create`"
    )
    raise Failure(f"{folder.path}: {reason}", ExitCode.NOT_FOUND)
