"""Pages of uploads and of parts, of every size: put together they are the whole, each row and each group once."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.upload_page import collect, marker_of
from mst.cid import CID, DAG_CBOR
from registry import heads, uploads
from registry.database import Database
from registry.heads import Bucket
from registry.uploads import Part

KEYS = st.text("ab/-\u00e9\U0001f600", min_size=1, max_size=5)
DELIMITERS = ["", "/", "-", "//", "a", "aa", "\u00e9", "b/"]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    opened = Database.open(tmp_path_factory.mktemp("registry") / "registry.db")
    yield opened
    opened.close()


_instances = iter(range(10**9))


def _begin(database: Database, keys: list[str]) -> tuple[bytes, list[tuple[bytes, str]]]:
    """A bucket with an upload of each key: its instance, and the uploads in the order of a listing."""
    name = f"bucket-{next(_instances)}"
    instance = md5(name.encode()).digest()
    cid = CID.of(DAG_CBOR, b"")
    made = []
    with database.write() as connection:
        heads.insert_bucket(connection, Bucket(name, instance, cid, cid, 1, 0, 0, 4, None, 1, 1))
        for now_ms, key in enumerate(keys):
            upload = uploads.create(
                connection, instance=instance, key=key.encode(), owner="me", meta=b"", now_ms=now_ms
            )
            made.append((upload.key, upload.upload_id))
    return instance, sorted(made)


Row = tuple[bytes, str] | bytes
"""An upload, or a common prefix."""


def _rows(made: list[tuple[bytes, str]], prefix: bytes, delimiter: bytes) -> list[Row]:
    """A listing straight from its definition."""
    rows: dict[Row, None] = {}
    for key, upload_id in made:
        if key.startswith(prefix):
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (b"", b"", b"")
            rows[prefix + head + found if found else (key, upload_id)] = None
    return list(rows)


@given(st.lists(KEYS, max_size=12), st.sampled_from(["", "a", "/", "ab", "\u00e9"]), st.sampled_from(DELIMITERS))
def test_uploads(database: Database, keys: list[str], prefix_text: str, delimiter_text: str) -> None:
    instance, made = _begin(database, keys)
    prefix, delimiter = prefix_text.encode(), delimiter_text.encode()
    expected = _rows(made, prefix, delimiter)
    with database.read() as connection:
        for limit in range(1, len(expected) + 2):
            found: list[Row] = []
            start = marker_of(b"", None, prefix, delimiter)
            while True:
                page = collect(connection, instance, start, prefix, delimiter, limit)
                rows = [(upload.key, upload.upload_id) for upload in page.rows]
                merged = sorted([*rows, *page.groups], key=lambda row: (row, "") if isinstance(row, bytes) else row)
                assert len(merged) == limit if page.truncated else len(merged) <= limit
                found += merged
                if not page.truncated:
                    break
                assert page.last.key is not None
                page.last.key.decode()  # it goes through a text parameter
                start = marker_of(page.last.key, page.last.upload_id, prefix, delimiter)
            assert found == expected


@given(st.lists(KEYS, max_size=12), KEYS, st.sampled_from(DELIMITERS))
def test_uploads_after_any_key(database: Database, keys: list[str], marker: str, delimiter_text: str) -> None:
    """The marker's own uploads are left out, and a group whose name it is or that it is in."""
    instance, made = _begin(database, keys)
    key, delimiter = marker.encode(), delimiter_text.encode()
    (own,) = _rows([(key, "")], b"", delimiter)
    expected = [row for row in _rows([row for row in made if row[0] > key], b"", delimiter) if row != own]
    with database.read() as connection:
        page = collect(connection, instance, marker_of(key, None, b"", delimiter), b"", delimiter, 1000)
    listed: list[Row] = [(upload.key, upload.upload_id) for upload in page.rows]
    assert sorted(listed) == [row for row in expected if isinstance(row, tuple)]
    assert page.groups == [row for row in expected if isinstance(row, bytes)]


def test_a_group_larger_than_what_is_read_at_once(database: Database) -> None:
    keys = [f"a/{number}" for number in range(uploads.PAGE_MAX + 5)] + ["b", "c/1", "c/2"]
    instance, made = _begin(database, keys)
    with database.read() as connection:
        page = collect(connection, instance, marker_of(b"", None, b"", b"/"), b"", b"/", 3)
        whole = collect(connection, instance, marker_of(b"", None, b"", b""), b"", b"", 5000)
    assert ([upload.key for upload in page.rows], page.groups, page.truncated) == ([b"b"], [b"a/", b"c/"], False)
    assert [(upload.key, upload.upload_id) for upload in whole.rows] == made
    assert not whole.truncated


@given(st.sets(st.integers(1, 10_000), max_size=12))
def test_parts(database: Database, numbers: set[int]) -> None:
    _, [(_, upload_id)] = _begin(database, ["k"])
    with database.write() as connection:
        for number in numbers:
            uploads.put_part(connection, upload_id, Part(number, bytes(16), number, {}, 0), [])
    with database.read() as connection:
        for limit in range(1, len(numbers) + 2):
            found: list[int] = []
            while page := uploads.list_parts(
                connection, upload_id, after_number=found[-1] if found else 0, limit=limit
            ):
                assert len(page) <= limit
                found += [part.number for part in page]
            assert found == sorted(numbers)
