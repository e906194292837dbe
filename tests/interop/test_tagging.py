"""Tags of objects and of buckets, as boto3 sets, reads and copies them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest


def tag_set(tags: dict[str, str]) -> dict[str, Any]:
    return {"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]}


def tags_of(answer: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}


TAGS = {"colour": "green", "empty": "", "space and + sign": "a:/=+-@_.", "größe": "\U0001d7d8 \u6771\u4eac"}
TOO_MUCH = [
    ({f"k{n}": "" for n in range(11)}, "BadRequest"),
    ({"k" * 129: ""}, "InvalidTag"),
    ({"\U0001d7d8" * 65: ""}, "InvalidTag"),
    ({"k": "v" * 257}, "InvalidTag"),
    ({"k": "\U0001d7d8" * 129}, "InvalidTag"),
    ({"k!": ""}, "InvalidTag"),
    ({"k": "<v>"}, "InvalidTag"),
    ({"k": "new\nline"}, "InvalidTag"),
    ({"aws:k": ""}, "InvalidTag"),
]


class TestObjects:
    def test_put_get_delete(self, s3: Any, bucket: str) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
        assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
        s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set(TAGS))
        found = s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]
        assert tags_of({"TagSet": found}) == TAGS
        assert [tag["Key"] for tag in found] == sorted(TAGS)
        part = s3.get_object(Bucket=bucket, Key="k", Range="bytes=0-0")
        for answer in (s3.head_object(Bucket=bucket, Key="k"), part):
            assert answer["TagCount"] == len(TAGS)
        s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set({"other": "1"}))
        assert tags_of(s3.get_object_tagging(Bucket=bucket, Key="k")) == {"other": "1"}
        for _ in range(2):
            gone = s3.delete_object_tagging(Bucket=bucket, Key="k")
            assert gone["ResponseMetadata"]["HTTPStatusCode"] == 204
        assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
        assert "TagCount" not in s3.head_object(Bucket=bucket, Key="k")

    def test_the_rest_of_the_object_stays(self, s3: Any, bucket: str) -> None:
        stored = {"ContentType": "text/plain", "Metadata": {"a": "1" * 300}, "ChecksumAlgorithm": "SHA1"}
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", **stored)
        before = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set(TAGS))
        s3.delete_object_tagging(Bucket=bucket, Key="k")
        after = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        for field in ("ETag", "LastModified", "ContentType", "Metadata", "ChecksumSHA1", "ContentLength"):
            assert after[field] == before[field]

    def test_tags_pin_the_root(self, s3: Any, bucket: str) -> None:
        def root() -> str:
            return s3.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPHeaders"]["x-ms3t-root"]

        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
        untagged = root()
        put = s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set(TAGS))
        assert put["ResponseMetadata"]["HTTPHeaders"]["x-ms3t-root"] == root() != untagged
        s3.delete_object_tagging(Bucket=bucket, Key="k")
        assert root() == untagged

    def test_with_the_object(self, s3: Any, bucket: str) -> None:
        """`key` without `=` has an empty value; `+` is a space, as in every form."""
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="b=2&a&c=x+y%2Bz&")
        assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [
            {"Key": "a", "Value": ""}, {"Key": "b", "Value": "2"}, {"Key": "c", "Value": "x y+z"}
        ]  # fmt: skip
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="")
        assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []

    def test_with_an_upload(self, s3: Any, bucket: str) -> None:
        upload = s3.create_multipart_upload(Bucket=bucket, Key="k", Tagging="a=1")["UploadId"]
        part = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"x")
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload=parts)
        assert tags_of(s3.get_object_tagging(Bucket=bucket, Key="k")) == {"a": "1"}

    @pytest.mark.parametrize("metadata", ["COPY", "REPLACE"])
    def test_a_copy_keeps_them_or_gets_others(self, s3: Any, bucket: str, metadata: str, refused: Any) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1", Metadata={"m": "1"})
        source = {"Bucket": bucket, "CopySource": f"{bucket}/k", "MetadataDirective": metadata}
        s3.copy_object(Key="kept", **source)
        s3.copy_object(Key="kept too", **source, Tagging="b=2")
        s3.copy_object(Key="others", **source, TaggingDirective="REPLACE", Tagging="b=2")
        s3.copy_object(Key="none", **source, TaggingDirective="REPLACE")
        expected = {"kept": {"a": "1"}, "kept too": {"a": "1"}, "others": {"b": "2"}, "none": {}}
        for key, tags in expected.items():
            assert tags_of(s3.get_object_tagging(Bucket=bucket, Key=key)) == tags
            assert s3.head_object(Bucket=bucket, Key=key)["Metadata"] == ({"m": "1"} if metadata == "COPY" else {})
        with refused("InvalidArgument", 400):
            s3.copy_object(Key="x", **source, TaggingDirective="MERGE")

    def test_as_many_and_as_long_as_may_be(self, s3: Any, bucket: str) -> None:
        tags = {f"{n}" * 128: "\U0001d7d8" * 128 for n in range(10)}
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
        s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set(tags))
        assert tags_of(s3.get_object_tagging(Bucket=bucket, Key="k")) == tags

    @pytest.mark.parametrize(("tags", "code"), TOO_MUCH)
    def test_tags_that_may_not_be(self, s3: Any, bucket: str, tags: dict[str, str], code: str, refused: Any) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1")
        with refused(code, 400):
            s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set(tags))
        assert tags_of(s3.get_object_tagging(Bucket=bucket, Key="k")) == {"a": "1"}

    def test_one_key_twice(self, s3: Any, bucket: str, refused: Any) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
        twice = {"TagSet": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}
        with refused("InvalidTag", 400):
            s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=twice)

    def test_of_what_is_not_there(self, s3: Any, bucket: str, refused: Any) -> None:
        absent = {"VersionId": "00000000000f0001"}
        for key, version, code in (("absent", {}, "NoSuchKey"), ("k", absent, "NoSuchVersion")):
            with refused(code, 404):
                s3.get_object_tagging(Bucket=bucket, Key=key, **version)
            with refused(code, 404):
                s3.put_object_tagging(Bucket=bucket, Key=key, Tagging=tag_set(TAGS), **version)
            with refused(code, 404):
                s3.delete_object_tagging(Bucket=bucket, Key=key, **version)

    def test_beside_overwrites(self, s3: Any, bucket: str) -> None:
        """Who changes tags while the object is replaced never brings the old one back."""
        s3.put_object(Bucket=bucket, Key="k", Body=b"0")
        done = threading.Event()
        failures: list[Exception] = []

        def tag() -> None:
            try:
                while not done.is_set():
                    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set(TAGS))
            except Exception as failure:
                failures.append(failure)

        taggers = [threading.Thread(target=tag) for _ in range(3)]
        for tagger in taggers:
            tagger.start()
        for number in range(100):
            s3.put_object(Bucket=bucket, Key="k", Body=b"%d" % number)
            assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"%d" % number
        done.set()
        for tagger in taggers:
            tagger.join()
        assert not failures


class TestBuckets:
    def test_put_get_delete(self, s3: Any, bucket: str, refused: Any) -> None:
        with refused("NoSuchTagSet", 404):
            s3.get_bucket_tagging(Bucket=bucket)
        s3.put_bucket_tagging(Bucket=bucket, Tagging=tag_set(TAGS))
        assert tags_of(s3.get_bucket_tagging(Bucket=bucket)) == TAGS
        many = {f"k{n}": "v" * 256 for n in range(50)}
        s3.put_bucket_tagging(Bucket=bucket, Tagging=tag_set(many))
        assert tags_of(s3.get_bucket_tagging(Bucket=bucket)) == many
        with refused("BadRequest", 400):
            s3.put_bucket_tagging(Bucket=bucket, Tagging=tag_set(many | {"one": "more"}))
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": []})
        with refused("NoSuchTagSet", 404):
            s3.get_bucket_tagging(Bucket=bucket)
        s3.put_bucket_tagging(Bucket=bucket, Tagging=tag_set(TAGS))
        for _ in range(2):
            gone = s3.delete_bucket_tagging(Bucket=bucket)
            assert gone["ResponseMetadata"]["HTTPStatusCode"] == 204
        with refused("NoSuchTagSet", 404):
            s3.get_bucket_tagging(Bucket=bucket)

    def test_they_go_with_the_bucket(self, s3: Any, bucket: str, refused: Any) -> None:
        s3.put_bucket_tagging(Bucket=bucket, Tagging=tag_set(TAGS))
        s3.delete_bucket(Bucket=bucket)
        with refused("NoSuchBucket", 404):
            s3.get_bucket_tagging(Bucket=bucket)
        with refused("NoSuchBucket", 404):
            s3.put_bucket_tagging(Bucket=bucket, Tagging=tag_set(TAGS))
        s3.create_bucket(Bucket=bucket)
        with refused("NoSuchTagSet", 404):
            s3.get_bucket_tagging(Bucket=bucket)

    def test_from_the_start(self, start: Callable[..., Any], refused: Any) -> None:
        server = start()
        s3 = server.boto3()
        s3.create_bucket(Bucket="tagged", CreateBucketConfiguration={"Tags": tag_set(TAGS)["TagSet"]})
        server.kill()
        server.restart()
        s3 = server.boto3()
        assert tags_of(s3.get_bucket_tagging(Bucket="tagged")) == TAGS
        for again in (TAGS, {"other": ""}):
            with refused("BucketAlreadyOwnedByYou", 409):
                s3.create_bucket(Bucket="tagged", CreateBucketConfiguration={"Tags": tag_set(again)["TagSet"]})
        for again in ({}, {"CreateBucketConfiguration": {"Tags": []}}):
            s3.create_bucket(Bucket="tagged", **again)
        assert tags_of(s3.get_bucket_tagging(Bucket="tagged")) == TAGS
        s3.create_bucket(Bucket="untagged", CreateBucketConfiguration={"Tags": []})
        with refused("NoSuchTagSet", 404):
            s3.get_bucket_tagging(Bucket="untagged")

    @pytest.mark.parametrize(
        ("tags", "code"),
        [
            *((tag_set(tags)["TagSet"], code) for tags, code in TOO_MUCH if code == "InvalidTag"),
            (tag_set({f"k{n}": "" for n in range(51)})["TagSet"], "BadRequest"),
            ([{"Key": "twice", "Value": ""}] * 2, "InvalidTag"),
        ],
    )
    def test_tags_that_make_no_bucket(self, s3: Any, tags: list[Any], code: str, refused: Any) -> None:
        with refused(code, 400):
            s3.create_bucket(Bucket="not-made", CreateBucketConfiguration={"Tags": tags})
        with refused("404", 404):
            s3.head_bucket(Bucket="not-made")

    def test_they_survive_a_kill(self, start: Callable[..., Any]) -> None:
        server = start()
        server.boto3().create_bucket(Bucket="tagged")
        server.boto3().put_bucket_tagging(Bucket="tagged", Tagging=tag_set(TAGS))
        server.kill()
        server.restart()
        assert tags_of(server.boto3().get_bucket_tagging(Bucket="tagged")) == TAGS
