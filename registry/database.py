"""Opening the registry's database so that a commit that returned survives a power cut, or refusing to open it.

SQLite runs in WAL mode with ``synchronous=FULL``: with NORMAL a power cut loses commits that were answered.  Both
settings are read back, because SQLite silently keeps another mode where the file system cannot do what was asked.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool, StaticPool

from registry.errors import RegistryError
from registry.schema import SCHEMA_REVISION, metadata

FILE_MODE = 0o600
"""The database holds secret keys: only its owner reads it."""
BUSY_TIMEOUT_MS = 5_000
"""How long a statement waits for another process's lock, in milliseconds."""
READ_CONNECTIONS_KEPT = 8
"""Read connections kept open between uses; more are opened while that many are in use."""

_SYNCHRONOUS_FULL = 2
_DAMAGED = ("SQLITE_NOTADB", "SQLITE_CORRUPT")
"""How the names of SQLite's errors begin that say so of the file."""
_TABLE_NAMES = sa.text("SELECT name FROM sqlite_master WHERE type = 'table'")
_VERSION = sa.text("SELECT version_num FROM alembic_version")
_VERSIONS = sa.Table("alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))
"""As Alembic makes it, where it writes down the migration that a database stands at."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a database is made by.

    Attributes:
        tables: what a new database gets, and what the newest migration leaves behind.
        revision: the newest migration this release knows.
        migrations: the folder that Alembic finds them in.
    """

    tables: sa.MetaData
    revision: str
    migrations: Path


REGISTRY = Schema(metadata, SCHEMA_REVISION, Path(__file__).parent / "migrations")
"""The gateway's."""


class DatabaseError(RegistryError):
    """The database cannot be opened or used; the message says why, for the person who runs the server."""


class DatabaseNewer(DatabaseError):
    """The database was written by a newer release, whose schema this one does not know."""


class DatabaseBusy(DatabaseError):
    """Another process held the write lock for longer than ``BUSY_TIMEOUT_MS``; nothing was changed."""


class DatabaseFailed(DatabaseError):
    """The database failed while in use.

    Unless ``disk_full`` is true it is unknown whether a transaction that was being committed took effect: a commit
    whose sync failed may be found again after a restart.  The process must not serve on.
    """

    def __init__(self, message: str, *, disk_full: bool) -> None:
        super().__init__(message)
        self.disk_full = disk_full


class DatabaseDamaged(DatabaseFailed):
    """The file is no database, or one that SQLite cannot make sense of."""


class Database:
    """One process's connections to the registry: one for all writes, some for reads."""

    def __init__(self, path: Path, reader: sa.Engine, writer: sa.Engine | None) -> None:
        """Use `open` instead."""
        self.path = path
        self._reader = reader
        self._writer = writer
        self._write_connection = None if writer is None else writer.connect()
        self._write_lock = threading.Lock()

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False, schema: Schema = REGISTRY) -> Self:
        """Open the database, creating and migrating it as needed.

        Args:
            path: the database's file; its folder exists.
            read_only: look at an existing database without changing it, beside a running server or without one.
            schema: what it is made by.

        Raises:
            DatabaseNewer: a newer release wrote it.
            DatabaseDamaged: it is damaged, or not SQLite.
            DatabaseError: it is missing (``read_only``), or on a file system that cannot keep it
                safe; or ``read_only`` was asked and an older release wrote it.
        """
        with _opening(path):
            return cls._open_existing(path, None, schema) if read_only else cls._open(path, schema)

    @classmethod
    def open_beside(cls, path: Path) -> Self:
        """Open an existing database for short writes of one's own, whether or not a server owns its folder.

        While such a write lasts, the server's commits wait for it; never write heads this way.

        Raises:
            DatabaseNewer, DatabaseError: as `open` with ``read_only``.
        """
        with _opening(path):
            return cls._open_existing(path, _engine(path, "BEGIN IMMEDIATE", read_only=False), REGISTRY)

    @classmethod
    def _open(cls, path: Path, schema: Schema) -> Self:
        _create_private(path)
        _settle(path.with_name(path.name + "-wal"))
        writer = _engine(path, "BEGIN IMMEDIATE", read_only=False)
        reader = _engine(path, "BEGIN", read_only=True)
        database = cls(path, reader, writer)
        try:
            with database.write() as connection:
                _migrate(path, connection, schema)
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def _open_existing(cls, path: Path, writer: sa.Engine | None, schema: Schema) -> Self:
        if not path.is_file():
            raise DatabaseError(f"there is no registry at {path}")
        database = cls(path, _engine(path, "BEGIN", read_only=True), writer)
        try:
            with database.read() as connection:
                revision = _revision(connection)
            if revision != schema.revision:
                _require_known(path, revision, schema)
                raise DatabaseError(
                    f"the registry {path} has schema {revision or 'none'}, this release reads"
                    f" {schema.revision}: start the server once, it migrates it"
                )
        except BaseException:
            database.close()
            raise
        return database

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that has the database's write lock from its first moment; committed, durably, at the end.

        Threads take turns.  An exception from the body rolls everything back.

        Raises:
            DatabaseBusy: another process does not let go of the write lock.
            DatabaseFailed: the database failed, possibly while committing.
        """
        if self._write_connection is None:
            raise DatabaseError(f"the registry {self.path} is open for reading only")
        with self._write_lock, _failures_named(self.path), self._write_connection.begin():
            yield self._write_connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A snapshot: every statement sees the state the first one saw.  Never waits for a writer.

        Raises:
            DatabaseFailed: the database failed.
        """
        with _failures_named(self.path), self._reader.connect() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection.  Transactions must have ended; calling it twice is harmless."""
        if self._write_connection is not None:
            self._write_connection.close()
        # The reader first: the last connection to close is the one that folds the WAL back into the file, and a
        # reader may not.
        self._reader.dispose()
        if self._writer is not None:
            self._writer.dispose()


@contextmanager
def _failures_named(path: Path) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        name = getattr(error.orig, "sqlite_errorname", "")
        if name.startswith(_DAMAGED):
            raise DatabaseDamaged(f"the registry {path} is damaged: {error.orig}", disk_full=False) from error
        if name.startswith("SQLITE_BUSY"):  # said when a transaction begins, so it has written nothing
            raise DatabaseBusy(f"another process holds the registry {path}") from error
        message = f"the registry {path} failed: {error.orig}"
        raise DatabaseFailed(message, disk_full=name.startswith("SQLITE_FULL")) from error


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, DBAPIError, OSError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        if getattr(reason, "sqlite_errorname", "").startswith(_DAMAGED):
            raise DatabaseDamaged(f"the registry {path} is damaged: {reason}", disk_full=False) from error
        raise DatabaseError(f"cannot open the registry {path}: {reason}") from error


def _create_private(path: Path) -> None:
    """Make the file before SQLite does, which would use the process's umask; its WAL inherits the mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, FILE_MODE))
    except FileExistsError:
        path.chmod(FILE_MODE)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _settle(wal: Path) -> None:
    """What a killed process wrote counts from now on if it is on the disk, and not because the kernel remembers it."""
    with suppress(FileNotFoundError), wal.open("rb") as file:
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _engine(path: Path, begin: str, *, read_only: bool) -> sa.Engine:
    def connect() -> sqlite3.Connection:
        return _connect_reader(path) if read_only else _connect_writer(path)

    pool_options = (
        {"poolclass": QueuePool, "pool_size": READ_CONNECTIONS_KEPT, "max_overflow": -1}
        if read_only
        else {"poolclass": StaticPool}
    )
    engine = sa.create_engine("sqlite://", creator=connect, **pool_options)

    # Python's sqlite3 begins transactions by guessing from the statement; it is told not to, and this begins them.
    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _connect_writer(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        require_durable(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect_reader(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{_reader_mode(path)}",
        uri=True,
        timeout=BUSY_TIMEOUT_MS / 1000,
        isolation_level=None,
        check_same_thread=False,
    )


def _reader_mode(path: Path) -> str:
    """Without a WAL and on a read-only medium, SQLite opens a database only when told that nothing changes it."""
    has_wal = path.with_name(path.name + "-wal").exists()
    if has_wal or os.access(path.parent, os.W_OK):
        return "mode=ro"
    return "mode=ro&immutable=1"


def require_durable(connection: sqlite3.Connection) -> None:
    """Read back the settings durability rests on.

    Raises:
        DatabaseError: the connection is not in WAL mode or does not sync every commit.
    """
    journal_mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if journal_mode != "wal":
        raise DatabaseError(
            f"the registry's journal mode is {journal_mode!r} where 'wal' was asked: is its folder on a network or"
            " otherwise unusual file system?"
        )
    synchronous = connection.execute("PRAGMA synchronous").fetchone()[0]
    if synchronous != _SYNCHRONOUS_FULL:
        raise DatabaseError(
            f"the registry's synchronous setting is {synchronous}, not FULL ({_SYNCHRONOUS_FULL}): commits could be"
            " lost in a power cut"
        )


def _revision(connection: sa.Connection) -> str | None:
    """The migration the database stands at, None for an empty one."""
    tables = connection.execute(_TABLE_NAMES).scalars().all()
    if not tables:
        return None
    if "alembic_version" not in tables:
        raise DatabaseError("an SQLite database of something else: it has tables, none of them alembic_version")
    return str(connection.execute(_VERSION).scalar_one())


def _migrate(path: Path, connection: sa.Connection, schema: Schema) -> None:
    revision = _revision(connection)
    if revision == schema.revision:
        return
    if revision is None:  # without Alembic, and without the migrations one by one: a first start takes half as long
        schema.tables.create_all(connection, checkfirst=False)
        _VERSIONS.create(connection, checkfirst=False)
        connection.execute(_VERSIONS.insert().values(version_num=schema.revision))
        return
    _require_known(path, revision, schema)
    from registry.migrations import runner  # late, here and below, because it is slow: see there

    runner.upgrade(connection, schema.migrations)


def _require_known(path: Path, revision: str | None, schema: Schema) -> None:
    if revision is None:
        return
    from registry.migrations import runner

    if not runner.knows(revision, schema.migrations):
        raise DatabaseNewer(
            f"the registry {path} has schema {revision}, this release knows up to {schema.revision}: it was written by"
            " a newer ms3t, use that one"
        )
