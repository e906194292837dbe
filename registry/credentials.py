"""The access keys clients sign requests with, and who each of them stands for."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from registry.errors import RegistryError
from registry.schema import credentials

ACCESS_KEY_PREFIX = "MS3T"
ACCESS_KEY_RANDOM_CHARS = 16
"""With the prefix, the 20 characters AWS access keys have and some clients expect."""
SECRET_RANDOM_BYTES = 30
"""Random bytes of a secret; in base64, the 40 characters AWS secrets have."""
DISPLAY_NAME_CHARS_MAX = 64
"""Longest display name, in characters."""
OWNER_ID_RANDOM_BYTES = 32
"""Random bytes of an owner's canonical id, which is 64 hexadecimal digits."""

_ACCESS_KEY_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


class CredentialMissing(RegistryError):
    """There is no such access key."""


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
_SET_DISABLED = (
    sa.update(credentials)
    .where(credentials.c.access_key == sa.bindparam("wanted"))
    .values(disabled=sa.bindparam("new_disabled"))
)


def check_display_name(text: str) -> str:
    """``text``, if a user can be called so.

    Raises:
        ValueError: it is empty, too long, or has something in it that is not printed.
    """
    if not 1 <= len(text) <= DISPLAY_NAME_CHARS_MAX or not text.isprintable():
        raise ValueError(f"must be 1 to {DISPLAY_NAME_CHARS_MAX} printable characters")
    return text


def configured(access_key: str, secret: str, display_name: str) -> Credential:
    """The credential of an access key that the configuration sets.

    Its user's id follows from the access key, so that it outlives a change of the secret.
    """
    owner_id = hashlib.sha256(f"ms3t configured key {access_key}".encode()).hexdigest()
    return Credential(access_key, secret, owner_id, display_name, created_ms=0, disabled=False)


def create(
    connection: sa.Connection, *, display_name: str | None, now_ms: int, owner_id: str | None = None
) -> Credential:
    """Make a new random access key.

    Args:
        connection: a write transaction.
        display_name: the user's name; None takes the access key.
        now_ms: the time, in milliseconds since 1970.
        owner_id: an existing user to make another key for; None makes a new user.
    """
    characters = (secrets.choice(_ACCESS_KEY_ALPHABET) for _ in range(ACCESS_KEY_RANDOM_CHARS))
    access_key = ACCESS_KEY_PREFIX + "".join(characters)
    made = Credential(
        access_key=access_key,
        secret=secrets.token_urlsafe(SECRET_RANDOM_BYTES),
        owner_id=owner_id or secrets.token_hex(OWNER_ID_RANDOM_BYTES),
        display_name=access_key if display_name is None else display_name,
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


def set_disabled(connection: sa.Connection, access_key: str, *, disabled: bool) -> Credential:
    """Disable an access key, or enable it again; the credential as it is then.

    Raises:
        CredentialMissing: there is no such access key.
    """
    connection.execute(_SET_DISABLED, {"wanted": access_key, "new_disabled": disabled})
    found = get(connection, access_key)
    if found is None:
        raise CredentialMissing(f"there is no access key {access_key}")
    return found


def _credential(row: sa.Row[*tuple[Any, ...]]) -> Credential:
    return Credential(
        access_key=row.access_key,
        secret=row.secret,
        owner_id=row.owner_id,
        display_name=row.display_name,
        created_ms=row.created_ms,
        disabled=row.disabled,
    )
