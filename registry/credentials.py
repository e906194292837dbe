"""The access keys clients sign requests with, and who each of them stands for."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from registry.schema import credentials

ACCESS_KEY_PREFIX = "MS3T"
ACCESS_KEY_RANDOM_CHARS = 16
"""With the prefix, the 20 characters AWS access keys have and some clients expect."""
SECRET_RANDOM_BYTES = 30
"""Random bytes of a secret; in base64, the 40 characters AWS secrets have."""
OWNER_ID_RANDOM_BYTES = 32
"""Random bytes of an owner's canonical id, which is 64 hexadecimal digits."""

_ACCESS_KEY_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@dataclass(frozen=True, slots=True)
class Credential:
    """An access key.

    Args:
        access_key: what requests name.
        secret: what requests are signed with; kept out of ``repr``.
        owner_id: the canonical id of the user it stands for.
        display_name: that user's name, for people.
        created_ms: when it was made, in milliseconds since 1970.
        disabled: whether requests signed with it are refused.
    """

    access_key: str
    secret: str = field(repr=False)
    owner_id: str
    display_name: str
    created_ms: int
    disabled: bool


_SELECT = sa.select(credentials)
_GET = _SELECT.where(credentials.c.access_key == sa.bindparam("wanted"))
_LIST = _SELECT.order_by(credentials.c.created_ms, credentials.c.access_key)
_INSERT = sa.insert(credentials)


def create(
    connection: sa.Connection, *, display_name: str, now_ms: int, owner_id: str | None = None
) -> Credential:
    """Make a new random access key.

    Args:
        connection: a write transaction.
        display_name: the user's name.
        now_ms: the time, in milliseconds since 1970.
        owner_id: an existing user to make another key for; None makes a new user.
    """
    characters = (secrets.choice(_ACCESS_KEY_ALPHABET) for _ in range(ACCESS_KEY_RANDOM_CHARS))
    made = Credential(
        access_key=ACCESS_KEY_PREFIX + "".join(characters),
        secret=secrets.token_urlsafe(SECRET_RANDOM_BYTES),
        owner_id=owner_id or secrets.token_hex(OWNER_ID_RANDOM_BYTES),
        display_name=display_name,
        created_ms=now_ms,
        disabled=False,
    )
    connection.execute(
        _INSERT,
        {
            "access_key": made.access_key,
            "secret": made.secret,
            "owner_id": made.owner_id,
            "display_name": made.display_name,
            "created_ms": made.created_ms,
            "disabled": made.disabled,
        },
    )
    return made


def get(connection: sa.Connection, access_key: str) -> Credential | None:
    """The credential of that access key, if there is one; the caller looks at ``disabled``."""
    row = connection.execute(_GET, {"wanted": access_key}).first()
    return None if row is None else _credential(row)


def list_all(connection: sa.Connection) -> list[Credential]:
    """Every credential, oldest first."""
    return [_credential(row) for row in connection.execute(_LIST)]


def _credential(row: sa.Row[*tuple[Any, ...]]) -> Credential:
    return Credential(
        access_key=row.access_key,
        secret=row.secret,
        owner_id=row.owner_id,
        display_name=row.display_name,
        created_ms=row.created_ms,
        disabled=row.disabled,
    )
