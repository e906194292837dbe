"""Small facts the store must find again at start, such as how far its log was checked, under names of its own."""

from __future__ import annotations

import sqlalchemy as sa

from registry.schema import store_state

_GET = sa.select(store_state.c.value).where(store_state.c.key == sa.bindparam("wanted"))
_UPDATE = (
    sa.update(store_state).where(store_state.c.key == sa.bindparam("wanted")).values(value=sa.bindparam("new_value"))
)
_INSERT = sa.insert(store_state)


def get(connection: sa.Connection, key: str) -> bytes | None:
    """The value last put under ``key``."""
    value: bytes | None = connection.execute(_GET, {"wanted": key}).scalar()
    return value


def put(connection: sa.Connection, key: str, value: bytes) -> None:
    """Put ``value`` under ``key`` in place of any earlier one."""
    if connection.execute(_UPDATE, {"wanted": key, "new_value": value}).rowcount == 0:
        connection.execute(_INSERT, {"key": key, "value": value})
