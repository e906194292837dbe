"""Every operation of this release as boto3 uses it, and what it answers."""

from __future__ import annotations

import hashlib
import socket
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

MIB = 1 << 20


@contextmanager
def refused(code: str, status: int) -> Iterator[None]:
    """Expect a refusal; an answer to HEAD has no body, and so only its status to tell."""
    with pytest.raises(ClientError) as caught:
        yield
    error = caught.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)


def headers_of(answer: dict[str, Any]) -> dict[str, str]:
    return answer["ResponseMetadata"]["HTTPHeaders"]


def read(s3: Any, bucket: str, key: str, **arguments: Any) -> bytes:
    return s3.get_object(Bucket=bucket, Key=key, **arguments)["Body"].read()


def quoted_md5(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


class TestBuckets:
    def test_life_of_a_bucket(self, s3: Any) -> None:
        made = s3.create_bucket(Bucket="life")
        assert made["Location"] == "/life"
        assert headers_of(made)["x-ms3t-root"].startswith("bafyrei")
        assert headers_of(s3.create_bucket(Bucket="life"))["x-amz-request-id"]
        head = s3.head_bucket(Bucket="life")
        assert head["BucketRegion"] == "us-east-1"
        assert s3.get_bucket_location(Bucket="life")["LocationConstraint"] is None
        s3.put_object(Bucket="life", Key="k", Body=b"")
        with refused("BucketNotEmpty", 409):
            s3.delete_bucket(Bucket="life")
        s3.delete_object(Bucket="life", Key="k")
        gone = s3.delete_bucket(Bucket="life")
        assert gone["ResponseMetadata"]["HTTPStatusCode"] == 204
        with refused("404", 404):
            s3.head_bucket(Bucket="life")
        with refused("NoSuchBucket", 404):
            s3.delete_bucket(Bucket="life")

    def test_a_bucket_made_again_is_empty_and_new(self, s3: Any) -> None:
        s3.create_bucket(Bucket="again")
        s3.put_object(Bucket="again", Key="k", Body=b"old")
        s3.create_multipart_upload(Bucket="again", Key="m")
        s3.delete_object(Bucket="again", Key="k")
        s3.delete_bucket(Bucket="again")
        s3.create_bucket(Bucket="again")
        assert s3.list_objects_v2(Bucket="again")["KeyCount"] == 0
        assert "Uploads" not in s3.list_multipart_uploads(Bucket="again")

    def test_list_buckets(self, s3: Any) -> None:
        names = [f"listed-{letter}" for letter in "cabd"]
        for name in names:
            s3.create_bucket(Bucket=name)
        listed = s3.list_buckets(Prefix="listed-")
        assert [found["Name"] for found in listed["Buckets"]] == sorted(names)
        assert listed["Prefix"] == "listed-"
        assert listed["Owner"]["ID"]
        age = datetime.now(UTC) - listed["Buckets"][0]["CreationDate"]
        assert timedelta(seconds=-2) < age < timedelta(minutes=5)
        assert {found["BucketRegion"] for found in listed["Buckets"]} == {"us-east-1"}
        everything = [found["Name"] for found in s3.list_buckets()["Buckets"]]
        assert everything == sorted(everything)

    def test_operations_on_no_bucket(self, s3: Any) -> None:
        for call in (
            lambda: s3.list_objects_v2(Bucket="no-such"),
            lambda: s3.list_objects(Bucket="no-such"),
            lambda: s3.list_object_versions(Bucket="no-such"),
            lambda: s3.list_multipart_uploads(Bucket="no-such"),
            lambda: s3.get_bucket_location(Bucket="no-such"),
            lambda: s3.put_object(Bucket="no-such", Key="k", Body=b"x"),
            lambda: s3.get_object(Bucket="no-such", Key="k"),
            lambda: s3.delete_object(Bucket="no-such", Key="k"),
            lambda: s3.delete_objects(Bucket="no-such", Delete={"Objects": [{"Key": "k"}]}),
            lambda: s3.create_multipart_upload(Bucket="no-such", Key="k"),
            lambda: s3.copy_object(Bucket="no-such", Key="k", CopySource="no-such/k"),
        ):
            with refused("NoSuchBucket", 404):
                call()


class TestObjects:
    @pytest.mark.parametrize(
        "size", [0, 1, 3, 16 * 1024 + 1, 128 * 1024, 128 * 1024 + 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 5]
    )
    def test_put_get_head_delete(self, s3: Any, bucket: str, size: int) -> None:
        data = bytes(i % 251 for i in range(size))
        put = s3.put_object(Bucket=bucket, Key="k", Body=data)
        assert put["ETag"] == quoted_md5(data)
        got = s3.get_object(Bucket=bucket, Key="k")
        assert got["Body"].read() == data
        head = s3.head_object(Bucket=bucket, Key="k")
        for answer in (got, head):
            assert answer["ETag"] == put["ETag"]
            assert answer["ContentLength"] == size
            assert answer["AcceptRanges"] == "bytes"
            assert answer["ContentType"] == "binary/octet-stream"
            assert headers_of(answer)["x-ms3t-cid"] == headers_of(got)["x-ms3t-cid"]
            assert abs(answer["LastModified"] - datetime.now(UTC)) < timedelta(minutes=1)
        gone = s3.delete_object(Bucket=bucket, Key="k")
        assert gone["ResponseMetadata"]["HTTPStatusCode"] == 204
        with refused("NoSuchKey", 404):
            s3.get_object(Bucket=bucket, Key="k")
        with refused("404", 404):
            s3.head_object(Bucket=bucket, Key="k")
        assert s3.delete_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPStatusCode"] == 204

    def test_writes_tell_the_state_they_led_to(self, s3: Any, bucket: str) -> None:
        empty = headers_of(s3.head_bucket(Bucket=bucket))["x-ms3t-root"]
        one = headers_of(s3.put_object(Bucket=bucket, Key="k", Body=b"1"))
        assert one["x-ms3t-root"] != empty
        assert one["x-ms3t-root"] == headers_of(s3.head_bucket(Bucket=bucket))["x-ms3t-root"]
        gone = headers_of(s3.delete_object(Bucket=bucket, Key="k"))
        assert gone["x-ms3t-root"] == empty
        assert gone["x-ms3t-commit"] != one["x-ms3t-commit"]

    def test_what_is_stored_with_an_object(self, s3: Any, bucket: str) -> None:
        stored = {
            "CacheControl": "max-age=60, private",
            "ContentDisposition": 'attachment; filename="a b.txt"',
            "ContentEncoding": "gzip",
            "ContentLanguage": "de, en",
            "ContentType": "text/plain; charset=utf-8",
            "Expires": datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
            "Metadata": {"colour": "green", "with-dash": "1; 2=3", "empty": ""},
        }
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", **stored)
        for answer in (s3.get_object(Bucket=bucket, Key="k"), s3.head_object(Bucket=bucket, Key="k")):
            assert {name: answer[name] for name in stored if name != "Expires"} == {
                name: value for name, value in stored.items() if name != "Expires"
            }
            assert answer["ExpiresString"] == "Wed, 02 Jan 2030 03:04:05 GMT"

    def test_large_metadata(self, s3: Any, bucket: str) -> None:
        metadata = {f"name-{number}": "v" * 100 for number in range(18)}
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata=metadata)
        assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == metadata
        with refused("MetadataTooLarge", 400):
            s3.put_object(Bucket=bucket, Key="k2", Body=b"x", Metadata={"name": "v" * 2100})

    def test_storage_class(self, s3: Any, bucket: str) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass="STANDARD")
        assert "StorageClass" not in s3.head_object(Bucket=bucket, Key="k")
        with refused("InvalidStorageClass", 400):
            s3.put_object(Bucket=bucket, Key="k2", Body=b"x", StorageClass="NO_SUCH_CLASS")

    def test_answers_can_be_overridden(self, s3: Any, bucket: str) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentType="text/plain")
        wanted = {
            "ResponseCacheControl": "no-cache",
            "ResponseContentDisposition": "attachment; filename=other",
            "ResponseContentEncoding": "identity",
            "ResponseContentLanguage": "fr",
            "ResponseContentType": "image/png",
        }
        got = s3.get_object(Bucket=bucket, Key="k", **wanted)
        assert {name: got[name.removeprefix("Response")] for name in wanted} == wanted

    @pytest.mark.parametrize(
        "key",
        [
            "a//b", "/", "//", "/leading", "trailing/", "dir/", ".", "a/./b", "a/../b", "a b", "a+b", "a%20b", "%", "#",
            "?", "?a=b&c", "&<>'\"", "new\nline", "\t", "\x01", "\x7f", "e\u0301", "\u00e9", "\U0001f600", "\ufffd",
            "*'()!~", "k" * 1024, "\u20ac" * 341, "uploads", "acl", "a\\b", "{}[]|^`", "soap;x=1", "http://other/host",
        ],
        ids=lambda key: repr(key[:12]),
    )  # fmt: skip
    def test_awkward_keys(self, s3: Any, bucket: str, key: str) -> None:
        s3.put_object(Bucket=bucket, Key="neighbour", Body=b"other")
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
        assert read(s3, bucket, key) == key.encode()
        assert s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == len(key.encode())
        for listing in (s3.list_objects, s3.list_objects_v2):
            keys = [found["Key"] for found in listing(Bucket=bucket)["Contents"]]
            assert keys == sorted([key, "neighbour"], key=str.encode)
        s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key})
        assert read(s3, bucket, "copy") == key.encode()
        if key == "\x01":  # which XML 1.0 cannot carry, in Amazon's S3 neither
            s3.delete_object(Bucket=bucket, Key=key)
        else:
            deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]})
            assert [found["Key"] for found in deleted["Deleted"]] == [key]
        s3.delete_object(Bucket=bucket, Key="copy")
        assert [found["Key"] for found in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["neighbour"]

    def test_a_key_and_keys_below_it(self, s3: Any, bucket: str) -> None:
        for key in ("a", "a/", "a/b", "a/b/c"):
            s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
        assert [read(s3, bucket, key) for key in ("a", "a/", "a/b", "a/b/c")] == [b"a", b"a/", b"a/b", b"a/b/c"]

    def test_delete_objects(self, s3: Any, bucket: str) -> None:
        keys = [f"k{number}" for number in range(1000)]
        for key in keys[:20]:
            s3.put_object(Bucket=bucket, Key=key, Body=b"")
        deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
        assert [found["Key"] for found in deleted["Deleted"]] == keys
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
        s3.put_object(Bucket=bucket, Key="k", Body=b"")
        quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}], "Quiet": True})
        assert "Deleted" not in quiet
        assert "Errors" not in quiet
        with refused("MalformedXML", 400):
            s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in [*keys, "one more"]]})

    def test_version_ids_of_an_unversioned_bucket(self, s3: Any, bucket: str) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
        assert read(s3, bucket, "k", VersionId="null") == b"x"
        for call in (s3.get_object, s3.delete_object):
            with pytest.raises(ClientError) as caught:
                call(Bucket=bucket, Key="k", VersionId="3sL4kqtJlcpXroDTDmJrmSpXd3dIbrHY")
            assert caught.value.response["Error"]["Code"] in {"NoSuchVersion", "InvalidArgument"}
        s3.delete_object(Bucket=bucket, Key="k", VersionId="null")
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


class TestConditions:
    def test_reads(self, s3: Any, bucket: str) -> None:
        etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
        modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
        before, after = modified - timedelta(seconds=10), modified + timedelta(seconds=10)
        bare, other = etag.strip('"'), '"00000000000000000000000000000000"'
        for passes in (
            {"IfMatch": etag}, {"IfMatch": bare}, {"IfMatch": "*"}, {"IfMatch": f"{other}, {etag}"},
            {"IfNoneMatch": other}, {"IfModifiedSince": before}, {"IfUnmodifiedSince": after},
            {"IfUnmodifiedSince": modified}, {"IfMatch": etag, "IfUnmodifiedSince": before},
            {"IfNoneMatch": other, "IfModifiedSince": after},
        ):  # fmt: skip
            assert read(s3, bucket, "k", **passes) == b"x", passes
            s3.head_object(Bucket=bucket, Key="k", **passes)
        for fails in (
            {"IfMatch": other},
            {"IfUnmodifiedSince": before},
            {"IfMatch": other, "IfUnmodifiedSince": after},
        ):
            with refused("PreconditionFailed", 412):
                s3.get_object(Bucket=bucket, Key="k", **fails)
            with refused("412", 412):
                s3.head_object(Bucket=bucket, Key="k", **fails)
        for unchanged in (
            {"IfNoneMatch": etag}, {"IfNoneMatch": bare}, {"IfNoneMatch": "*"}, {"IfNoneMatch": f"{other}, {etag}"},
            {"IfModifiedSince": modified}, {"IfNoneMatch": etag, "IfModifiedSince": before},
        ):  # fmt: skip
            for call in (s3.get_object, s3.head_object):
                with refused("304", 304):
                    call(Bucket=bucket, Key="k", **unchanged)

    def test_writes(self, s3: Any, bucket: str) -> None:
        etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
        with refused("PreconditionFailed", 412):
            s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*")
        with refused("PreconditionFailed", 412):
            s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch='"00000000000000000000000000000000"')
        with refused("NoSuchKey", 404):
            s3.put_object(Bucket=bucket, Key="absent", Body=b"2", IfMatch=etag)
        with refused("NotImplemented", 501):
            s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfNoneMatch=etag)
        assert read(s3, bucket, "k") == b"1"
        s3.put_object(Bucket=bucket, Key="k", Body=b"3", IfMatch=etag)
        assert read(s3, bucket, "k") == b"3"
        with refused("PreconditionFailed", 412):
            s3.delete_object(Bucket=bucket, Key="k", IfMatch=etag)
        s3.delete_object(Bucket=bucket, Key="k", IfMatch=quoted_md5(b"3"))
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0

    def test_complete(self, s3: Any, bucket: str) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"1")
        upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
        part = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"2")
        end = {
            "Bucket": bucket,
            "Key": "k",
            "UploadId": upload,
            "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
        }
        with refused("PreconditionFailed", 412):
            s3.complete_multipart_upload(**end, IfNoneMatch="*")
        assert read(s3, bucket, "k") == b"1"
        s3.complete_multipart_upload(**end, IfMatch=quoted_md5(b"1"))
        assert read(s3, bucket, "k") == b"2"

    def test_one_of_many_wins(self, s3: Any, bucket: str) -> None:
        def put(number: int) -> int | None:
            try:
                s3.put_object(Bucket=bucket, Key="lock", Body=str(number), IfNoneMatch="*")
            except ClientError as error:
                assert error.response["Error"]["Code"] in {"PreconditionFailed", "ConditionalRequestConflict"}
                return None
            return number

        with ThreadPoolExecutor(24) as pool:
            winners = [number for number in pool.map(put, range(48)) if number is not None]
        assert len(winners) == 1
        assert read(s3, bucket, "lock") == str(winners[0]).encode()

    def test_no_update_is_lost(self, s3: Any, bucket: str) -> None:
        """Counting with compare-and-swap: every success counts exactly once."""
        s3.put_object(Bucket=bucket, Key="counter", Body=b"0")

        def count(_: int) -> int:
            successes = 0
            for _ in range(10):
                got = s3.get_object(Bucket=bucket, Key="counter")
                value = int(got["Body"].read())
                try:
                    s3.put_object(Bucket=bucket, Key="counter", Body=str(value + 1), IfMatch=got["ETag"])
                except ClientError as error:
                    assert error.response["Error"]["Code"] in {"PreconditionFailed", "ConditionalRequestConflict"}
                else:
                    successes += 1
            return successes

        with ThreadPoolExecutor(8) as pool:
            total = sum(pool.map(count, range(8)))
        assert total > 0
        assert read(s3, bucket, "counter") == str(total).encode()


RANGED_BYTES = 2 * MIB + 100


@pytest.fixture(scope="module")
def data(s3: Any) -> bytes:
    """What is in the bucket `ranges` as `k`, beside an object of no bytes."""
    data = bytes(i % 253 for i in range(RANGED_BYTES))
    s3.create_bucket(Bucket="ranges")
    s3.put_object(Bucket="ranges", Key="k", Body=data)
    s3.put_object(Bucket="ranges", Key="empty", Body=b"")
    return data


class TestRanges:
    SIZE = RANGED_BYTES

    @pytest.mark.parametrize(
        ("wanted", "first", "last"),
        [
            ("0-0", 0, 0), ("0-", 0, SIZE - 1), ("1-", 1, SIZE - 1), ("5-10", 5, 10), ("-1", SIZE - 1, SIZE - 1),
            ("-100", SIZE - 100, SIZE - 1), (f"-{SIZE + 5}", 0, SIZE - 1), (f"{SIZE - 1}-", SIZE - 1, SIZE - 1),
            (f"{SIZE - 1}-{SIZE + 500}", SIZE - 1, SIZE - 1), (f"0-{10**30}", 0, SIZE - 1),
            (f"{MIB - 1}-{MIB}", MIB - 1, MIB), (f"{MIB}-{2 * MIB - 1}", MIB, 2 * MIB - 1),
            (f"{MIB // 2}-{2 * MIB + 50}", MIB // 2, 2 * MIB + 50), (f"{2 * MIB}-", 2 * MIB, SIZE - 1),
        ],
    )  # fmt: skip
    def test_good(self, s3: Any, data: bytes, wanted: str, first: int, last: int) -> None:
        got = s3.get_object(Bucket="ranges", Key="k", Range=f"bytes={wanted}")
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert got["ContentRange"] == f"bytes {first}-{last}/{self.SIZE}"
        assert got["ContentLength"] == last - first + 1
        assert got["Body"].read() == data[first : last + 1]
        head = s3.head_object(Bucket="ranges", Key="k", Range=f"bytes={wanted}")
        assert head["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert head["ContentLength"] == last - first + 1

    @pytest.mark.parametrize(
        "wanted", ["bytes=5-1", "bytes=a-b", "bytes=", "bytes=-", "bytes=0-1,5-6", "items=0-1", "0-1", "bytes=0-1x"]
    )
    def test_bad_or_several_give_everything(self, s3: Any, data: bytes, wanted: str) -> None:
        got = s3.get_object(Bucket="ranges", Key="k", Range=wanted)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert "ContentRange" not in got
        assert got["Body"].read() == data

    @pytest.mark.parametrize(
        ("key", "wanted"),
        [
            ("k", f"{SIZE}-"),
            ("k", f"{SIZE + 1}-{SIZE + 2}"),
            ("k", "-0"),
            ("empty", "0-"),
            ("empty", "0-0"),
            ("empty", "-1"),
        ],
    )
    def test_beyond_the_end(self, s3: Any, data: bytes, key: str, wanted: str) -> None:
        with pytest.raises(ClientError) as caught:
            s3.get_object(Bucket="ranges", Key=key, Range=f"bytes={wanted}")
        error = caught.value.response
        assert error["ResponseMetadata"]["HTTPStatusCode"] == 416
        assert error["Error"]["Code"] == "InvalidRange"
        assert error["Error"]["ActualObjectSize"] == str(len(data) if key == "k" else 0)
        assert error["Error"]["RangeRequested"] == f"bytes={wanted}"

    def test_with_a_condition(self, s3: Any, data: bytes) -> None:
        etag = s3.head_object(Bucket="ranges", Key="k")["ETag"]
        assert read(s3, "ranges", "k", Range="bytes=1-2", IfMatch=etag) == data[1:3]
        with refused("PreconditionFailed", 412):
            s3.get_object(Bucket="ranges", Key="k", Range="bytes=1-2", IfMatch='"other"')


class TestCopy:
    @pytest.fixture
    def source(self, s3: Any, bucket: str) -> dict[str, str]:
        s3.put_object(
            Bucket=bucket,
            Key="from",
            Body=b"copied",
            ContentType="text/plain",
            CacheControl="no-store",
            Metadata={"a": "1"},
        )
        return {"Bucket": bucket, "Key": "from"}

    def test_keeps_what_is_stored_with_it(self, s3: Any, bucket: str, source: dict[str, str]) -> None:
        s3.create_bucket(Bucket=f"{bucket}-2")
        copied = s3.copy_object(Bucket=f"{bucket}-2", Key="to", CopySource=source)
        assert copied["CopyObjectResult"]["ETag"] == quoted_md5(b"copied")
        assert copied["CopyObjectResult"]["LastModified"]
        assert headers_of(copied)["x-ms3t-root"]
        got = s3.get_object(Bucket=f"{bucket}-2", Key="to")
        assert (got["Body"].read(), got["ContentType"], got["CacheControl"], got["Metadata"]) == (
            b"copied", "text/plain", "no-store", {"a": "1"},
        )  # fmt: skip

    def test_replaces_it(self, s3: Any, bucket: str, source: dict[str, str]) -> None:
        s3.copy_object(
            Bucket=bucket,
            Key="to",
            CopySource=source,
            MetadataDirective="REPLACE",
            ContentType="image/png",
            Metadata={"b": "2"},
        )
        head = s3.head_object(Bucket=bucket, Key="to")
        assert (head["ContentType"], head["Metadata"]) == ("image/png", {"b": "2"})
        assert "CacheControl" not in head

    def test_to_itself(self, s3: Any, bucket: str, source: dict[str, str]) -> None:
        with refused("InvalidRequest", 400):
            s3.copy_object(Bucket=bucket, Key="from", CopySource=source)
        s3.copy_object(Bucket=bucket, Key="from", CopySource=source, MetadataDirective="REPLACE", Metadata={"c": "3"})
        head = s3.head_object(Bucket=bucket, Key="from")
        assert head["Metadata"] == {"c": "3"}
        assert head["ETag"] == quoted_md5(b"copied")

    def test_conditions(self, s3: Any, bucket: str, source: dict[str, str]) -> None:
        etag, other = quoted_md5(b"copied"), '"00000000000000000000000000000000"'
        modified = s3.head_object(Bucket=bucket, Key="from")["LastModified"]
        before, after = modified - timedelta(seconds=10), modified + timedelta(seconds=10)
        for fails in (
            {"CopySourceIfMatch": other}, {"CopySourceIfNoneMatch": etag}, {"CopySourceIfUnmodifiedSince": before},
            {"CopySourceIfModifiedSince": modified},
        ):  # fmt: skip
            with refused("PreconditionFailed", 412):
                s3.copy_object(Bucket=bucket, Key="to", CopySource=source, **fails)
        assert [found["Key"] for found in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["from"]
        for passes in (
            {"CopySourceIfMatch": etag}, {"CopySourceIfNoneMatch": other}, {"CopySourceIfUnmodifiedSince": after},
            {"CopySourceIfModifiedSince": before},
        ):  # fmt: skip
            s3.copy_object(Bucket=bucket, Key="to", CopySource=source, **passes)

    def test_of_nothing(self, s3: Any, bucket: str) -> None:
        with refused("NoSuchKey", 404):
            s3.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": "absent"})
        with refused("NoSuchBucket", 404):
            s3.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": "no-such", "Key": "absent"})

    @pytest.mark.parametrize("value", ["nobucket", "/", "", "b/", "/b/", "b/k?versionId=", "b/k?other=1"])
    def test_bad_source(self, server: Any, bucket: str, value: str) -> None:
        reply = server.request("PUT", f"/{bucket}/to", {"x-amz-copy-source": value})
        assert (reply.status, reply.code) == (400, "InvalidArgument")

    def test_source_spellings(self, server: Any, s3: Any, bucket: str) -> None:
        s3.put_object(Bucket=bucket, Key="a b+c/d?e", Body=b"spelt")
        for value in (
            f"{bucket}/a+b%2Bc/d%3Fe", f"/{bucket}/a%20b%2Bc/d%3Fe", f"{bucket}%2Fa%20b%2Bc%2Fd%3Fe",
            f"/{bucket}/a%20b%2Bc/d%3Fe?versionId=null",
        ):  # fmt: skip
            assert server.request("PUT", f"/{bucket}/to", {"x-amz-copy-source": value}).status == 200
            assert read(s3, bucket, "to") == b"spelt"
            s3.delete_object(Bucket=bucket, Key="to")

    def test_of_a_large_object(self, s3: Any, bucket: str) -> None:
        data = bytes(5 * MIB + 1)
        s3.put_object(Bucket=bucket, Key="large", Body=data)
        s3.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": "large"})
        assert (
            headers_of(s3.head_object(Bucket=bucket, Key="to"))["x-ms3t-cid"]
            == (headers_of(s3.head_object(Bucket=bucket, Key="large"))["x-ms3t-cid"])
        )
        assert read(s3, bucket, "to") == data


KEYS = sorted(
    [
        "a", "a/b", "a/b/c", "a/c", "a0", "a b", "a+b", "a%2Fb", "b//c", "b//d", "b/", "e\u0301", "z/new\nline", "z<&>",
        "\u00e9/x", "\U0001f600/1", "\U0001f600/2", "\uffff",
    ],
    key=str.encode,
)  # fmt: skip


@pytest.fixture(scope="module")
def full(s3: Any) -> str:
    """A bucket with `KEYS` in it."""
    s3.create_bucket(Bucket="listings")
    for key in KEYS:
        s3.put_object(Bucket="listings", Key=key, Body=key.encode())
    return "listings"


class TestListings:
    @pytest.mark.parametrize("listing", ["list_objects", "list_objects_v2", "list_object_versions"])
    def test_everything(self, s3: Any, full: str, listing: str) -> None:
        answer = getattr(s3, listing)(Bucket=full)
        rows = answer["Versions" if listing == "list_object_versions" else "Contents"]
        assert [row["Key"] for row in rows] == KEYS
        for row in rows:
            assert row["ETag"] == quoted_md5(row["Key"].encode())
            assert row["Size"] == len(row["Key"].encode())
            assert row["StorageClass"] == "STANDARD"
            assert row["LastModified"].tzinfo is not None
            if listing == "list_object_versions":
                assert (row["VersionId"], row["IsLatest"]) == ("null", True)
            assert ("Owner" in row) == (listing != "list_objects_v2")
        assert (answer["Name"], answer["MaxKeys"], answer["IsTruncated"]) == (full, 1000, False)

    def test_fetch_owner(self, s3: Any, full: str) -> None:
        rows = s3.list_objects_v2(Bucket=full, FetchOwner=True)["Contents"]
        assert {row["Owner"]["ID"] for row in rows} == {s3.list_buckets()["Owner"]["ID"]}

    def test_delimiter(self, s3: Any, full: str) -> None:
        for listing, rows in (
            ("list_objects", "Contents"),
            ("list_objects_v2", "Contents"),
            ("list_object_versions", "Versions"),
        ):
            answer = getattr(s3, listing)(Bucket=full, Delimiter="/")
            assert [found["Prefix"] for found in answer["CommonPrefixes"]] == [
                "a/",
                "b/",
                "z/",
                "\u00e9/",
                "\U0001f600/",
            ]
            assert [row["Key"] for row in answer[rows]] == [key for key in KEYS if "/" not in key]
            assert answer["Delimiter"] == "/"
            below = getattr(s3, listing)(Bucket=full, Delimiter="/", Prefix="a/")
            assert [found["Prefix"] for found in below["CommonPrefixes"]] == ["a/b/"]
            assert [row["Key"] for row in below[rows]] == ["a/b", "a/c"]
            assert below["Prefix"] == "a/"

    def test_markers(self, s3: Any, full: str) -> None:
        def v1(**arguments: Any) -> dict[str, Any]:
            return s3.list_objects(Bucket=full, **arguments)

        first = v1(MaxKeys=3)
        assert first["IsTruncated"]
        assert first.get("NextMarker", KEYS[2]) == KEYS[2]
        assert v1(Marker=KEYS[2])["Contents"][0]["Key"] == KEYS[3]
        assert v1(Marker=KEYS[2])["Marker"] == KEYS[2]
        assert v1(Marker="a/bb")["Contents"][0]["Key"] == "a/c"
        assert v1(Marker="a", Delimiter="/", MaxKeys=4)["NextMarker"] == "a/"
        assert "Contents" not in v1(Marker="\U0010ffff")

    def test_tokens(self, s3: Any, full: str) -> None:
        first = s3.list_objects_v2(Bucket=full, MaxKeys=2, StartAfter="a/b")
        assert first["StartAfter"] == "a/b"
        assert (first["KeyCount"], first["IsTruncated"]) == (2, True)
        token = first["NextContinuationToken"]
        second = s3.list_objects_v2(Bucket=full, ContinuationToken=token, StartAfter="z")
        assert second["ContinuationToken"] == token
        assert [row["Key"] for row in second["Contents"]] == KEYS[KEYS.index("a/b") + 3 :]
        for bad in ("no token", "", "AAAA"):
            with refused("InvalidArgument", 400):
                s3.list_objects_v2(Bucket=full, ContinuationToken=bad)

    def test_max_keys(self, s3: Any, full: str) -> None:
        for listing in (s3.list_objects, s3.list_objects_v2, s3.list_object_versions):
            none = listing(Bucket=full, MaxKeys=0)
            assert (none["IsTruncated"], none["MaxKeys"]) == (False, 0)
            assert "Contents" not in none
            assert "Versions" not in none
            assert listing(Bucket=full, MaxKeys=5000)["MaxKeys"] in {1000, 5000}
            assert not listing(Bucket=full, MaxKeys=len(KEYS))["IsTruncated"]
            assert listing(Bucket=full, MaxKeys=len(KEYS) - 1)["IsTruncated"]
            with refused("InvalidArgument", 400):
                listing(Bucket=full, MaxKeys=-1)

    def test_version_markers(self, s3: Any, full: str) -> None:
        first = s3.list_object_versions(Bucket=full, MaxKeys=2)
        assert (first["NextKeyMarker"], first["NextVersionIdMarker"]) == (KEYS[1], "null")
        rest = s3.list_object_versions(Bucket=full, KeyMarker=KEYS[1], VersionIdMarker="null")
        assert [row["Key"] for row in rest["Versions"]] == KEYS[2:]
        with refused("InvalidArgument", 400):
            s3.list_object_versions(Bucket=full, VersionIdMarker="null")

    @pytest.mark.parametrize("query", ["", "list-type=2&", "versions&"])
    def test_encoding_type(self, server: Any, full: str, query: str) -> None:
        """On the wire, because boto3 asks for it and decodes it behind one's back."""
        encoded = server.request("GET", f"/{full}?{query}encoding-type=url&prefix=a%2Bb&delimiter=%25").body.decode()
        assert "<Key>a%2Bb</Key>" in encoded
        assert "<Prefix>a%2Bb</Prefix>" in encoded
        assert "<Delimiter>%25</Delimiter>" in encoded
        assert "<EncodingType>url</EncodingType>" in encoded
        assert (
            "<Key>a%20b</Key>" in server.request("GET", f"/{full}?{query}encoding-type=url&prefix=a%20").body.decode()
        )
        assert (
            "<Key>z/new%0Aline</Key>"
            in server.request("GET", f"/{full}?{query}encoding-type=url&prefix=z").body.decode()
        )
        plain = server.request("GET", f"/{full}?{query}prefix=z").body.decode()
        assert "<Key>z&lt;&amp;&gt;</Key>" in plain
        assert "EncodingType" not in plain
        bad = server.request("GET", f"/{full}?{query}encoding-type=base64")
        assert (bad.status, bad.code) == (400, "InvalidArgument")

    def test_a_listing_is_of_one_state(self, s3: Any, bucket: str) -> None:
        """Pairs of keys are written in order, so no listing may show the second without the first."""

        def write(_: int) -> None:
            for number in range(40):
                s3.put_object(Bucket=bucket, Key=f"z{number:03}", Body=b"")
                s3.put_object(Bucket=bucket, Key=f"a{number:03}", Body=b"")

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write, 0)
            while not writing.done():
                keys = {row["Key"] for row in s3.list_objects_v2(Bucket=bucket).get("Contents", ())}
                assert all(f"z{key[1:]}" in keys for key in keys if key[0] == "a")
            writing.result()


class TestMultipart:
    def parts(
        self, s3: Any, bucket: str, upload: str, pieces: dict[int, bytes], key: str = "k"
    ) -> list[dict[str, Any]]:
        return [
            {
                "PartNumber": number,
                "ETag": s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=piece)["ETag"],
            }
            for number, piece in pieces.items()
        ]

    def test_life_of_an_upload(self, s3: Any, bucket: str) -> None:
        created = s3.create_multipart_upload(
            Bucket=bucket, Key="k", ContentType="text/plain", CacheControl="no-store", Metadata={"a": "1"}
        )
        assert (created["Bucket"], created["Key"]) == (bucket, "k")
        upload = created["UploadId"]
        pieces = {1: b"1" * (5 * MIB), 3: b"3" * (5 * MIB + 17), 10_000: b"last"}
        parts = self.parts(s3, bucket, upload, pieces)
        assert [part["ETag"] for part in parts] == [quoted_md5(piece) for piece in pieces.values()]
        with refused("NoSuchKey", 404):
            s3.get_object(Bucket=bucket, Key="k")
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
        listed = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)
        assert [(part["PartNumber"], part["Size"], part["ETag"]) for part in listed["Parts"]] == [
            (number, len(piece), quoted_md5(piece)) for number, piece in pieces.items()
        ]
        assert listed["Initiator"]["ID"]
        assert listed["Owner"]["ID"]
        uploads = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
        assert [(found["Key"], found["UploadId"]) for found in uploads] == [("k", upload)]
        end = {"Bucket": bucket, "Key": "k", "UploadId": upload, "MultipartUpload": {"Parts": parts}}
        completed = s3.complete_multipart_upload(**end)
        whole = b"".join(pieces.values())
        etag = hashlib.md5(b"".join(hashlib.md5(piece).digest() for piece in pieces.values())).hexdigest()
        assert completed["ETag"] == f'"{etag}-3"'
        assert completed["Key"] == "k"
        assert bucket in completed["Location"]
        got = s3.get_object(Bucket=bucket, Key="k")
        assert got["Body"].read() == whole
        assert (got["ContentType"], got["CacheControl"], got["Metadata"]) == ("text/plain", "no-store", {"a": "1"})
        assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["ETag"] == completed["ETag"]
        assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
        with refused("NoSuchUpload", 404):
            s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)

    def test_a_part_is_replaced(self, s3: Any, bucket: str) -> None:
        upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
        first = self.parts(s3, bucket, upload, {1: b"first"})
        second = self.parts(s3, bucket, upload, {1: b"second"})
        assert len(s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)["Parts"]) == 1
        with refused("InvalidPart", 400):
            s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": first})
        s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": second})
        assert read(s3, bucket, "k") == b"second"

    def test_parts_left_out_are_dropped(self, s3: Any, bucket: str) -> None:
        upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
        parts = self.parts(s3, bucket, upload, {1: b"1" * (5 * MIB), 2: b"2" * (5 * MIB), 3: b"3"})
        s3.complete_multipart_upload(
            Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": [parts[0], parts[2]]}
        )
        assert read(s3, bucket, "k") == b"1" * (5 * MIB) + b"3"

    def test_bad_completions(self, s3: Any, bucket: str) -> None:
        upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
        small = self.parts(s3, bucket, upload, {1: b"small", 2: b"last"})

        def complete(parts: list[dict[str, Any]], upload: str = upload, key: str = "k") -> None:
            s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})

        with refused("EntityTooSmall", 400):
            complete(small)
        with refused("InvalidPartOrder", 400):
            complete(small[::-1])
        with refused("InvalidPartOrder", 400):
            complete([small[0], small[0]])
        with refused("InvalidPart", 400):
            complete([{"PartNumber": 7, "ETag": small[0]["ETag"]}])
        with refused("InvalidPart", 400):
            complete([{"PartNumber": 1, "ETag": small[1]["ETag"]}])
        with refused("MalformedXML", 400):
            complete([])
        with refused("NoSuchUpload", 404):
            complete(small[:1], upload="no-such-upload")
        with refused("NoSuchUpload", 404):
            complete(small[:1], key="another")
        complete([{"PartNumber": 1, "ETag": small[0]["ETag"].strip('"')}])
        assert read(s3, bucket, "k") == b"small"

    def test_bad_parts(self, s3: Any, bucket: str) -> None:
        upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
        for number in (0, 10_001, -1):
            with refused("InvalidArgument", 400):
                s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=b"x")
        with refused("NoSuchUpload", 404):
            s3.upload_part(Bucket=bucket, Key="k", UploadId="no-such-upload", PartNumber=1, Body=b"x")
        with refused("NoSuchUpload", 404):
            s3.upload_part(Bucket=bucket, Key="another", UploadId=upload, PartNumber=1, Body=b"x")
        assert "Parts" not in s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)

    def test_abort(self, s3: Any, bucket: str) -> None:
        upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
        self.parts(s3, bucket, upload, {1: b"x" * MIB})
        aborted = s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
        assert aborted["ResponseMetadata"]["HTTPStatusCode"] == 204
        assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
        for call in (s3.abort_multipart_upload, s3.list_parts):
            with refused("NoSuchUpload", 404):
                call(Bucket=bucket, Key="k", UploadId=upload)

    def test_copied_parts(self, s3: Any, bucket: str) -> None:
        source = bytes(i % 249 for i in range(6 * MIB))
        s3.put_object(Bucket=bucket, Key="from", Body=source)
        upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
        where = {"Bucket": bucket, "Key": "k", "UploadId": upload, "CopySource": {"Bucket": bucket, "Key": "from"}}
        results = [
            s3.upload_part_copy(**where, PartNumber=1, CopySourceRange=f"bytes=0-{5 * MIB + 10}"),
            s3.upload_part_copy(
                **where, PartNumber=2, CopySourceRange="bytes=100-199", CopySourceIfMatch=quoted_md5(source)
            ),
            s3.upload_part_copy(**where, PartNumber=3),
        ]
        pieces = [source[: 5 * MIB + 11], source[100:200], source]
        assert [result["CopyPartResult"]["ETag"] for result in results] == [quoted_md5(piece) for piece in pieces]
        with refused("PreconditionFailed", 412):
            s3.upload_part_copy(**where, PartNumber=4, CopySourceIfMatch='"other"')
        with refused("NoSuchKey", 404):
            s3.upload_part_copy(**where | {"CopySource": {"Bucket": bucket, "Key": "absent"}}, PartNumber=4)
        with pytest.raises(ClientError) as caught:
            s3.upload_part_copy(**where, PartNumber=4, CopySourceRange=f"bytes=0-{6 * MIB}")
        assert caught.value.response["Error"]["Code"] in {"InvalidRange", "InvalidArgument"}
        for bad in ("bytes=5-", "bytes=-5", "0-5", "bytes=9-5"):
            with refused("InvalidArgument", 400):
                s3.upload_part_copy(**where, PartNumber=4, CopySourceRange=bad)
        ends = [{"PartNumber": number, "ETag": results[number - 1]["CopyPartResult"]["ETag"]} for number in (1, 3)]
        s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": ends})
        assert read(s3, bucket, "k") == pieces[0] + pieces[2]

    def test_an_upload_survives_a_restart(self, start: Callable[..., Any]) -> None:
        server = start()
        s3 = server.boto3()
        s3.create_bucket(Bucket="survivor")
        upload = s3.create_multipart_upload(Bucket="survivor", Key="k")["UploadId"]
        parts = self.parts(s3, "survivor", upload, {1: b"1" * (5 * MIB)})
        server.kill()
        server.restart()
        s3 = server.boto3()
        parts += self.parts(s3, "survivor", upload, {2: b"2"})
        s3.complete_multipart_upload(Bucket="survivor", Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
        assert read(s3, "survivor", "k") == b"1" * (5 * MIB) + b"2"
        assert server.stop() == 0

    def test_concurrent_parts(self, s3: Any, bucket: str) -> None:
        upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
        pieces = {number: bytes([number]) * (5 * MIB + number) for number in range(1, 9)}
        with ThreadPoolExecutor(8) as pool:
            parts = list(pool.map(lambda item: self.parts(s3, bucket, upload, dict([item]))[0], pieces.items()))
        s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
        assert read(s3, bucket, "k") == b"".join(pieces.values())


class TestVirtualHosts:
    def test_boto3(self, start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
        """Names below localhost are loopback by RFC 6761, whether the resolver knows it or not."""
        server = start(config={"s3": {"domains": ["localhost"]}})
        resolve = socket.getaddrinfo

        def loopback(host: Any, *arguments: Any, **options: Any) -> Any:
            return resolve("127.0.0.1" if str(host).endswith("localhost") else host, *arguments, **options)

        monkeypatch.setattr(socket, "getaddrinfo", loopback)
        endpoint = server.endpoint.replace("127.0.0.1", "localhost")
        virtual = server.boto3(endpoint, s3={"addressing_style": "virtual"})
        virtual.create_bucket(Bucket="named.by-host")
        key = "a b/\u00e9//x?"
        virtual.put_object(Bucket="named.by-host", Key=key, Body=b"virtual")
        assert read(virtual, "named.by-host", key) == b"virtual"
        assert [found["Key"] for found in virtual.list_objects_v2(Bucket="named.by-host")["Contents"]] == [key]
        # The same object, the other way; both styles work at once.
        for other in (server.boto3(endpoint), server.boto3()):
            assert read(other, "named.by-host", key) == b"virtual"
        url = virtual.generate_presigned_url("get_object", Params={"Bucket": "named.by-host", "Key": key})
        assert "//named.by-host.localhost:" in url
        host, _, path = url.partition("://")[2].partition("/")
        reply = server.send("GET", f"/{path}", {"Host": host})
        assert (reply.status, reply.body) == (200, b"virtual")
        assert [found["Name"] for found in virtual.list_buckets()["Buckets"]] == ["named.by-host"]
        virtual.delete_object(Bucket="named.by-host", Key=key)
        virtual.delete_bucket(Bucket="named.by-host")
        assert server.stop() == 0

    def test_other_hosts_name_no_bucket(self, server: Any, bucket: str) -> None:
        reply = server.request("GET", f"/{bucket}", host="something.example.com")
        assert reply.status == 200
        assert f"<Name>{bucket}</Name>".encode() in reply.body


def test_presigned_writes(server: Any, s3: Any, bucket: str) -> None:
    """What a browser does with URLs it was given: PUT, a part, DELETE."""

    def use(method: str, operation: str, body: bytes = b"", **arguments: Any) -> Any:
        url = s3.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": "k", **arguments})
        path = url.removeprefix(server.endpoint)
        return server.send(method, path, {"Host": server.host}, body)

    assert use("PUT", "put_object", b"presigned").status == 200
    assert read(s3, bucket, "k") == b"presigned"
    assert use("HEAD", "head_object").headers["content-length"] == "9"
    assert use("DELETE", "delete_object").status == 204
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    part = use("PUT", "upload_part", b"presigned part", UploadId=upload, PartNumber=1)
    ends = {"Parts": [{"PartNumber": 1, "ETag": part.headers["etag"]}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload=ends)
    assert read(s3, bucket, "k") == b"presigned part"


def test_a_write_is_seen_by_every_later_read(s3: Any, bucket: str) -> None:
    def live(thread: int) -> None:
        for number in range(12):
            key, body = f"{thread}/{number % 3}", f"{thread} {number}".encode()
            s3.put_object(Bucket=bucket, Key=key, Body=body)
            assert read(s3, bucket, key) == body
            listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"{thread}/")["Contents"]
            assert {row["Key"]: row["ETag"] for row in listed}[key] == quoted_md5(body)
            if number % 2:
                s3.delete_object(Bucket=bucket, Key=key)
                with refused("NoSuchKey", 404):
                    s3.get_object(Bucket=bucket, Key=key)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(live, range(12)))


def test_a_download_is_of_the_object_it_began_with(s3: Any, bucket: str) -> None:
    old, new = b"o" * (24 * MIB), b"n" * (24 * MIB)
    s3.put_object(Bucket=bucket, Key="k", Body=old)
    body = s3.get_object(Bucket=bucket, Key="k")["Body"]
    first = body.read(1000)
    s3.put_object(Bucket=bucket, Key="k", Body=new)
    s3.delete_object(Bucket=bucket, Key="k")
    assert first + body.read() == old


def test_content_encoding_is_stored_as_sent(s3: Any, bucket: str) -> None:
    import gzip

    packed = gzip.compress(b"x" * 100_000)
    put = s3.put_object(
        Bucket=bucket,
        Key="k",
        Body=packed,
        ContentEncoding="gzip",
        ContentMD5=b64encode(hashlib.md5(packed).digest()).decode(),
    )
    assert put["ETag"] == quoted_md5(packed)
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["ContentEncoding"], got["Body"].read()) == ("gzip", packed)
