"""Every kind of signature x payload mode x operation x defect: all refused, each with its code and status."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import pytest

from gateway.s3.errors import S3Error
from gateway.s3.headers import fold
from gateway.s3.sigv4 import Authenticator, PayloadMode, Verified
from gateway.s3.target import parse_target

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW = 1_790_000_000.0
CELLS_MIN = 10_000
STATUSES = {
    "AccessDenied": 403,
    "AuthorizationHeaderMalformed": 400,
    "AuthorizationQueryParametersError": 400,
    "InvalidAccessKeyId": 403,
    "InvalidArgument": 400,
    "InvalidRequest": 400,
    "InvalidToken": 400,
    "RequestTimeTooSkewed": 403,
    "SignatureDoesNotMatch": 403,
}
"""As the table of error codes in the S3 API Reference has them."""
SHA = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
PAYLOADS = [SHA, *(mode.value for mode in PayloadMode if mode is not PayloadMode.SIGNED)]
OPERATIONS = [
    ("GET", "/"),
    ("PUT", "/photos"),
    ("HEAD", "/photos"),
    ("DELETE", "/photos"),
    ("GET", "/photos?location"),
    ("GET", "/photos?prefix=a%2Fb&delimiter=%2F"),
    ("GET", "/photos?list-type=2&prefix=a%2Fb&delimiter=%2F"),
    ("GET", "/photos?versions"),
    ("GET", "/photos?uploads"),
    ("POST", "/photos?delete"),
    ("PUT", "/photos/a"),
    ("GET", "/photos/a"),
    ("HEAD", "/photos/a"),
    ("DELETE", "/photos/a"),
    ("POST", "/photos/a?uploads"),
    ("PUT", "/photos/a?partNumber=1&uploadId=u"),
    ("GET", "/photos/a?uploadId=u"),
    ("POST", "/photos/a?uploadId=u"),
    ("DELETE", "/photos/a?uploadId=u"),
    ("PUT", "/photos/%F0%9F%8C%B3%20%2B?x-id=PutObject"),
]
DENIED = "AccessDenied"
MISMATCH = "SignatureDoesNotMatch"
TWICE = "InvalidArgument"


@dataclass(frozen=True)
class Defect:
    """One way of being wrong.

    Attributes:
        name: what is wrong.
        code: how it is refused.
        signing: how the request was signed, if that is what is wrong.
        method: another method.
        path: (old, new) in the path; what has no such path cannot have the defect.
        query: text added to the query.
        less_query: whether the first parameter is taken out; what has none cannot have the defect.
        replace: (old, new) in the text that carries the signature, header or target.
        put: a header given another value, or None to take it out.
        add: a header added.
        late_seconds: how much later than signed it arrives.
    """

    name: str
    code: str
    signing: dict[str, Any] = field(default_factory=dict)
    method: str | None = None
    path: tuple[str, str] | None = None
    query: str = ""
    less_query: bool = False
    replace: tuple[str, str] | None = None
    put: tuple[bytes, bytes | None] | None = None
    add: tuple[bytes, bytes] | None = None
    late_seconds: int = 0


COMMON = [
    Defect("wrong secret", MISMATCH, {"secret": "guessed"}),
    Defect("unknown key", "InvalidAccessKeyId", {"access_key": "AKIDOTHER"}),
    Defect("other method", MISMATCH, method="PATCH"),
    Defect("other bucket", MISMATCH, path=("/photos", "/photoz")),
    Defect("other key", MISMATCH, path=("/photos/", "/photos/b")),
    Defect("other spelling of the same key", MISMATCH, path=("/photos/a", "/photos/%61")),
    Defect("another slash", MISMATCH, path=("/photos/", "/photos//")),
    Defect("a segment that goes nowhere", MISMATCH, path=("/photos/", "/photos/./")),
    Defect("another sub-resource", MISMATCH, query="acl"),
    Defect("a parameter less", MISMATCH, less_query=True),
    Defect("a header in the query", MISMATCH, query="x-amz-copy-source=a%2Fb"),
    Defect("an override in the query", MISMATCH, query="response-content-type=text%2Fhtml"),
    Defect("a parameter twice", TWICE, query="q=1&q=2"),
    Defect("other host", MISMATCH, put=(b"host", b"evil.test")),
    Defect("no host", MISMATCH, put=(b"host", None)),
    Defect("empty host", MISMATCH, put=(b"host", b"")),
    Defect("other body", MISMATCH, put=(b"x-amz-content-sha256", b"0" * 64)),
    Defect("other metadata", MISMATCH, put=(b"x-amz-meta-a", b"c")),
    Defect("no metadata", MISMATCH, put=(b"x-amz-meta-a", None)),
    Defect("malformed payload mode", TWICE, put=(b"x-amz-content-sha256", b"UNSIGNED")),
    Defect("unsigned header", DENIED, add=(b"x-amz-copy-source", b"a/b")),
    Defect("unsigned digest", DENIED, add=(b"Content-MD5", b"1B2M2Y8AsgTpgAmY7PhCfg==")),
    Defect("a header twice", TWICE, add=(b"X-AMZ-META-A", b"c")),
    Defect("session token", "InvalidToken", add=(b"x-amz-security-token", b"t")),
]
MALFORMED_HEADER = "AuthorizationHeaderMalformed"
IN_HEADER = [
    Defect("other region", MALFORMED_HEADER, {"region": "eu-west-1"}),
    Defect("16 minutes early", "RequestTimeTooSkewed", late_seconds=-960),
    Defect("16 minutes late", "RequestTimeTooSkewed", late_seconds=960),
    Defect("other time", MISMATCH, put=(b"x-amz-date", b"20260921T141321Z")),
    Defect("other day", MALFORMED_HEADER, replace=("/20260921/", "/20260920/")),
    Defect("other service", MALFORMED_HEADER, replace=("/s3/", "/sts/")),
    Defect("other algorithm", "InvalidRequest", replace=("HMAC-SHA256", "HMAC-SHA1")),
    Defect("fewer signed headers", DENIED, replace=("x-amz-date;", "")),
    Defect("host not signed", DENIED, replace=("host;", "")),
    Defect("unsorted names", MALFORMED_HEADER, replace=("=host;", "=z;host;")),
    Defect("short signature", MISMATCH, replace=("Signature=", "Signature=0")),
    Defect("no signature", DENIED, put=(b"authorization", None)),
    Defect("no date", DENIED, put=(b"x-amz-date", None)),
    Defect("malformed date", DENIED, put=(b"x-amz-date", b"2026-09-21T14:13:20Z")),
    Defect("impossible date", DENIED, put=(b"x-amz-date", b"20261321T141320Z")),
    Defect("no payload mode", "InvalidRequest", put=(b"x-amz-content-sha256", None)),
    Defect("no key", MALFORMED_HEADER, replace=(f"Credential={KEY}", "Credential=")),
    Defect("no scope", MALFORMED_HEADER, replace=("/us-east-1/s3/aws4_request", "")),
    Defect("other terminator", MALFORMED_HEADER, replace=("aws4_request", "aws5_request")),
    Defect("two credentials", MALFORMED_HEADER, replace=("Credential=", "Credential=a/b/c/d/e, Credential=")),
    Defect("no list of names", MALFORMED_HEADER, replace=("SignedHeaders=", "Signed=")),
    Defect("capital names", MALFORMED_HEADER, replace=("=host;", "=Host;")),
    Defect("a name twice", MALFORMED_HEADER, replace=("=host;", "=host;host;")),
    Defect("a name of nothing", MISMATCH, replace=("=host;", "=;host;")),
    Defect("a name that did not come", MISMATCH, replace=("=host;", "=expect;host;")),
    Defect("version 2", "InvalidRequest", put=(b"authorization", b"AWS AKIDEXAMPLE:c2lnbmF0dXJl")),
    Defect("another scheme", "InvalidArgument", put=(b"authorization", b"Bearer token")),
    Defect("a second header", TWICE, add=(b"AUTHORIZATION", b"AWS4-HMAC-SHA256 x")),
    Defect("version 2 in the query too", TWICE, query="Signature=x"),
    Defect("a signature in the query too", TWICE, query="X-Amz-Signature=x"),
]
MALFORMED_QUERY = "AuthorizationQueryParametersError"
IN_QUERY = [
    Defect("other region", MALFORMED_QUERY, {"region": "eu-west-1"}),
    Defect("16 minutes early", DENIED, late_seconds=-960),
    Defect("expired", DENIED, late_seconds=901),
    Defect("other time", MISMATCH, replace=("T141320Z", "T141321Z")),
    Defect("other day", MALFORMED_QUERY, replace=("20260921%2F", "20260920%2F")),
    Defect("longer life", MISMATCH, replace=("Expires=900", "Expires=901")),
    Defect("endless life", MALFORMED_QUERY, replace=("Expires=900", "Expires=604801")),
    Defect("other service", MALFORMED_QUERY, replace=("%2Fs3%2F", "%2Fsts%2F")),
    Defect("other algorithm", MALFORMED_QUERY, replace=("HMAC-SHA256", "HMAC-SHA1")),
    Defect("host not signed", DENIED, replace=("=host%3B", "=")),
    Defect("short signature", MISMATCH, replace=("X-Amz-Signature=", "X-Amz-Signature=0")),
    Defect("no signature", MALFORMED_QUERY, replace=("X-Amz-Signature=", "Y=")),
    Defect("no algorithm", MALFORMED_QUERY, replace=("X-Amz-Algorithm=", "Y=")),
    Defect("no credential", MALFORMED_QUERY, replace=("X-Amz-Credential=", "Y=")),
    Defect("no date", MALFORMED_QUERY, replace=("X-Amz-Date=", "Y=")),
    Defect("no end", MALFORMED_QUERY, replace=("X-Amz-Expires=", "Y=")),
    Defect("no list of names", MALFORMED_QUERY, replace=("X-Amz-SignedHeaders=", "Y=")),
    Defect("malformed date", MALFORMED_QUERY, replace=("X-Amz-Date=2026", "X-Amz-Date=26")),
    Defect("no life", MALFORMED_QUERY, replace=("Expires=900", "Expires=0")),
    Defect("negative life", MALFORMED_QUERY, replace=("Expires=900", "Expires=-900")),
    Defect("life that is no number", MALFORMED_QUERY, replace=("Expires=900", "Expires=9e9")),
    Defect("life of very many digits", MALFORMED_QUERY, replace=("Expires=900", f"Expires={'9' * 5000}")),
    Defect("no key", MALFORMED_QUERY, replace=(f"Credential={KEY}", "Credential=")),
    Defect("other terminator", MALFORMED_QUERY, replace=("aws4_request", "aws5_request")),
    Defect("unsorted names", MALFORMED_QUERY, replace=("=host%3B", "=z%3Bhost%3B")),
    Defect("fewer signed headers", DENIED, replace=("%3Bx-amz-meta-a", "")),
    Defect("the signature spelled otherwise", MALFORMED_QUERY, replace=("X-Amz-Signature=", "X-Amz-Signatur%65=")),
    Defect("two signatures", TWICE, query="X-Amz-Signature=0"),
    Defect("two dates", TWICE, query="X-Amz-Date=20260921T141320Z"),
    Defect("session token in the query", "InvalidToken", query="X-Amz-Security-Token=t"),
    Defect("no payload mode", MISMATCH, put=(b"x-amz-content-sha256", None)),
    Defect("a signature in a header too", TWICE, add=(b"Authorization", b"AWS4-HMAC-SHA256 x")),
]


def judge(request: Any, late_seconds: float = 0) -> Verified:
    headers = fold(request.headers)
    target = parse_target(request.target, headers.get("host"))
    authenticator = Authenticator({KEY: SECRET}.get, "us-east-1")
    return authenticator.verify(request.method, target, headers, NOW + late_seconds)


def can_have(defect: Defect, target: str) -> bool:
    """Whether a request for ``target`` can be wrong in that way."""
    path, _, query = target.partition("?")
    return (defect.path is None or defect.path[0] in path) and (not defect.less_query or bool(query))


def damage(request: Any, defect: Defect, presigned: bool) -> Any:
    method, target, headers = request
    path, mark, query = target.partition("?")
    if defect.path:
        path = path.replace(*defect.path, 1)
    if defect.less_query:
        query = query.partition("&")[2]
        mark = "?" if query else ""
    target = f"{path}{mark}{query}"
    if defect.query:
        target += ("&" if "?" in target else "?") + defect.query
    if defect.replace:
        old, new = defect.replace
        if presigned:
            assert old in target
            target = target.replace(old, new, 1)
        else:
            value = dict(headers)[b"Authorization"].decode()
            assert old in value
            value = value.replace(old, new, 1)
            headers = [(n, value.encode() if n == b"Authorization" else v) for n, v in headers]
    if defect.put:
        name, other = defect.put
        kept = [(n, v) for n, v in headers if n.lower() != name]
        assert len(kept) < len(headers)
        headers = kept if other is None else [*kept, (name, other)]
    if defect.add:
        headers = [*headers, defect.add]
    return request._replace(method=defect.method or method, target=target, headers=headers)


def test_every_cell_is_refused(sign_request: Callable[..., Any]) -> None:
    cells = 0
    for payload, (method, target) in itertools.product(PAYLOADS, OPERATIONS):
        for presign_seconds, defects in ((None, IN_HEADER), (900, IN_QUERY)):
            headers = {"x-amz-meta-a": "b"}
            if presign_seconds is not None:
                headers["x-amz-content-sha256"] = payload
            with mock.patch("botocore.auth.S3SigV4Auth.payload", lambda *_, p=payload: p):
                good = sign_request(method, target, headers, presign_seconds=presign_seconds)
                assert judge(good).access_key == KEY
                for defect in [*COMMON, *defects]:
                    if not can_have(defect, target):
                        continue
                    signed = good
                    if defect.signing:
                        signed = sign_request(
                            method,
                            target,
                            headers,
                            presign_seconds=presign_seconds,
                            **defect.signing,
                        )
                    bad = damage(signed, defect, presign_seconds is not None)
                    with pytest.raises(S3Error) as refused:
                        judge(bad, defect.late_seconds)
                    refusal = refused.value.code, refused.value.status
                    assert refusal == (defect.code, STATUSES[defect.code]), (defect.name, payload, good)
                    cells += 1
    assert cells >= CELLS_MIN
