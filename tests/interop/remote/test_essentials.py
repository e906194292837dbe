"""What clients do most, of a server that keeps nothing; `make test-remote` runs all tests of clients so."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.interop.test_boto3 import test_a_download_is_of_the_object_it_began_with
from tests.remote_servers import RemoteServers

__all__ = ["test_a_download_is_of_the_object_it_began_with"]
DROP_SECONDS_MAX = 60.0
EMPTY_BYTES_MAX = 1_000
"""A log and some bulk segments that were just begun."""
LARGE = bytes(range(256)) * 12_000
PART = bytes(5 << 20)


def test_what_was_answered_is_dropped_and_read_from_the_node(
    server: Any, s3: Any, bucket: str, remote_servers: RemoteServers
) -> None:
    deadline = time.monotonic() + DROP_SECONDS_MAX

    def segment_bytes() -> int:
        return sum(file.stat().st_size for file in (server.data_dir / "segments").iterdir())

    def from_the_node(read: Callable[[], Any]) -> Any:
        """What ``read`` returns when something of it came from the node."""
        before = remote_servers.reads
        while True:  # a worker may still have a file open that is deleted already
            found = read()
            if remote_servers.reads > before:
                return found
            assert time.monotonic() < deadline, server.log[-3000:]

    s3.put_object(Bucket=bucket, Key="small", Body=b"small")
    s3.put_object(Bucket=bucket, Key="large", Body=LARGE)
    upload = {"Bucket": bucket, "Key": "parts"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    tags = [s3.upload_part(**upload, PartNumber=number, Body=PART)["ETag"] for number in (1, 2)]
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    while segment_bytes() > EMPTY_BYTES_MAX:
        assert time.monotonic() < deadline, server.log[-3000:]
        time.sleep(0.05)

    def get(key: str, **options: Any) -> Any:
        return s3.get_object(Bucket=bucket, Key=key, **options)["Body"].read()

    assert from_the_node(lambda: get("small")) == b"small"
    assert from_the_node(lambda: get("large")) == LARGE
    assert from_the_node(lambda: get("parts")) == PART + PART
    assert from_the_node(lambda: get("large", Range="bytes=1500000-2500000")) == LARGE[1_500_000:2_500_001]
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "large"})
    s3.delete_object(Bucket=bucket, Key="large")
    assert [found["Key"] for found in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["copy", "parts", "small"]
    assert from_the_node(lambda: get("copy")) == LARGE
    assert not (server.data_dir / "cache").exists()
