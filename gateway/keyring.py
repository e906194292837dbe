"""Who may send requests: the access keys of the configuration and of the registry, as they are now."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from registry import credentials
from registry.credentials import Credential
from registry.database import Database
from registry.errors import RegistryError

REFRESH_SECONDS = 1.0
"""How often the registry is looked at: by then a new or disabled key is honoured."""

log = structlog.get_logger(__name__)


class Keyring:
    """The access keys, in memory.

    Args:
        database: the registry.
        configured: the keys that the configuration sets; they win.

    Raises:
        DatabaseError: the registry cannot be read.
    """

    def __init__(self, database: Database, configured: Sequence[Credential]):
        self._database = database
        self._configured = {key.access_key: key for key in configured}
        self._keys: dict[str, Credential] = {}
        self._refresh()

    def get(self, access_key: str) -> Credential | None:
        """The credential of that access key, if there is one; the caller looks at ``disabled``."""
        return self._keys.get(access_key)

    async def follow(self) -> None:
        """Keep up with the registry, until cancelled."""
        readable = True
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await asyncio.to_thread(self._refresh)
                readable = True
            except RegistryError as error:
                if readable:
                    log.error("cannot read the access keys; those known before stay", reason=str(error))
                readable = False

    def _refresh(self) -> None:
        with self._database.read() as connection:
            found = credentials.list_all(connection)
        self._keys = {key.access_key: key for key in found} | self._configured
