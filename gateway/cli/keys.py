"""`ms3t keys`: make, list, disable and enable access keys, on a stopped data folder or beside a running server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from sqlalchemy import Connection

from gateway.cli.failure import ExitCode, Failure, Verb
from gateway.cli.folder import require_folder
from gateway.cli.options import as_json, configured
from gateway.cli.output import Column, printable, show_json, show_table, time_json, time_text
from gateway.config import Config
from gateway.store.store import clock_ms
from registry import credentials
from registry.credentials import Credential, CredentialMissing, check_display_name
from registry.database import Database

_COLUMNS = (Column("access key"), Column("name"), Column("status"), Column("made"), Column("owner id"))


@click.group("keys")
def verb() -> None:
    """Make, list, disable and enable access keys."""


@verb.command("create", cls=Verb)
@click.option("--name", metavar="NAME", help="What the key's user is called  [default: as the access key]")
@configured
@as_json
def create(name: str | None, config: Config, as_json: bool) -> None:
    """Make an access key for a new user.

    The output holds the secret key, which no other command shows again. A running server takes the key
    within two seconds.

    \b
    Examples:
      ms3t keys create
      ms3t keys create --name "The backup job" --json
    """
    if name is not None:
        try:
            check_display_name(name)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--name") from error
    with _written(config) as connection:
        made = credentials.create(connection, display_name=name, now_ms=clock_ms())
    if as_json:
        show_json(_facts(made) | {"secret_key": made.secret})
        return
    for heading, cell in (
        ("access key", made.access_key),
        ("secret key", made.secret),
        ("name", printable(made.display_name)),
        ("owner id", made.owner_id),
    ):
        click.echo(f"{heading:<10}  {cell}")


@verb.command("list", cls=Verb)
@configured
@as_json
def list_all(config: Config, as_json: bool) -> None:
    """List the access keys, without their secrets.

    \b
    Examples:
      ms3t keys list
      ms3t keys list --json | jq -r '.[] | select(.status == "disabled") | .access_key'
    """
    database = Database.open(require_folder(config.data_dir).registry, read_only=True)
    try:
        with database.read() as connection:
            found = credentials.list_all(connection)
    finally:
        database.close()
    of_config = [section.credential for section in config.credentials]
    if as_json:
        show_json([*map(_facts, found), *(_facts(key) | {"status": "configured", "made": None} for key in of_config)])
        return
    rows = [(_status(key), time_text(key.created_ms), key) for key in found]
    rows += [("configured", "", key) for key in of_config]
    show_table(
        _COLUMNS,
        [(key.access_key, printable(key.display_name), status, made, key.owner_id) for status, made, key in rows],
    )


@verb.command("disable", cls=Verb)
@click.argument("access_key")
@configured
@as_json
def disable(access_key: str, config: Config, as_json: bool) -> None:
    """Refuse every request signed with an access key.

    A running server refuses them within two seconds; what it has begun to answer is finished.

    \b
    Examples:
      ms3t keys disable MS3TPE4E6UCBCH6OAJ2V
    """
    _switch(access_key, config, as_json, disabled=True)


@verb.command("enable", cls=Verb)
@click.argument("access_key")
@configured
@as_json
def enable(access_key: str, config: Config, as_json: bool) -> None:
    """Take requests signed with an access key again.

    A running server takes them within two seconds.

    \b
    Examples:
      ms3t keys enable MS3TPE4E6UCBCH6OAJ2V
    """
    _switch(access_key, config, as_json, disabled=False)


def _switch(access_key: str, config: Config, as_json: bool, *, disabled: bool) -> None:
    if any(section.access_key == access_key for section in config.credentials):
        raise Failure(f"access key {access_key} is set in the configuration: change it there, and restart the server")
    try:
        with _written(config) as connection:
            found = credentials.set_disabled(connection, access_key, disabled=disabled)
            left = any(not key.disabled for key in credentials.list_all(connection))
    except (CredentialMissing, UnicodeEncodeError) as error:  # the latter of what is not even text
        raise Failure(
            f"there is no access key {access_key}: `ms3t keys list` shows those there are", ExitCode.NOT_FOUND
        ) from error
    if as_json:
        show_json(_facts(found))
    else:
        click.echo(f"{found.access_key} is {_status(found)}")
    if not left and not config.credentials:
        click.echo("No access key is enabled now: every request will be refused.", err=True)


@contextmanager
def _written(config: Config) -> Iterator[Connection]:
    database = Database.open_beside(require_folder(config.data_dir).registry)
    try:
        with database.write() as connection:
            yield connection
    finally:
        database.close()


def _status(key: Credential) -> str:
    return "disabled" if key.disabled else "enabled"


def _facts(key: Credential) -> dict[str, str | None]:
    return {
        "access_key": key.access_key,
        "name": key.display_name,
        "status": _status(key),
        "made": time_json(key.created_ms),
        "owner_id": key.owner_id,
    }
