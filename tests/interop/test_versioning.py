"""Versions as boto3 makes, reads, lists and deletes them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

ABSENT = "00000000000f0001"
"""A version id that is well-formed and was never given."""


def set_versioning(s3: Any, bucket: str, status: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


def read(s3: Any, bucket: str, key: str, **options: Any) -> bytes:
    content: bytes = s3.get_object(Bucket=bucket, Key=key, **options)["Body"].read()
    return content


def put(s3: Any, bucket: str, key: str, body: bytes) -> str | None:
    """The version id that the answer names."""
    version: str | None = s3.put_object(Bucket=bucket, Key=key, Body=body).get("VersionId")
    return version


def rows(answer: dict[str, Any]) -> list[tuple[str, str, bool, bool]]:
    """Key, version id, whether it is the latest, whether it is a delete marker."""
    versions = [(row["Key"], row["VersionId"], row["IsLatest"], False) for row in answer.get("Versions", [])]
    markers = [(row["Key"], row["VersionId"], row["IsLatest"], True) for row in answer.get("DeleteMarkers", [])]
    return versions + markers


def listed(s3: Any, bucket: str, **options: Any) -> set[tuple[str, str, bool, bool]]:
    return set(rows(s3.list_object_versions(Bucket=bucket, **options)))


def headers_of(error: ClientError) -> dict[str, str]:
    headers: dict[str, str] = error.response["ResponseMetadata"]["HTTPHeaders"]
    return headers


@pytest.fixture
def versioned(s3: Any, bucket: str) -> str:
    set_versioning(s3, bucket, "Enabled")
    return bucket


class TestState:
    def test_of_a_bucket(self, s3: Any, bucket: str) -> None:
        assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
        for status in ("Enabled", "Enabled", "Suspended", "Enabled"):
            set_versioning(s3, bucket, status)
            assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == status

    def test_of_none(self, s3: Any, refused: Any) -> None:
        with refused("NoSuchBucket", 404):
            set_versioning(s3, "no-such-bucket", "Enabled")
        with refused("NoSuchBucket", 404):
            s3.get_bucket_versioning(Bucket="no-such-bucket")

    @pytest.mark.parametrize(
        ("configuration", "code", "status"),
        [
            ({}, "IllegalVersioningConfigurationException", 400),
            ({"Status": "enabled"}, "MalformedXML", 400),
            ({"Status": "Enabled", "MFADelete": "Enabled"}, "NotImplemented", 501),
            ({"Status": "Enabled", "MFADelete": "perhaps"}, "MalformedXML", 400),
        ],
    )
    def test_that_cannot_be(
        self, s3: Any, bucket: str, refused: Any, configuration: dict[str, str], code: str, status: int
    ) -> None:
        with refused(code, status):
            s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=configuration)
        assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)

    def test_without_mfa_delete(self, s3: Any, bucket: str) -> None:
        configuration = {"Status": "Suspended", "MFADelete": "Disabled"}
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=configuration)
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Suspended"


class TestEnabled:
    def test_every_version_stays(self, s3: Any, versioned: str) -> None:
        ids = [put(s3, versioned, "k", b"%d" % n) for n in range(3)]
        assert None not in ids
        assert len(set(ids)) == 3
        assert read(s3, versioned, "k") == b"2"
        for n, version in enumerate(ids):
            got = s3.get_object(Bucket=versioned, Key="k", VersionId=version)
            assert (got["Body"].read(), got["VersionId"]) == (b"%d" % n, version)
            head = s3.head_object(Bucket=versioned, Key="k", VersionId=version)
            assert (head["VersionId"], head["ETag"]) == (version, got["ETag"])
        assert s3.head_object(Bucket=versioned, Key="k")["VersionId"] == ids[2]
        answer = s3.list_object_versions(Bucket=versioned)
        assert rows(answer) == [("k", ids[2], True, False), ("k", ids[1], False, False), ("k", ids[0], False, False)]
        assert s3.list_objects_v2(Bucket=versioned)["KeyCount"] == 1

    def test_an_object_from_before(self, s3: Any, bucket: str) -> None:
        assert put(s3, bucket, "k", b"before") is None
        assert "VersionId" not in s3.get_object(Bucket=bucket, Key="k")
        set_versioning(s3, bucket, "Enabled")
        assert s3.get_object(Bucket=bucket, Key="k")["VersionId"] == "null"
        version = put(s3, bucket, "k", b"after")
        assert read(s3, bucket, "k", VersionId="null") == b"before"
        assert listed(s3, bucket) == {("k", version, True, False), ("k", "null", False, False)}
        assert s3.delete_object(Bucket=bucket, Key="k", VersionId="null")["VersionId"] == "null"
        assert listed(s3, bucket) == {("k", version, True, False)}

    def test_a_delete_marker(self, s3: Any, versioned: str, refused: Any) -> None:
        version = put(s3, versioned, "k", b"x")
        gone = s3.delete_object(Bucket=versioned, Key="k")
        marker = gone["VersionId"]
        assert gone["DeleteMarker"] is True
        for call in (s3.get_object, s3.head_object):
            with pytest.raises(ClientError) as caught:
                call(Bucket=versioned, Key="k")
            assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
            assert headers_of(caught.value)["x-amz-delete-marker"] == "true"
            assert headers_of(caught.value)["x-amz-version-id"] == marker
            with pytest.raises(ClientError) as caught:
                call(Bucket=versioned, Key="k", VersionId=marker)
            assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 405
            assert headers_of(caught.value)["x-amz-delete-marker"] == "true"
            assert headers_of(caught.value)["allow"] == "DELETE"
            assert "last-modified" in headers_of(caught.value)
        assert s3.list_objects_v2(Bucket=versioned)["KeyCount"] == 0
        assert listed(s3, versioned) == {("k", version, False, False), ("k", marker, True, True)}
        assert read(s3, versioned, "k", VersionId=version) == b"x"
        for refusing in (s3.get_object_tagging, s3.delete_object_tagging):
            with refused("MethodNotAllowed", 405):
                refusing(Bucket=versioned, Key="k", VersionId=marker)
        back = s3.delete_object(Bucket=versioned, Key="k", VersionId=marker)
        assert (back["DeleteMarker"], back["VersionId"]) == (True, marker)
        assert read(s3, versioned, "k") == b"x"
        assert listed(s3, versioned) == {("k", version, True, False)}

    def test_deleting_what_never_was(self, s3: Any, versioned: str) -> None:
        markers = [s3.delete_object(Bucket=versioned, Key="k")["VersionId"] for _ in range(2)]
        assert listed(s3, versioned) == {("k", markers[1], True, True), ("k", markers[0], False, True)}
        assert s3.delete_object(Bucket=versioned, Key="other", VersionId=ABSENT)["VersionId"] == ABSENT
        assert len(listed(s3, versioned)) == 2

    def test_deleting_the_newest_brings_the_one_before(self, s3: Any, versioned: str) -> None:
        ids = [put(s3, versioned, "k", b"%d" % n) for n in range(3)]
        for n in (2, 1, 0):
            assert read(s3, versioned, "k") == b"%d" % n
            gone = s3.delete_object(Bucket=versioned, Key="k", VersionId=ids[n])
            assert (gone["VersionId"], "DeleteMarker" in gone) == (ids[n], False)
        assert listed(s3, versioned) == set()

    def test_ids(self, s3: Any, versioned: str, refused: Any) -> None:
        put(s3, versioned, "k", b"x")
        for call in (s3.get_object, s3.get_object_tagging):
            with refused("NoSuchVersion", 404):
                call(Bucket=versioned, Key="k", VersionId=ABSENT)
            with refused("NoSuchVersion", 404):
                call(Bucket=versioned, Key="k", VersionId="null")
        for bad in ("0" * 16, ABSENT.upper(), ABSENT + "0", "f" * 16, "../../k", "3sL4kqtJlcpXroDTDmJrmSpXd3dIbrHY"):
            for call in (s3.get_object, s3.delete_object, s3.get_object_tagging):
                with refused("InvalidArgument", 400):
                    call(Bucket=versioned, Key="k", VersionId=bad)
        assert read(s3, versioned, "k") == b"x"

    def test_conditions_are_of_the_current_version(self, s3: Any, versioned: str, refused: Any) -> None:
        first = s3.put_object(Bucket=versioned, Key="k", Body=b"1", IfNoneMatch="*")
        with refused("PreconditionFailed", 412):
            s3.put_object(Bucket=versioned, Key="k", Body=b"2", IfNoneMatch="*")
        s3.put_object(Bucket=versioned, Key="k", Body=b"2", IfMatch=first["ETag"])
        with refused("PreconditionFailed", 412):
            s3.put_object(Bucket=versioned, Key="k", Body=b"3", IfMatch=first["ETag"])
        s3.delete_object(Bucket=versioned, Key="k")
        with refused("NoSuchKey", 404):
            s3.put_object(Bucket=versioned, Key="k", Body=b"3", IfMatch=first["ETag"])
        s3.put_object(Bucket=versioned, Key="k", Body=b"3", IfNoneMatch="*")
        assert len(listed(s3, versioned)) == 4

    def test_a_conditional_delete_is_of_the_current_version(self, s3: Any, versioned: str, refused: Any) -> None:
        """As measured at Amazon S3: without a current object there is no key, and a version takes no condition."""
        put(s3, versioned, "k", b"old")
        new = s3.put_object(Bucket=versioned, Key="k", Body=b"new")
        for condition in (new["ETag"], "*"):
            with refused("NotImplemented", 501):
                s3.delete_object(Bucket=versioned, Key="k", VersionId=new["VersionId"], IfMatch=condition)
        with refused("PreconditionFailed", 412):
            s3.delete_object(Bucket=versioned, Key="k", IfMatch='"other"')
        assert read(s3, versioned, "k") == b"new"
        assert s3.delete_object(Bucket=versioned, Key="k", IfMatch=new["ETag"])["DeleteMarker"]
        for condition in (new["ETag"], "*"):
            with refused("NoSuchKey", 404):
                s3.delete_object(Bucket=versioned, Key="k", IfMatch=condition)
        [error] = s3.delete_objects(Bucket=versioned, Delete={"Objects": [{"Key": "k", "ETag": new["ETag"]}]})["Errors"]
        assert error["Code"] == "NoSuchKey"
        assert len(listed(s3, versioned)) == 3

    def test_concurrent_writers_make_a_version_each(self, s3: Any, versioned: str) -> None:
        with ThreadPoolExecutor(8) as pool:
            ids = list(pool.map(lambda n: put(s3, versioned, "k", b"%d" % n), range(40)))
        answer = s3.list_object_versions(Bucket=versioned)
        assert {row["VersionId"] for row in answer["Versions"]} == set(ids)
        assert [row["IsLatest"] for row in answer["Versions"]] == [True] + [False] * 39
        for n, version in enumerate(ids):
            assert read(s3, versioned, "k", VersionId=version) == b"%d" % n

    def test_an_upload_makes_a_version(self, s3: Any, versioned: str) -> None:
        old = put(s3, versioned, "k", b"x")
        upload = s3.create_multipart_upload(Bucket=versioned, Key="k")["UploadId"]
        part = s3.upload_part(Bucket=versioned, Key="k", UploadId=upload, PartNumber=1, Body=b"y")
        whole = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        done = s3.complete_multipart_upload(Bucket=versioned, Key="k", UploadId=upload, MultipartUpload=whole)
        newest = put(s3, versioned, "k", b"z")
        again = s3.complete_multipart_upload(Bucket=versioned, Key="k", UploadId=upload, MultipartUpload=whole)
        assert again["VersionId"] == done["VersionId"]
        assert read(s3, versioned, "k", VersionId=done["VersionId"]) == b"y"
        assert [row[1] for row in rows(s3.list_object_versions(Bucket=versioned))] == [newest, done["VersionId"], old]

    def test_a_put_names_no_version(self, server: Any, versioned: str) -> None:
        for headers in ({}, {"x-amz-copy-source": f"{versioned}/k"}):
            answer = server.request("PUT", f"/{versioned}/k?versionId=null", headers=headers)
            assert (answer.status, answer.code) == (400, "InvalidArgument")


class TestCopies:
    def test_of_a_version(self, s3: Any, versioned: str) -> None:
        ids = [put(s3, versioned, "k", b"%d" % n) for n in range(2)]
        source = {"Bucket": versioned, "Key": "k", "VersionId": ids[0]}
        copied = s3.copy_object(Bucket=versioned, Key="copy", CopySource=source)
        assert copied["CopySourceVersionId"] == ids[0]
        assert read(s3, versioned, "copy", VersionId=copied["VersionId"]) == b"0"
        current = s3.copy_object(Bucket=versioned, Key="copy", CopySource={"Bucket": versioned, "Key": "k"})
        assert current["CopySourceVersionId"] == ids[1]
        # To itself: an old version is current again.
        back = s3.copy_object(Bucket=versioned, Key="k", CopySource=source)
        assert read(s3, versioned, "k") == b"0"
        assert [row[1] for row in rows(s3.list_object_versions(Bucket=versioned, Prefix="k"))] == [
            back["VersionId"], ids[1], ids[0],
        ]  # fmt: skip

    def test_into_a_part(self, s3: Any, versioned: str) -> None:
        old = put(s3, versioned, "k", b"old")
        put(s3, versioned, "k", b"new")
        upload = s3.create_multipart_upload(Bucket=versioned, Key="whole")["UploadId"]
        part = s3.upload_part_copy(
            Bucket=versioned, Key="whole", UploadId=upload, PartNumber=1,
            CopySource={"Bucket": versioned, "Key": "k", "VersionId": old},
        )  # fmt: skip
        assert part["CopySourceVersionId"] == old
        whole = {"Parts": [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]}
        s3.complete_multipart_upload(Bucket=versioned, Key="whole", UploadId=upload, MultipartUpload=whole)
        assert read(s3, versioned, "whole") == b"old"

    def test_of_what_is_no_object(self, s3: Any, versioned: str, refused: Any) -> None:
        put(s3, versioned, "k", b"x")
        marker = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
        for version, code, status in (
            (None, "NoSuchKey", 404), (marker, "InvalidRequest", 400), (ABSENT, "NoSuchVersion", 404),
            ("nonsense", "InvalidArgument", 400),
        ):  # fmt: skip
            source = {"Bucket": versioned, "Key": "k"} | ({"VersionId": version} if version else {})
            with refused(code, status):
                s3.copy_object(Bucket=versioned, Key="copy", CopySource=source)


class TestWhatIsKeptWithAVersion:
    @pytest.mark.parametrize("length", [1, 200, 230, 240, 250, 1500])
    def test_metadata_of_every_size(self, s3: Any, versioned: str, length: int) -> None:
        metadata = {"a": "x" * length}
        made = s3.put_object(Bucket=versioned, Key="k", Body=b"x", Metadata=metadata, ContentType="text/plain")
        put(s3, versioned, "k", b"other")
        for version in (made["VersionId"],):
            head = s3.head_object(Bucket=versioned, Key="k", VersionId=version)
            assert (head["Metadata"], head["ContentType"]) == (metadata, "text/plain")
        copied = s3.copy_object(
            Bucket=versioned, Key="copy", CopySource={"Bucket": versioned, "Key": "k", "VersionId": made["VersionId"]}
        )
        head = s3.head_object(Bucket=versioned, Key="copy", VersionId=copied["VersionId"])
        assert (head["Metadata"], head["ContentType"]) == (metadata, "text/plain")

    def test_tags(self, s3: Any, versioned: str) -> None:
        ids = [put(s3, versioned, "k", b"%d" % n) for n in range(2)]
        before = listed(s3, versioned)
        for version, value in zip(ids, ("old", "new"), strict=True):
            tags = {"TagSet": [{"Key": "t", "Value": value}]}
            answer = s3.put_object_tagging(Bucket=versioned, Key="k", VersionId=version, Tagging=tags)
            assert answer["VersionId"] == version
        for options, value in (({"VersionId": ids[0]}, "old"), ({"VersionId": ids[1]}, "new"), ({}, "new")):
            found = s3.get_object_tagging(Bucket=versioned, Key="k", **options)
            assert (found["TagSet"][0]["Value"], found["VersionId"]) == (value, options.get("VersionId", ids[1]))
        s3.delete_object_tagging(Bucket=versioned, Key="k", VersionId=ids[0])
        assert s3.get_object_tagging(Bucket=versioned, Key="k", VersionId=ids[0])["TagSet"] == []
        assert s3.get_object_tagging(Bucket=versioned, Key="k")["TagSet"]
        assert listed(s3, versioned) == before

    def test_attributes(self, s3: Any, versioned: str) -> None:
        old = put(s3, versioned, "k", b"old")
        new = put(s3, versioned, "k", b"newer")
        for version, size in ((old, 3), (new, 5)):
            found = s3.get_object_attributes(
                Bucket=versioned, Key="k", VersionId=version, ObjectAttributes=["ObjectSize"]
            )
            assert (found["ObjectSize"], found["VersionId"]) == (size, version)


class TestSuspended:
    def test_there_is_one_null_version(self, s3: Any, versioned: str) -> None:
        version = put(s3, versioned, "k", b"1")
        set_versioning(s3, versioned, "Suspended")
        assert put(s3, versioned, "k", b"2") is None
        assert listed(s3, versioned) == {("k", "null", True, False), ("k", version, False, False)}
        put(s3, versioned, "k", b"3")
        assert listed(s3, versioned) == {("k", "null", True, False), ("k", version, False, False)}
        assert s3.get_object(Bucket=versioned, Key="k")["VersionId"] == "null"
        copied = s3.copy_object(
            Bucket=versioned, Key="k", CopySource={"Bucket": versioned, "Key": "k", "VersionId": version}
        )
        assert (copied["VersionId"], copied["CopySourceVersionId"]) == ("null", version)
        gone = s3.delete_object(Bucket=versioned, Key="k")
        assert (gone["DeleteMarker"], gone["VersionId"]) == (True, "null")
        assert listed(s3, versioned) == {("k", "null", True, True), ("k", version, False, False)}
        set_versioning(s3, versioned, "Enabled")
        newest = put(s3, versioned, "k", b"4")
        assert [row[1:] for row in rows(s3.list_object_versions(Bucket=versioned))] == [
            (newest, True, False), (version, False, False), ("null", False, True),
        ]  # fmt: skip
        set_versioning(s3, versioned, "Suspended")
        put(s3, versioned, "k", b"5")
        assert listed(s3, versioned) == {
            ("k", "null", True, False), ("k", newest, False, False), ("k", version, False, False),
        }  # fmt: skip
        s3.delete_object(Bucket=versioned, Key="k", VersionId="null")
        assert read(s3, versioned, "k") == b"4"


class TestDeleteObjects:
    def test_answers(self, s3: Any, versioned: str) -> None:
        ids = [put(s3, versioned, "k", b"%d" % n) for n in range(2)]
        [marked] = s3.delete_objects(Bucket=versioned, Delete={"Objects": [{"Key": "k"}]})["Deleted"]
        marker = marked["DeleteMarkerVersionId"]
        assert marked == {"Key": "k", "DeleteMarker": True, "DeleteMarkerVersionId": marker}
        wanted = [{"Key": "k", "VersionId": version} for version in (ids[0], marker, "nonsense", ABSENT)]
        answer = s3.delete_objects(Bucket=versioned, Delete={"Objects": wanted})
        assert answer["Deleted"] == [
            {"Key": "k", "VersionId": ids[0]},
            {"Key": "k", "VersionId": marker, "DeleteMarker": True, "DeleteMarkerVersionId": marker},
            {"Key": "k", "VersionId": ABSENT},
        ]
        [error] = answer["Errors"]
        assert (error["Code"], error["VersionId"]) == ("InvalidArgument", "nonsense")
        assert listed(s3, versioned) == {("k", ids[1], True, False)}


class TestListing:
    @pytest.fixture
    def full(self, s3: Any, versioned: str) -> str:
        put(s3, versioned, "a", b"")
        for key in ("b/1", "a", "b/2", "a", "c", "b/1"):
            put(s3, versioned, key, b"")
        s3.delete_object(Bucket=versioned, Key="a")
        set_versioning(s3, versioned, "Suspended")
        put(s3, versioned, "c", b"")
        return versioned

    @pytest.mark.parametrize("options", [{}, {"Delimiter": "/"}, {"Prefix": "b"}, {"Prefix": "b/", "Delimiter": "/"}])
    def test_pages_join_to_the_whole(self, s3: Any, full: str, options: dict[str, str]) -> None:
        whole = s3.list_object_versions(Bucket=full, **options)
        assert not whole["IsTruncated"]
        prefixes = [row["Prefix"] for row in whole.get("CommonPrefixes", [])]
        for limit in range(1, len(rows(whole)) + len(prefixes) + 1):
            pages = list(
                s3.get_paginator("list_object_versions").paginate(
                    Bucket=full, PaginationConfig={"PageSize": limit}, **options
                )
            )
            assert sorted(row for page in pages for row in rows(page)) == sorted(rows(whole))
            assert [row["Prefix"] for page in pages for row in page.get("CommonPrefixes", [])] == prefixes
            assert all(len(rows(page)) + len(page.get("CommonPrefixes", [])) <= limit for page in pages)

    def test_markers(self, s3: Any, full: str, refused: Any) -> None:
        whole = s3.list_object_versions(Bucket=full)
        of_a = [row for row in rows(whole) if row[0] == "a"]
        after_key = s3.list_object_versions(Bucket=full, KeyMarker="a")
        assert sorted(rows(after_key)) == sorted(row for row in rows(whole) if row[0] != "a")
        middle = sorted((row for row in of_a if not row[3]), key=lambda row: row[1])[1]
        after = s3.list_object_versions(Bucket=full, KeyMarker="a", VersionIdMarker=middle[1])
        assert len([row for row in rows(after) if row[0] == "a"]) == 1
        with refused("InvalidArgument", 400):
            s3.list_object_versions(Bucket=full, KeyMarker="a", VersionIdMarker="nonsense")
        with refused("InvalidArgument", 400):
            s3.list_object_versions(Bucket=full, VersionIdMarker=middle[1])

    def test_emptying_a_bucket_page_by_page(self, s3: Any, full: str, refused: Any) -> None:
        """As clients do it: each page is deleted before the next is asked for from its markers."""
        with refused("BucketNotEmpty", 409):
            s3.delete_bucket(Bucket=full)
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=full, PaginationConfig={"PageSize": 1}):
            objects = [{"Key": key, "VersionId": version} for key, version, _, _ in rows(page)]
            assert "Errors" not in s3.delete_objects(Bucket=full, Delete={"Objects": objects})
        assert listed(s3, full) == set()
        s3.delete_bucket(Bucket=full)

    def test_a_bucket_with_a_marker_only(self, s3: Any, versioned: str, refused: Any) -> None:
        marker = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
        with refused("BucketNotEmpty", 409):
            s3.delete_bucket(Bucket=versioned)
        s3.delete_object(Bucket=versioned, Key="k", VersionId=marker)
        s3.delete_bucket(Bucket=versioned)
