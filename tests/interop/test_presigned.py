"""Presigned URLs as boto3 and the aws CLI make them, of both versions, used by somebody who has nothing but the URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config

KEY = "sp ace+plus%20/\N{GRINNING FACE}?&=#"
Sign = Callable[..., str]
Use = Callable[..., Any]


@pytest.fixture(params=["s3v4", "s3"], ids=["version 4", "version 2"])
def sign(request: pytest.FixtureRequest, server: Any, bucket: str) -> Sign:
    """Makes the URL of an operation on one key."""
    client = server.boto3(signature_version=request.param)

    def make(operation: str, **arguments: Any) -> str:
        url: str = client.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": KEY, **arguments})
        assert ("X-Amz-Signature=" in url) == (request.param == "s3v4")
        return url

    return make


@pytest.fixture
def use(server: Any) -> Use:
    """Sends a request with that URL and no credentials."""

    def send(method: str, url: str, body: bytes = b"", **headers: str) -> Any:
        assert url.startswith(f"{server.endpoint}/")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return server.send(method, url.removeprefix(server.endpoint), {"Host": server.host, **named}, body)

    return send


def test_presigned_reads(s3: Any, bucket: str, sign: Sign, use: Use) -> None:
    s3.put_object(Bucket=bucket, Key=KEY, Body=b"given away")
    reply = use("GET", sign("get_object"))
    assert (reply.status, reply.body) == (200, b"given away")
    part = use("GET", sign("get_object"), Range="bytes=6-")
    assert (part.status, part.body) == (206, b"away")
    assert use("HEAD", sign("head_object")).headers["content-length"] == "10"
    named = use("GET", sign("get_object", ResponseContentDisposition='attachment; filename="a b"'))
    assert named.headers["content-disposition"] == 'attachment; filename="a b"'


def test_presigned_puts(s3: Any, bucket: str, sign: Sign, use: Use) -> None:
    body = bytes(range(256)) * 2000
    assert use("PUT", sign("put_object"), body).status == 200
    assert s3.get_object(Bucket=bucket, Key=KEY)["Body"].read() == body
    assert use("DELETE", sign("delete_object")).status == 204
    assert use("GET", sign("get_object")).code == "NoSuchKey"


def test_a_signed_content_type_has_to_be_sent(s3: Any, bucket: str, sign: Sign, use: Use) -> None:
    url = sign("put_object", ContentType="text/x-mine")
    assert use("PUT", url, b"x", Content_Type="text/x-mine").status == 200
    assert s3.head_object(Bucket=bucket, Key=KEY)["ContentType"] == "text/x-mine"
    for other in ({"Content_Type": "text/html"}, {}):
        reply = use("PUT", url, b"y", **other)
        assert (reply.status, reply.code) == (403, "SignatureDoesNotMatch")
    assert s3.get_object(Bucket=bucket, Key=KEY)["Body"].read() == b"x"


@pytest.mark.parametrize("sent", [True, False])
def test_what_a_url_says_of_the_object(s3: Any, bucket: str, sign: Sign, use: Use, sent: bool) -> None:
    """With version 2 boto3 writes them into the query: who has the URL may send them as headers, or not."""
    url = sign("put_object", Metadata={"colour": "red"}, StorageClass="STANDARD_IA", Tagging="a=b", ACL="private")
    headers = {
        "x_amz_meta_colour": "red",
        "x_amz_storage_class": "STANDARD_IA",
        "x_amz_tagging": "a=b",
        "x_amz_acl": "private",
    }
    reply = use("PUT", url, b"x", **(headers if sent or "SignedHeaders=" in url else {}))
    assert reply.status == 200, reply
    head = s3.head_object(Bucket=bucket, Key=KEY)
    assert (head["Metadata"], head["StorageClass"]) == ({"colour": "red"}, "STANDARD_IA")
    assert s3.get_object_tagging(Bucket=bucket, Key=KEY)["TagSet"] == [{"Key": "a", "Value": "b"}]


def test_presigned_listings(server: Any, s3: Any, bucket: str, use: Use) -> None:
    s3.put_object(Bucket=bucket, Key=KEY, Body=b"")
    for version in ("s3v4", "s3"):
        client = server.boto3(signature_version=version)
        for operation in ("list_objects", "list_objects_v2", "list_object_versions"):
            url = client.generate_presigned_url(operation, Params={"Bucket": bucket, "Prefix": KEY[:3], "MaxKeys": 5})
            reply = use("GET", url)
            assert (reply.status, reply.body.count(b"<Key>")) == (200, 1), (version, operation, reply)


def test_presigned_parts(s3: Any, bucket: str, sign: Sign, use: Use) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key=KEY)["UploadId"]
    bodies = [b"a" * (5 << 20), b"the end"]
    parts = []
    for number, body in enumerate(bodies, 1):
        reply = use("PUT", sign("upload_part", UploadId=upload, PartNumber=number), body)
        assert reply.status == 200
        parts.append({"PartNumber": number, "ETag": reply.headers["etag"]})
    other_number = sign("upload_part", UploadId=upload, PartNumber=2).replace("partNumber=2", "partNumber=3")
    assert use("PUT", other_number, b"x").code == "SignatureDoesNotMatch"
    s3.complete_multipart_upload(Bucket=bucket, Key=KEY, UploadId=upload, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket=bucket, Key=KEY)["Body"].read() == b"".join(bodies)


def test_a_url_is_good_for_what_it_was_made_for(s3: Any, bucket: str, sign: Sign, use: Use) -> None:
    s3.put_object(Bucket=bucket, Key=KEY, Body=b"kept")
    url = sign("get_object")
    for method, other in (("PUT", url), ("DELETE", url), ("GET", url.replace("plus", "minus"))):
        reply = use(method, other, b"x" if method == "PUT" else b"")
        assert (reply.status, reply.code) == (403, "SignatureDoesNotMatch")
    assert s3.get_object(Bucket=bucket, Key=KEY)["Body"].read() == b"kept"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_url_for_another_region_is_told_the_right_one(server: Any, bucket: str, use: Use, method: str) -> None:
    astray = boto3.session.Session().client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="ap-south-1",
        aws_access_key_id=server.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=server.environment["AWS_SECRET_ACCESS_KEY"],
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    server.clients.append(astray)
    by_sdk = astray.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": KEY})
    by_cli = server.aws("s3", "presign", f"s3://{bucket}/{KEY}", "--region", "ap-south-1").decode().strip()
    for url in (by_sdk, by_cli):
        assert "ap-south-1" in url
        reply = use(method, url)
        assert (reply.status, reply.headers["x-amz-bucket-region"]) == (400, "us-east-1")
        if method == "GET":
            assert (reply.code, reply.element("Region")) == ("AuthorizationQueryParametersError", "us-east-1")


def test_urls_of_a_server_in_another_region(start: Callable[..., Any]) -> None:
    """Whichever version the aws CLI and boto3 choose there."""
    server = start(config={"s3": {"region": "eu-west-1"}})
    s3 = server.boto3()
    s3.create_bucket(Bucket="there", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket="there", Key=KEY, Body=b"far away")
    by_sdk = s3.generate_presigned_url("get_object", Params={"Bucket": "there", "Key": KEY})
    by_cli = server.aws("s3", "presign", f"s3://there/{KEY}").decode().strip()
    for url in (by_sdk, by_cli):
        reply = server.send("GET", url.removeprefix(server.endpoint), {"Host": server.host})
        assert (reply.status, reply.body) == (200, b"far away")
    assert server.stop() == 0
