"""Regions: where a bucket may be made, what it says of itself, and what a client hears that is in the wrong one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config


@pytest.fixture(scope="module")
def eu(start_for_module: Callable[..., Any]) -> Any:
    """A client of a server in Europe."""
    return start_for_module(config={"s3": {"region": "eu-west-1"}}).boto3()


def constraint(region: str) -> dict[str, Any]:
    return {"CreateBucketConfiguration": {"LocationConstraint": region}}


@pytest.mark.parametrize(
    ("region", "code"),
    [
        ("us-east-1", "InvalidLocationConstraint"),
        ("nowhere", "InvalidLocationConstraint"),
        ("eu-west-1", "IllegalLocationConstraintException"),
    ],
)
def test_no_bucket_is_made_elsewhere(s3: Any, region: str, code: str, refused: Any) -> None:
    with refused(code, 400):
        s3.create_bucket(Bucket="elsewhere", **constraint(region))
    with refused("404", 404):
        s3.head_bucket(Bucket="elsewhere")


@pytest.mark.parametrize(
    ("region", "code"),
    [("us-east-1", "IllegalLocationConstraintException"), ("nowhere", "InvalidLocationConstraint")],
)
def test_no_bucket_is_made_out_of_europe(eu: Any, region: str, code: str, refused: Any) -> None:
    with refused(code, 400):
        eu.create_bucket(Bucket="elsewhere", **constraint(region))


def test_a_bucket_in_us_east_1(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.create_bucket(Bucket=bucket)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    assert s3.head_bucket(Bucket=bucket)["BucketRegion"] == "us-east-1"


def test_a_bucket_in_europe(eu: Any, refused: Any) -> None:
    eu.create_bucket(Bucket="here", **constraint("eu-west-1"))
    with refused("BucketAlreadyOwnedByYou", 409):
        eu.create_bucket(Bucket="here", **constraint("eu-west-1"))
    assert eu.get_bucket_location(Bucket="here")["LocationConstraint"] == "eu-west-1"
    assert eu.head_bucket(Bucket="here")["BucketRegion"] == "eu-west-1"
    assert [found["BucketRegion"] for found in eu.list_buckets(BucketRegion="eu-west-1")["Buckets"]] == ["eu-west-1"]


def test_buckets_of_another_region(s3: Any, refused: Any) -> None:
    with refused("InvalidArgument", 400):
        s3.list_buckets(BucketRegion="eu-west-1")


@pytest.mark.parametrize("size", ["0", "10001", "-1", "x", "", "1e3"])
def test_pages_of_buckets_of_another_size(server: Any, size: str) -> None:
    reply = server.request("GET", f"/?max-buckets={size}")
    assert (reply.status, reply.code, reply.element("ArgumentName")) == (400, "InvalidArgument", "max-buckets")


@pytest.mark.parametrize("token", ["x", "AA=="])
def test_tokens_that_are_none(server: Any, token: str) -> None:
    reply = server.request("GET", f"/?continuation-token={token}")
    assert (reply.status, reply.code) == (400, "InvalidArgument")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_signature_for_another_region_is_told_the_right_one(server: Any, bucket: str, method: str) -> None:
    reply = server.request(method, f"/{bucket}", region="eu-west-1")
    assert (reply.status, reply.headers["x-amz-bucket-region"]) == (400, "us-east-1")
    if method == "GET":
        assert (reply.code, reply.element("Region")) == ("AuthorizationHeaderMalformed", "us-east-1")


def test_boto3_finds_the_right_region(server: Any, s3: Any, bucket: str) -> None:
    """It signs again for the region it is told, for HEAD too, where the answer has only headers to tell it."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    astray = boto3.session.Session().client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="ap-south-1",
        aws_access_key_id=server.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=server.environment["AWS_SECRET_ACCESS_KEY"],
        config=Config(s3={"addressing_style": "path"}),
    )
    server.clients.append(astray)
    assert astray.head_object(Bucket=bucket, Key="k")["ContentLength"] == 1
    assert astray.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
