"""Requests exactly as boto3 makes them: verified, unframed and understood, without a network."""

from __future__ import annotations

import io
from collections.abc import Callable
from time import time
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config

from gateway.s3 import checksums, claims, sigv2
from gateway.s3.chunked import ChunkedDecoder
from gateway.s3.headers import Headers, fold
from gateway.s3.metadata import ObjectMetadata
from gateway.s3.sigv4 import Authenticator, PayloadMode, Verified
from gateway.s3.target import Target, parse_copy_source, parse_target
from gateway.s3.xml import parse_complete, parse_delete

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
KEYS = [
    "plain",
    "a b+c%d",
    "dir/",
    "x//y",
    "é/🌳",
    "~!*'()",
    "a\nb",
    "?q=1#f",
    "&=;:@,$",
    "tilde~",
    "\\",
]
Seen = tuple[Target, Headers, Verified, bytes]


class Caught(Exception):
    """What a client's call ends with here, since there is no server."""


class Wire:
    """Catches what a client would have sent, and judges it as the server would."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []

    def __call__(self, request: Any, **_: Any) -> None:
        parts = urlsplit(request.url)
        headers = fold(
            (name.encode(), value if isinstance(value, bytes) else str(value).encode())
            for name, value in request.headers.items()
        )
        target = parse_target(f"{parts.path}?{parts.query}" if parts.query else parts.path, parts.netloc, ("s3.test",))
        verified = Authenticator({KEY: SECRET}.get, "us-east-1").verify(request.method, target, headers, time())
        body = request.body if request.body is not None else b""
        self.seen.append((target, headers, verified, body if isinstance(body, bytes) else body.read()))
        raise Caught

    def sent(self, call: Callable[..., Any], **parameters: Any) -> Seen:
        """What `call` sends."""
        with pytest.raises(Caught):
            call(**parameters)
        return self.seen[-1]


@pytest.fixture
def connect() -> Callable[..., tuple[Any, Wire]]:
    def make(url: str = "http://127.0.0.1:9000", signature_version: str | None = None, **s3: Any) -> tuple[Any, Wire]:
        client = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
            config=Config(
                s3=s3 or {"addressing_style": "path"},
                signature_version=signature_version,
                retries={"total_max_attempts": 1},
            ),
        )
        wire = Wire()
        client.meta.events.register("before-send.s3", wire)
        return client, wire

    return make


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:9000", "https://gateway.test", "http://s3.test:80", "https://s3.test:443"],
)
def test_every_key_arrives(connect: Callable[..., tuple[Any, Wire]], url: str, key: str) -> None:
    client, wire = connect(url)
    seen = wire.sent(client.get_object, Bucket="photos", Key=key, Range="bytes=0-1")
    assert (seen[0].bucket, seen[0].key) == ("photos", key)
    seen = wire.sent(client.list_objects_v2, Bucket="photos", Prefix=key, Delimiter="/", StartAfter=key)
    assert seen[0].query["prefix"] == seen[0].query["start-after"] == key
    seen = wire.sent(client.copy_object, Bucket="photos", Key="b", CopySource={"Bucket": "photos", "Key": key})
    assert parse_copy_source(seen[1]["x-amz-copy-source"]).key == key
    seen = wire.sent(client.delete_objects, Bucket="photos", Delete={"Objects": [{"Key": key}]})
    assert parse_delete(seen[3]).objects[0].key == key


def test_virtual_hosted_style(connect: Callable[..., tuple[Any, Wire]]) -> None:
    client, wire = connect("http://s3.test:9000", addressing_style="virtual")
    seen = wire.sent(client.head_object, Bucket="photos", Key="a b")
    assert (seen[0].bucket, seen[0].key, seen[0].virtual_host) == ("photos", "a b", True)


def test_upload_over_plain_http_signs_the_payload(connect: Callable[..., tuple[Any, Wire]]) -> None:
    client, wire = connect()
    seen = wire.sent(
        client.put_object,
        Bucket="photos",
        Key="a",
        Body=b"hello",
        Metadata={"Colour": "red"},
        ContentType="text/plain",
    )
    _, headers, verified, body = seen
    assert verified.payload is PayloadMode.SIGNED
    claim = claims.declared(headers, verified.payload)
    assert claim is not None
    hasher = checksums.new(claim.algorithm)
    hasher.update(body)
    claim.check(hasher.digest())
    assert ObjectMetadata.from_headers(headers).stored == {
        "ct": "text/plain",
        "um": {"colour": "red"},
    }


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1])
def test_upload_over_tls_has_a_trailer(connect: Callable[..., tuple[Any, Wire]], algorithm: str, size: int) -> None:
    client, wire = connect("https://gateway.test")
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    seen = wire.sent(
        client.put_object,
        Bucket="photos",
        Key="a",
        Body=io.BytesIO(content),
        ChecksumAlgorithm=algorithm,
        ContentEncoding="gzip",
    )
    _, headers, verified, body = seen
    assert verified.payload is PayloadMode.CHUNKED_UNSIGNED_TRAILER
    decoder = ChunkedDecoder(verified, headers)
    assert decoder.decoded_length == size
    received = b"".join(b"".join(decoder.feed(body[at : at + 65_537])) for at in range(0, len(body), 65_537))
    assert received == content
    claim = claims.declared(headers, verified.payload)
    assert claim is not None
    assert claim.algorithm.value == algorithm
    hasher = checksums.new(claim.algorithm)
    hasher.update(received)
    claim.settle(decoder.finish()).check(hasher.digest())
    assert ObjectMetadata.from_headers(headers).stored == {"ce": "gzip"}


def test_multipart(connect: Callable[..., tuple[Any, Wire]]) -> None:
    client, wire = connect()
    seen = wire.sent(
        client.create_multipart_upload,
        Bucket="photos",
        Key="a",
        ChecksumAlgorithm="CRC32",
        ChecksumType="FULL_OBJECT",
    )
    assert claims.requested(seen[1]) == (
        checksums.Algorithm.CRC32,
        checksums.ChecksumType.FULL_OBJECT,
    )
    seen = wire.sent(client.upload_part, Bucket="photos", Key="a", UploadId="u+/=", PartNumber=1, Body=b"x")
    assert seen[0].query == {"uploadId": "u+/=", "partNumber": "1"}
    parts = [
        {"PartNumber": 1, "ETag": '"abc"', "ChecksumCRC32": "AAAAAA=="},
        {"PartNumber": 2, "ETag": "def"},
    ]
    seen = wire.sent(
        client.complete_multipart_upload,
        Bucket="photos",
        Key="a",
        UploadId="u",
        MultipartUpload={"Parts": parts},
    )
    assert parse_complete(seen[3]) == (
        (1, "abc", claims.Declared(checksums.Algorithm.CRC32, bytes(4))),
        (2, "def", None),
    )


@pytest.mark.parametrize("operation", ["get_object", "put_object", "delete_object", "head_object"])
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_presigned_urls(connect: Callable[..., tuple[Any, Wire]], operation: str, key: str, version: str) -> None:
    client, _ = connect(signature_version=version, addressing_style="path")
    url = client.generate_presigned_url(operation, {"Bucket": "photos", "Key": key}, ExpiresIn=60)
    parts = urlsplit(url)
    target = parse_target(f"{parts.path}?{parts.query}", parts.netloc)
    method = operation.partition("_")[0].upper()
    headers = fold([(b"Host", parts.netloc.encode())])
    if version == "s3":
        assert sigv2.is_presigned(target, headers)
        verified = sigv2.verify(method, target, headers, time(), {KEY: SECRET}.get)
    else:
        verified = Authenticator({KEY: SECRET}.get, "us-east-1").verify(method, target, headers, time())
    assert verified.presigned
    assert target.key == key
