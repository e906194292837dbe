"""Pages of every size, put together, are the whole listing: nothing twice, nothing left out."""

from __future__ import annotations

from typing import Any

import pytest

KEYS = sorted(
    [
        "-",
        "a",
        "a-",
        "a-b",
        "a-b/c",
        "a/",
        "a//",
        "a//b",
        "a/b",
        "a/b-c",
        "a/b/c",
        "a/b/d",
        "a0",
        "b/",
        "b/c",
        "b/c-d",
        "ba",
        "c",
        "\u00e9",
        "\u00e9/\u00e9",
        "\u00e9/\uffff",
        "\U0001f600/a",
        "\U0001f600/b",
        "\U0010ffff",
    ],
    key=str.encode,
)
DELIMITERS = ["", "/", "//", "b", "\u00e9"]
PREFIXES = ["", "a", "a/", "\u00e9", "zz"]


def groups(keys: list[str], prefix: str, delimiter: str) -> list[tuple[str, bool]]:
    """The rows of a listing in order, each (text, is a common prefix), straight from the definition."""
    rows: dict[str, bool] = {}
    for key in keys:
        if key.startswith(prefix):
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            if cut >= 0:
                rows[key[: cut + len(delimiter)]] = True
            else:
                rows[key] = rows.get(key, False)
    return sorted(rows.items(), key=lambda row: row[0].encode())


def rows_of(answer: dict[str, Any], name: str) -> list[tuple[str, bool]]:
    """The rows of one page."""
    rows = [(row["Key"], False) for row in answer.get(name, ())]
    rows += [(row["Prefix"], True) for row in answer.get("CommonPrefixes", ())]
    return sorted(rows, key=lambda row: row[0].encode())


@pytest.fixture(scope="module")
def paged(s3: Any) -> str:
    s3.create_bucket(Bucket="paged")
    for key in KEYS:
        s3.put_object(Bucket="paged", Key=key, Body=b"")
    return "paged"


def walk_v1(s3: Any, size: int, **wanted: Any) -> list[list[tuple[str, bool]]]:
    pages, marker = [], ""
    while True:
        answer = s3.list_objects(MaxKeys=size, Marker=marker, **wanted)
        pages.append(rows_of(answer, "Contents"))
        if not answer["IsTruncated"]:
            return pages
        # What S3 promises: with a delimiter the marker is given, without one it is the last key.
        marker = answer["NextMarker"] if wanted["Delimiter"] else pages[-1][-1][0]


def walk_v2(s3: Any, size: int, **wanted: Any) -> list[list[tuple[str, bool]]]:
    pages: list[list[tuple[str, bool]]] = []
    token: dict[str, str] = {}
    while True:
        answer = s3.list_objects_v2(MaxKeys=size, **token, **wanted)
        pages.append(rows_of(answer, "Contents"))
        assert answer["KeyCount"] == len(pages[-1])
        assert answer["IsTruncated"] == ("NextContinuationToken" in answer)
        if not answer["IsTruncated"]:
            return pages
        token = {"ContinuationToken": answer["NextContinuationToken"]}


def walk_v2_start_after(s3: Any, size: int, **wanted: Any) -> list[list[tuple[str, bool]]]:
    pages: list[list[tuple[str, bool]]] = []
    after: dict[str, str] = {}
    while True:
        answer = s3.list_objects_v2(MaxKeys=size, **after, **wanted)
        pages.append(rows_of(answer, "Contents"))
        if not answer["IsTruncated"]:
            return pages
        after = {"StartAfter": pages[-1][-1][0]}


def walk_versions(s3: Any, size: int, **wanted: Any) -> list[list[tuple[str, bool]]]:
    pages: list[list[tuple[str, bool]]] = []
    markers: dict[str, str] = {}
    while True:
        answer = s3.list_object_versions(MaxKeys=size, **markers, **wanted)
        pages.append(rows_of(answer, "Versions"))
        if not answer["IsTruncated"]:
            return pages
        markers = {"KeyMarker": answer["NextKeyMarker"]}
        if "NextVersionIdMarker" in answer:
            markers["VersionIdMarker"] = answer["NextVersionIdMarker"]


@pytest.mark.parametrize("walk", [walk_v1, walk_v2, walk_v2_start_after, walk_versions])
@pytest.mark.parametrize("delimiter", DELIMITERS)
def test_objects(s3: Any, paged: str, walk: Any, delimiter: str) -> None:
    for prefix in PREFIXES:
        expected = groups(KEYS, prefix, delimiter)
        # Pages longer than all of it are all alike.
        for size in range(1, len(expected) + 2):
            pages = walk(s3, size, Bucket=paged, Prefix=prefix, Delimiter=delimiter)
            assert [row for page in pages for row in page] == expected, (prefix, size)
            assert all(len(page) == size for page in pages[:-1]), (prefix, size)
            assert len(pages) == max(-(-len(expected) // size), 1), (prefix, size)


@pytest.mark.parametrize("delimiter", ["", "/"])
def test_every_start(s3: Any, paged: str, delimiter: str) -> None:
    """Any text may be a marker, a key or not."""
    for marker in ["", *KEYS, *(f"{key}!" for key in KEYS), *(key[:-1] for key in KEYS), "\x01", "a/b/cc"]:
        expected = [key for key in KEYS if key.encode() > marker.encode()]
        if not delimiter:
            for answer in (
                s3.list_objects(Bucket=paged, Marker=marker),
                s3.list_objects_v2(Bucket=paged, StartAfter=marker),
            ):
                assert [row["Key"] for row in answer.get("Contents", ())] == expected, marker
        else:
            # A group comes if one of its keys does, unless the marker names the group itself or a key in it.
            own = groups([marker], "", delimiter)
            rows = [row for row in groups(expected, "", delimiter) if not row[1] or row not in own]
            for answer in (
                s3.list_objects(Bucket=paged, Marker=marker, Delimiter=delimiter),
                s3.list_objects_v2(Bucket=paged, StartAfter=marker, Delimiter=delimiter),
            ):
                assert rows_of(answer, "Contents") == rows, marker
            answer = s3.list_object_versions(Bucket=paged, KeyMarker=marker, Delimiter=delimiter)
            assert rows_of(answer, "Versions") == rows, marker


def test_buckets(s3: Any) -> None:
    names = [f"page-{letter}{digit}" for letter in "abc" for digit in range(3)]
    for name in names:
        s3.create_bucket(Bucket=name)
    for size in range(1, len(names) + 2):
        found: list[str] = []
        token = {"ContinuationToken": ""}  # which Amazon S3 takes for none here
        while True:
            answer = s3.list_buckets(Prefix="page-", MaxBuckets=size, **token)
            found += [bucket["Name"] for bucket in answer["Buckets"]]
            assert len(answer["Buckets"]) <= size
            if "ContinuationToken" not in answer:
                break
            token = {"ContinuationToken": answer["ContinuationToken"]}
        assert found == names, size


def test_parts(s3: Any, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    numbers = [1, 2, 3, 7, 10, 500, 10_000]
    for number in numbers:
        s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=b"x")
    for size in range(1, len(numbers) + 2):
        found: list[int] = []
        marker = 0
        while True:
            answer = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload, MaxParts=size, PartNumberMarker=marker)
            found += [part["PartNumber"] for part in answer["Parts"]]
            assert (answer["MaxParts"], answer["PartNumberMarker"]) == (size, marker)
            if not answer["IsTruncated"]:
                break
            marker = answer["NextPartNumberMarker"]
            assert len(answer["Parts"]) == size
            assert marker == found[-1]
        assert found == numbers, size


@pytest.mark.parametrize("delimiter", ["", "/", "-"])
def test_uploads(s3: Any, bucket: str, delimiter: str) -> None:
    """Uploads of one key come in the order they were begun; groups as in a listing of objects."""
    keys = ["a", "a", "a", "a-b", "a/b", "a/b", "a/c", "b/c", "b/c", "c", "\u00e9/x"]
    uploads = [(key, s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]) for key in keys]
    for prefix in ("", "a", "b/"):
        shown = [row for row in uploads if row[0].startswith(prefix)]
        expected = groups([key for key, _ in shown], prefix, delimiter)
        singles = [row for row in shown if not delimiter or row[0].find(delimiter, len(prefix)) < 0]
        total = len(singles) + sum(is_group for _, is_group in expected)
        for size in [*range(1, total + 2), 1000]:
            found, prefixes = walk_uploads(s3, size, Bucket=bucket, Prefix=prefix, Delimiter=delimiter)
            assert sorted(found) == sorted(singles), (prefix, size)
            assert [key for key, _ in found] == sorted((key for key, _ in singles), key=str.encode)
            assert prefixes == [text for text, is_group in expected if is_group], (prefix, size)


def walk_uploads(s3: Any, size: int, **wanted: Any) -> tuple[list[tuple[str, str]], list[str]]:
    found: list[tuple[str, str]] = []
    prefixes: list[str] = []
    markers: dict[str, str] = {}
    while True:
        answer = s3.list_multipart_uploads(MaxUploads=size, **markers, **wanted)
        page = [(row["Key"], row["UploadId"]) for row in answer.get("Uploads", ())]
        groups_here = [row["Prefix"] for row in answer.get("CommonPrefixes", ())]
        found += page
        prefixes += groups_here
        if not answer["IsTruncated"]:
            return found, prefixes
        assert len(page) + len(groups_here) == size
        markers = {"KeyMarker": answer["NextKeyMarker"]}
        if answer.get("NextUploadIdMarker"):
            markers["UploadIdMarker"] = answer["NextUploadIdMarker"]
