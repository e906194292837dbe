from __future__ import annotations

from registry import state
from registry.database import Database


def test_the_last_value_is_kept(database: Database) -> None:
    with database.write() as connection:
        assert state.get(connection, "checkpoint") is None
        state.put(connection, "checkpoint", b"1")
        state.put(connection, "checkpoint", b"\x00\xff")
        state.put(connection, "other", b"")
    with database.read() as connection:
        assert state.get(connection, "checkpoint") == b"\x00\xff"
        assert state.get(connection, "other") == b""
