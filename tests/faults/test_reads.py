"""A node that fails while objects are read from it: the object, or an error that says try again, never other bytes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, IncompleteReadError, ResponseStreamingError

from tests.faults.far_front import FarFront
from tests.node_faults import FAULTS, STATES, wrong
from tests.store_client import content_of

CONTENTS = {
    "small": b"small",
    "large": content_of("large", 300_000),
    "several": content_of("several", 9 << 20),
}
PARTS = content_of("parts", 5 << 20), content_of("last part", 100_000)
SECONDS_MAX = 15.0
"""Longer than any request may take, many times over."""
USUAL = ("reset in the body", "wrong bytes")
CUT = (ConnectionClosedError, IncompleteReadError, ResponseStreamingError)


def _marked(names: tuple[str, ...]) -> list[Any]:
    return [name if name in USUAL else pytest.param(name, marks=pytest.mark.all_faults) for name in names]


@pytest.fixture(scope="module")
def bucket(front: FarFront) -> str:
    """One with `CONTENTS` and an object of parts, of which nothing is here."""
    s3, name = front.s3, "objects"
    s3.create_bucket(Bucket=name)
    for key, content in CONTENTS.items():
        s3.put_object(Bucket=name, Key=key, Body=content)
    upload = {"Bucket": name, "Key": "parts"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    tags = [s3.upload_part(**upload, PartNumber=n, Body=part)["ETag"] for n, part in enumerate(PARTS, 1)]
    parts = [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1)]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    front.drop()
    return name


def _get(front: FarFront, bucket: str, key: str) -> Any:
    return front.s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def _list(front: FarFront, bucket: str) -> Any:
    return [row["Key"] for row in front.s3.list_objects_v2(Bucket=bucket)["Contents"]]


READS = {
    "small": (_get, "small"), "large": (_get, "large"), "several": (_get, "several"), "parts": (_get, "parts"),
    "list": (_list,),
}  # fmt: skip
RIGHT = {**CONTENTS, "parts": b"".join(PARTS), "list": sorted([*CONTENTS, "parts"])}


def _outcome(front: FarFront, bucket: str, name: str) -> Any:
    """What a read gave, or the error that it ended with, which has to be a right one."""
    read, *arguments = READS[name]
    began = time.monotonic()
    try:
        return read(front, bucket, *arguments)
    except ClientError as error:
        answer = error.response
        assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == ("ServiceUnavailable", 503)
        assert int(answer["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) > 0
        return error
    except CUT as error:
        return error
    finally:
        assert time.monotonic() - began < SECONDS_MAX


def _all_outcomes(front: FarFront, bucket: str) -> dict[str, Any]:
    with ThreadPoolExecutor(len(READS)) as together:
        return dict(zip(READS, together.map(lambda name: _outcome(front, bucket, name), READS), strict=True))


@pytest.mark.parametrize("name", _marked((*FAULTS, *STATES)))
def test_what_cannot_be_had_now(front: FarFront, bucket: str, name: str) -> None:
    front.forget_nodes()
    with wrong(front.node, "GET", name):
        found = _all_outcomes(front, bucket)
    if name != "expired allocation":  # of which reads know nothing
        assert [name for name, outcome in found.items() if not isinstance(outcome, Exception)] == []
    assert _all_outcomes(front, bucket) == RIGHT


@pytest.mark.parametrize("name", _marked(tuple(FAULTS)))
def test_a_download_that_fails_in_the_middle_is_cut(front: FarFront, bucket: str, name: str) -> None:
    front.forget_nodes()
    before = len(front.node.requests)
    assert _get(front, bucket, "several") == CONTENTS["several"]
    asked = len(front.node.requests) - before
    assert asked > 2
    front.forget_nodes()
    with wrong(front.node, "GET", name, after=asked - 1), pytest.raises(CUT):
        _get(front, bucket, "several")
    assert _get(front, bucket, "several") == CONTENTS["several"]
