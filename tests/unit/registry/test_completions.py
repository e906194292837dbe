from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

from mst.cid import CID, DAG_CBOR
from registry import completions, heads, uploads
from registry.completions import KEPT_MS, Completion, CompletionDamaged
from registry.database import Database
from registry.heads import Bucket, HeadMove
from registry.migrations import runner
from registry.uploads import Leaf, Part, UploadMissing

INSTANCE = b"i" * 16
DIGEST = b"d" * 32
NOW_MS = 1_790_000_000_000


@pytest.fixture
def bucket(make_bucket: Callable[..., Bucket]) -> Bucket:
    return make_bucket("one", INSTANCE)


@pytest.fixture
def connection(database: Database, bucket: Bucket) -> Iterator[sa.Connection]:
    with database.write() as opened:
        heads.insert_bucket(opened, bucket)
        yield opened


def _begin(connection: sa.Connection, key: bytes = b"k") -> str:
    upload = uploads.create(connection, instance=INSTANCE, key=key, owner="me", meta=b"m", now_ms=5)
    part = Part(1, bytes(16), 1, {}, 5)
    uploads.put_part(connection, upload.upload_id, part, [Leaf(CID.of(DAG_CBOR, b""), 1)])
    return upload.upload_id


def _complete(connection: sa.Connection, upload_id: str, now_ms: int = NOW_MS) -> None:
    completions.complete(connection, 7, upload_id=upload_id, parts_digest=DIGEST, answer=b"\x00answer", now_ms=now_ms)


def test_an_upload_ends_once(connection: sa.Connection, bucket: Bucket) -> None:
    upload_id = _begin(connection)
    assert completions.get(connection, upload_id) is None
    _complete(connection, upload_id)
    assert completions.get(connection, upload_id) == Completion(
        INSTANCE, b"k", DIGEST, b"\x00answer", bucket.commit, bucket.tree, 7
    )
    assert uploads.get(connection, upload_id) is None
    assert uploads.list_parts(connection, upload_id) == []
    for again in (lambda: _complete(connection, upload_id), lambda: uploads.delete(connection, upload_id)):
        with pytest.raises(UploadMissing):
            again()


def test_an_aborted_upload_is_not_completed(connection: sa.Connection) -> None:
    upload_id = _begin(connection)
    uploads.delete(connection, upload_id)
    with pytest.raises(UploadMissing):
        _complete(connection, upload_id)
    assert completions.get(connection, upload_id) is None


def test_the_state_it_led_to_is_the_head_of_the_same_transaction(
    connection: sa.Connection, bucket: Bucket, make_bucket: Callable[..., Bucket]
) -> None:
    upload_id = _begin(connection)
    after = make_bucket("one", INSTANCE, b"commit 2")
    heads.move_head(connection, HeadMove(INSTANCE, bucket.commit, after))
    _complete(connection, upload_id)
    found = completions.get(connection, upload_id)
    assert found is not None
    assert (found.commit, found.tree) == (after.commit, after.tree)


def test_old_ones_are_forgotten_by_later_ones(connection: sa.Connection) -> None:
    old, young, last = _begin(connection), _begin(connection), _begin(connection)
    _complete(connection, old, NOW_MS - KEPT_MS - 1)
    _complete(connection, young, NOW_MS - KEPT_MS)
    assert completions.get(connection, old) is not None
    _complete(connection, last, NOW_MS)
    assert [completions.get(connection, upload_id) is None for upload_id in (old, young, last)] == [True, False, False]


def test_they_go_with_their_bucket(connection: sa.Connection, bucket: Bucket) -> None:
    upload_id = _begin(connection)
    _complete(connection, upload_id)
    heads.delete_bucket(connection, INSTANCE, bucket.commit)
    assert completions.get(connection, upload_id) is None


def test_a_damaged_row_is_named(connection: sa.Connection) -> None:
    upload_id = _begin(connection)
    _complete(connection, upload_id)
    connection.execute(sa.text("UPDATE completions SET tree = x'00'"))
    with pytest.raises(CompletionDamaged, match=upload_id):
        completions.get(connection, upload_id)


def test_a_database_from_before_keeps_its_buckets_and_drops_its_uploads(
    path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade = command.upgrade
    monkeypatch.setattr(command, "upgrade", lambda config, _: upgrade(config, "0001"))
    with sa.create_engine(f"sqlite:///{path}").begin() as connection:
        runner.upgrade(connection)
        buckets = sa.Table("buckets", sa.MetaData(), autoload_with=connection)
        row = {field.name: getattr(bucket, field.name) for field in fields(Bucket)}
        connection.execute(buckets.insert(), {name: row[name] for name in row.keys() & buckets.columns.keys()})
        upload_id = _begin(connection)
    monkeypatch.undo()
    after = Database.open(path)
    with after.write() as connection:
        assert heads.load_all(connection) == [bucket]
        assert uploads.get(connection, upload_id) is None
        assert connection.execute(sa.text("SELECT count(*) FROM parts")).scalar() == 0
        _complete(connection, _begin(connection))
    after.close()
