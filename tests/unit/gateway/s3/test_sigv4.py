"""Signature checks against botocore's signers, and each way of being wrong."""

from __future__ import annotations

import hmac
import re
import string
from collections.abc import Callable
from typing import Any
from unittest import mock
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.s3.errors import S3Error
from gateway.s3.headers import fold
from gateway.s3.sigv4 import Authenticator, PayloadMode, Verified
from gateway.s3.sigv4.verified import SigningKey
from gateway.s3.sigv4.verify import _DECOY_SECRET
from gateway.s3.target import parse_target

KEY = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW = 1_790_000_000.0
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
Sign = Callable[..., Any]

authenticator = Authenticator({KEY: SECRET}.get, "us-east-1")


def verify(request: Any, now: float = NOW, **changes: Any) -> Verified:
    method, target, headers = request
    method = changes.get("method", method)
    target = changes.get("target", target)
    headers = changes.get("headers", headers)
    folded = fold(headers)
    return authenticator.verify(method, parse_target(target, folded.get("host")), folded, now)


def refusal(request: Any, now: float = NOW, **changes: Any) -> S3Error:
    with pytest.raises(S3Error) as refused:
        verify(request, now, **changes)
    return refused.value


def edit(request: Any, name: str, value: str | None) -> list[tuple[bytes, bytes]]:
    """The request's headers with one replaced, added, or (None) taken out."""
    kept = [(n, v) for n, v in request.headers if n.lower() != name.lower().encode()]
    return kept if value is None else [*kept, (name.encode(), value.encode())]


def authorization(request: Any) -> str:
    return dict(request.headers)[b"Authorization"].decode()


def test_header_signature(sign_request: Sign) -> None:
    request = sign_request("GET", "/photos/a?x-id=GetObject")
    verified = verify(request)
    assert verified.access_key == KEY
    assert verified.payload is PayloadMode.SIGNED
    assert verified.payload_sha256 == bytes.fromhex(EMPTY)
    assert verified.presigned is False
    assert verified.amz_date == "20260921T141320Z"
    assert verified.scope == "20260921/us-east-1/s3/aws4_request"
    assert verified.seed_signature == authorization(request).rpartition("=")[2]
    assert verified.signed_headers == ("host", "x-amz-content-sha256", "x-amz-date")


def test_presigned_url(sign_request: Sign) -> None:
    verified = verify(sign_request("GET", "/photos/a", presign_seconds=60))
    assert verified.presigned is True
    assert verified.payload is PayloadMode.UNSIGNED
    assert verified.payload_sha256 is None
    assert verified.signed_headers == ("host",)


def test_secrets_do_not_print(sign_request: Sign) -> None:
    verified = verify(sign_request("GET", "/photos/a"))
    assert re.search(r"SigningKey object", repr(verified))
    assert SECRET not in repr(verified)


@given(st.binary(max_size=64), st.text(st.characters(exclude_categories=["Cs"])))
def test_signing_key_is_hmac_sha256(key: bytes, text: str) -> None:
    assert SigningKey(key).sign(text) == hmac.new(key, text.encode(), "sha256").hexdigest()


AWKWARD = [
    "a b",
    "a+b",
    "a%b",
    "a%2Fb",
    "~!*'()",
    "a//b",
    "./..",
    "/",
    "a?b#c",
    "é",
    "e\u0301",
    "🌳",
    "\n\t",
    "@:;,=&$",
    '[{|}]^`"<>\\',
]


@pytest.mark.parametrize("key", AWKWARD)
@pytest.mark.parametrize("presign_seconds", [None, 60])
def test_awkward_keys_as_botocore_sends_them(sign_request: Sign, key: str, presign_seconds: int | None) -> None:
    target = f"/photos/x{quote(key, safe='/~')}?prefix={quote(key, safe='-_.~')}"
    request = sign_request("GET", target, presign_seconds=presign_seconds)
    assert verify(request).access_key == KEY
    assert parse_target(request.target, request.host).key == f"x{key}"


@given(
    st.sampled_from(["GET", "PUT", "HEAD", "DELETE", "POST"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60),
    st.dictionaries(
        st.text(
            st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
            min_size=1,
            max_size=9,
        ),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9),
        max_size=4,
    ),
    st.dictionaries(
        st.from_regex(r"x-amz-meta-[a-z0-9-]{1,9}", fullmatch=True),
        st.text(string.ascii_letters + string.punctuation + " ", max_size=20),
        max_size=3,
    ),
    st.sampled_from([None, 1, 604_800]),
)
@example("GET", "k", {"a": "", "a-b": "1"}, {}, None)
def test_whatever_botocore_signs_is_accepted(
    sign_request: Sign,
    method: str,
    key: str,
    query: dict[str, str],
    headers: dict[str, str],
    presign_seconds: int | None,
) -> None:
    pairs = "&".join(f"{quote(n, safe='-_.~')}={quote(v, safe='-_.~')}" for n, v in query.items())
    target = f"/photos/k{quote(key, safe='/~')}" + (f"?{pairs}" if pairs else "")
    request = sign_request(method, target, headers, presign_seconds=presign_seconds)
    assert verify(request).presigned is (presign_seconds is not None)


@pytest.mark.parametrize("target", ["/photos?uploads", "/photos?delimiter=/&prefix=a/", "/photos?acl&versionId=a:b"])
def test_queries_sent_less_encoded_than_signed(sign_request: Sign, target: str) -> None:
    """s3fs-fuse sends `delimiter=/` and signs `delimiter=%2F`, as Amazon S3 reads it."""
    canonical = target.replace("a/", "a%2F").replace("=/", "=%2F").replace(":", "%3A")
    canonical = re.sub(r"(\?|&)(\w+)(?=&|$)", r"\1\2=", canonical)
    request = sign_request("GET", canonical)
    assert verify(request, target=target).access_key == KEY


def test_a_path_sent_less_encoded_than_signed(sign_request: Sign) -> None:
    request = sign_request("GET", "/photos/a%28b%29%2Bc")
    assert verify(request, target="/photos/a(b)+c").access_key == KEY


def test_a_path_signed_as_sent(sign_request: Sign) -> None:
    assert verify(sign_request("GET", "/photos/a(b)+c,d%2fe")).access_key == KEY


def test_header_values_with_runs_of_blanks(sign_request: Sign) -> None:
    request = sign_request("PUT", "/photos/a", {"x-amz-meta-a": "  one   two \t three "})
    assert verify(request).access_key == KEY


def test_latin1_header_signed_as_utf8(sign_request: Sign) -> None:
    request = sign_request("PUT", "/photos/a", {"x-amz-meta-a": "Hello World\xe9"})
    wire = [(n, v.decode().encode("latin-1") if n == b"x-amz-meta-a" else v) for n, v in request.headers]
    assert verify(request, headers=wire).access_key == KEY


def test_date_header_instead_of_x_amz_date(sign_request: Sign) -> None:
    request = sign_request("GET", "/photos/a", {"Date": "x"})
    assert b"X-Amz-Date" not in dict(request.headers)
    assert verify(request).amz_date == "20260921T141320Z"


@pytest.mark.parametrize("order", ["{s}, {c}, {h}", "{h},{s},{c}", "{c},{h},{s}", "{c},  {h},  {s}"])
def test_parts_of_the_header_in_any_order(sign_request: Sign, order: str) -> None:
    request = sign_request("GET", "/photos/a")
    c, h, s = authorization(request).removeprefix("AWS4-HMAC-SHA256 ").split(", ")
    headers = edit(request, "Authorization", "AWS4-HMAC-SHA256 " + order.format(c=c, h=h, s=s))
    assert verify(request, headers=headers).access_key == KEY


@pytest.mark.parametrize("text", [mode.value for mode in PayloadMode if mode is not PayloadMode.SIGNED])
def test_payload_modes(sign_request: Sign, text: str) -> None:
    verified = verify(_with_payload(sign_request, text))
    assert verified.payload.value == text
    assert verified.payload.is_chunked is text.startswith("STREAMING")
    assert verified.payload_sha256 is None


def _with_payload(sign_request: Sign, text: str) -> Any:
    with mock.patch("botocore.auth.S3SigV4Auth.payload", lambda self, request: text):
        return sign_request("PUT", "/photos/a")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "STREAMING-UNSIGNED-PAYLOAD",
        "unsigned-payload",
        EMPTY.upper(),
        EMPTY[:-1],
        f"{EMPTY[:-2]}  ",
        "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
    ],
)
def test_unknown_payload_modes(sign_request: Sign, text: str) -> None:
    assert refusal(_with_payload(sign_request, text)).code == "InvalidArgument"


def test_missing_payload_header(sign_request: Sign) -> None:
    request = sign_request("GET", "/photos/a")
    assert refusal(request, headers=edit(request, "X-Amz-Content-SHA256", None)).code == "InvalidRequest"


@pytest.mark.parametrize("seconds", [-900, -1, 0, 1, 900])
def test_clock_skew_within_15_minutes(sign_request: Sign, seconds: int) -> None:
    assert verify(sign_request("GET", "/photos/a"), NOW + seconds).access_key == KEY


@pytest.mark.parametrize("seconds", [-901, 901, 86_400, -86_400])
def test_clock_skew_beyond(sign_request: Sign, seconds: int) -> None:
    error = refusal(sign_request("GET", "/photos/a"), NOW + seconds)
    assert (error.code, error.status) == ("RequestTimeTooSkewed", 403)
    assert error.fields["MaxAllowedSkewMilliseconds"] == 900_000


@pytest.mark.parametrize(
    ("now", "fits"),
    [(-901, False), (-900, True), (0, True), (60, True), (60.5, False), (1e9, False)],
)
def test_presigned_window(sign_request: Sign, now: float, fits: bool) -> None:
    request = sign_request("GET", "/photos/a", presign_seconds=60)
    if fits:
        assert verify(request, NOW + now).presigned
    else:
        error = refusal(request, NOW + now)
        assert error.code == "AccessDenied"
        assert error.message == ("Request is not valid yet" if now < 0 else "Request has expired")


@pytest.mark.parametrize("expires", ["0", "604801", "-1", "1.5", "", "9" * 5000, "٣"])
def test_presigned_lifetimes_out_of_bounds(sign_request: Sign, expires: str) -> None:
    request = sign_request("GET", "/photos/a", presign_seconds=60)
    target = request.target.replace("X-Amz-Expires=60", f"X-Amz-Expires={quote(expires)}")
    assert refusal(request, target=target).code == "AuthorizationQueryParametersError"


def test_unknown_access_key(sign_request: Sign) -> None:
    error = refusal(sign_request("GET", "/photos/a", access_key="AKIDOTHER"))
    assert (error.code, error.status) == ("InvalidAccessKeyId", 403)


def test_decoy_secret_opens_nothing(sign_request: Sign) -> None:
    assert (
        refusal(sign_request("GET", "/photos/a", access_key="AKIDOTHER", secret=_DECOY_SECRET)).code
        == "InvalidAccessKeyId"
    )


def test_wrong_secret_shows_what_was_signed(sign_request: Sign) -> None:
    error = refusal(sign_request("GET", "/photos/a", secret="wrong"))
    assert (error.code, error.status) == ("SignatureDoesNotMatch", 403)
    assert str(error.fields["CanonicalRequest"]).startswith("GET\n/photos/a\n\nhost:127.0.0.1:9000\n")
    assert SECRET not in str(error.fields)


@pytest.mark.parametrize("presign_seconds", [None, 60])
def test_wrong_region_names_the_right_one(sign_request: Sign, presign_seconds: int | None) -> None:
    error = refusal(sign_request("GET", "/photos/a", region="eu-west-1", presign_seconds=presign_seconds))
    assert error.code == (
        "AuthorizationHeaderMalformed" if presign_seconds is None else "AuthorizationQueryParametersError"
    )
    assert (error.status, error.fields["Region"]) == (400, "us-east-1")


def test_no_signature(sign_request: Sign) -> None:
    request = sign_request("GET", "/photos/a")
    error = refusal(request, headers=edit(request, "Authorization", None))
    assert (error.code, error.status) == ("AccessDenied", 403)


def test_both_kinds_of_signature(sign_request: Sign) -> None:
    query = sign_request("GET", "/photos/a", presign_seconds=60)
    header = sign_request("GET", query.target)
    error = refusal(header)
    assert (error.code, error.status) == ("InvalidArgument", 400)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("AWS AKIDEXAMPLE:c2lnbmF0dXJl", "InvalidRequest"),
        ("AWS4-ECDSA-P256-SHA256 Credential=a", "InvalidRequest"),
        ("Bearer token", "InvalidArgument"),
        ("", "InvalidArgument"),
        ("AWS4-HMAC-SHA256", "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256 ", "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256 Signature=", "AuthorizationHeaderMalformed"),
        (
            "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=x",
            "AuthorizationHeaderMalformed",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=//eu/s3/aws4_request, SignedHeaders=host, Signature=x",
            "AuthorizationHeaderMalformed",
        ),
    ],
)
def test_malformed_headers(sign_request: Sign, value: str, code: str) -> None:
    request = sign_request("GET", "/photos/a")
    assert refusal(request, headers=edit(request, "Authorization", value)).code == code


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("/s3/", "/ec2/", "AuthorizationHeaderMalformed"),
        ("aws4_request", "aws5_request", "AuthorizationHeaderMalformed"),
        ("/20260921/", "/20260920/", "AuthorizationHeaderMalformed"),
        ("SignedHeaders=host;", "SignedHeaders=Host;", "AuthorizationHeaderMalformed"),
        ("SignedHeaders=host;", "SignedHeaders=host;host;", "AuthorizationHeaderMalformed"),
        ("SignedHeaders=host;", "SignedHeaders=x;host;", "AuthorizationHeaderMalformed"),
        ("SignedHeaders=host;", "SignedHeaders=", "AccessDenied"),
        (";x-amz-date", "", "AccessDenied"),
        ("SignedHeaders=host;", "SignedHeaders=date;host;", "SignatureDoesNotMatch"),
        ("Credential=", "Credential=x/y/z,Credential=", "AuthorizationHeaderMalformed"),
        ("Signature=", "Signature=aa, Signature=", "AuthorizationHeaderMalformed"),
        ("Signature=", "Signature=ü", "SignatureDoesNotMatch"),
        ("Signature=", "Signature=0", "SignatureDoesNotMatch"),
    ],
)
def test_tampered_headers(sign_request: Sign, old: str, new: str, code: str) -> None:
    request = sign_request("GET", "/photos/a")
    value = authorization(request)
    assert old in value
    assert refusal(request, headers=edit(request, "Authorization", value.replace(old, new, 1))).code == code


def test_a_request_without_host_cannot_have_signed_it(sign_request: Sign) -> None:
    request = sign_request("GET", "/photos/a")
    bare = request._replace(headers=edit(request, "Host", None))
    assert refusal(bare).code == "SignatureDoesNotMatch"
    value = authorization(request).replace("host;", "")
    headers = edit(bare, "Authorization", value)
    assert refusal(bare, headers=headers).fields["HeadersNotSigned"] == "host"


def test_uppercase_signature(sign_request: Sign) -> None:
    request = sign_request("GET", "/photos/a")
    head, _, signature = authorization(request).rpartition("=")
    assert (
        refusal(request, headers=edit(request, "Authorization", f"{head}={signature.upper()}")).code
        == "SignatureDoesNotMatch"
    )


@pytest.mark.parametrize("missing", ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders"])
def test_presigned_without_a_parameter(sign_request: Sign, missing: str) -> None:
    request = sign_request("GET", "/photos/a", presign_seconds=60)
    target = re.sub(rf"X-Amz-{missing}=[^&]*&", "", request.target)
    assert refusal(request, target=target).code == "AuthorizationQueryParametersError"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("X-Amz-Signature", "X-Amz-signature", "AuthorizationQueryParametersError"),
        ("X-Amz-Signature", "X%2DAmz-Signature", "AuthorizationQueryParametersError"),
        ("X-Amz-Signature", "X-Amz-Signature=0&X-Amz-Signature", "InvalidArgument"),
        ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1", "AuthorizationQueryParametersError"),
        ("X-Amz-Date=2026", "X-Amz-Date=x", "AuthorizationQueryParametersError"),
        ("20260921%2F", "20260922%2F", "AuthorizationQueryParametersError"),
        ("X-Amz-Expires=60", "X-Amz-Expires=61", "SignatureDoesNotMatch"),
        ("/photos/a?", "/photos/a?prefix=x&", "SignatureDoesNotMatch"),
        ("X-Amz-Signature", "X-Amz-Security-Token=t&X-Amz-Signature", "InvalidToken"),
    ],
)
def test_tampered_presigned_urls(sign_request: Sign, old: str, new: str, code: str) -> None:
    request = sign_request("GET", "/photos/a", presign_seconds=60)
    assert old in request.target
    assert refusal(request, target=request.target.replace(old, new, 1)).code == code


def test_presigned_with_payload_hash_in_the_query(sign_request: Sign) -> None:
    """The Go SDK puts `X-Amz-Content-Sha256=UNSIGNED-PAYLOAD` into presigned queries."""
    request = sign_request("PUT", "/photos/a?X-Amz-Content-Sha256=UNSIGNED-PAYLOAD", presign_seconds=60)
    assert verify(request).payload is PayloadMode.UNSIGNED


@pytest.mark.parametrize("query", ["AWSAccessKeyId=a&Expires=1&Signature=b", "Signature=b"])
def test_signature_version_2_is_named_unsupported(sign_request: Sign, query: str) -> None:
    request = sign_request("GET", f"/photos/a?{query}")
    assert refusal(request, headers=edit(request, "Authorization", None)).code == "InvalidRequest"
    assert refusal(request).code == "InvalidArgument"


def test_session_tokens_are_refused(sign_request: Sign) -> None:
    assert refusal(sign_request("GET", "/photos/a", {"X-Amz-Security-Token": "t"})).code == "InvalidToken"


def test_bad_dates(sign_request: Sign) -> None:
    request = sign_request("GET", "/photos/a")
    assert refusal(request, headers=edit(request, "X-Amz-Date", "yesterday")).code == "AccessDenied"
    assert refusal(request, headers=edit(request, "X-Amz-Date", None)).code == "AccessDenied"


SIGNED_HEADERS = {
    "Content-Type": "text/plain",
    "Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg==",
    "x-amz-meta-colour": "red",
}


def _mutations(data: bytes) -> list[bytes]:
    """Every one-byte change, insertion and removal that keeps visible ASCII."""
    flips = [data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :] for i in range(len(data))]
    cuts = [data[:i] + data[i + 1 :] for i in range(len(data))]
    inserts = [data[:i] + b"x" + data[i:] for i in range(len(data) + 1)]
    return flips + cuts + inserts


@pytest.mark.parametrize("presign_seconds", [None, 60])
def test_every_single_mutation_is_refused(sign_request: Sign, presign_seconds: int | None) -> None:
    request = sign_request(
        "PUT",
        "/photos/a%2Fb?partNumber=1&uploadId=x",
        SIGNED_HEADERS,
        presign_seconds=presign_seconds,
    )
    assert verify(request).access_key == KEY
    signed = set(verify(request).signed_headers)
    meaning = parse_target(request.target, request.host)
    accepted = []
    for target in _mutations(request.target.encode()):
        try:
            verify(request, target=target.decode())
        except S3Error:
            continue
        again = parse_target(target.decode(), request.host)
        if (again.bucket, again.key, again.query) != (meaning.bucket, meaning.key, meaning.query):
            accepted.append(target)
    for index, (name, value) in enumerate(request.headers):
        if name.lower().decode() not in signed and name != b"Authorization":
            continue
        for mutated in _mutations(value):
            if b" ".join(mutated.split()) == b" ".join(value.split()):
                continue
            headers = list(request.headers)
            headers[index] = (name, mutated)
            try:
                verify(request, headers=headers)
            except S3Error:
                continue
            accepted.append(mutated)
    for method in ("GET", "POST", "put", "PUT "):
        try:
            verify(request, method=method)
        except S3Error:
            continue
        accepted.append(method.encode())
    # A blank after the comma between the parts of the Authorization header carries no meaning.
    same = dict(request.headers).get(b"Authorization", b"").replace(b", ", b",")
    accepted = [mutated for mutated in accepted if mutated.replace(b", ", b",") != same]
    assert accepted == []


@given(
    st.text(max_size=200),
    st.text(max_size=200),
    st.dictionaries(
        st.sampled_from(["authorization", "host", "x-amz-date", "date", "x-amz-content-sha256"]),
        st.text(max_size=60),
    ),
)
def test_only_s3_errors_are_raised(method: str, query: str, headers: dict[str, str]) -> None:
    for prefix in ("", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0&"):
        try:
            folded = fold((n.encode(), v.encode("utf-8", "surrogateescape")) for n, v in headers.items())
            target = parse_target(f"/photos/a?{prefix}{quote(query)}", "h")
            authenticator.verify("GET", target, folded, NOW)
        except S3Error:
            continue
        pytest.fail("an unsigned request was accepted")


@given(st.text(max_size=80), st.text(max_size=40), st.text(max_size=64))
def test_hostile_authorization_headers(credential: str, signed: str, signature: str) -> None:
    rest = f"SignedHeaders={signed}, Signature={signature}"
    for value in (
        credential,
        f"AWS4-HMAC-SHA256 Credential={credential}, {rest}",
        f"AWS4-HMAC-SHA256 Credential={credential}/20260921/us-east-1/s3/aws4_request, {rest}",
    ):
        headers = [
            (b"Host", b"h"),
            (b"X-Amz-Date", b"20260921T141320Z"),
            (b"X-Amz-Content-Sha256", EMPTY.encode()),
        ]
        with pytest.raises(S3Error):
            raw = [*headers, (b"Authorization", value.encode("utf-8", "replace"))]
            authenticator.verify("GET", parse_target("/photos/a", "h"), fold(raw), NOW)
