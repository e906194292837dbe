"""Running the migrations that are shipped in this package; apart from `registry.database` because importing Alembic
takes longer than all else a short command does, and only an old or new database needs it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError


def knows(revision: str) -> bool:
    """Whether ``revision`` is one of this release's migrations."""
    try:
        return ScriptDirectory.from_config(_config()).get_revision(revision) is not None
    except CommandError:
        return False


def newest() -> str | None:
    """The newest migration's revision."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def upgrade(connection: sa.Connection) -> None:
    """Apply, in the transaction ``connection`` is in, every migration the database lacks."""
    config = _config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    finally:
        del config.attributes["connection"]


@cache
def _config() -> Config:
    config = Config()
    # A percent sign would be taken for interpolation.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
