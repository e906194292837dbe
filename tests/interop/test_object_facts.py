"""What is known of an object besides its bytes: parts, attributes, storage class, stored headers, owners."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

import pytest

MIB = 1 << 20
PIECES = [b"a" * 5 * MIB, b"b" * 5 * MIB, b"c" * 7]


def upload(s3: Any, bucket: str, key: str, pieces: dict[int, bytes], **options: Any) -> str:
    """Upload in parts; returns the object's ETag."""
    where = {"Bucket": bucket, "Key": key}
    upload_id = s3.create_multipart_upload(**where, **options)["UploadId"]
    parts = []
    for number, piece in pieces.items():
        sent = s3.upload_part(**where, **options, UploadId=upload_id, PartNumber=number, Body=piece)
        sums = {name: value for name, value in sent.items() if name.startswith("Checksum")}
        parts.append({"PartNumber": number, "ETag": sent["ETag"], **(sums if options else {})})
    done = s3.complete_multipart_upload(**where, UploadId=upload_id, MultipartUpload={"Parts": parts})
    return str(done["ETag"])


class TestParts:
    @pytest.mark.parametrize("numbers", [(1, 2, 3), (2, 40, 10_000)])
    def test_each_part_of_an_upload(self, s3: Any, bucket: str, numbers: tuple[int, ...], refused: Any) -> None:
        etag = upload(s3, bucket, "k", dict(zip(numbers, PIECES, strict=True)))
        start = 0
        for number, piece in zip(numbers, PIECES, strict=True):
            for read in (s3.get_object, s3.head_object):
                got = read(Bucket=bucket, Key="k", PartNumber=number)
                assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
                assert (got["PartsCount"], got["ETag"], got["ContentLength"]) == (3, etag, len(piece))
                headers = got["ResponseMetadata"]["HTTPHeaders"]
                assert headers["content-range"] == f"bytes {start}-{start + len(piece) - 1}/{sum(map(len, PIECES))}"
                if "Body" in got:
                    assert got["Body"].read() == piece
            start += len(piece)
        with refused("InvalidPartNumber", 416):
            s3.get_object(Bucket=bucket, Key="k", PartNumber=4)
        assert "PartsCount" not in s3.head_object(Bucket=bucket, Key="k")
        assert "PartsCount" not in s3.head_object(Bucket=bucket, Key="k", Range="bytes=0-3")

    def test_a_plain_object_is_its_own_first_part(self, s3: Any, bucket: str, refused: Any) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"plain", ChecksumAlgorithm="SHA256")
        got = s3.get_object(Bucket=bucket, Key="k", PartNumber=1, ChecksumMode="ENABLED")
        assert (got["Body"].read(), got["ContentRange"]) == (b"plain", "bytes 0-4/5")
        assert got["ChecksumSHA256"] == b64encode(hashlib.sha256(b"plain").digest()).decode()
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert "PartsCount" not in got
        with refused("InvalidPartNumber", 416):
            s3.get_object(Bucket=bucket, Key="k", PartNumber=2)
        with refused("416", 416):
            s3.head_object(Bucket=bucket, Key="k", PartNumber=2)
        s3.put_object(Bucket=bucket, Key="empty", Body=b"")
        empty = s3.get_object(Bucket=bucket, Key="empty", PartNumber=1)
        assert (empty["Body"].read(), empty["ResponseMetadata"]["HTTPStatusCode"]) == (b"", 200)

    def test_a_part_without_a_byte(self, s3: Any, bucket: str) -> None:
        upload(s3, bucket, "k", {1: PIECES[0], 2: b""})
        for read in (s3.get_object, s3.head_object):
            got = read(Bucket=bucket, Key="k", PartNumber=2)
            assert (got["ContentLength"], got["PartsCount"], "ContentRange" in got) == (0, 2, False)

    @pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "SHA1", "SHA256"])
    def test_a_part_has_the_checksum_that_it_was_uploaded_with(self, s3: Any, bucket: str, algorithm: str) -> None:
        name = f"Checksum{algorithm}"
        upload(s3, bucket, "k", dict(zip((1, 2, 30), PIECES, strict=True)), ChecksumAlgorithm=algorithm)
        s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
        whole = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")[name]
        assert whole.endswith("-3")
        start = 0
        for number, piece in zip((1, 2, 30), PIECES, strict=True):
            wanted = s3.put_object(Bucket=bucket, Key="alone", Body=piece, ChecksumAlgorithm=algorithm)[name]
            beside = s3.put_object(Bucket=bucket, Key="alone", Body=piece, ChecksumAlgorithm="CRC64NVME")
            for key, chosen in (
                ("k", {"PartNumber": number}),
                ("copy", {"PartNumber": number}),
                ("k", {"Range": f"bytes={start}-{start + len(piece) - 1}"}),
            ):
                for read in (s3.get_object, s3.head_object):
                    got = read(Bucket=bucket, Key=key, ChecksumMode="ENABLED", **chosen)
                    assert (got[name], got["ChecksumType"]) == (wanted, "COMPOSITE")
                    assert got["ChecksumCRC64NVME"] == beside["ChecksumCRC64NVME"]
            start += len(piece)
        for other in ("bytes=0-3", f"bytes=0-{start - 1}", "bytes=1-5242879"):
            got = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", Range=other)
            assert not [found for found in got if found.startswith("Checksum")]
        assert name not in s3.head_object(Bucket=bucket, Key="k", PartNumber=1)
        whole = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert {found for found in whole if found.startswith("Checksum")} == {name, "ChecksumType"}

    def test_a_copied_part_has_the_checksums_of_one_that_was_sent(self, s3: Any, bucket: str) -> None:
        sent = s3.put_object(Bucket=bucket, Key="from", Body=PIECES[0], ChecksumAlgorithm="CRC64NVME")
        where = {"Bucket": bucket, "Key": "k"}
        where["UploadId"] = s3.create_multipart_upload(**where, ChecksumAlgorithm="SHA256")["UploadId"]
        copied = s3.upload_part_copy(**where, PartNumber=1, CopySource=f"{bucket}/from")["CopyPartResult"]
        part = {"PartNumber": 1, "ETag": copied["ETag"], "ChecksumSHA256": copied["ChecksumSHA256"]}
        s3.complete_multipart_upload(**where, MultipartUpload={"Parts": [part]})
        got = s3.head_object(Bucket=bucket, Key="k", PartNumber=1, ChecksumMode="ENABLED")
        assert (got["ChecksumSHA256"], got["ChecksumCRC64NVME"]) == (
            copied["ChecksumSHA256"],
            sent["ChecksumCRC64NVME"],
        )

    def test_the_only_part_of_a_composite_object(self, s3: Any, bucket: str) -> None:
        """It has a checksum other than the object's, which is made of the checksums of parts."""
        upload(s3, bucket, "k", {1: b"plain"}, ChecksumAlgorithm="SHA256")
        got = s3.get_object(Bucket=bucket, Key="k", PartNumber=1, ChecksumMode="ENABLED")
        assert got["ChecksumSHA256"] == b64encode(hashlib.sha256(b"plain").digest()).decode()

    def test_parts_of_a_full_object_checksum_have_none(self, s3: Any, bucket: str) -> None:
        upload(s3, bucket, "k", dict(enumerate(PIECES, 1)))
        got = s3.get_object(Bucket=bucket, Key="k", PartNumber=3, ChecksumMode="ENABLED")
        assert (got["Body"].read(), "ChecksumType" in got, "ChecksumCRC64NVME" in got) == (PIECES[2], False, False)

    @pytest.mark.parametrize("number", ["0", "10001", "-1", "x", ""])
    def test_numbers_that_no_part_has(self, server: Any, s3: Any, bucket: str, number: str) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"plain")
        reply = server.request("GET", f"/{bucket}/k?partNumber={number}")
        assert (reply.status, reply.code) == (400, "InvalidArgument")

    def test_a_part_and_a_range(self, s3: Any, bucket: str, refused: Any) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"plain")
        with refused("InvalidRequest", 400):
            s3.get_object(Bucket=bucket, Key="k", PartNumber=1, Range="bytes=0-1")


ALL = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]


class TestAttributes:
    def test_of_a_plain_object(self, s3: Any, bucket: str) -> None:
        put = s3.put_object(Bucket=bucket, Key="k", Body=b"plain", ChecksumAlgorithm="SHA256")
        got = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=ALL)
        assert got["ETag"] == put["ETag"].strip('"')
        assert got["Checksum"] == {"ChecksumSHA256": put["ChecksumSHA256"], "ChecksumType": "FULL_OBJECT"}
        assert (got["StorageClass"], got["ObjectSize"]) == ("STANDARD", 5)
        assert "ObjectParts" not in got
        assert got["LastModified"] == s3.head_object(Bucket=bucket, Key="k")["LastModified"]

    def test_only_what_is_asked_for(self, s3: Any, bucket: str) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"plain", StorageClass="STANDARD_IA")
        for name, value in (("ObjectSize", 5), ("StorageClass", "STANDARD_IA")):
            got = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=[name])
            assert {field: got[field] for field in ALL if field in got} == {name: value}

    def test_parts_page_by_page(self, s3: Any, bucket: str) -> None:
        upload(s3, bucket, "k", dict(zip((1, 2, 30), PIECES, strict=True)), ChecksumAlgorithm="SHA256")
        sizes, sums, marker, pages = [], [], 0, 0
        while True:
            parts = s3.get_object_attributes(
                Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts"], MaxParts=2, PartNumberMarker=marker
            )["ObjectParts"]
            assert (parts["TotalPartsCount"], parts["MaxParts"], parts["PartNumberMarker"]) == (3, 2, marker)
            sizes += [(part["PartNumber"], part["Size"]) for part in parts["Parts"]]
            sums += [part["ChecksumSHA256"] for part in parts["Parts"]]
            pages += 1
            marker = parts["NextPartNumberMarker"]
            if not parts["IsTruncated"]:
                break
        assert sizes == [(1, 5 * MIB), (2, 5 * MIB), (30, 7)]
        assert (pages, marker) == (2, 30)
        assert sums == [b64encode(hashlib.sha256(piece).digest()).decode() for piece in PIECES]

    def test_of_a_composite_checksum(self, s3: Any, bucket: str) -> None:
        """Without the number of parts, which it has everywhere else."""
        upload(s3, bucket, "k", {1: b"plain"}, ChecksumAlgorithm="SHA256")
        got = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Checksum"])["Checksum"]
        made = hashlib.sha256(hashlib.sha256(b"plain").digest()).digest()
        assert got == {"ChecksumSHA256": b64encode(made).decode(), "ChecksumType": "COMPOSITE"}

    def test_parts_of_a_full_object_checksum_are_only_counted(self, server: Any, s3: Any, bucket: str) -> None:
        upload(s3, bucket, "k", {1: b"plain"}, ChecksumAlgorithm="CRC64NVME")
        reply = server.request("GET", f"/{bucket}/k?attributes", {"x-amz-object-attributes": "ObjectParts"})
        assert b"<ObjectParts><PartsCount>1</PartsCount></ObjectParts>" in reply.body

    @pytest.mark.parametrize("limit", ["x", "-1", "", "99999999999999999999"])
    def test_a_bad_number_of_parts_is_the_default(self, server: Any, s3: Any, bucket: str, limit: str) -> None:
        upload(s3, bucket, "k", {1: b"a"}, ChecksumAlgorithm="SHA256")
        headers = {"x-amz-max-parts": limit, "x-amz-part-number-marker": limit}
        headers["x-amz-object-attributes"] = "ObjectParts"
        reply = server.request("GET", f"/{bucket}/k?attributes", headers)
        assert (reply.status, reply.element("MaxParts"), reply.element("PartsCount")) == (200, "1000", "1")

    def test_a_line_for_each_of_them(self, server: Any, s3: Any, bucket: str) -> None:
        """As the Go SDK sends them; they are signed joined."""
        s3.put_object(Bucket=bucket, Key="k", Body=b"plain")
        target = f"/{bucket}/k?attributes"
        signed = server.signed("GET", target, {"x-amz-object-attributes": "ETag,ObjectSize"})
        signed["x-amz-object-attributes"] = "ETag"
        reply = server.send("GET", target, signed | {"X-Amz-Object-Attributes": "ObjectSize"})
        assert (reply.status, reply.element("ObjectSize")) == (200, "5")
        assert reply.element("ETag") == hashlib.md5(b"plain").hexdigest()

    def test_no_parts_at_all(self, s3: Any, bucket: str) -> None:
        upload(s3, bucket, "k", {1: b"a"}, ChecksumAlgorithm="SHA256")
        got = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts"], MaxParts=0)
        assert (got["ObjectParts"]["TotalPartsCount"], got["ObjectParts"]["IsTruncated"]) == (1, False)
        assert "Parts" not in got["ObjectParts"]

    def test_refusals(self, server: Any, s3: Any, bucket: str, refused: Any) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"plain")
        for names, code in (
            (None, "InvalidRequest"), ("", "InvalidRequest"), (" , ", "InvalidRequest"), ("etag", "InvalidArgument"),
            ("ETag,Colour", "InvalidArgument"),
        ):  # fmt: skip
            headers = {} if names is None else {"x-amz-object-attributes": names}
            reply = server.request("GET", f"/{bucket}/k?attributes", headers)
            assert (reply.status, reply.code) == (400, code)
        with refused("NoSuchKey", 404):
            s3.get_object_attributes(Bucket=bucket, Key="absent", ObjectAttributes=ALL)
        with refused("NoSuchVersion", 404):
            s3.get_object_attributes(Bucket=bucket, Key="k", VersionId="00000000000f0001", ObjectAttributes=ALL)


class TestStoredHeaders:
    def test_storage_classes(self, s3: Any, bucket: str, refused: Any) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass="GLACIER_IR")
        assert s3.head_object(Bucket=bucket, Key="k")["StorageClass"] == "GLACIER_IR"
        s3.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/k", StorageClass="STANDARD")
        assert "StorageClass" not in s3.head_object(Bucket=bucket, Key="k")
        with refused("InvalidStorageClass", 400):
            s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass="FLOPPY")
        with refused("InvalidStorageClass", 400):
            s3.create_multipart_upload(Bucket=bucket, Key="k", StorageClass="OUTPOSTS")

    def test_website_redirect(self, s3: Any, bucket: str, refused: Any) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", WebsiteRedirectLocation="/elsewhere")
        got = s3.get_object(Bucket=bucket, Key="k")
        assert (got["WebsiteRedirectLocation"], got["Body"].read()) == ("/elsewhere", b"x")
        s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
        assert "WebsiteRedirectLocation" not in s3.head_object(Bucket=bucket, Key="copy")
        s3.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/k", WebsiteRedirectLocation="https://host/")
        assert s3.head_object(Bucket=bucket, Key="k")["WebsiteRedirectLocation"] == "https://host/"
        with refused("InvalidRedirectLocation", 400):
            s3.put_object(Bucket=bucket, Key="k", Body=b"x", WebsiteRedirectLocation="elsewhere")

    def test_metadata_that_no_header_can_carry(self, server: Any, s3: Any, bucket: str) -> None:
        hidden = f"=?UTF-8?B?{b64encode(b'a' + bytes(1)).decode()}?="
        server.request("PUT", f"/{bucket}/k", {"x-amz-meta-a": hidden, "x-amz-meta-b": "b"}, b"x")
        head = s3.head_object(Bucket=bucket, Key="k")
        assert (head["MissingMeta"], head["Metadata"]) == (1, {"b": "b"})

    def test_what_a_presigned_url_overrides(self, server: Any, s3: Any, bucket: str) -> None:
        """Only who can sign can override: unsigned, it is refused like everything else."""
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentType="a/b")
        target = f"/{bucket}/k?response-content-type=c%2Fd&response-expires=never"
        reply = server.send("GET", server.presigned("GET", target), {"Host": server.host})
        assert (reply.status, reply.headers["content-type"], reply.headers["expires"]) == (200, "c/d", "never")
        assert server.send("GET", target, {"Host": server.host}).status == 403


class TestOwners:
    def test_the_expected_one(self, s3: Any, bucket: str, refused: Any) -> None:
        owner = s3.list_buckets()["Owner"]["ID"]
        for expected in (owner, owner[:-1], "123456789012"):
            right = expected == owner
            arguments = {"Bucket": bucket, "ExpectedBucketOwner": expected}
            for call in (
                lambda arguments=arguments: s3.put_object(Key="k", Body=b"x", **arguments),
                lambda arguments=arguments: s3.get_object_tagging(Key="k", **arguments),
                lambda arguments=arguments: s3.list_objects_v2(**arguments),
                lambda arguments=arguments: s3.copy_object(Key="c", CopySource=f"{bucket}/k", **arguments),
                lambda expected=expected: s3.copy_object(
                    Bucket=bucket, Key="c", CopySource=f"{bucket}/k", ExpectedSourceBucketOwner=expected
                ),
            ):
                if right:
                    call()
                else:
                    with refused("AccessDenied", 403):
                        call()

    def test_who_pays(self, s3: Any, bucket: str) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", RequestPayer="requester")
        assert s3.get_object(Bucket=bucket, Key="k", RequestPayer="requester")["Body"].read() == b"x"
        assert s3.list_objects_v2(Bucket=bucket, RequestPayer="requester")["KeyCount"] == 1


class TestListings:
    def test_optional_attributes(self, server: Any, s3: Any, bucket: str) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
        listed = s3.list_objects_v2(Bucket=bucket, OptionalObjectAttributes=["RestoreStatus"])
        assert "RestoreStatus" not in listed["Contents"][0]
        reply = server.request("GET", f"/{bucket}?list-type=2", {"x-amz-optional-object-attributes": "Colour"})
        assert (reply.status, reply.code) == (400, "InvalidArgument")
