"""Signatures: public advisories about S3 servers, each as a test with its id in the name."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
from botocore.auth import HmacV1QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from gateway.s3 import chunked, sigv2
from gateway.s3.chunked import ChunkedDecoder
from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers, fold, with_hoisted
from gateway.s3.sigv4 import Authenticator, PayloadMode, Verified
from gateway.s3.sigv4 import verify as verify_module
from gateway.s3.target import parse_target

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW = 1_790_000_000.0
SHA = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
Sign = Callable[..., Any]
PAYLOADS = [SHA, *(mode.value for mode in PayloadMode if mode is not PayloadMode.SIGNED)]

authenticator = Authenticator({KEY: SECRET}.get, "us-east-1")


def verify(request: Any, headers: list[tuple[bytes, bytes]] | None = None, now: float = NOW) -> Verified:
    folded = fold(request.headers if headers is None else headers)
    return authenticator.verify(request.method, parse_target(request.target, folded.get("host")), folded, now)


def refusal(act: Callable[[], Any]) -> S3Error:
    with pytest.raises(S3Error) as refused:
        act()
    return refused.value


def sign_payload(sign_request: Sign, payload: str, *args: Any, **kwargs: Any) -> Any:
    """Sign with that x-amz-content-sha256, in the header for both kinds of signature."""
    if kwargs.get("presign_seconds") is not None:
        args = (*args[:2], {**(args[2] if len(args) > 2 else {}), "x-amz-content-sha256": payload})
    with mock.patch("botocore.auth.S3SigV4Auth.payload", lambda self, request: payload):
        return sign_request(*args, **kwargs)


SMUGGLED = [
    (b"x-amz-acl", b"public-read"),
    (b"x-amz-copy-source", b"secret/key"),
    (b"X-AMZ-Copy-Source", b"secret/key"),
    (b"x-amz-meta-a", b"b"),
    (b"x-amz-tagging", b""),
    (b"x-amz-decoded-content-length", b"0"),
    (b"x-amz-unheard-of", b"1"),
    (b"Content-MD5", b"1B2M2Y8AsgTpgAmY7PhCfg=="),
]


@pytest.mark.parametrize("presign_seconds", [None, 60])
@pytest.mark.parametrize("header", SMUGGLED, ids=lambda h: h[0].decode())
def test_cve_2026_54330_unsigned_amz_header_rejected(
    sign_request: Sign, header: tuple[bytes, bytes], presign_seconds: int | None
) -> None:
    request = sign_request("PUT", "/photos/a", presign_seconds=presign_seconds)
    error = refusal(lambda: verify(request, [*request.headers, header]))
    assert (error.code, error.status) == ("AccessDenied", 403)
    assert error.fields["HeadersNotSigned"] == header[0].decode().lower()


@pytest.mark.parametrize("presign_seconds", [None, 60])
@pytest.mark.parametrize("name", [b"x-amz-acl", b"X-Amz-Acl", b"Content-MD5", b"host", b"HOST"])
def test_cve_2026_54330_second_value_of_a_signed_header_rejected(
    sign_request: Sign, name: bytes, presign_seconds: int | None
) -> None:
    signed = {"x-amz-acl": "private", "Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}
    request = sign_request("PUT", "/photos/a", signed, presign_seconds=presign_seconds)
    for headers in ([*request.headers, (name, b"x")], [(name, b"x"), *request.headers]):
        assert refusal(lambda h=headers: verify(request, h)).code == "InvalidArgument"


def test_cve_2026_54330_a_query_header_cannot_shadow_a_signed_one(sign_request: Sign) -> None:
    request = sign_request("PUT", "/photos/a?x-amz-acl=public-read", {"x-amz-acl": "private"}, presign_seconds=60)
    headers = fold(request.headers)
    target = parse_target(request.target, headers["host"])
    assert authenticator.verify("PUT", target, headers, NOW).presigned
    assert refusal(lambda: with_hoisted(headers, target.query)).code == "InvalidArgument"


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("presign_seconds", [None, 60])
def test_cve_2025_31489_signature_is_checked_in_every_payload_mode(
    sign_request: Sign, payload: str, presign_seconds: int | None
) -> None:
    good = sign_payload(sign_request, payload, "PUT", "/photos/a", presign_seconds=presign_seconds)
    assert verify(good).access_key == KEY
    bad = sign_payload(sign_request, payload, "PUT", "/photos/a", presign_seconds=presign_seconds, secret="guessed")
    assert refusal(lambda: verify(bad)).code == "SignatureDoesNotMatch"


def test_cve_2025_31489_decoder_needs_a_verified_request() -> None:
    headers = Headers({"x-amz-decoded-content-length": "3"})
    for unverified in (None, object(), ("AKIDEXAMPLE", PayloadMode.CHUNKED_UNSIGNED_TRAILER)):
        with pytest.raises((TypeError, AttributeError)):
            ChunkedDecoder(unverified, headers)  # type: ignore[arg-type]


def test_cve_2026_40344_no_signature_no_access_in_any_payload_mode(sign_request: Sign) -> None:
    for payload in PAYLOADS:
        request = sign_payload(sign_request, payload, "PUT", "/photos/a")
        bare = [(name, value) for name, value in request.headers if name != b"Authorization"]
        assert refusal(lambda r=request, h=bare: verify(r, h)).code == "AccessDenied"


def test_cve_2026_41145_query_credentials_do_not_skip_the_check(sign_request: Sign) -> None:
    for payload in PAYLOADS:
        request = sign_payload(sign_request, payload, "PUT", "/photos/a", presign_seconds=60)
        head, _, signature = request.target.rpartition("=")
        forged = request._replace(target=f"{head}={'0' * len(signature)}")
        assert refusal(lambda r=forged: verify(r)).code == "SignatureDoesNotMatch"
        # Beside a header of another kind, the query is not ignored either.
        both = [*request.headers, (b"Authorization", b"Bearer x")]
        assert refusal(lambda r=request, h=both: verify(r, h)).code == "InvalidArgument"


@pytest.mark.parametrize("presign_seconds", [None, 604_800])
def test_cve_2021_21362_a_signature_is_worth_what_its_key_is_now(
    sign_request: Sign, presign_seconds: int | None
) -> None:
    keys = {KEY: SECRET}
    gate = Authenticator(keys.get, "us-east-1")
    request = sign_request("PUT", "/photos/a", presign_seconds=presign_seconds)
    headers = fold(request.headers)

    def attempt() -> Verified:
        return gate.verify(request.method, parse_target(request.target, headers["host"]), headers, NOW)

    assert attempt().access_key == KEY
    keys[KEY] = "another secret"
    assert refusal(attempt).code == "SignatureDoesNotMatch"
    del keys[KEY]
    assert refusal(attempt).code == "InvalidAccessKeyId"


LOOKS_SIGNED = (
    f"AWS4-HMAC-SHA256 Credential={KEY}/20260921/us-east-1/s3/aws4_request,"
    " SignedHeaders=host;x-amz-content-sha256;x-amz-date"
)


@pytest.mark.parametrize(
    "authorization",
    [
        f"{LOOKS_SIGNED}, Signature=",
        f"{LOOKS_SIGNED}, Signature={'0' * 64}",
        f"{LOOKS_SIGNED.replace('SHA256', 'SHA512', 1)}, Signature={'0' * 64}",
        LOOKS_SIGNED,
        "none",
    ],
)
def test_formkiq_core_540_a_header_that_looks_signed_is_not(authorization: str) -> None:
    headers = [
        (b"Host", b"h"),
        (b"x-amz-date", b"20260921T141320Z"),
        (b"x-amz-content-sha256", SHA.encode()),
        (b"authorization", authorization.encode()),
    ]
    error = refusal(lambda: authenticator.verify("GET", parse_target("/photos/a", "h"), fold(headers), NOW))
    assert error.status in (400, 403)


@pytest.mark.parametrize("module", [verify_module, chunked, sigv2], ids=lambda m: m.__name__)
def test_minio_5334_signatures_are_compared_in_constant_time(module: ModuleType) -> None:
    tree = ast.parse(inspect.getsource(module))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr == "compare_digest"]
    assert calls
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} | {
                n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)
            }
            assert not names & {
                "signature",
                "_signature",
                "given",
                "_given",
                "secret",
                "seed_signature",
            }


SIGV2_DAMAGE = {
    "encoded name of a sub-resource": ("?", "?%75ploads&"),
    "encoded name of an override": ("?", "?response%2Dexpires=x&"),
    "sub-resource": ("?", "?acl&"),
    "parameter outside the signature": ("?", "?retention&"),
    "header in the query": ("?", "?x-amz-copy-source=a%2Fb&"),
    "header in the query under an encoded name": ("?", "?x%2Damz-copy-source=a%2Fb&"),
    "parameter of another signature": ("?", "?x-amz-security-token=a&"),
    "two parameters in one": (
        "uploadId=a%2Bb&response-content-type=a%2Bb",
        "response-content-type=a%2Bb%26uploadId%3Da%2Bb",
    ),
    "other value": ("partNumber=1", "partNumber=2"),
    "plus for a space": ("a%2Bb", "a+b"),
    "other key": ("/photos/a", "/photos/b"),
    "end that is no number": ("Expires=1790000060", "Expires=x"),
    "end with too many digits": ("Expires=1790000060", f"Expires={'9' * 5000}"),
    "later end": ("Expires=1790000060", "Expires=1790000061"),
    "other secret": ("Signature=", "Signature=x"),
}


@pytest.mark.parametrize("damage", SIGV2_DAMAGE.values(), ids=SIGV2_DAMAGE.keys())
def test_presigned_version_2_covers_everything(damage: tuple[str, str]) -> None:
    signer = HmacV1QueryAuth(Credentials(KEY, SECRET), expires=60)
    url = "http://h/photos/a?partNumber=1&uploadId=a%2Bb&response-content-type=a%2Bb"
    request = AWSRequest("PUT", url)
    with mock.patch("time.time", lambda: NOW):
        signer.add_auth(request)
    headers = Headers({"host": "h"})
    raw = request.url.removeprefix("http://h")

    def attempt(target: str, seen: Headers = headers, method: str = "PUT", now: float = NOW) -> Verified:
        return sigv2.verify(method, parse_target(target, "h"), seen, now, {KEY: SECRET}.get)

    assert attempt(raw).access_key == KEY
    old, new = damage
    assert old in raw
    assert refusal(lambda: attempt(raw.replace(old, new, 1))).status == 403
    for changed in (
        {"x-amz-copy-source": "a/b"},
        {"x-amz-acl": "private"},
        {"content-type": "text/html"},
        {"content-md5": "x"},
    ):
        assert refusal(lambda c=changed: attempt(raw, Headers(headers | c))).code == "SignatureDoesNotMatch"
    assert refusal(lambda: attempt(raw, method="GET")).code == "SignatureDoesNotMatch"
    assert refusal(lambda: attempt(raw, now=NOW + 61)).code == "AccessDenied"
    assert refusal(lambda: attempt(raw.replace(KEY, "AKIDOTHER"))).code == "InvalidAccessKeyId"


def test_presigned_version_2_covers_headers_in_the_query() -> None:
    signer = HmacV1QueryAuth(Credentials(KEY, SECRET), expires=60)
    request = AWSRequest("PUT", "http://h/photos/a", headers={"x-amz-meta-a": "1", "x-amz-meta-b": "2"})
    with mock.patch("time.time", lambda: NOW):
        signer.add_auth(request)
    raw = request.url.removeprefix("http://h")
    assert "x-amz-meta-a=1&x-amz-meta-b=2" in raw or "x-amz-meta-b=2&x-amz-meta-a=1" in raw

    def attempt(target: str, **headers: str) -> Verified:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return sigv2.verify("PUT", parse_target(target, "h"), Headers({"host": "h", **named}), NOW, {KEY: SECRET}.get)

    for sent in ({}, {"x_amz_meta_a": "1"}, {"x_amz_meta_a": "1", "x_amz_meta_b": "2"}):
        assert attempt(raw, **sent).access_key == KEY
    assert refusal(lambda: attempt(raw, x_amz_meta_a="2")).code == "InvalidArgument"
    assert refusal(lambda: attempt(raw, x_amz_meta_c="3")).code == "SignatureDoesNotMatch"
    assert refusal(lambda: attempt(raw.replace("x-amz-meta-a=1", "x-amz-meta-a=2"))).code == "SignatureDoesNotMatch"
    # Two lines of what is signed as one value.
    forged = raw.replace("x-amz-meta-b=2", "").replace("x-amz-meta-a=1", "x-amz-meta-a=1%0Ax-amz-meta-b:2")
    assert refusal(lambda: attempt(forged)).code == "InvalidArgument"


def test_errors_and_values_carry_no_secret(sign_request: Sign) -> None:
    shown = []
    for secret in (SECRET, "guessed"):
        request = sign_request("PUT", "/photos/a", {"x-amz-meta-a": "b"}, secret=secret)
        try:
            shown.append(repr(verify(request)))
        except S3Error as error:
            shown += [str(error), error.document(resource="/", request_id="1").decode()]
    assert shown
    assert not any(SECRET in text for text in shown)


def test_signature_checks_are_the_only_makers_of_verified_requests() -> None:
    """Production code calls `Verified(...)` in two places, the two signature checks."""
    root = Path(inspect.getfile(sigv2)).parent
    makers = []
    for source in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Verified":
                makers.append(source.relative_to(root).as_posix())
    assert makers == ["sigv2.py", "sigv4/verify.py"]
