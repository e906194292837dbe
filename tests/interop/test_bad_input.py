"""Requests that are wrong in one way each: the right refusal, nothing visible of them, and the server goes on."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import re
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

KEPT = b"what was there before"
MINUTES = 60


@pytest.fixture(scope="module")
def target_bucket(s3: Any) -> str:
    s3.create_bucket(Bucket="target")
    s3.put_object(Bucket="target", Key="kept", Body=KEPT)
    return "target"


@pytest.fixture(autouse=True)
def nothing_happened(s3: Any, target_bucket: str) -> Iterator[None]:
    """Whatever a test sent: the bucket is as it was, and others are served."""

    def state() -> tuple[Any, ...]:
        listed = s3.list_objects_v2(Bucket=target_bucket)
        return (
            [(row["Key"], row["ETag"], row["LastModified"]) for row in listed["Contents"]],
            s3.get_object(Bucket=target_bucket, Key="kept")["Body"].read(),
            [found["Name"] for found in s3.list_buckets()["Buckets"]],
            [found["Key"] for found in s3.list_multipart_uploads(Bucket=target_bucket).get("Uploads", ())],
            s3.head_bucket(Bucket=target_bucket)["ResponseMetadata"]["HTTPHeaders"]["x-ms3t-commit"],
        )

    before = state()
    yield
    assert state() == before


def assert_refused(reply: Any, status: int, *codes: str) -> None:
    """A refusal in S3's form."""
    assert reply is not None, "the connection was closed without an answer"
    assert (reply.status, reply.code) in [(status, code) for code in codes], (reply.status, reply.body[:500])
    assert reply.headers["content-type"] == "application/xml"
    assert reply.element("RequestId") == reply.headers["x-amz-request-id"] != ""
    assert reply.element("Message")
    assert reply.element("Resource") is not None


def flip(text: str) -> str:
    """The same text with its last character changed."""
    return text[:-1] + ("0" if text[-1] != "0" else "1")


class TestSignatures:
    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    def test_wrong_signature(self, server: Any, method: str) -> None:
        headers = server.signed(method, "/target/kept", body=b"new")
        headers["Authorization"] = flip(headers["Authorization"])
        reply = server.send(method, "/target/kept", headers, b"new")
        assert_refused(reply, 403, "SignatureDoesNotMatch")
        assert reply.element("StringToSign").startswith("AWS4-HMAC-SHA256\n")

    def test_wrong_secret(self, server: Any) -> None:
        assert_refused(
            server.request("PUT", "/target/kept", body=b"new", secret="guessed"), 403, "SignatureDoesNotMatch"
        )

    def test_unknown_access_key(self, server: Any) -> None:
        assert_refused(
            server.request("PUT", "/target/kept", body=b"new", access_key="AKIDUNKNOWN"), 403, "InvalidAccessKeyId"
        )

    @pytest.mark.parametrize("skew_seconds", [-16 * MINUTES, 16 * MINUTES, -(10**8), 10**9])
    def test_clock_skew(self, server: Any, skew_seconds: int) -> None:
        reply = server.request("PUT", "/target/kept", body=b"new", skew_seconds=skew_seconds)
        assert_refused(reply, 403, "RequestTimeTooSkewed")

    def test_clock_skew_that_is_allowed(self, server: Any) -> None:
        for skew_seconds in (-14 * MINUTES, 14 * MINUTES):
            assert server.request("GET", "/target/kept", skew_seconds=skew_seconds).status == 200

    def test_no_signature(self, server: Any) -> None:
        assert_refused(server.send("PUT", "/target/kept", {"Host": server.host}, b"new"), 403, "AccessDenied")
        assert_refused(server.send("GET", "/", {"Host": server.host}), 403, "AccessDenied")

    def test_another_region(self, server: Any) -> None:
        reply = server.request("GET", "/target/kept", region="eu-west-1")
        assert_refused(reply, 400, "AuthorizationHeaderMalformed")
        assert reply.element("Region") == "us-east-1"

    @pytest.mark.parametrize(
        "authorization",
        [
            "",
            "AWS4-HMAC-SHA256",
            "AWS4-HMAC-SHA256 ",
            "AWS4-HMAC-SHA256 Credential=",
            "Basic dXNlcjpwYXNz",
            "Bearer x",
            "AWS AKID:signature",
            "AWS4-ECDSA-P256-SHA256 Credential=a/b/c/d/e, SignedHeaders=host, Signature=0",
            "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, SignedHeaders=host",
            "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=00",
            "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, Credential=a/b/c/d/e, SignedHeaders=host, Signature=00",
            "AWS4-HMAC-SHA256 " + "Credential=" * 500,
            "\u00e9",
            "=,=,=,",
            "AWS4-HMAC-SHA256 Credential=////, SignedHeaders=;, Signature=",
        ],
        ids=lambda text: repr(text[:30]),
    )
    def test_malformed_authorization(self, server: Any, authorization: str) -> None:
        headers = server.signed("PUT", "/target/kept", body=b"new") | {"Authorization": authorization}
        reply = server.send("PUT", "/target/kept", headers, b"new")
        assert reply.status in (400, 403)
        assert_refused(reply, reply.status, reply.code)

    def test_what_was_signed_is_what_counts(self, server: Any) -> None:
        """Method, path, query, a signed header, the body's digest: each changed after signing."""
        headers = server.signed("GET", "/target/kept")
        assert_refused(server.send("DELETE", "/target/kept", headers), 403, "SignatureDoesNotMatch")
        assert_refused(server.send("GET", "/target/other", headers), 403, "SignatureDoesNotMatch")
        assert_refused(server.send("GET", "/target/kept?versionId=null", headers), 403, "SignatureDoesNotMatch")
        headers = server.signed("PUT", "/target/kept", {"x-amz-meta-a": "1"}, b"new")
        assert_refused(
            server.send("PUT", "/target/kept", headers | {"x-amz-meta-a": "2"}, b"new"), 403, "SignatureDoesNotMatch"
        )
        digest = {"X-Amz-Content-SHA256": hashlib.sha256(b"other").hexdigest()}
        assert_refused(server.send("PUT", "/target/kept", headers | digest, b"other"), 403, "SignatureDoesNotMatch")
        unsigned = {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
        assert_refused(server.send("PUT", "/target/kept", headers | unsigned, b"other"), 403, "SignatureDoesNotMatch")

    @pytest.mark.parametrize(
        "name", ["x-amz-copy-source", "X-Amz-Copy-Source", "x-amz-acl", "x-amz-meta-a", "Content-MD5"]
    )
    def test_cve_2026_54330_headers_nobody_signed(self, server: Any, name: str) -> None:
        headers = server.signed("PUT", "/target/new", body=b"new") | {name: "/target/kept"}
        assert_refused(server.send("PUT", "/target/new", headers, b"new"), 403, "AccessDenied")
        presigned = server.presigned("PUT", "/target/new")
        assert_refused(
            server.send("PUT", presigned, {"Host": server.host, name: "/target/kept"}, b"new"), 403, "AccessDenied"
        )

    def test_repeated_headers(self, server: Any) -> None:
        signed = server.signed("PUT", "/target/new", {"x-amz-meta-a": "1"}, b"new")
        for name in ("x-amz-meta-a", "X-AMZ-META-A", "Authorization", "X-Amz-Date", "Content-Type"):
            wire = server.wire_form("PUT", "/target/new", {"Content-Type": "a/b", **signed}, b"new")
            again = wire.replace(b"\r\n", f"\r\n{name}: 2\r\n".encode(), 1)
            assert_refused(server.exchange(again), 400, "InvalidArgument", "BadRequest")

    def test_presigned(self, server: Any) -> None:
        host = {"Host": server.host}
        good = server.presigned("GET", "/target/kept")
        assert server.send("GET", good, host).body == KEPT
        assert_refused(server.send("GET", flip(good), host), 403, "SignatureDoesNotMatch")
        assert_refused(server.send("GET", good.replace("/kept", "/other"), host), 403, "SignatureDoesNotMatch")
        assert_refused(server.send("PUT", good, host, b"new"), 403, "SignatureDoesNotMatch")
        assert_refused(server.send("DELETE", good, host), 403, "SignatureDoesNotMatch")
        assert_refused(server.send("GET", f"{good}&response-content-type=a%2Fb", host), 403, "SignatureDoesNotMatch")
        expired = server.presigned("GET", "/target/kept", 10, skew_seconds=-60)
        assert_refused(server.send("GET", expired, host), 403, "AccessDenied")
        future = server.presigned("GET", "/target/kept", 10, skew_seconds=20 * MINUTES)
        assert_refused(server.send("GET", future, host), 403, "AccessDenied")
        for seconds in (0, -1, 604_801, 10**30):
            bad = server.presigned("GET", "/target/kept", seconds)
            assert_refused(server.send("GET", bad, host), 400, "AuthorizationQueryParametersError")
        assert_refused(
            server.send("GET", good.partition("&X-Amz-Date")[0], host), 400, "AuthorizationQueryParametersError"
        )

    def test_two_mechanisms_at_once(self, server: Any) -> None:
        presigned = server.presigned("GET", "/target/kept")
        assert_refused(server.send("GET", presigned, server.signed("GET", presigned)), 400, "InvalidArgument")


OPERATIONS = [
    ("GET", "/"),
    ("PUT", "/target"),
    ("PUT", "/new-bucket"),
    ("HEAD", "/target"),
    ("DELETE", "/target"),
    ("GET", "/target?location"),
    ("GET", "/target"),
    ("GET", "/target?list-type=2"),
    ("GET", "/target?versions"),
    ("GET", "/target?uploads"),
    ("POST", "/target?delete"),
    ("PUT", "/target/kept"),
    ("GET", "/target/kept"),
    ("HEAD", "/target/kept"),
    ("DELETE", "/target/kept"),
    ("POST", "/target/kept?uploads"),
    ("PUT", "/target/kept?partNumber=1&uploadId=x"),
    ("GET", "/target/kept?uploadId=x"),
    ("POST", "/target/kept?uploadId=x"),
    ("DELETE", "/target/kept?uploadId=x"),
    ("GET", "/target?acl"),
    ("PUT", "/target/kept?tagging"),
    ("OPTIONS", "/target/kept"),
    ("GET", "/no-such-bucket"),
]
PAYLOADS = [
    None, "UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_no_operation_without_a_good_signature(server: Any, method: str, path: str) -> None:
    """Every operation, every payload mode, a signature in each place: none looks at anything before it is verified."""
    answers = set()
    for payload in PAYLOADS:
        headers = server.signed(method, path, {"x-amz-decoded-content-length": "0"}, payload=payload, secret="wrong")
        answers.add(server.send(method, path, headers).status)
        answers.add(server.send(method, path, {k: v for k, v in headers.items() if k != "Authorization"}).status)
        presigned = flip(server.presigned(method, path))
        query_only = {"Host": server.host} | ({"X-Amz-Content-SHA256": payload} if payload else {})
        answers.add(server.send(method, presigned, query_only).status)
        answers.add(server.send(method, presigned, headers).status)
    assert answers <= {400, 403}


class TestBodies:
    def test_digest_of_another_body(self, server: Any) -> None:
        digest = hashlib.sha256(b"other").hexdigest()
        for size in (0, 1, 200_000, 1 << 20, (1 << 20) + 1):
            reply = server.request("PUT", "/target/kept", body=b"x" * size, payload=digest)
            assert_refused(reply, 400, "XAmzContentSHA256Mismatch")

    @pytest.mark.parametrize("sent", [0, 5, 200_000, 3 << 20])
    def test_shorter_than_declared(self, server: Any, sent: int) -> None:
        """The client goes away in the middle: there may be nobody to answer."""
        headers = server.signed("PUT", "/target/kept", payload="UNSIGNED-PAYLOAD")
        with server.connect() as connection:
            connection.sendall(server.wire_form("PUT", "/target/kept", headers, b"x" * sent, length=4 << 20))
            connection.shutdown(socket.SHUT_WR)
            reply = server.read_reply(connection, "PUT")
        if reply is not None:
            assert_refused(reply, 400, "IncompleteBody")

    def test_longer_than_declared(self, server: Any) -> None:
        """What comes after the declared length is another request, and a bad one."""
        headers = server.signed("PUT", "/target/kept", payload=hashlib.sha256(b"new").hexdigest())
        reply = server.send("PUT", "/target/kept", headers, b"new and more", length=2)
        assert_refused(reply, 400, "XAmzContentSHA256Mismatch", "BadRequest")
        headers = server.signed("GET", "/target/kept")
        with server.connect() as connection:
            connection.sendall(server.wire_form("GET", "/target/kept", headers, b"four", length=4))
            assert server.read_reply(connection).body == KEPT
            connection.sendall(b" and more\r\n\r\n")
            second = server.read_reply(connection)
        if second is not None:
            assert_refused(second, 400, "BadRequest")

    def test_stalled_or_longer_than_configured(self, start: Callable[..., Any]) -> None:
        impatient = start(config={"limits": {"body_idle_seconds": 1, "request_header_bytes": "8KiB"}})
        s3 = impatient.boto3()
        s3.create_bucket(Bucket="target")
        headers = impatient.signed("PUT", "/target/stalled", payload="UNSIGNED-PAYLOAD")
        begun = time.monotonic()
        reply = impatient.send("PUT", "/target/stalled", headers, b"begun", length=1000)
        assert_refused(reply, 400, "RequestTimeout")
        assert time.monotonic() - begun < 10
        long_headers = impatient.signed("GET", "/target", {"X-Long": "a" * 9000})
        assert_refused(impatient.send("GET", "/target", long_headers), 400, "RequestHeaderSectionTooLarge")
        assert s3.list_objects_v2(Bucket="target")["KeyCount"] == 0
        assert impatient.stop() == 0

    def test_no_length(self, server: Any) -> None:
        headers = server.signed("PUT", "/target/kept")
        assert_refused(server.send("PUT", "/target/kept", headers, length=None), 411, "MissingContentLength")
        chunked = server.signed("PUT", "/target/kept", payload="UNSIGNED-PAYLOAD") | {"Transfer-Encoding": "chunked"}
        assert_refused(
            server.send("PUT", "/target/kept", chunked, b"3\r\nnew\r\n0\r\n\r\n"), 411, "MissingContentLength"
        )

    def test_too_large(self, server: Any) -> None:
        headers = server.signed("PUT", "/target/kept", payload="UNSIGNED-PAYLOAD")
        assert_refused(server.send("PUT", "/target/kept", headers, b"", length=(5 << 30) + 1), 400, "EntityTooLarge")
        too_large = server.signed(
            "PUT",
            "/target/kept",
            {"x-amz-decoded-content-length": str(10**15)},
            payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        )
        assert_refused(server.send("PUT", "/target/kept", too_large, b"0\r\n\r\n"), 400, "EntityTooLarge")

    @pytest.mark.parametrize("declared", ["", "-1", "abc", "1e3", "\u0663", "9" * 500, "0x10", "+5", "1 2"])
    def test_bad_decoded_length(self, server: Any, declared: str) -> None:
        headers, body = server.chunked("/target/kept", b"new", decoded_length=declared)
        reply = server.send("PUT", "/target/kept", headers, body)
        assert_refused(reply, 411, "MissingContentLength")

    @pytest.mark.parametrize("sign_chunks", [False, True])
    @pytest.mark.parametrize("declared", [0, 9_999, 10_001, 1 << 30])
    def test_another_decoded_length(self, server: Any, sign_chunks: bool, declared: int) -> None:
        headers, body = server.chunked(
            "/target/kept", b"x" * 10_000, sign_chunks=sign_chunks, decoded_length=str(declared)
        )
        assert_refused(server.send("PUT", "/target/kept", headers, body), 400, "IncompleteBody")

    @pytest.mark.parametrize("sign_chunks", [False, True])
    @pytest.mark.parametrize("with_trailer", [False, True])
    def test_cut_or_lengthened_framing(self, server: Any, sign_chunks: bool, with_trailer: bool) -> None:
        """A whole HTTP body whose aws-chunked framing is not whole, cut at every kind of place."""
        trailer = (
            ("x-amz-checksum-sha256", b64encode(hashlib.sha256(b"x" * 100).digest()).decode()) if with_trailer else None
        )
        headers, body = server.chunked(
            "/target/kept", b"x" * 100, sign_chunks=sign_chunks, trailer=trailer, chunk_bytes=60
        )
        first_line = body.index(b"\r\n")
        places = {
            0,
            1,
            first_line,
            first_line + 1,
            first_line + 2,
            first_line + 30,
            body.rindex(b"x") + 1,
            body.rindex(b"x") + 3,
        }
        places |= {len(body) - cut for cut in (3, 5, 10, 40, 60) if cut < len(body) - first_line}
        for place in sorted(places):
            reply = server.send("PUT", "/target/kept", headers, body[:place])
            assert_refused(
                reply,
                reply.status,
                "IncompleteBody",
                "SignatureDoesNotMatch",
                "MalformedTrailerError",
                "InvalidRequest",
            )
            assert reply.status in (400, 403)
        for more in (b"garbage", b"0\r\n\r\n", b"5\r\nxxxxx\r\n0\r\n\r\n"):
            reply = server.send("PUT", "/target/kept", headers, body + more)
            assert reply.status in (400, 403), more
            assert_refused(reply, reply.status, reply.code)

    @pytest.mark.parametrize(
        "framing",
        [
            b"zz\r\nxxx\r\n0\r\n\r\n",
            b"-3\r\nxxx\r\n0\r\n\r\n",
            b"+3\r\nxxx\r\n0\r\n\r\n",
            b"0x3\r\nxxx\r\n0\r\n\r\n",
            b" 3\r\nxxx\r\n0\r\n\r\n",
            b"3\nxxx\n0\n\n",
            b"3\r\nxxxx\r\n0\r\n\r\n",
            b"3\r\nxx\r\n0\r\n\r\n",
            b"fffffffffffffffffffff\r\nxxx",
            b"3" * 100_000,
            b"3;" + b"a" * 100_000,
            b"xxx",
            b"\r\n\r\n",
            b"3\r\nxxx0\r\n\r\n",
            b"3;ext\r\nxxx\r\n0\r\n\r\n",
            b"\x00\r\nxxx",
            b"3\r\nxxx\r\n0\r\n" + b"a:b\r\n" * 5000 + b"\r\n",
            b"3\r\nxxx\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n" * 2,
            b"3\r\nxxx\r\n0\r\nno colon\r\n\r\n",
        ],
        ids=lambda framing: repr(framing[:24]),
    )
    def test_malformed_framing(self, server: Any, framing: bytes) -> None:
        headers, _ = server.chunked("/target/kept", b"xxx")
        reply = server.send("PUT", "/target/kept", headers, framing)
        assert reply.status == 400
        assert_refused(reply, 400, reply.code)

    def test_wrong_chunk_signatures(self, server: Any) -> None:
        headers, body = server.chunked("/target/kept", b"x" * 100, sign_chunks=True, chunk_bytes=40)
        at = -1
        while (at := body.find(b"chunk-signature=", at + 1)) >= 0:
            place = at + len(b"chunk-signature=")
            damaged = body[:place] + (b"0" if body[place : place + 1] != b"0" else b"1") + body[place + 1 :]
            assert_refused(server.send("PUT", "/target/kept", headers, damaged), 403, "SignatureDoesNotMatch")
        assert_refused(
            server.send("PUT", "/target/kept", headers, body.replace(b"x" * 40, b"y" * 40)),
            403,
            "SignatureDoesNotMatch",
        )
        chunks = body.split(b"28;")
        swapped = b"28;".join([chunks[0], chunks[2], chunks[1], *chunks[3:]])
        assert_refused(server.send("PUT", "/target/kept", headers, swapped), 403, "SignatureDoesNotMatch")
        bare = b"64\r\n" + b"x" * 100 + b"\r\n0\r\n\r\n"
        reply = server.send("PUT", "/target/kept", headers, bare)
        assert_refused(reply, reply.status, "SignatureDoesNotMatch", "IncompleteBody", "InvalidRequest")

    def test_wrong_trailer_signature(self, server: Any) -> None:
        text = b64encode(hashlib.sha256(b"new").digest()).decode()
        headers, body = server.chunked(
            "/target/kept", b"new", sign_chunks=True, trailer=("x-amz-checksum-sha256", text)
        )
        place = body.index(b"trailer-signature:") + len(b"trailer-signature:")
        assert_refused(
            server.send("PUT", "/target/kept", headers, body[:place] + b"00" + body[place + 2 :]),
            403,
            "SignatureDoesNotMatch",
        )
        lacking = body[: place - len(b"x-amz-trailer-signature:")] + b"\r\n"
        reply = server.send("PUT", "/target/kept", headers, lacking)
        assert_refused(reply, reply.status, "SignatureDoesNotMatch", "MalformedTrailerError")

    @pytest.mark.parametrize(
        "announced", ["x-amz-checksum-sha256", "x-amz-checksum-md5", "x-amz-meta-a", "content-length", ""]
    )
    def test_trailers_that_do_not_come_or_cannot(self, server: Any, announced: str) -> None:
        headers = server.signed(
            "PUT",
            "/target/kept",
            {"x-amz-decoded-content-length": "3", "x-amz-trailer": announced, "Content-Encoding": "aws-chunked"},
            payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        )
        if announced:
            reply = server.send("PUT", "/target/kept", headers, b"3\r\nnew\r\n0\r\n\r\n")
            assert_refused(reply, 400, "MalformedTrailerError", "InvalidRequest")
        reply = server.send("PUT", "/target/kept", headers, b"3\r\nnew\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n")
        assert_refused(reply, 400, "MalformedTrailerError", "InvalidRequest", "BadDigest")

    @pytest.mark.parametrize("algorithm", ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"])
    def test_wrong_checksums(self, server: Any, algorithm: str) -> None:
        size = {"crc32": 4, "crc32c": 4, "crc64nvme": 8, "sha1": 20, "sha256": 32}[algorithm]
        wrong = b64encode(b"\1" * size).decode()
        name = f"x-amz-checksum-{algorithm}"
        assert_refused(server.request("PUT", "/target/kept", {name: wrong}, b"new"), 400, "BadDigest")
        headers, body = server.chunked("/target/kept", b"new", trailer=(name, wrong))
        assert_refused(server.send("PUT", "/target/kept", headers, body), 400, "BadDigest")
        for malformed in ("", "????", wrong[:-4], wrong + "AAAA", b64encode(b"\1" * (size + 1)).decode(), f"{wrong}-1"):
            assert_refused(server.request("PUT", "/target/kept", {name: malformed}, b"new"), 400, "InvalidRequest")
            headers, body = server.chunked("/target/kept", b"new", trailer=(name, malformed))
            assert_refused(
                server.send("PUT", "/target/kept", headers, body), 400, "InvalidRequest", "MalformedTrailerError"
            )

    def test_checksums_that_contradict_themselves(self, server: Any) -> None:
        good = b64encode(hashlib.sha256(b"new").digest()).decode()
        for headers in (
            {"x-amz-checksum-sha256": good, "x-amz-checksum-crc32": "AAAAAA=="},
            {"x-amz-checksum-sha256": good, "x-amz-sdk-checksum-algorithm": "CRC32"},
            {"x-amz-sdk-checksum-algorithm": "CRC32"},
            {"x-amz-sdk-checksum-algorithm": "MD4"},
            {"x-amz-checksum-md4": "AAAAAA=="},
        ):
            assert_refused(server.request("PUT", "/target/kept", headers, b"new"), 400, "InvalidRequest")

    def test_content_md5(self, server: Any) -> None:
        wrong = b64encode(hashlib.md5(b"other").digest()).decode()
        assert_refused(server.request("PUT", "/target/kept", {"Content-MD5": wrong}, b"new"), 400, "BadDigest")
        for malformed in ("", "YQ==", "not base64", wrong[:-1], hashlib.md5(b"new").hexdigest()):
            reply = server.request("PUT", "/target/kept", {"Content-MD5": malformed}, b"new")
            assert_refused(reply, 400, "InvalidDigest")

    @pytest.mark.parametrize("payload", PAYLOADS[2:])
    @pytest.mark.parametrize(
        ("method", "path"), [("POST", "/target?delete"), ("POST", "/target/kept?uploadId=x"), ("PUT", "/new-bucket")]
    )
    def test_aws_chunked_where_it_cannot_be(self, server: Any, method: str, path: str, payload: str) -> None:
        headers = server.signed(method, path, {"x-amz-decoded-content-length": "0"}, payload=payload)
        reply = server.send(method, path, headers, b"0\r\n\r\n")
        assert_refused(reply, reply.status, "InvalidRequest", "NoSuchUpload")

    @pytest.mark.parametrize(
        "payload", ["", "sha256", "UNSIGNED", "0" * 63, "Z" * 64, "0" * 65, "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"]
    )
    def test_unknown_payload_modes(self, server: Any, payload: str) -> None:
        signed = server.signed("PUT", "/target/kept", payload=payload or " ")
        reply = server.send("PUT", "/target/kept", signed, b"new")
        assert reply.status in (400, 403, 501)
        assert_refused(reply, reply.status, reply.code)

    def test_gzip_is_stored_as_sent(self, server: Any, s3: Any) -> None:
        """Even what is no gzip at all, and a bomb."""
        s3.create_bucket(Bucket="packed")
        for coding in ("gzip", "deflate", "br", "zstd", "GZip"):
            for body in (gzip.compress(bytes(10_000_000)), b"not compressed at all"):
                assert server.request("PUT", "/packed/k", {"Content-Encoding": coding}, body).status == 200
                got = server.request("GET", "/packed/k")
                assert (got.headers["content-encoding"], got.body) == (coding, body)
        s3.delete_object(Bucket="packed", Key="k")
        s3.delete_bucket(Bucket="packed")

    def test_metadata_that_is_not_ascii(self, server: Any, s3: Any) -> None:
        """As UTF-8 or as encoded words on the way in, as encoded words on the way out."""
        s3.create_bucket(Bucket="spoken")
        green = "gr\u00fcn"
        word = f"=?UTF-8?B?{b64encode(green.encode()).decode()}?="
        for value in (green, word):
            assert server.request("PUT", "/spoken/k", {"x-amz-meta-colour": value}, b"x").status == 200
            assert server.request("HEAD", "/spoken/k").headers["x-amz-meta-colour"] == word
        s3.delete_object(Bucket="spoken", Key="k")
        s3.delete_bucket(Bucket="spoken")

    def test_metadata_too_large(self, server: Any) -> None:
        assert_refused(
            server.request("PUT", "/target/new", {"x-amz-meta-a": "v" * 2048}, b"x"), 400, "MetadataTooLarge"
        )


DOCUMENTS = {
    "not XML": b"this is no XML",
    "empty": b"",
    "cut": b"<Delete><Object><Key>kept</Key></Object>",
    "another root": b"<Remove><Object><Key>kept</Key></Object></Remove>",
    "two roots": b"<Delete><Object><Key>kept</Key></Object></Delete><Delete/>",
    "DOCTYPE": b'<!DOCTYPE Delete SYSTEM "file:///etc/passwd"><Delete><Object><Key>kept</Key></Object></Delete>',
    "entity": b'<!DOCTYPE d [<!ENTITY e "kept">]><Delete><Object><Key>&e;</Key></Object></Delete>',
    "external entity": b'<!DOCTYPE d [<!ENTITY e SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&e;</Key></Object></Delete>',
    "billion laughs": b'<!DOCTYPE d [<!ENTITY a "kept">'
    + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a;" * 10) for n in range(9))
    + b"]><Delete><Object><Key>&a8;</Key></Object></Delete>",
    "undefined entity": b"<Delete><Object><Key>&nbsp;</Key></Object></Delete>",
    "unknown element": b"<Delete><Object><Key>kept</Key><Force>true</Force></Object></Delete>",
    "no key": b"<Delete><Object></Object></Delete>",
    "no object": b"<Delete></Delete>",
    "two keys": b"<Delete><Object><Key>kept</Key><Key>other</Key></Object></Delete>",
    "deep": b"<Delete>" * 100_000,
    "attributes": b"<Delete "
    + b" ".join(b'a%d="1"' % n for n in range(1000))
    + b"><Object><Key>kept</Key></Object></Delete>",
    "UTF-16": "<Delete><Object><Key>kept</Key></Object></Delete>".encode("utf-16"),
    "not UTF-8": b"<Delete><Object><Key>kept\xff</Key></Object></Delete>",
    "another namespace": b'<Delete xmlns="http://example.com/"><Object><Key>kept</Key></Object></Delete>',
    "a bad Quiet": b"<Delete><Object><Key>kept</Key></Object><Quiet>perhaps</Quiet></Delete>",
    "more than 1000": b"<Delete>" + b"<Object><Key>kept</Key></Object>" * 1001 + b"</Delete>",
    "NUL": b"<Delete><Object><Key>kept\0</Key></Object></Delete>",
    "long tag": b"<Delete" + b" " * 1_000_000 + b"><Object><Key>kept</Key></Object></Delete>",
}


class TestDocuments:
    @pytest.mark.parametrize("name", DOCUMENTS)
    def test_delete_objects(self, server: Any, name: str) -> None:
        document = DOCUMENTS[name]
        md5 = {"Content-MD5": b64encode(hashlib.md5(document).digest()).decode()}
        assert_refused(server.request("POST", "/target?delete", md5, document), 400, "MalformedXML")

    @pytest.mark.parametrize("name", sorted(DOCUMENTS.keys() - {"empty", "no object", "no key"}))
    def test_create_bucket(self, server: Any, name: str) -> None:
        document = DOCUMENTS[name].replace(b"Delete", b"CreateBucketConfiguration")
        document = document.replace(b"Object", b"LocationConstraint")
        assert_refused(server.request("PUT", "/new-bucket", body=document), 400, "MalformedXML")

    @pytest.mark.parametrize("name", DOCUMENTS)
    def test_complete_upload(self, server: Any, s3: Any, name: str) -> None:
        upload = s3.create_multipart_upload(Bucket="target", Key="new")["UploadId"]
        try:
            document = DOCUMENTS[name].replace(b"Delete", b"CompleteMultipartUpload").replace(b"Object", b"Part")
            reply = server.request("POST", f"/target/new?uploadId={quote(upload)}", body=document)
            assert_refused(reply, 400, "MalformedXML")
        finally:
            s3.abort_multipart_upload(Bucket="target", Key="new", UploadId=upload)

    @pytest.mark.parametrize(
        "part",
        [
            b"<ETag>x</ETag>", b"<PartNumber>1</PartNumber>", b"<PartNumber></PartNumber><ETag>x</ETag>",
            b"<PartNumber>one</PartNumber><ETag>x</ETag>", b"<PartNumber>0</PartNumber><ETag>x</ETag>",
            b"<PartNumber>10001</PartNumber><ETag>x</ETag>", b"<PartNumber>-1</PartNumber><ETag>x</ETag>",
            b"<PartNumber>" + b"9" * 5000 + b"</PartNumber><ETag>x</ETag>", b"<PartNumber>1</PartNumber><ETag></ETag>",
            b"<PartNumber>1</PartNumber><ETag>x</ETag><ChecksumCRC32>?</ChecksumCRC32>",
        ],
    )  # fmt: skip
    def test_complete_with_a_bad_part(self, server: Any, s3: Any, part: bytes) -> None:
        upload = s3.create_multipart_upload(Bucket="target", Key="new")["UploadId"]
        try:
            document = b"<CompleteMultipartUpload><Part>%b</Part></CompleteMultipartUpload>" % part
            reply = server.request("POST", f"/target/new?uploadId={quote(upload)}", body=document)
            assert_refused(reply, 400, "MalformedXML", "InvalidArgument", "InvalidRequest")
        finally:
            s3.abort_multipart_upload(Bucket="target", Key="new", UploadId=upload)

    def test_too_long(self, server: Any) -> None:
        document = b"<Delete>" + b"<Object><Key>k</Key></Object>" * 500_000
        headers = server.signed("POST", "/target?delete", body=document)
        reply = server.send("POST", "/target?delete", headers, document)
        assert_refused(reply, 400, "MaxMessageLengthExceeded", "MalformedXML", "EntityTooLarge")

    def test_delete_objects_without_a_digest(self, server: Any) -> None:
        document = b"<Delete><Object><Key>absent</Key></Object></Delete>"
        reply = server.request("POST", "/target?delete", body=document)
        if reply.status != 200:
            assert_refused(reply, 400, "InvalidRequest")

    def test_keys_to_delete_that_cannot_be(self, server: Any) -> None:
        """One bad key is told apart from its neighbours, which are deleted."""
        document = (
            b"<Delete><Object><Key>absent</Key></Object><Object><Key>%b</Key></Object><Object><Key></Key></Object></Delete>"
            % (b"k" * 1025)
        )
        md5 = {"Content-MD5": b64encode(hashlib.md5(document).digest()).decode()}
        reply = server.request("POST", "/target?delete", md5, document)
        if reply.status == 200:
            assert reply.body.count(b"<Error>") >= 1
            assert b"<Code>KeyTooLongError</Code>" in reply.body
        else:
            assert_refused(reply, 400, "KeyTooLongError", "MalformedXML", "InvalidURI")


class TestTargets:
    @pytest.mark.parametrize("key", ["k" * 1025, "\u20ac" * 342, "a/" * 513])
    def test_long_keys(self, server: Any, key: str) -> None:
        path = f"/target/{quote(key)}"
        for method in ("PUT", "GET", "DELETE"):
            assert_refused(server.request(method, path, body=b"x" if method == "PUT" else b""), 400, "KeyTooLongError")
        reply = server.request("PUT", "/target/new", {"x-amz-copy-source": path})
        assert_refused(reply, 400, "KeyTooLongError")

    @pytest.mark.parametrize(
        "key",
        [
            "%ff",
            "a%80",
            "%c3%28",
            "%ed%a0%80",
            "%c0%af",
            "%f5%80%80%80",
            "%zz",
            "%",
            "%4",
            "a%00b",
            "..",
            "../other",
            "a/../../b",
        ],
    )
    def test_undecodable_keys(self, server: Any, key: str) -> None:
        assert_refused(server.request("PUT", f"/target/{key}", body=b"new"), 400, "InvalidURI")
        assert_refused(server.request("GET", f"/target/{key}"), 400, "InvalidURI")

    @pytest.mark.parametrize(
        "query",
        [
            "prefix=%ff",
            "delimiter=%c3",
            "list-type=2&start-after=%80",
            "marker=%zz",
            "prefix=a%00",
            "versions&key-marker=%fe",
        ],
    )
    def test_undecodable_queries(self, server: Any, query: str) -> None:
        assert_refused(server.request("GET", f"/target?{query}"), 400, "InvalidURI", "InvalidArgument")

    def test_a_parameter_twice(self, server: Any) -> None:
        assert_refused(server.request("GET", "/target?prefix=a&prefix=b"), 400, "InvalidArgument")

    @pytest.mark.parametrize(
        "target",
        [
            "/target/a#fragment",
            "target/kept",
            "*",
            "//",
            "/target/\u00e9",
            "/target/a b",
            "/target/a\tb",
            "http://elsewhere/target/kept",
            "ftp://{host}/target/kept",
        ],
    )
    def test_targets_no_client_sends(self, server: Any, target: str) -> None:
        headers = server.signed("GET", "/target/kept")
        reply = server.exchange(server.wire_form("GET", target.format(host=server.host), headers))
        if reply is not None:
            assert reply.status in (400, 403, 501)
            assert_refused(reply, reply.status, reply.code)

    def test_absolute_form_of_our_own(self, server: Any) -> None:
        headers = server.signed("GET", "/target/kept")
        reply = server.send("GET", f"{server.endpoint}/target/kept", headers)
        assert reply.status in (200, 400, 403)

    @pytest.mark.parametrize(
        "name",
        [
            "ab",
            "a" * 64,
            "UPPER",
            "under_score",
            "a..b",
            ".dots",
            "dots.",
            "-dash",
            "dash-",
            "a.-b",
            "1.2.3.4",
            "xn--punycode",
            "sthree-x",
            "name-s3alias",
            "name--ol-s3",
            "sp%20ace",
            "%2e%2e",
            "a%2fb",
            "caf%C3%A9",
            "a%0ab",
            "a%00b",
        ],
    )
    def test_bucket_names(self, server: Any, name: str) -> None:
        assert_refused(server.request("PUT", f"/{name}"), 400, "InvalidBucketName", "InvalidURI")
        assert_refused(server.request("PUT", f"/{name}/k", body=b"x"), 400, "InvalidBucketName", "InvalidURI")
        reply = server.request("PUT", "/target/new", {"x-amz-copy-source": f"/{name}/k"})
        assert reply.status in (400, 404)
        assert_refused(reply, reply.status, reply.code)

    @pytest.mark.parametrize(
        "subresource",
        [
            "analytics", "analytics&id=1", "inventory&id=1", "metrics&id=1", "intelligent-tiering&id=1", "abac",
            "metadataTable", "metadataConfiguration", "metadataInventoryTable", "metadataJournalTable",
            "metadataAnnotationTable", "session",
        ],
    )  # fmt: skip
    def test_subresources_of_a_bucket(self, server: Any, subresource: str) -> None:
        for method in ("GET", "PUT", "POST", "DELETE"):
            assert_refused(server.request(method, f"/target?{subresource}"), 501, "NotImplemented")

    @pytest.mark.parametrize(
        "subresource",
        [
            "policy", "policyStatus", "cors", "lifecycle", "website", "logging", "notification",
            "replication", "encryption", "object-lock", "ownershipControls", "publicAccessBlock", "requestPayment",
            "accelerate",
        ],
    )  # fmt: skip
    def test_what_cannot_be_configured(self, server: Any, subresource: str) -> None:
        for method in ("PUT", "POST"):
            assert_refused(server.request(method, f"/target?{subresource}", body=b"<x/>"), 501, "NotImplemented")

    @pytest.mark.parametrize("path", ["/target?acl", "/target/kept?acl"])
    def test_acls_that_nothing_has(self, server: Any, path: str) -> None:
        def put(headers: dict[str, str], body: bytes = b"") -> Any:
            return server.request("PUT", path, headers, body)

        assert_refused(put({"x-amz-acl": "public-read"}), 501, "NotImplemented")
        assert_refused(put({"x-amz-grant-read": "id=1"}), 501, "NotImplemented")
        assert_refused(put({}, b"<AccessControlPolicy/>"), 501, "NotImplemented")
        assert_refused(put({"x-amz-acl": "private"}, b"<AccessControlPolicy/>"), 501, "NotImplemented")
        assert_refused(put({"x-amz-acl": "public-ready"}), 400, "InvalidArgument")
        assert_refused(put({}), 400, "MissingSecurityHeader")

    @pytest.mark.parametrize("path", ["/not-made", "/target/new", "/target/kept?acl", "/target?acl"])
    @pytest.mark.parametrize("acl", ["public-ready", "Private", ""])
    def test_acls_that_are_none(self, server: Any, path: str, acl: str) -> None:
        assert_refused(server.request("PUT", path, {"x-amz-acl": acl}), 400, "InvalidArgument")

    @pytest.mark.parametrize(
        "subresource",
        [
            "retention", "legal-hold", "torrent", "restore", "select&select-type=2", "annotation", "encryption",
            "renameObject",
        ],
    )  # fmt: skip
    def test_subresources_of_an_object(self, server: Any, subresource: str) -> None:
        for method in ("GET", "PUT", "POST", "DELETE"):
            assert_refused(server.request(method, f"/target/kept?{subresource}"), 501, "NotImplemented")

    def test_forms(self, server: Any) -> None:
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        assert_refused(server.request("POST", "/target", headers, b"--x--"), 501, "NotImplemented")

    @pytest.mark.parametrize("method", ["PATCH", "TRACE", "PROPFIND", "CONNECT", "FOO"])
    def test_other_methods(self, server: Any, method: str) -> None:
        headers = server.signed(method, "/target/kept")
        reply = server.exchange(server.wire_form(method, "/target/kept", headers, length=0), method)
        if reply is not None:
            assert reply.status in (400, 405, 501)
            assert_refused(reply, reply.status, reply.code)

    @pytest.mark.parametrize(
        "headers",
        [
            {"x-amz-server-side-encryption": "AES256"}, {"x-amz-server-side-encryption-customer-algorithm": "AES256"},
            {"x-amz-object-lock-mode": "COMPLIANCE"}, {"x-amz-acl": "public-read"}, {"x-amz-grant-read": "id=1"},
        ],
        ids=lambda headers: next(iter(headers)),
    )  # fmt: skip
    def test_headers_that_would_be_ignored(self, server: Any, headers: dict[str, str]) -> None:
        assert_refused(server.request("PUT", "/target/kept", headers, b"new"), 501, "NotImplemented")
        assert_refused(server.request("POST", "/target/kept?uploads", headers), 501, "NotImplemented")
        assert_refused(
            server.request("PUT", "/target/kept", {"x-amz-copy-source": "/target/kept", **headers}),
            501,
            "NotImplemented",
        )

    @pytest.mark.parametrize("name", ["x-amz-if-match-size", "x-amz-if-match-last-modified-time"])
    def test_conditions_that_would_be_ignored(self, server: Any, name: str) -> None:
        assert_refused(server.request("DELETE", "/target/kept", {name: "1"}), 501, "NotImplemented")

    @pytest.mark.parametrize(
        "headers",
        [{"x-amz-object-ownership": "ObjectWriter"}, {"x-amz-bucket-namespace": "account-regional"}],
        ids=lambda headers: next(iter(headers)),
    )
    def test_buckets_of_another_kind(self, server: Any, headers: dict[str, str]) -> None:
        assert_refused(server.request("PUT", "/another-kind", headers), 501, "NotImplemented")

    @pytest.mark.parametrize(
        ("document", "code"),
        [
            (b"", "MalformedXML"), (b"<Tagging/>", "MalformedXML"), (b"<TagSet/>", "MalformedXML"),
            (b"<Tagging><TagSet/><TagSet/></Tagging>", "MalformedXML"),
            (b"<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>", "MalformedXML"),
            (b"<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value><More/></Tag></TagSet></Tagging>", "MalformedXML"),
            (b"<Tagging><TagSet><Tog><Key>a</Key><Value>1</Value></Tog></TagSet></Tagging>", "MalformedXML"),
            (b"<Tagging><TagSet><Tag><Key></Key><Value>1</Value></Tag></TagSet></Tagging>", "InvalidTag"),
            (b"<Tagging><TagSet><Tag><Key>&#9;</Key><Value>1</Value></Tag></TagSet></Tagging>", "InvalidTag"),
        ],
    )  # fmt: skip
    def test_tagging_documents(self, server: Any, document: bytes, code: str) -> None:
        assert_refused(server.request("PUT", "/target?tagging", body=document), 400, code)
        assert_refused(server.request("PUT", "/target/kept?tagging", body=document), 400, code)

    @pytest.mark.parametrize("header", ["a=1&a=2", "a=%zz", "a=%ff", "a=b=c", "%=1"])
    def test_tagging_headers(self, server: Any, header: str) -> None:
        for method, path in (("PUT", "/target/kept"), ("POST", "/target/kept?uploads")):
            assert_refused(server.request(method, path, {"x-amz-tagging": header}), 400, "InvalidArgument")

    @pytest.mark.parametrize("wanted", ["21-", "21-22", "1000-2000", "-0"])
    def test_ranges(self, server: Any, wanted: str) -> None:
        reply = server.request("GET", "/target/kept", {"Range": f"bytes={wanted}"})
        assert_refused(reply, 416, "InvalidRange")
        assert reply.headers["content-range"] == f"bytes */{len(KEPT)}"

    def test_head_has_no_body(self, server: Any) -> None:
        for path, status in (("/target/absent", 404), ("/no-such-bucket", 404), ("/target/%ff", 400), ("/UPPER", 400)):
            reply = server.request("HEAD", path)
            assert (reply.status, reply.body) == (status, b"")
            assert reply.headers["x-amz-request-id"]


class TestHttp:
    @pytest.mark.parametrize(
        "damage",
        [
            lambda head: head.replace(b"\r\n", b"\r\nX-Long: " + b"a" * 100_000 + b"\r\n", 1),
            lambda head: head.replace(b"/target/kept", b"/target/" + b"a" * 100_000, 1),
            lambda head: head.replace(b"\r\n", b"\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(50_000)), 1),
            lambda head: head.replace(b"HTTP/1.1", b"HTTP/9.9", 1),
            lambda head: head.replace(b"HTTP/1.1", b"FTP/1.1", 1),
            lambda head: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
            lambda head: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            lambda head: b"GET\r\n\r\n",
            lambda head: b"\r\n\r\n\r\nGARBAGE\r\n\r\n",
            lambda head: head.replace(b"\r\nHost: ", b"\r\nHost : ", 1),
            lambda head: head.replace(b"\r\nHost: ", b"\r\n Host: ", 1),
            lambda head: head.replace(b"\r\nHost: ", b"\r\nX-Nul: a\0b\r\nHost: ", 1),
            lambda head: head.replace(b"\r\nHost: ", b"\r\nX-Cr: a\rb\r\nHost: ", 1),
            lambda head: head.replace(b"\r\nHost: ", b"\r\nHost: elsewhere\r\nHost: ", 1),
            lambda head: head.replace(b"\r\nHost: ", b"\r\nNo-Host: ", 1),
            lambda head: head.replace(b"\r\nHost: ", b"\r\nX-\xff: a\r\nHost: ", 1),
            lambda head: head.replace(b"\r\nHost: ", b"\r\n: empty name\r\nHost: ", 1),
            lambda head: head.replace(b"\r\nHost: ", b"\r\nno colon\r\nHost: ", 1),
            lambda head: head.replace(b"\r\n\r\n", b"\r\nContent-Length: \r\n\r\n", 1),
            lambda head: head.replace(b"\r\n\r\n", b"\r\nContent-Length: -1\r\n\r\n", 1),
            lambda head: head.replace(b"\r\n\r\n", b"\r\nContent-Length: +3\r\n\r\n", 1),
            lambda head: head.replace(b"\r\n\r\n", b"\r\nContent-Length: 0x3\r\n\r\n", 1),
            lambda head: head.replace(b"\r\n\r\n", b"\r\nContent-Length: " + b"9" * 400 + b"\r\n\r\n", 1),
        ],
    )
    def test_what_is_not_http(self, server: Any, damage: Callable[[bytes], bytes]) -> None:
        head = server.wire_form("DELETE", "/target/kept", server.signed("DELETE", "/target/kept"))
        reply = server.exchange(damage(head))
        if reply is not None:
            assert_refused(reply, reply.status, reply.code)
            assert 400 <= reply.status < 500

    def test_headers_over_the_limit(self, server: Any) -> None:
        headers = server.signed("PUT", "/target/kept", {"x-amz-meta-long": "a" * 40_000}, b"new")
        assert_refused(server.send("PUT", "/target/kept", headers, b"new"), 400, "RequestHeaderSectionTooLarge")
        long_query = f"/target?prefix={'a' * 40_000}"
        assert_refused(server.request("GET", long_query), 400, "RequestHeaderSectionTooLarge")
        many = server.signed("PUT", "/target/kept", {f"x-amz-meta-{n}": "" for n in range(5000)}, b"new")
        assert_refused(
            server.send("PUT", "/target/kept", many, b"new"), 400, "BadRequest", "RequestHeaderSectionTooLarge"
        )

    def test_many_short_headers_are_allowed(self, server: Any) -> None:
        assert server.request("GET", "/target/kept", {f"x-amz-meta-{n}": "v" for n in range(400)}).status == 200

    def test_long_headers_within_the_limit(self, server: Any) -> None:
        reply = server.request("GET", "/target/kept", {"X-Long": "a" * 7000, "X-Longer": "b" * 7000})
        assert reply.status == 200

    def test_expect_of_a_refused_request(self, server: Any) -> None:
        """The verdict comes instead of 100 Continue, and nothing of the body is taken for a request."""
        headers = server.signed("PUT", "/target/kept", body=b"new") | {"Expect": "100-continue"}
        headers["Authorization"] = flip(headers["Authorization"])
        with server.connect() as connection:
            connection.sendall(server.wire_form("PUT", "/target/kept", headers, length=3))
            first = connection.recv(65536)
            assert first.startswith(b"HTTP/1.1 403 ")
            inner = server.wire_form("DELETE", "/target/kept", server.signed("DELETE", "/target/kept"))
            rest = drain_after(connection, inner)
            assert b"HTTP/1.1 204" not in first + rest
        assert server.request("GET", "/target/kept").body == KEPT

    @pytest.mark.parametrize("path", ["/no-such-bucket/k", "/target/" + "k" * 1025, "/UPPER/k", "/target/k?torrent"])
    def test_expect_of_other_refusals(self, server: Any, path: str) -> None:
        headers = server.signed("PUT", path, body=b"new") | {"Expect": "100-Continue"}
        with server.connect() as connection:
            connection.sendall(server.wire_form("PUT", path, headers, length=3))
            first = connection.recv(65536)
        assert first.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501")), first

    def test_expect_of_a_good_request(self, server: Any, s3: Any) -> None:
        s3.create_bucket(Bucket="expected")
        for body in (b"", b"small", b"x" * (3 << 20)):
            headers = server.signed("PUT", "/expected/k", body=body) | {"Expect": "100-continue"}
            with server.connect() as connection:
                connection.sendall(server.wire_form("PUT", "/expected/k", headers, length=len(body)))
                interim = b""
                if body:
                    interim = connection.recv(len(b"HTTP/1.1 100 Continue\r\n\r\n"))
                    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
                connection.sendall(body)
                assert server.read_reply(connection, "PUT").status == 200
        s3.delete_object(Bucket="expected", Key="k")
        s3.delete_bucket(Bucket="expected")

    def test_other_expectations(self, server: Any) -> None:
        headers = server.signed("GET", "/target/kept") | {"Expect": "the-unexpected"}
        reply = server.send("GET", "/target/kept", headers)
        assert reply.status in (200, 417)

    @pytest.mark.parametrize(
        "framing",
        [
            b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            b"Content-Length: 4\r\nContent-Length: 5\r\n",
            b"Content-Length: 4, 5\r\n",
            b"Content-Length: 4\r\n Content-Length: 5\r\n",
            b"Transfer-Encoding: xchunked\r\n",
            b"Transfer-Encoding: chunked, identity\r\n",
            b"Transfer-Encoding: identity, chunked\r\nContent-Length: 4\r\n",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
            b"Transfer-Encoding : chunked\r\n",
            b"Transfer-Encoding:\x0bchunked\r\n",
            b"Transfer-Encoding:\r\n chunked\r\n",
            b"X: y\nTransfer-Encoding: chunked\r\n",
            b"Content-Length: 4\nTransfer-Encoding: chunked\r\n",
            b"Content-Length : 4\r\n",
            b"Content-Length: \x0b4\r\n",
            b"Content-Length: 4\r\nTransfer-Encoding: CHUNKED\r\n",
            b"Transfer_Encoding: chunked\r\nContent-Length: 4\r\nTransfer-Encoding: , chunked\r\n",
        ],
        ids=repr,
    )
    def test_smuggling(self, server: Any, framing: bytes) -> None:
        """The body holds a good DELETE: no reading of the framing in which it is a request may be the server's."""
        inner = server.wire_form("DELETE", "/target/kept", server.signed("DELETE", "/target/kept"))
        outer = server.wire_form(
            "PUT", "/target/kept", server.signed("PUT", "/target/kept", payload="UNSIGNED-PAYLOAD"), length=None
        )
        for body in (b"0\r\n\r\n" + inner, b"%x\r\n" % len(inner) + inner + b"\r\n0\r\n\r\n", inner):
            with server.connect() as connection:
                connection.sendall(outer[:-2] + framing + b"\r\n")
                answers = drain_after(connection, body)
            assert b"HTTP/1.1 200" not in answers, answers
            assert b"HTTP/1.1 204" not in answers, answers

    @pytest.mark.parametrize(
        "chunks",
        [
            b"-1\r\nxxx\r\n0\r\n\r\n",
            b"3;" + b"a" * 100_000 + b"\r\nxxx\r\n0\r\n\r\n",
            b"fffffffffffffffff\r\nxxx",
            b"3\r\nxxxx\r\n0\r\n\r\n",
            b"3\nxxx\n0\n\n",
            b"0x3\r\nxxx\r\n0\r\n\r\n",
            b"3 \r\nxxx\r\n0\r\n\r\n",
            b"\r\n",
            b"3\r\nxxx\r\n0\r\n" + b"T: x\r\n" * 100_000 + b"\r\n",
        ],
        ids=lambda chunks: repr(chunks[:16]),
    )
    def test_bad_http_chunks(self, server: Any, chunks: bytes) -> None:
        """Refused while the body is read, whatever the framing inside would have been."""
        headers = server.signed(
            "PUT", "/target/kept", {"x-amz-decoded-content-length": "3"}, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER"
        ) | {"Transfer-Encoding": "chunked"}
        with server.connect() as connection:
            connection.sendall(server.wire_form("PUT", "/target/kept", headers))
            answers = drain_after(connection, chunks)
        assert b"HTTP/1.1 200" not in answers
        assert b"HTTP/1.1 5" not in answers

    def test_pipelined_requests_are_answered_in_order(self, server: Any) -> None:
        paths = ("/target/kept", "/target/absent", "/target?location", "/target/kept")
        wire = b"".join(server.wire_form("GET", path, server.signed("GET", path)) for path in paths)
        with server.connect() as connection:
            answers = drain_after(connection, wire)
        assert re.findall(rb"HTTP/1\.1 (\d+)", answers) == [b"200", b"404", b"200", b"200"]

    def test_http_1_0(self, server: Any) -> None:
        wire = server.wire_form("GET", "/target/kept", server.signed("GET", "/target/kept"))
        with server.connect() as connection:
            answer = drain_after(connection, wire.replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        assert answer.startswith(b"HTTP/1.0 200 ")
        assert answer.endswith(KEPT)

    def test_slow_and_idle_connections_do_not_stop_others(self, server: Any) -> None:
        opened = [server.connect() for _ in range(100)]
        try:
            for number, connection in enumerate(opened):
                connection.sendall(b"GET /target/kept HTTP/1.1\r\nHo"[: number % 30])
            begun = time.monotonic()
            assert server.request("GET", "/target/kept").status == 200
            assert time.monotonic() - begun < 5
        finally:
            for connection in opened:
                connection.close()


def drain_after(connection: socket.socket, data: bytes) -> bytes:
    """Send more and read until the other side closes, or has been silent for a while."""
    received = bytearray()
    connection.settimeout(0.7)
    sender = threading.Thread(target=_send_quietly, args=(connection, data))
    sender.start()
    with contextlib.suppress(OSError):
        while piece := connection.recv(65536):
            received += piece
    connection.close()
    sender.join()
    return bytes(received)


def _send_quietly(connection: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(data)
