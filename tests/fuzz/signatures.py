"""Fuzz targets for signed requests and signed bodies.

Nobody can forge a signature, so whatever is accepted has to mean what a signer meant: the seeds, which botocore signed.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, NamedTuple
from unittest import mock

from botocore.auth import HmacV1QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from gateway.s3 import sigv2
from gateway.s3.checksums import Algorithm
from gateway.s3.chunked import ChunkedDecoder
from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers, with_hoisted
from gateway.s3.sigv4 import Authenticator, PayloadMode, Verified
from gateway.s3.sigv4.verified import SigningKey
from gateway.s3.target import parse_target
from gateway.s3.unsupported import refuse_unsupported
from tests.fuzz.fields import DOMAINS, headers_of, wire_target
from tests.signing import ACCESS_KEY, NOW, SECRET, sign_request


class Meaning(NamedTuple):
    """What a signed request asks for."""

    method: str
    bucket: str | None
    key: str | None
    query: frozenset[tuple[str, str]]
    headers: frozenset[tuple[str, str]]


class Judged(NamedTuple):
    """A request that was accepted, and what it asks for."""

    verified: Verified
    meaning: Meaning


_AUTHENTICATOR = Authenticator({ACCESS_KEY: SECRET}.get, "us-east-1")


def _signed(data: bytes) -> Judged:
    request_line, _, header_lines = data.partition(b"\n")
    method, _, raw_target = request_line.decode("latin-1").partition(" ")
    headers = headers_of(header_lines)
    target = parse_target(raw_target, headers.get("host"), DOMAINS)
    if sigv2.is_presigned(target, headers):
        verified = sigv2.verify(method, target, headers, NOW, {ACCESS_KEY: SECRET}.get)
        meant = {"content-type", "content-md5"}
    else:
        verified = _AUTHENTICATOR.verify(method, target, headers, NOW)
        meant = {*verified.signed_headers, "content-md5"}
    if verified.presigned:
        headers = with_hoisted(headers, target.query)
    refuse_unsupported(headers)
    return Judged(
        verified,
        Meaning(
            method, target.bucket, target.key,
            frozenset(item for item in target.query.items() if item[0] not in ("X-Amz-Signature", "Signature")),
            frozenset(
                (name, " ".join(value.split())) for name, value in headers.items()
                if (name in meant or name.startswith("x-amz-")) and name != "authorization"
            ),
        ),
    )  # fmt: skip


def _signed_check(_: bytes, found: Judged) -> None:
    assert found.verified.access_key == ACCESS_KEY
    assert found.meaning in {_signed(seed).meaning for seed in (*_HEADER_SEEDS, *_QUERY_SEEDS, *_VERSION_2_SEEDS)}


def _request(*arguments: Any, **signing: Any) -> bytes:
    signed = sign_request(*arguments, **signing)
    lines = [f"{signed.method} {signed.target}".encode(), *(b": ".join(header) for header in signed.headers)]
    return b"\n".join(lines)


def _version_2(method: str, target: str) -> bytes:
    request = AWSRequest(method, f"http://h{target}")
    with mock.patch("time.time", lambda: NOW):
        HmacV1QueryAuth(Credentials(ACCESS_KEY, SECRET), expires=60).add_auth(request)
    return f"{method} {request.url.removeprefix('http://h')}\nhost: h".encode()


_HEADER_SEEDS = (
    _request("GET", "/"),
    _request("GET", "/photos?list-type=2&prefix=a%2Fb&delimiter=%2F&x-id=ListObjectsV2"),
    _request("PUT", "/photos/a%20b%2B%C3%A9", {"x-amz-meta-a": "b  c", "Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}),
    _request("PUT", "/key", {"x-amz-copy-source": "photos/a?versionId=null"}, host="photos.s3.test"),
    _request("POST", "/photos/a?uploadId=u", {"x-amz-checksum-crc32": "AAAAAA=="}, b"<a/>"),
)
_QUERY_SEEDS = (
    _request("GET", "/photos/a?response-content-type=text%2Fhtml", presign_seconds=900),
    _request("PUT", "/photos/a%20b?x-amz-meta-a=b", {"x-amz-acl": "private"}, presign_seconds=604_800),
)
_VERSION_2_SEEDS = (
    _version_2("GET", "/photos/a?response-content-type=a%2Bb"),
    _version_2("PUT", "/photos/a?partNumber=1&uploadId=u"),
)
_SIGNED_TOKENS = (
    b"AWS4-HMAC-SHA256", b"AWS4-HMAC-SHA1", b"AWS ", b"Credential=", b"SignedHeaders=", b"Signature=", b", ", b"host;",
    b"/s3/", b"/aws4_request", ACCESS_KEY.encode(), b"20260921", b"T141320Z", b"UNSIGNED-PAYLOAD",
    b"STREAMING-UNSIGNED-PAYLOAD-TRAILER", b"&X-Amz-Expires=900", b"&X-Amz-Signature=", b"&X-Amz-Date=", b"&acl",
    b"&x-amz-copy-source=a%2Fb", b"\nx-amz-acl: private", b"\nx-amz-security-token: t", b"\nAuthorization: AWS a:b",
    b"\nHost: photos.s3.test", b"X-Amz-Content-Sha256",
)  # fmt: skip


# Framed bodies: the payload mode, the declared length and the announced trailer on the first line

_MODES = {mode.value: mode for mode in PayloadMode if mode.is_chunked}
_KEY = SigningKey(b"key")
_AMZ_DATE, _SCOPE, _SEED = "20260921T141320Z", "20260921/us-east-1/s3/aws4_request", "5" * 64
_CRC32 = Algorithm.CRC32.header
_CHUNKS = (b"first chunk", b"second", b"")


def _chunked(data: bytes) -> tuple[PayloadMode, bytes, dict[str, str]]:
    head, _, body = data.partition(b"\n")
    mode, length, trailer = ([*head.decode("latin-1").split(" "), "", ""])[:3]
    payload = _MODES.get(mode, PayloadMode.CHUNKED_UNSIGNED_TRAILER)
    headers = Headers({"x-amz-decoded-content-length": length, "x-amz-trailer": trailer})

    def decode(step: int) -> object:
        verified = Verified(ACCESS_KEY, payload, None, False, _AMZ_DATE, _SCOPE, _SEED, _KEY, ("host",))
        try:
            decoder = ChunkedDecoder(verified, headers)
            fed = [decoder.feed(body[at : at + step]) for at in range(0, len(body), step)]
            return b"".join(piece for pieces in fed for piece in pieces), decoder.finish()
        except S3Error as refusal:
            return refusal

    whole, pieces, single = decode(len(body) or 1), decode(7), decode(1)
    # However the network cuts it, a body is the same, and so is what is wrong with it.
    assert _shown(whole) == _shown(pieces) == _shown(single)
    if isinstance(whole, S3Error):
        raise whole
    content, trailers = whole  # type: ignore[misc]
    assert len(content) == int(length)
    return payload, content, trailers


def _shown(outcome: object) -> object:
    return outcome.code if isinstance(outcome, S3Error) else outcome


def _chunked_check(_: bytes, found: tuple[PayloadMode, bytes, dict[str, str]]) -> None:
    mode, content, trailers = found
    if mode in (PayloadMode.CHUNKED_SIGNED, PayloadMode.CHUNKED_SIGNED_TRAILER):
        assert content in (b"".join(_CHUNKS), b"")
    if mode is PayloadMode.CHUNKED_SIGNED_TRAILER:
        assert trailers == {_CRC32: "AAAAAA=="}


def _framed(mode: PayloadMode, chunks: tuple[bytes, ...]) -> bytes:
    """A body as the specification frames it."""
    signs = mode is not PayloadMode.CHUNKED_UNSIGNED_TRAILER
    trailer = f"{_CRC32}:AAAAAA==" if mode is not PayloadMode.CHUNKED_SIGNED else ""
    last = _SEED
    body = f"{mode.value} {len(b''.join(chunks))} {_CRC32 if trailer else ''}\n".encode()

    def sign(kind: str, subject: str) -> str:
        return _KEY.sign(f"AWS4-HMAC-SHA256-{kind}\n{_AMZ_DATE}\n{_SCOPE}\n{last}\n{subject}")

    for chunk in chunks:
        extension = ""
        if signs:
            last = sign("PAYLOAD", f"{sha256(b'').hexdigest()}\n{sha256(chunk).hexdigest()}")
            extension = f";chunk-signature={last}"
        body += f"{len(chunk):x}{extension}\r\n".encode() + chunk + (b"\r\n" if chunk else b"")
    if trailer:
        body += f"{trailer}\r\n".encode()
        if signs:
            last = sign("TRAILER", sha256(f"{trailer}\n".encode()).hexdigest())
            body += f"x-amz-trailer-signature:{last}\r\n".encode()
    return body + b"\r\n"


SIGNATURES = {
    "signature-header": wire_target(_signed, _signed_check, *_HEADER_SEEDS, tokens=_SIGNED_TOKENS),
    "signature-query": wire_target(_signed, _signed_check, *_QUERY_SEEDS, tokens=_SIGNED_TOKENS),
    "signature-version-2": wire_target(
        _signed, _signed_check, *_VERSION_2_SEEDS, tokens=(*_SIGNED_TOKENS, b"&Expires=", b"%61cl")
    ),
    "aws-chunked": wire_target(
        _chunked, _chunked_check, *(_framed(mode, chunks) for mode in _MODES.values() for chunks in (_CHUNKS, (b"",))),
        tokens=(
            b"0\r\n", b"\r\n", b"\n", b"0;chunk-signature=", b"f" * 16, b"x-amz-trailer-signature:", b"6\r\nsecond\r\n",
        ),
    ),
}  # fmt: skip
