"""What boto3 and the aws CLI do most, over TLS too, where they frame and sign bodies in another way."""

from __future__ import annotations

from typing import Any

from tests.interop.test_aws_cli import (
    fetch,
    test_cp_from_and_to_a_pipe,
    test_cp_of_a_multipart_file,
    test_cp_of_a_small_file_up_and_down,
    test_presign,
)
from tests.interop.test_boto3 import (
    TestBuckets,
    TestMultipart,
    TestObjects,
    test_a_download_is_of_the_object_it_began_with,
    test_a_write_is_seen_by_every_later_read,
    test_content_encoding_is_stored_as_sent,
    test_presigned_writes,
)
from tests.interop.test_presigned import (
    sign,
    test_a_signed_content_type_has_to_be_sent,
    test_a_url_for_another_region_is_told_the_right_one,
    test_a_url_is_good_for_what_it_was_made_for,
    test_presigned_parts,
    test_presigned_puts,
    test_presigned_reads,
    use,
)

__all__ = [
    "TestBuckets",
    "TestMultipart",
    "TestObjects",
    "fetch",
    "sign",
    "test_a_download_is_of_the_object_it_began_with",
    "test_a_signed_content_type_has_to_be_sent",
    "test_a_url_for_another_region_is_told_the_right_one",
    "test_a_url_is_good_for_what_it_was_made_for",
    "test_a_write_is_seen_by_every_later_read",
    "test_content_encoding_is_stored_as_sent",
    "test_cp_from_and_to_a_pipe",
    "test_cp_of_a_multipart_file",
    "test_cp_of_a_small_file_up_and_down",
    "test_presign",
    "test_presigned_parts",
    "test_presigned_puts",
    "test_presigned_reads",
    "test_presigned_writes",
    "use",
]


def test_the_location_of_a_completed_upload_is_https(server: Any, s3: Any, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"x")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    done = s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload=parts)
    assert done["Location"] == f"{server.endpoint}/{bucket}/k"
