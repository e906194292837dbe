from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest

from registry import settings
from registry.database import Database
from registry.heads import Bucket, BucketMissing, delete_bucket, insert_bucket

MakeBucket = Callable[..., Bucket]


@pytest.fixture
def bucket(database: Database, make_bucket: MakeBucket) -> Bucket:
    made = make_bucket()
    with database.write() as connection:
        insert_bucket(connection, made)
        insert_bucket(connection, make_bucket("other", b"o" * 16))
    return made


def test_the_last_document_is_kept_for_each_bucket_and_name(database: Database, bucket: Bucket) -> None:
    with database.write() as connection:
        assert settings.get(connection, bucket.instance, "tags") is None
        settings.put(connection, instance=bucket.instance, name="tags", document=b"1")
        settings.put(connection, instance=bucket.instance, name="tags", document=b"\x00\xff")
        settings.put(connection, instance=bucket.instance, name="cors", document=b"")
        settings.put(connection, instance=b"o" * 16, name="tags", document=b"other")
    with database.read() as connection:
        assert settings.get(connection, bucket.instance, "tags") == b"\x00\xff"
        assert settings.get(connection, bucket.instance, "cors") == b""
        assert settings.get(connection, b"o" * 16, "tags") == b"other"


def test_deleting_one_leaves_the_others(database: Database, bucket: Bucket) -> None:
    with database.write() as connection:
        settings.put(connection, instance=bucket.instance, name="tags", document=b"1")
        settings.put(connection, instance=bucket.instance, name="cors", document=b"2")
        assert settings.delete(connection, instance=bucket.instance, name="tags")
        assert not settings.delete(connection, instance=bucket.instance, name="tags")
    with database.read() as connection:
        assert settings.get(connection, bucket.instance, "tags") is None
        assert settings.get(connection, bucket.instance, "cors") == b"2"


def test_they_go_with_their_bucket(database: Database, bucket: Bucket) -> None:
    with database.write() as connection:
        settings.put(connection, instance=bucket.instance, name="tags", document=b"1")
        settings.put(connection, instance=b"o" * 16, name="tags", document=b"2")
        delete_bucket(connection, bucket.instance, bucket.commit)
        assert settings.get(connection, bucket.instance, "tags") is None
        assert settings.get(connection, b"o" * 16, "tags") == b"2"
        with pytest.raises(BucketMissing, match=bucket.instance.hex()):
            settings.put(connection, instance=bucket.instance, name="tags", document=b"1")


def test_a_missing_bucket_can_be_told_to_another_process() -> None:
    told = pickle.loads(pickle.dumps(BucketMissing(b"i" * 16)))
    assert (told.instance, str(told)) == (b"i" * 16, f"there is no bucket instance {(b'i' * 16).hex()}")


def test_all_documents_of_all_buckets(database: Database, bucket: Bucket) -> None:
    with database.write() as connection:
        assert settings.load_all(connection) == {}
        settings.put(connection, instance=bucket.instance, name="tags", document=b"1")
        settings.put(connection, instance=bucket.instance, name="cors", document=b"2")
        settings.put(connection, instance=b"o" * 16, name="tags", document=b"3")
        assert settings.load_all(connection) == {
            bucket.instance: {"tags": b"1", "cors": b"2"}, b"o" * 16: {"tags": b"3"}
        }  # fmt: skip
