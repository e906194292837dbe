from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from registry import credentials
from registry.credentials import CredentialMissing
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


def test_a_key_is_disabled_and_enabled_again(database: Database) -> None:
    with database.write() as connection:
        made = credentials.create(connection, display_name=None, now_ms=7)
        other = credentials.create(connection, display_name="other", now_ms=7)
    assert made.display_name == made.access_key
    with database.write() as connection:
        assert credentials.set_disabled(connection, made.access_key, disabled=True).disabled
        assert credentials.get(connection, other.access_key) == other
    with database.write() as connection:
        assert credentials.set_disabled(connection, made.access_key, disabled=False) == made
        with pytest.raises(CredentialMissing, match="there is no access key nobody"):
            credentials.set_disabled(connection, "nobody", disabled=True)


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb", "\x1b[31m", "\u202e"])
def test_names_nobody_is_called_by(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 64 printable"):
        credentials.check_display_name(name)
    assert credentials.check_display_name("Zo\u00eb <&> 1") == "Zo\u00eb <&> 1"
