"""The generator's signer against botocore's."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from bench.signing import (
    EMPTY_SHA256,
    UNSIGNED_PAYLOAD,
    Credentials,
    Signer,
    encode_path,
    encode_query,
)

AT = datetime(2026, 11, 21, 12, 30, 45, tzinfo=UTC)
HOST = "127.0.0.1:9000"
REGION = "eu-west-3"


def _oracle(method: str, path: str, query: str, payload_hash: str) -> str:
    target = f"http://{HOST}{path}" + (f"?{query}" if query else "")
    stamp = AT.strftime("%Y%m%dT%H%M%SZ")
    headers = {"X-Amz-Content-SHA256": payload_hash, "X-Amz-Date": stamp}
    request = AWSRequest(method=method, url=target, headers=headers)
    request.context["timestamp"] = stamp
    request.context["payload_signing_enabled"] = True
    auth = S3SigV4Auth(BotoCredentials("AKID", "secret/key"), "s3", REGION)
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    signed = auth.signed_headers(auth.headers_to_sign(request))
    credential = f"Credential={auth.scope(request)}"
    return f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={signed}, Signature={signature}"


@pytest.mark.parametrize("payload_hash", [EMPTY_SHA256, UNSIGNED_PAYLOAD, "ab" * 32])
@pytest.mark.parametrize(
    ("method", "key", "parameters"),
    [
        ("GET", "", ()),
        ("PUT", "written-1024/000000017", ()),
        ("PUT", "a b+c%d~e/ü/\N{SNOWMAN}", ()),
        ("GET", "", (("start-after", "key 000/1+ü"), ("list-type", "2"), ("max-keys", "1000"))),
        ("HEAD", "k", ()),
    ],
)
def test_signature_is_botocores(
    method: str, key: str, parameters: tuple[tuple[str, str], ...], payload_hash: str
) -> None:
    path, query = encode_path("bucket", key), encode_query(parameters)
    signer = Signer(Credentials("AKID", "secret/key", REGION), HOST, AT)
    assert signer.authorization(method, path, query, payload_hash) == _oracle(method, path, query, payload_hash)


def test_head_is_one_whole_request() -> None:
    signer = Signer(Credentials("AKID", "secret", REGION), HOST, AT)
    head = signer.head("PUT", "/b/k", "", "00" * 32, 5).decode()
    lines = head.split("\r\n")
    assert lines[0] == "PUT /b/k HTTP/1.1"
    assert lines[-2:] == ["", ""]
    assert f"Host: {HOST}" in lines
    assert "Content-Length: 5" in lines
    assert "Content-Length" not in signer.head("GET", "/b/k").decode()
