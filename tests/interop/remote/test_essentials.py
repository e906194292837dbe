"""What clients do most, of a server that keeps nothing; `make test-remote` runs all tests of clients so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.interop.test_boto3 import test_a_download_is_of_the_object_it_began_with
from tests.remote_servers import RemoteServers
from tests.waiting import wait_until

__all__ = ["test_a_download_is_of_the_object_it_began_with"]
DROP_SECONDS_MAX = 60.0
EMPTY_BYTES_MAX = 1_000
"""A log and some bulk segments that were just begun."""
LARGE = bytes(range(256)) * 12_000
PART = bytes(5 << 20)


def test_what_was_answered_is_dropped_and_read_from_the_node(
    server: Any, s3: Any, bucket: str, remote_servers: RemoteServers
) -> None:
    def segment_bytes() -> int:
        return sum(file.stat().st_size for file in (server.data_dir / "segments").iterdir())

    def from_the_node(read: Callable[[], Any]) -> Any:
        """What ``read`` returns when something of it came from the node."""
        before = remote_servers.reads

        def look() -> list[Any]:
            found = read()
            return [found] if remote_servers.reads > before else []

        # A worker may still have a file open that is deleted already.
        return wait_until(look, DROP_SECONDS_MAX, log=lambda: server.log)[0]

    s3.put_object(Bucket=bucket, Key="small", Body=b"small")
    s3.put_object(Bucket=bucket, Key="large", Body=LARGE)
    upload = {"Bucket": bucket, "Key": "parts"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    tags = [s3.upload_part(**upload, PartNumber=number, Body=PART)["ETag"] for number in (1, 2)]
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    wait_until(lambda: segment_bytes() <= EMPTY_BYTES_MAX, DROP_SECONDS_MAX, log=lambda: server.log)

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
