from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from mst.cid import CID, DAG_CBOR, RAW
from registry import heads, uploads
from registry.database import Database
from registry.heads import Bucket, BucketMissing
from registry.uploads import Leaf, Part, Upload, UploadDamaged, UploadMissing

INSTANCE = b"i" * 16
OTHER = b"o" * 16


@pytest.fixture
def connection(database: Database, make_bucket: Callable[..., Bucket]) -> Iterator[sa.Connection]:
    with database.write() as opened:
        heads.insert_bucket(opened, make_bucket("one", INSTANCE))
        heads.insert_bucket(opened, make_bucket("two", OTHER))
        yield opened


def _create(connection: sa.Connection, key: bytes, now_ms: int = 5, instance: bytes = INSTANCE) -> Upload:
    return uploads.create(connection, instance=instance, key=key, owner="me", meta=b"\x00m", now_ms=now_ms)


def _part(number: int, word: bytes = b"e") -> Part:
    return Part(number, word * 16, 2**40, {"crc32": b"\x00\x01", "sha256": bytes(32)}, 9)


def _leaves(count: int) -> list[Leaf]:
    return [Leaf(CID.of(RAW, b"%d" % number), 1 << 20) for number in range(count)]


def test_an_upload_is_found_until_it_is_deleted(connection: sa.Connection) -> None:
    upload = _create(connection, b"k\xc3\xa9")
    assert uploads.get(connection, upload.upload_id) == upload
    assert uploads.get(connection, "00") is None
    uploads.require(connection, upload.upload_id)
    uploads.delete(connection, upload.upload_id)
    for act in (uploads.delete, uploads.require):
        with pytest.raises(UploadMissing):
            act(connection, upload.upload_id)
    assert uploads.get(connection, upload.upload_id) is None


def test_an_upload_needs_its_bucket(connection: sa.Connection) -> None:
    with pytest.raises(BucketMissing):
        _create(connection, b"k", instance=b"?" * 16)
    assert uploads.list_uploads(connection, b"?" * 16) == []


def test_uploads_of_a_key_sort_by_age(connection: sa.Connection) -> None:
    late, early = _create(connection, b"k", now_ms=2**41), _create(connection, b"k", now_ms=7)
    assert uploads.list_uploads(connection, INSTANCE) == [early, late]


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
def test_pages_of_uploads_join_to_the_whole(connection: sa.Connection, limit: int) -> None:
    keys = [b"a", b"a", b"a", b"a/b", b"a0", b"b", b"\xc3\xa9", b"\xf0\x9f\x98\x80"]
    made = [_create(connection, key, now_ms=number) for number, key in enumerate(keys)]
    _create(connection, b"a", instance=OTHER)
    found: list[Upload] = []
    while True:
        last = found[-1] if found else None
        page = uploads.list_uploads(
            connection,
            INSTANCE,
            after_key=last and last.key,
            after_upload_id=last and last.upload_id,
            limit=limit,
        )
        assert len(page) <= limit
        if not page:
            break
        found += page
    assert found == made


def test_a_key_marker_alone_skips_all_uploads_of_that_key(connection: sa.Connection) -> None:
    for number in range(3):
        _create(connection, b"a", now_ms=number)
    after = _create(connection, b"a\x01")
    assert uploads.list_uploads(connection, INSTANCE, after_key=b"a") == [after]
    assert len(uploads.list_uploads(connection, INSTANCE, after_upload_id="f" * 44)) == 4


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        (b"", [b"a", b"a/", b"a/b", b"a0", b"b", b"b\xff"]),
        (b"a", [b"a", b"a/", b"a/b", b"a0"]),
        (b"a/", [b"a/", b"a/b"]),
        (b"b\xff", [b"b\xff"]),
        (b"\xff", []),
        (b"c", []),
    ],
)
def test_a_prefix_bounds_the_listing(connection: sa.Connection, prefix: bytes, expected: list[bytes]) -> None:
    for key in (b"b\xff", b"a0", b"a/b", b"a/", b"b", b"a"):
        _create(connection, key)
    assert [upload.key for upload in uploads.list_uploads(connection, INSTANCE, prefix=prefix)] == expected


def test_a_listing_can_jump_over_a_common_prefix(connection: sa.Connection) -> None:
    for key in (b"a/1", b"a/2", b"a/\xf4\x8f\xbf\xbf", b"a0"):
        _create(connection, key)
    page = uploads.list_uploads(connection, INSTANCE, after_key=b"a/\xff")
    assert [upload.key for upload in page] == [b"a0"]


def test_a_part_and_its_leaves_come_back(connection: sa.Connection) -> None:
    upload_id = _create(connection, b"k").upload_id
    uploads.put_part(connection, upload_id, _part(3), _leaves(5))
    uploads.put_part(connection, upload_id, Part(10_000, bytes(16), 0, {}, 0), [])
    assert uploads.list_parts(connection, upload_id) == [_part(3), Part(10_000, bytes(16), 0, {}, 0)]
    assert list(uploads.read_leaves(connection, upload_id, {3, 10_000})) == [(3, _leaves(5)), (10_000, [])]
    assert list(uploads.read_leaves(connection, upload_id, [3, 4])) == [(3, _leaves(5))]


def test_a_part_replaces_one_of_the_same_number(connection: sa.Connection) -> None:
    upload_id, other = _create(connection, b"k").upload_id, _create(connection, b"k").upload_id
    uploads.put_part(connection, upload_id, _part(1), _leaves(5))
    uploads.put_part(connection, other, _part(1), _leaves(2))
    uploads.put_part(connection, upload_id, _part(1, b"f"), _leaves(1))
    assert uploads.list_parts(connection, upload_id) == [_part(1, b"f")]
    assert list(uploads.read_leaves(connection, upload_id, {1})) == [(1, _leaves(1))]
    assert list(uploads.read_leaves(connection, other, {1})) == [(1, _leaves(2))]


def test_parts_go_with_their_upload(connection: sa.Connection) -> None:
    upload_id = _create(connection, b"k").upload_id
    uploads.put_part(connection, upload_id, _part(1), _leaves(1))
    uploads.delete(connection, upload_id)
    assert connection.execute(sa.text("SELECT count(*) FROM parts")).scalar() == 0
    with pytest.raises(UploadMissing):
        uploads.put_part(connection, upload_id, _part(1), _leaves(1))
    assert uploads.list_parts(connection, upload_id) == []


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_pages_of_parts_join_to_the_whole(connection: sa.Connection, limit: int) -> None:
    upload_id = _create(connection, b"k").upload_id
    numbers = [1, 2, 5, 9, 10, 10_000]
    for number in reversed(numbers):
        uploads.put_part(connection, upload_id, _part(number), [])
    found: list[int] = []
    while page := uploads.list_parts(connection, upload_id, after_number=found[-1] if found else 0, limit=limit):
        assert len(page) <= limit
        found += [part.number for part in page]
    assert found == numbers


def test_a_page_of_uploads_is_read_from_the_index(connection: sa.Connection) -> None:
    plan = connection.execute(
        sa.text(
            "EXPLAIN QUERY PLAN SELECT * FROM uploads WHERE instance = x'00' AND key >= x'61' AND key < x'62'"
            " AND (key, upload_id) > (x'61', 'g') ORDER BY key, upload_id LIMIT 10"
        )
    ).all()
    text = " ".join(row.detail for row in plan)
    assert "USING INDEX ix_uploads_instance_key_upload_id" in text
    assert "TEMP B-TREE" not in text


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("leaves", b""),
        ("leaves", b"\xa0"),
        ("leaves", b"\x81\x01"),
        ("leaves", b"\x82\x01\x01"),
        ("leaves", b"\x82\xd8\x2a\x58\x25\x00" + CID.of(DAG_CBOR, b"") + b"\x20"),
        ("checksums", b"\xff"),
        ("checksums", b"\x80"),
        ("checksums", b"\xa1\x61a\x01"),
    ],
)
def test_a_damaged_row_is_named(connection: sa.Connection, column: str, value: bytes) -> None:
    upload_id = _create(connection, b"k").upload_id
    uploads.put_part(connection, upload_id, _part(1), _leaves(1))
    connection.execute(sa.text(f"UPDATE parts SET {column} = :value"), {"value": value})
    with pytest.raises(UploadDamaged, match=f"part 1 of upload {upload_id}"):
        if column == "leaves":
            list(uploads.read_leaves(connection, upload_id, {1}))
        else:
            uploads.list_parts(connection, upload_id)
