from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from registry import database as database_module
from registry import settings, state
from registry.database import (
    REGISTRY,
    Database,
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseError,
    DatabaseFailed,
    DatabaseNewer,
    require_durable,
)
from registry.heads import Bucket, insert_bucket, load_all
from registry.migrations import runner
from registry.schema import SCHEMA_REVISION, metadata
from tests.schemas import shape_of

MakeBucket = Callable[..., Bucket]

VERSION = sa.text("SELECT version_num FROM alembic_version")


def test_a_commit_is_durable_before_it_returns(database: Database) -> None:
    with database.write() as connection:
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(sa.text("PRAGMA synchronous")).scalar() == 2
        assert connection.execute(sa.text("PRAGMA foreign_keys")).scalar() == 1


def test_refuses_a_journal_mode_that_did_not_take() -> None:
    # SQLite answers "memory" to WAL here, as it answers "delete" on file systems without shared memory.
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    with pytest.raises(DatabaseError, match="journal mode is 'memory'"):
        require_durable(connection)
    connection.close()


@pytest.mark.parametrize("setting", ["OFF", "NORMAL"])
def test_refuses_a_weaker_sync(path: Path, setting: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {setting}")
    with pytest.raises(DatabaseError, match="not FULL"):
        require_durable(connection)
    connection.close()


@pytest.mark.parametrize("deaf_to", ["journal_mode", "synchronous"])
def test_does_not_open_where_a_setting_does_not_take(path: Path, monkeypatch: pytest.MonkeyPatch, deaf_to: str) -> None:
    class Deaf(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            weaker = {"journal_mode": "DELETE", "synchronous": "NORMAL"}[deaf_to]
            return super().execute(f"PRAGMA {deaf_to} = {weaker}" if f"{deaf_to} =" in sql else sql, *args)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, factory=Deaf, **options))
    with pytest.raises(DatabaseError, match=r"journal mode is 'delete'|not FULL"):
        Database.open(path)


@pytest.mark.parametrize("existing_mode", [None, 0o644])
def test_only_the_owner_can_read_the_files(path: Path, existing_mode: int | None) -> None:
    if existing_mode is not None:
        path.touch(existing_mode)
    old_umask = os.umask(0)
    try:
        database = Database.open(path)
    finally:
        os.umask(old_umask)
    with database.write() as connection:
        state.put(connection, "a", b"1")
    files = list(path.parent.iterdir())
    assert {file.name for file in files} == {"registry.db", "registry.db-wal", "registry.db-shm"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    database.close()


def test_the_migrations_end_at_the_schema_of_the_code(database: Database) -> None:
    assert runner.newest() == SCHEMA_REVISION
    with sa.create_engine("sqlite://").begin() as migrated, database.read() as made:
        runner.upgrade(migrated)
        context = MigrationContext.configure(migrated, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert shape_of(migrated) == shape_of(made)
        assert migrated.execute(VERSION).all() == made.execute(VERSION).all() == [(SCHEMA_REVISION,)]


def test_a_new_database_needs_no_migration(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(runner, "upgrade")
    Database.open(path).close()


def _make_older(path: Path, bucket: Bucket) -> None:
    """A database as the first release made it, with a bucket in it."""
    with closing(Database.open(path)) as database, database.write() as connection:
        insert_bucket(connection, bucket)
        for later in (
            "DROP TABLE bucket_settings", "DROP TABLE completions",
            "ALTER TABLE buckets DROP COLUMN versions", "ALTER TABLE buckets DROP COLUMN versioning",
            "ALTER TABLE buckets DROP COLUMN shipped_sequence",
            "DROP TABLE shards", "DROP TABLE shipments", "DROP TABLE published",
        ):  # fmt: skip
            connection.execute(sa.text(later))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))


def test_an_older_database_is_migrated_with_what_is_in_it(path: Path, make_bucket: MakeBucket) -> None:
    _make_older(path, make_bucket())
    with pytest.raises(DatabaseError, match="has schema 0001"):
        Database.open(path, read_only=True)
    with closing(Database.open(path)) as database, database.write() as connection:
        assert load_all(connection) == [make_bucket()]
        settings.put(connection, instance=make_bucket().instance, name="tags", document=b"1")
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_schema_fits_postgresql() -> None:
    from sqlalchemy.dialects import postgresql

    tables = "\n".join(
        str(sa.schema.CreateTable(table).compile(dialect=postgresql.dialect())) for table in metadata.sorted_tables
    )
    assert "BYTEA" in tables
    assert "BLOB" not in tables


def test_opening_again_finds_what_was_written(path: Path, make_bucket: MakeBucket) -> None:
    first = Database.open(path)
    with first.write() as connection:
        insert_bucket(connection, make_bucket())
    first.close()
    first.close()
    second = Database.open(path)
    with second.read() as connection:
        assert load_all(connection) == [make_bucket()]
    second.close()


@pytest.mark.parametrize("read_only", [False, True])
def test_refuses_a_newer_database(path: Path, read_only: bool) -> None:
    Database.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9000'")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(DatabaseNewer, match=r"schema 9000.*newer ms3t"):
        Database.open(path, read_only=read_only)
    assert path.read_bytes() == before


@pytest.mark.parametrize("read_only", [False, True])
def test_refuses_files_that_are_no_registry(path: Path, read_only: bool) -> None:
    path.write_bytes(b"not SQLite at all " * 100)
    with pytest.raises(DatabaseDamaged, match=r"the registry .* is damaged: file is not a database"):
        Database.open(path, read_only=read_only)
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE somebodys (a)")
    connection.close()
    with pytest.raises(DatabaseError, match="of something else"):
        Database.open(path, read_only=read_only)


def test_reading_only_needs_a_database(path: Path) -> None:
    with pytest.raises(DatabaseError, match="there is no registry at"):
        Database.open(path, read_only=True)
    assert not path.exists()
    path.touch()
    with pytest.raises(DatabaseError, match="start the server once"):
        Database.open(path, read_only=True)


def test_a_failed_transaction_leaves_nothing(database: Database, make_bucket: MakeBucket) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        insert_bucket(connection, make_bucket())
        raise ZeroDivisionError
    with database.read() as connection:
        assert load_all(connection) == []


def test_a_half_made_database_is_empty(path: Path) -> None:
    tables = sa.MetaData()
    sa.Table("first", tables, sa.Column("a", sa.Integer))
    sa.event.listen(tables, "after_create", _fail)
    with pytest.raises(ZeroDivisionError):
        Database.open(path, schema=replace(REGISTRY, tables=tables))
    assert _tables(path) == []


def test_a_half_done_migration_leaves_the_old_schema(
    path: Path, make_bucket: MakeBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make_older(path, make_bucket())
    before = _tables(path)
    upgrade = runner.upgrade

    def upgrade_and_fail(connection: sa.Connection, migrations: Path) -> None:
        upgrade(connection, migrations)
        assert connection.execute(VERSION).all() == [(SCHEMA_REVISION,)]
        _fail()

    monkeypatch.setattr(runner, "upgrade", upgrade_and_fail)
    with pytest.raises(ZeroDivisionError):
        Database.open(path)
    assert _tables(path) == before


def _fail(*_: object, **__: object) -> None:
    raise ZeroDivisionError


def _tables(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM sqlite_master").fetchall()


def test_reads_see_one_snapshot_and_never_wait(database: Database) -> None:
    with database.write() as connection:
        state.put(connection, "a", b"old")
    with database.read() as reader:
        assert state.get(reader, "a") == b"old"
        with database.write() as writer:
            state.put(writer, "a", b"new")
            assert state.get(reader, "a") == b"old"
        assert state.get(reader, "a") == b"old"
    with database.read() as reader:
        assert state.get(reader, "a") == b"new"


@pytest.mark.parametrize("connections", ["one", "several"])
def test_writers_take_turns(database: Database, path: Path, connections: str) -> None:
    """Threads of one process, and (as `Database.open` again) processes, never overwrite what they did not see."""

    def count_up(opened: Database) -> None:
        for _ in range(50):
            with opened.write() as connection:
                value = int(state.get(connection, "n") or b"0")
                state.put(connection, "n", str(value + 1).encode())

    others = [database if connections == "one" else Database.open(path) for _ in range(3)]
    threads = [threading.Thread(target=count_up, args=(opened,)) for opened in (database, *others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for opened in others:
        opened.close()
    with closing(Database.open(path)) as again, again.read() as connection:
        assert state.get(connection, "n") == b"200"


def test_a_reader_cannot_write(database: Database, path: Path) -> None:
    beside = Database.open(path, read_only=True)
    for opened in (database, beside):
        with pytest.raises(DatabaseFailed, match="readonly"), opened.read() as connection:
            state.put(connection, "a", b"1")
    with pytest.raises(DatabaseError, match="reading only"), beside.write():
        pass
    beside.close()


def test_writes_beside_the_owner(database: Database, path: Path) -> None:
    with closing(Database.open_beside(path)) as beside:
        with beside.write() as connection:
            state.put(connection, "a", b"1")
        with database.write() as connection:
            assert state.get(connection, "a") == b"1"
            state.put(connection, "a", b"2")
        with beside.read() as connection:
            assert state.get(connection, "a") == b"2"


def test_nothing_is_made_or_migrated_beside_the_owner(path: Path, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="there is no registry"):
        Database.open_beside(path)
    assert not path.exists()
    Database.open(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
        connection.commit()
    with pytest.raises(DatabaseError, match="start the server once"):
        Database.open_beside(path)


def test_a_write_lock_that_is_never_free_is_told_apart(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Database.open(path).close()
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_MS", 20)
    with closing(Database.open(path)) as waiting, closing(Database.open_beside(path)) as other:
        with other.write() as connection:
            state.put(connection, "a", b"1")
            with pytest.raises(DatabaseBusy, match="another process"), waiting.write():
                pytest.fail("two have the write lock")
        with waiting.write() as connection:
            assert state.get(connection, "a") == b"1"


def test_a_full_disk_is_told_apart(database: Database) -> None:
    with pytest.raises(DatabaseFailed) as caught, database.write() as connection:
        connection.execute(sa.text("PRAGMA max_page_count = 1"))
        for number in range(100):
            state.put(connection, f"{number}", bytes(4000))
    assert caught.value.disk_full
    with pytest.raises(DatabaseFailed) as other, database.write() as connection:
        connection.execute(sa.text("SELECT nothing"))
    assert not other.value.disk_full


def test_reads_beside_a_live_server_and_after_it_was_killed(path: Path, tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path\n"
        "from registry import state; from registry.database import Database\n"
        "database = Database.open(Path(sys.argv[1]))\n"
        "with database.write() as connection: state.put(connection, 'a', b'1')\n"
        "print('ready', flush=True); time.sleep(60)\n"
    )
    server = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
    assert server.stdout is not None
    with server:
        try:
            assert server.stdout.readline() == b"ready\n"
            _assert_readable(path)
        finally:
            server.send_signal(signal.SIGKILL)
    assert path.with_name("registry.db-wal").stat().st_size > 0
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(path, copy)
    shutil.copy(path.with_name("registry.db-wal"), copy)
    _assert_readable(copy / "registry.db")
    _assert_readable(path)


def test_what_a_killed_process_had_not_synced_is_synced_before_it_counts(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database.open(path)
    with database.write() as connection:
        state.put(connection, "a", b"1")
    left = tmp_path / "left"
    left.mkdir()
    for file in path.parent.glob("registry.db*"):
        shutil.copy(file, left)
    database.close()
    wal = (left / "registry.db-wal").stat().st_ino
    done: list[tuple[str, int]] = []
    sync, advise = os.fsync, os.posix_fadvise

    def note(what: str, fd: int) -> None:
        done.append((what, os.fstat(fd).st_ino))

    monkeypatch.setattr(os, "fsync", lambda fd: note("sync", fd) or sync(fd))
    monkeypatch.setattr(os, "posix_fadvise", lambda fd, *how: note("forget", fd) or advise(fd, *how))
    with closing(Database.open(left / "registry.db")):
        assert done == [("sync", wal), ("forget", wal)]


def test_reads_a_stopped_folder(path: Path) -> None:
    database = Database.open(path)
    with database.write() as connection:
        state.put(connection, "a", b"1")
    database.close()
    assert [file.name for file in path.parent.iterdir()] == ["registry.db"]
    _assert_readable(path)


def test_reads_a_stopped_folder_on_a_read_only_medium(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database.open(path)
    with database.write() as connection:
        state.put(connection, "a", b"1")
    database.close()
    monkeypatch.setattr(os, "access", lambda *_: False)
    _assert_readable(path)
    assert [file.name for file in path.parent.iterdir()] == ["registry.db"]


def _assert_readable(path: Path) -> None:
    database = Database.open(path, read_only=True)
    with database.read() as connection:
        assert state.get(connection, "a") == b"1"
    database.close()
