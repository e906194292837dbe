"""A node that fails while changes wait for it: they are made and shipped, or refused for now and shipped later."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.faults.far_front import FarFront
from tests.node_faults import FAULTS, STATES, wrong
from tests.store_client import content_of

SMALL, LARGE = b"small", content_of("large", 300_000)
PARTS = content_of("part", 5 << 20), b"last part"
SECONDS_MAX = 15.0
USUAL = ("POST 503", "PUT reset in the body")
CASES = [(method, name) for method in ("POST", "PUT") for name in FAULTS] + [("POST", name) for name in STATES]

_numbers = count()


def _put_small(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="small", Body=SMALL)


def _put_large(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="large", Body=LARGE)


def _put_parts(s3: Any, bucket: str) -> None:
    upload = {"Bucket": bucket, "Key": "parts"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    tags = [s3.upload_part(**upload, PartNumber=n, Body=part)["ETag"] for n, part in enumerate(PARTS, 1)]
    parts = [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1)]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})


WRITES = (_put_small, _put_large, _put_parts)
RIGHT = {"small": SMALL, "large": LARGE, "parts": b"".join(PARTS)}


def _is_answered(s3: Any, bucket: str, write: Callable[[Any, str], None]) -> bool:
    """Whether a write was; else it was refused as it has to be."""
    began = time.monotonic()
    try:
        write(s3, bucket)
    except ClientError as error:
        answer = error.response
        assert answer["Error"]["Code"] == "ServiceUnavailable"
        if write is not _put_parts:  # whose answer may have begun already
            assert int(answer["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) > 0
        return False
    finally:
        assert time.monotonic() - began < SECONDS_MAX
    return True


@pytest.mark.parametrize(
    ("method", "name"),
    [
        pytest.param(*case, id=" ".join(case), marks=() if " ".join(case) in USUAL else pytest.mark.all_faults)
        for case in CASES
    ],
)
def test_changes_while_the_node_fails(front: FarFront, method: str, name: str) -> None:
    bucket = f"bucket-{next(_numbers)}"
    front.s3.create_bucket(Bucket=bucket)
    front.drop()
    with wrong(front.node, method, name), ThreadPoolExecutor(len(WRITES)) as together:
        answered = list(together.map(lambda write: _is_answered(front.s3, bucket, write), WRITES))
        if any(answered):
            assert front.is_shipped(bucket) or not all(answered)
        front.drop()
    deadline = time.monotonic() + SECONDS_MAX
    while not front.is_shipped(bucket):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    front.drop()
    rows = front.s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert {row["Key"]: front.s3.get_object(Bucket=bucket, Key=row["Key"])["Body"].read() for row in rows} == RIGHT
