"""The node's data folder: its layout, its key, and which release's database is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from gateway.node.server.schema import SCHEMA_REVISION, metadata
from gateway.store.folder import OwnedFolder
from registry.database import Database, Schema
from registry.key_file import FileKey

SCHEMA = Schema(metadata, SCHEMA_REVISION, Path(__file__).parent / "migrations")


class NodeKey(FileKey):
    """The node's private key: its identity."""

    __slots__ = ()

    what = "node key"


class NodeFolder(OwnedFolder):
    """Where everything of one node lives.

    ::

        lock            held by the process that owns the folder
        node.key        the ed25519 key that the node is known by
        registry.db     allocations, claims, indexes (SQLite)
        blobs/ab/cd/    blobs, each under its sha2-256 digest in hexadecimal; the first four digits are folders
        uploads/        what is arriving; emptied at each start

    Args:
        path: the folder.
    """

    def __init__(self, path: Path):
        super().__init__(path)
        self.key = path / "node.key"
        self.registry = path / "registry.db"
        self.blobs = path / "blobs"
        self.uploads = path / "uploads"

    def create(self) -> Self:
        """Make the folder, readable by its owner alone, if it is not there."""
        self.make(self.blobs, self.uploads)
        return self

    def open_database(self) -> Database:
        """Open the database, creating and migrating it as needed; errors as `registry.database.Database.open` has."""
        return Database.open(self.registry, schema=SCHEMA)
