from __future__ import annotations

import re

import sqlalchemy as sa

from registry import credentials
from registry.database import Database


def test_a_new_key_has_the_form_clients_expect(database: Database) -> None:
    with database.write() as connection:
        made = [credentials.create(connection, display_name="me", now_ms=7) for _ in range(50)]
    assert all(re.fullmatch(r"MS3T[A-Z2-7]{16}", one.access_key) for one in made)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{40}", one.secret) for one in made)
    assert all(re.fullmatch(r"[0-9a-f]{64}", one.owner_id) for one in made)
    assert len({one.access_key for one in made}) == len({one.secret for one in made}) == 50
    assert len({one.owner_id for one in made}) == 50


def test_keys_are_found_and_listed_oldest_first(database: Database) -> None:
    with database.write() as connection:
        second = credentials.create(connection, display_name="b", now_ms=2)
        first = credentials.create(connection, display_name="a", now_ms=1, owner_id=second.owner_id)
        connection.execute(sa.text("UPDATE credentials SET disabled = 1 WHERE display_name = 'a'"))
    with database.read() as connection:
        found = credentials.get(connection, second.access_key)
        assert found == second
        assert credentials.get(connection, second.access_key.lower()) is None
        listed = credentials.list_all(connection)
    assert [one.access_key for one in listed] == [first.access_key, second.access_key]
    assert [one.disabled for one in listed] == [True, False]
    assert first.owner_id == second.owner_id


def test_a_secret_is_not_printed(database: Database) -> None:
    with database.write() as connection:
        made = credentials.create(connection, display_name="me", now_ms=7)
    assert made.secret not in repr(made)
    assert made.access_key in repr(made)
