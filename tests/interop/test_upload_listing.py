"""What ListParts and ListMultipartUploads say, beyond paging."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from botocore.exceptions import ClientError


def begin(s3: Any, bucket: str, key: str, **asked: Any) -> str:
    return str(s3.create_multipart_upload(Bucket=bucket, Key=key, **asked)["UploadId"])


def elements(reply: Any, name: str) -> list[str]:
    root = ElementTree.fromstring(reply.body)
    return [found.text or "" for found in root.iter() if found.tag.rpartition("}")[2] == name]


def test_what_was_fixed_at_the_start_is_shown(s3: Any, bucket: str) -> None:
    asked: dict[str, dict[str, str]] = {
        "a": {},
        "b": {"StorageClass": "GLACIER"},
        "c": {"ChecksumAlgorithm": "SHA256"},
        "d": {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"},
    }
    ids = {key: begin(s3, bucket, key, **options) for key, options in asked.items()}
    owner = s3.list_buckets()["Owner"]
    listed = s3.list_multipart_uploads(Bucket=bucket)
    assert [(row["Key"], row["UploadId"]) for row in listed["Uploads"]] == list(ids.items())
    expected = {
        "a": ("STANDARD", None, None),
        "b": ("GLACIER", None, None),
        "c": ("STANDARD", "SHA256", "COMPOSITE"),
        "d": ("STANDARD", "CRC32", "FULL_OBJECT"),
    }
    for row in listed["Uploads"]:
        parts = s3.list_parts(Bucket=bucket, Key=row["Key"], UploadId=row["UploadId"])
        for answer in (row, parts):
            shown = (answer["StorageClass"], answer.get("ChecksumAlgorithm"), answer.get("ChecksumType"))
            assert shown == expected[row["Key"]]
            assert answer["Owner"]["ID"] == answer["Initiator"]["ID"] == owner["ID"]
            assert answer["Owner"]["DisplayName"] == answer["Initiator"]["DisplayName"] == owner["DisplayName"]
    assert not listed["IsTruncated"]
    assert listed["MaxUploads"] == 1000
    assert "Delimiter" not in listed


@pytest.mark.parametrize("limit", [0, 1000, 1001, 2**31 - 1])
def test_limits(s3: Any, bucket: str, limit: int) -> None:
    """Zero asks for nothing, and is told that nothing more comes: no client loops."""
    upload_id = begin(s3, bucket, "k")
    s3.upload_part(Bucket=bucket, Key="k", UploadId=upload_id, PartNumber=1, Body=b"x")
    listed = s3.list_multipart_uploads(Bucket=bucket, MaxUploads=limit)
    parts = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload_id, MaxParts=limit)
    assert len(listed.get("Uploads", ())) == len(parts.get("Parts", ())) == min(limit, 1)
    assert not listed["IsTruncated"]
    assert not parts["IsTruncated"]
    assert listed["MaxUploads"] == parts["MaxParts"] == min(limit, 1000)


@pytest.mark.parametrize("value", ["-1", "x", "1.5", "2147483648", "\u0663", "9" * 100])
def test_bad_numbers(server: Any, s3: Any, bucket: str, value: str) -> None:
    upload_id = begin(s3, bucket, "k")
    for target in (
        f"/{bucket}?max-uploads={quote(value)}&uploads",
        f"/{bucket}/k?max-parts={quote(value)}&uploadId={upload_id}",
        f"/{bucket}/k?part-number-marker={quote(value)}&uploadId={upload_id}",
    ):
        reply = server.request("GET", target)
        assert (reply.status, reply.code) == (400, "InvalidArgument"), target


def test_markers(s3: Any, bucket: str) -> None:
    ids = [begin(s3, bucket, key) for key in ("a", "b", "b", "b", "c")]

    def listed(**markers: str) -> list[str]:
        return [row["UploadId"] for row in s3.list_multipart_uploads(Bucket=bucket, **markers).get("Uploads", ())]

    assert listed(KeyMarker="b") == ids[4:]
    assert listed(KeyMarker="b", UploadIdMarker=ids[1]) == ids[2:]
    assert listed(UploadIdMarker=ids[1]) == ids
    assert listed(UploadIdMarker="no id") == ids
    # A page can be asked for although the upload that ended the page before has ended meanwhile.
    s3.abort_multipart_upload(Bucket=bucket, Key="b", UploadId=ids[2])
    assert listed(KeyMarker="b", UploadIdMarker=ids[2]) == ids[3:]
    for bad in ("no id", ids[1][:-1], ids[1].upper() + "A"):
        with pytest.raises(ClientError, match="InvalidArgument"):
            listed(KeyMarker="b", UploadIdMarker=bad)
    answer = s3.list_multipart_uploads(Bucket=bucket, KeyMarker="a", UploadIdMarker=ids[0], MaxUploads=1)
    assert (answer["KeyMarker"], answer["UploadIdMarker"]) == ("a", ids[0])
    assert (answer["NextKeyMarker"], answer["NextUploadIdMarker"]) == ("b", ids[1])


def test_names_can_be_encoded(server: Any, s3: Any, bucket: str) -> None:
    for key in ("a b/+\u00e9", "a b/<&>", "z"):
        begin(s3, bucket, key)
    raw = server.request("GET", f"/{bucket}?prefix=a%20b&uploads")
    assert elements(raw, "Key") == ["a b/+\u00e9", "a b/<&>"]
    encoded = server.request("GET", f"/{bucket}?encoding-type=url&key-marker=a%20b%2F%2B%C3%A9&prefix=a%20b&uploads")
    assert elements(encoded, "Key") == ["a%20b/%3C%26%3E"]
    assert elements(encoded, "KeyMarker") == ["a%20b/%2B%C3%A9"]
    assert elements(encoded, "Prefix") == ["a%20b"]
    assert elements(encoded, "EncodingType") == ["url"]
    grouped = server.request("GET", f"/{bucket}?delimiter=b%2F&encoding-type=url&max-uploads=1&uploads")
    assert elements(grouped, "Delimiter") == ["b/"]
    assert elements(grouped, "NextKeyMarker") == ["a%20b/"]
    assert elements(grouped, "NextUploadIdMarker") == [""]
    assert elements(grouped, "IsTruncated") == ["true"]
    assert server.request("GET", f"/{bucket}?encoding-type=utf8&uploads").code == "InvalidArgument"


def test_part_markers(s3: Any, bucket: str) -> None:
    upload_id = begin(s3, bucket, "k")
    where = {"Bucket": bucket, "Key": "k", "UploadId": upload_id}
    empty = s3.list_parts(**where)
    assert (empty["PartNumberMarker"], empty["NextPartNumberMarker"], empty["IsTruncated"]) == (0, 0, False)
    for number in (2, 3, 9):
        s3.upload_part(**where, PartNumber=number, Body=b"x")
    for marker, expected in ((0, [2, 3, 9]), (2, [3, 9]), (5, [9]), (9, []), (20_000, [])):
        listed = s3.list_parts(**where, PartNumberMarker=marker)
        assert [part["PartNumber"] for part in listed.get("Parts", ())] == expected
        assert not listed["IsTruncated"]
    page = s3.list_parts(**where, MaxParts=2)
    assert (page["IsTruncated"], page["NextPartNumberMarker"]) == (True, 3)


def test_uploads_are_no_objects(s3: Any, bucket: str) -> None:
    upload_id = begin(s3, bucket, "k")
    s3.upload_part(Bucket=bucket, Key="k", UploadId=upload_id, PartNumber=1, Body=b"x")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert "Contents" not in s3.list_objects(Bucket=bucket)
    assert "Versions" not in s3.list_object_versions(Bucket=bucket)
