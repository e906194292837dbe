from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from mst.cid import CID, DAG_CBOR
from registry import heads, uploads
from registry.database import Database
from registry.heads import (
    ENABLED,
    UNVERSIONED,
    Bucket,
    BucketExists,
    HeadDamaged,
    HeadMove,
    HeadMoved,
    ShippedHead,
)

MakeBucket = Callable[..., Bucket]


def _next(bucket: Bucket, word: bytes) -> Bucket:
    return replace(
        bucket,
        commit=CID.of(DAG_CBOR, word),
        tree=CID.of(DAG_CBOR, b"tree of " + word),
        sequence=bucket.sequence + 1,
        objects=bucket.objects + 1,
        size_bytes=2**62,
        head_time_ms=bucket.head_time_ms + 1,
    )


def _load(database: Database) -> list[Bucket]:
    with database.read() as connection:
        return heads.load_all(connection)


def test_a_bucket_comes_back_as_it_was_put(database: Database, make_bucket: MakeBucket) -> None:
    salted = replace(make_bucket("z", b"z" * 16), salt=bytes(range(32)), bits=2)
    with database.write() as connection:
        heads.insert_bucket(connection, salted)
        heads.insert_bucket(connection, make_bucket("a-b", b"1" * 16))
        heads.insert_bucket(connection, make_bucket("a.b", b"2" * 16))
    found = _load(database)
    assert [bucket.name for bucket in found] == ["a-b", "a.b", "z"]
    assert found[2] == salted
    assert type(found[2].commit) is CID


@pytest.mark.parametrize("other", [("photos", b"j" * 16), ("films", b"i" * 16)])
def test_names_and_instances_are_unique(database: Database, make_bucket: MakeBucket, other: tuple[str, bytes]) -> None:
    with database.write() as connection:
        heads.insert_bucket(connection, make_bucket())
        with pytest.raises(BucketExists, match=other[0]):
            heads.insert_bucket(connection, make_bucket(*other))
    assert _load(database) == [make_bucket()]


def test_a_head_moves(database: Database, make_bucket: MakeBucket) -> None:
    bucket = make_bucket()
    after = _next(bucket, b"commit 2")
    with database.write() as connection:
        heads.insert_bucket(connection, bucket)
        heads.insert_bucket(connection, make_bucket("films", b"f" * 16))
        heads.move_head(connection, HeadMove(bucket.instance, bucket.commit, after))
    assert _load(database) == [make_bucket("films", b"f" * 16), after]


def test_a_head_moves_only_from_where_it_is_expected(database: Database, make_bucket: MakeBucket) -> None:
    bucket = make_bucket()
    with database.write() as connection:
        heads.insert_bucket(connection, bucket)
    moved = _next(bucket, b"commit 2")
    late = _next(bucket, b"commit 2 of someone else")
    with database.write() as connection:
        heads.move_head(connection, HeadMove(bucket.instance, bucket.commit, moved))
        with pytest.raises(HeadMoved) as caught:
            heads.move_head(connection, HeadMove(bucket.instance, bucket.commit, late))
        assert (caught.value.instance, caught.value.expected) == (bucket.instance, bucket.commit)
        with pytest.raises(HeadMoved):
            heads.move_head(connection, HeadMove(b"gone" * 4, moved.commit, late))
    assert _load(database) == [moved]


def test_both_roots_and_the_state_of_versioning_move_at_once(database: Database, make_bucket: MakeBucket) -> None:
    bucket = make_bucket()
    assert (bucket.versions, bucket.versioning) == (None, UNVERSIONED)
    enabled = replace(bucket, versioning=ENABLED)
    moved = replace(_next(enabled, b"commit 2"), versions=CID.of(DAG_CBOR, b"versions"))
    with database.write() as connection:
        heads.insert_bucket(connection, bucket)
        heads.move_head(connection, HeadMove(bucket.instance, bucket.commit, enabled))
        assert heads.load_all(connection) == [enabled]
        heads.move_head(connection, HeadMove(bucket.instance, enabled.commit, moved))
    assert _load(database) == [moved]


@pytest.mark.parametrize("damage", ["versions = x'00'", "versioning = 'perhaps'"])
def test_damage_of_what_versioning_needs_is_named(database: Database, make_bucket: MakeBucket, damage: str) -> None:
    with database.write() as connection:
        heads.insert_bucket(connection, make_bucket("photos"))
        connection.execute(sa.text(f"UPDATE buckets SET {damage}"))
    with pytest.raises(HeadDamaged, match="photos"):
        _load(database)


def test_of_two_processes_one_wins(database: Database, path: Path, make_bucket: MakeBucket) -> None:
    """Two connections of their own try every step at the same time: the chain has no fork and no gap."""
    bucket = make_bucket()
    with database.write() as connection:
        heads.insert_bucket(connection, bucket)
    steps = 40
    barrier = threading.Barrier(2)
    won: list[tuple[CID, CID]] = []

    def race(opened: Database, name: bytes) -> None:
        for step in range(steps):
            barrier.wait()
            with opened.read() as connection:
                current = heads.load_all(connection)[0]
            barrier.wait()
            after = _next(current, b"%d by %s" % (step, name))
            try:
                with opened.write() as connection:
                    heads.move_head(connection, HeadMove(current.instance, current.commit, after))
            except HeadMoved:
                continue
            won.append((current.commit, after.commit))

    other = Database.open(path)
    threads = [threading.Thread(target=race, args=(opened, name)) for opened, name in ((database, b"a"), (other, b"b"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert len(won) == steps
    assert [before for before, _ in won] == [bucket.commit, *(after for _, after in won[:-1])]
    assert _load(database)[0].commit == won[-1][1]
    assert _load(database)[0].sequence == 1 + steps


def test_a_bucket_is_deleted_only_at_the_expected_commit(database: Database, make_bucket: MakeBucket) -> None:
    bucket = make_bucket()
    with database.write() as connection:
        heads.insert_bucket(connection, bucket)
        upload = uploads.create(connection, instance=bucket.instance, key=b"k", owner="me", meta=b"", now_ms=1)
        part = uploads.Part(1, bytes(16), 0, {}, 1)
        uploads.put_part(connection, upload.upload_id, part, [])
        with pytest.raises(HeadMoved):
            heads.delete_bucket(connection, bucket.instance, CID.of(DAG_CBOR, b"elsewhere"))
        assert heads.load_all(connection) == [bucket]
        heads.delete_bucket(connection, bucket.instance, bucket.commit)
        assert heads.load_all(connection) == []
        assert uploads.get(connection, upload.upload_id) is None
        assert uploads.list_parts(connection, upload.upload_id) == []
        with pytest.raises(HeadMoved):
            heads.delete_bucket(connection, bucket.instance, bucket.commit)


def test_a_damaged_row_is_named(database: Database, make_bucket: MakeBucket) -> None:
    with database.write() as connection:
        heads.insert_bucket(connection, make_bucket())
        connection.execute(sa.text("UPDATE buckets SET tree = x'00'"))
    with pytest.raises(HeadDamaged, match="bucket photos"):
        _load(database)


def test_a_shipped_head_moves_forward_only(database: Database, make_bucket: MakeBucket) -> None:
    bucket, commits = make_bucket(), [CID.of(DAG_CBOR, b"%d" % n) for n in range(4)]
    with database.write() as connection:
        heads.insert_bucket(connection, bucket)
        heads.insert_bucket(connection, make_bucket("other", b"o" * 16))
        for sequence, expected in ((2, 2), (1, 2), (2, 2), (3, 3)):
            head = ShippedHead(bucket.instance, commits[sequence], sequence)
            heads.move_shipped(connection, head)
            found = {held.name: (held.shipped, held.shipped_sequence) for held in heads.load_all(connection)}
            assert found == {bucket.name: (commits[expected], expected), "other": (None, None)}


def test_a_head_that_moves_takes_nothing_from_the_shipped_one(database: Database, make_bucket: MakeBucket) -> None:
    """It is computed from what was known before the shipment ended."""
    bucket = make_bucket()
    with database.write() as connection:
        heads.insert_bucket(connection, bucket)
        heads.move_shipped(connection, ShippedHead(bucket.instance, bucket.commit, 1))
        heads.move_head(connection, HeadMove(bucket.instance, bucket.commit, _next(bucket, b"commit 2")))
    (found,) = _load(database)
    assert (found.sequence, found.shipped, found.shipped_sequence) == (2, bucket.commit, 1)


def test_what_is_ahead() -> None:
    instance, commit = b"i" * 16, CID.of(DAG_CBOR, b"c")
    bucket = Bucket("b", instance, commit, commit, 9, 0, 0, 4, None, 0, 0)
    assert ShippedHead(instance, commit, 1).is_ahead_of(bucket)
    assert ShippedHead(instance, commit, 3).is_ahead_of(replace(bucket, shipped=commit, shipped_sequence=2))
    assert not ShippedHead(instance, commit, 2).is_ahead_of(replace(bucket, shipped=commit, shipped_sequence=2))
    assert not ShippedHead(b"j" * 16, commit, 3).is_ahead_of(bucket)
