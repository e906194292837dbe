"""Running the migrations that are shipped with a schema; apart from `registry.database` because importing Alembic
takes longer than all else a short command does, and only an old database needs it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

HERE = Path(__file__).parent
"""The registry's migrations."""


def knows(revision: str, migrations: Path = HERE) -> bool:
    """Whether ``revision`` is one of this release's migrations in that folder."""
    try:
        return ScriptDirectory.from_config(_config(migrations)).get_revision(revision) is not None
    except CommandError:
        return False


def newest(migrations: Path = HERE) -> str | None:
    """The newest migration's revision."""
    return ScriptDirectory.from_config(_config(migrations)).get_current_head()


def upgrade(connection: sa.Connection, migrations: Path = HERE) -> None:
    """Apply, in the transaction ``connection`` is in, every migration the database lacks."""
    config = _config(migrations)
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    finally:
        del config.attributes["connection"]


@cache
def _config(migrations: Path) -> Config:
    config = Config()
    # A percent sign would be taken for interpolation.
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    return config
