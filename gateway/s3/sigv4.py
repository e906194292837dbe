"""Who signed this request: AWS Signature Version 4, in the Authorization header or the query.

Every request passes :func:`verify`, and nothing but :func:`verify` makes a :class:`Verified`; whatever
reads a body or obeys a header asks for one, so no path can forget the check. The request is judged as it
was sent: raw path, raw query, all headers.

Specification: "Authenticating Requests (AWS Signature Version 4)", Amazon S3 API Reference.
"""

from __future__ import annotations

import enum
import hmac
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple, NoReturn
from urllib.parse import quote

from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers
from gateway.s3.httpdate import format_basic, parse_basic, parse_http
from gateway.s3.target import decode_component

CLOCK_SKEW_SECONDS_MAX: Final = 15 * 60
PRESIGN_SECONDS_MAX: Final = 7 * 24 * 60 * 60
ALGORITHM: Final = "AWS4-HMAC-SHA256"
_SERVICE: Final = "s3"
_TERMINATOR: Final = "aws4_request"
_SIGNING_KEYS_CACHED: Final = 1024
_HEADER_LISTS_CACHED: Final = 1024
_EXPIRES_DIGITS_MAX: Final = 6

# An unknown access key costs the same work as a known one with a bad signature.
_DECOY_SECRET: Final = "no such access key"

_SHA256_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_CANONICAL_QUERY: Final = re.compile(r"(?:[A-Za-z0-9._~=&-]|%[0-9A-F]{2})*", re.ASCII)
_AUTH_QUERY: Final = re.compile(r"(?:^|&)x-amz-(?:algorithm|credential|signature)=", re.IGNORECASE)
_SIGV2_QUERY: Final = re.compile(r"(?:^|&)(?:AWSAccessKeyId|Signature)=")
_SIGNATURE_PAIR: Final = "X-Amz-Signature="
_MUST_BE_SIGNED: Final = frozenset({"host", "content-md5"})
_AMZ: Final = "x-amz-"

Lookup = Callable[[str], str | None]
"""Access key id -> secret access key, or None if there is no such key."""


class PayloadMode(enum.Enum):
    """What ``x-amz-content-sha256`` promises about the body; the values are its wire spellings."""

    SIGNED = "SHA256"
    UNSIGNED = "UNSIGNED-PAYLOAD"
    CHUNKED_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    CHUNKED_SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    CHUNKED_SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"

    @property
    def is_chunked(self) -> bool:
        """Whether the body is framed as aws-chunked; only PutObject and UploadPart may be."""
        return self not in (PayloadMode.SIGNED, PayloadMode.UNSIGNED)


_MODES: Final = {
    mode.value: mode for mode in PayloadMode if mode is not PayloadMode.SIGNED
}


@dataclass(frozen=True, slots=True)
class Verified:
    """A request whose signature holds.

    Attributes:
        access_key: the id of the key that signed.
        payload: how the body is protected.
        payload_sha256: the body's declared SHA-256 (32 bytes), exactly when ``payload`` is SIGNED.
        presigned: whether the signature came in the query.
        amz_date: ``20261121T113000Z``, as signed.
        scope: ``20261121/us-east-1/s3/aws4_request``.
        seed_signature: the request's signature (64 hex digits), which a chunk signature continues.
        signing_key: the derived key (32 bytes); kept out of ``repr``.
        signed_headers: lower-case names.
    """

    access_key: str
    payload: PayloadMode
    payload_sha256: bytes | None
    presigned: bool
    amz_date: str
    scope: str
    seed_signature: str
    signing_key: bytes = field(repr=False)
    signed_headers: tuple[str, ...]


class _Claim(NamedTuple):
    """What a request says about its own signature, before any of it is believed."""

    access_key: str
    date: str
    region: str
    signed_headers: str
    signature: str
    amz_date: str
    error_code: str  # which code a malformed part of it is reported with


def verify(  # noqa: PLR0913  (the parts of a request, as they are; bundling them only renames them)
    method: str,
    raw_path: str,
    raw_query: str,
    headers: Headers,
    *,
    now: float,
    lookup: Lookup,
    region: str,
) -> Verified:
    """Check who signed a request.

    Args:
        method: the request's method.
        raw_path: the path as sent, without query.
        raw_query: the query as sent, without ``?``.
        headers: the folded header list, Host included.
        now: Unix time in seconds.
        lookup: finds the secret of an access key id.
        region: the region this gateway says it is.

    Raises:
        S3Error: with the code Amazon S3 uses for each defect; ``AccessDenied`` for no signature.
    """
    authorization = headers.get("authorization")
    in_query = "mz-" in raw_query.lower() and _AUTH_QUERY.search(raw_query) is not None
    if authorization is not None:
        if in_query or _SIGV2_QUERY.search(raw_query):
            raise S3Error(
                "InvalidArgument",
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter,"
                " Signature query string parameter or the Authorization header should be"
                " specified",
                ArgumentName="Authorization",
            )
        claim = _header_claim(authorization, headers, now)
        payload_text = headers.get("x-amz-content-sha256")
        if payload_text is None:
            raise S3Error(
                "InvalidRequest",
                "Missing required header for this request: x-amz-content-sha256",
            )
    elif in_query:
        parameters = _raw_parameters(raw_query)
        claim = _query_claim(parameters, now)
        payload_text = headers.get(
            "x-amz-content-sha256",
            parameters.get("X-Amz-Content-Sha256", PayloadMode.UNSIGNED.value),
        )
        raw_query = _without_signature(raw_query)
    elif _SIGV2_QUERY.search(raw_query):
        raise _unsupported_mechanism()
    else:
        raise S3Error("AccessDenied")
    return _check(method, raw_path, raw_query, headers, claim, payload_text, lookup, region, in_query)


def _check(  # noqa: PLR0913
    method: str,
    raw_path: str,
    raw_query: str,
    headers: Headers,
    claim: _Claim,
    payload_text: str,
    lookup: Lookup,
    region: str,
    presigned: bool,
) -> Verified:
    payload, payload_sha256 = _payload(payload_text)
    if claim.region != region:
        raise S3Error(
            claim.error_code,
            f"{S3Error(claim.error_code).message} The region '{claim.region}' is wrong;"
            f" expecting '{region}'",
            Region=region,
        )
    if "x-amz-security-token" in headers or "X-Amz-Security-Token=" in raw_query:
        raise S3Error("InvalidToken")  # session tokens are never issued here
    names = _signed_names(claim, headers)
    secret = lookup(claim.access_key)
    key = _signing_key(secret if secret is not None else _DECOY_SECRET, claim.date, region)
    scope = f"{claim.date}/{region}/{_SERVICE}/{_TERMINATOR}"
    given = claim.signature.encode()
    tail = f"{_header_block(names, headers)}\n\n{claim.signed_headers}\n{payload_text}"
    refused = ("", "")
    for path, query in _canonical_forms(raw_path, raw_query):
        canonical = f"{method}\n{path}\n{query}\n{tail}"
        to_sign = (
            f"{ALGORITHM}\n{claim.amz_date}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
        )
        signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
        if hmac.compare_digest(signature.encode(), given) and secret is not None:
            return Verified(
                claim.access_key,
                payload,
                payload_sha256,
                presigned,
                claim.amz_date,
                scope,
                signature,
                key,
                names,
            )
        refused = (to_sign, canonical)
    if secret is None:
        raise S3Error("InvalidAccessKeyId", AWSAccessKeyId=claim.access_key)
    raise S3Error(
        "SignatureDoesNotMatch",
        AWSAccessKeyId=claim.access_key,
        StringToSign=refused[0],
        SignatureProvided=claim.signature,
        CanonicalRequest=refused[1],
    )


def _header_claim(authorization: str, headers: Headers, now: float) -> _Claim:
    """Read the Authorization header and the request's date."""
    code = "AuthorizationHeaderMalformed"
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != ALGORITHM:
        if algorithm == "AWS" or algorithm.startswith("AWS4-"):
            raise _unsupported_mechanism()
        raise S3Error(
            "InvalidArgument", "Unsupported Authorization Type", ArgumentName="Authorization"
        )
    parts: dict[str, str] = {}
    for part in rest.split(","):
        name, _, value = part.strip().partition("=")
        if name in parts:
            _malformed(code, f"{name} is given twice.")
        parts[name] = value
    if parts.keys() != {"Credential", "SignedHeaders", "Signature"}:
        _malformed(code, "It must have Credential, SignedHeaders and Signature.")
    amz_date, sent = _request_time(headers)
    if abs(now - sent) > CLOCK_SKEW_SECONDS_MAX:
        raise S3Error(
            "RequestTimeTooSkewed",
            RequestTime=amz_date,
            ServerTime=format_basic(int(now)),
            MaxAllowedSkewMilliseconds=CLOCK_SKEW_SECONDS_MAX * 1000,
        )
    return _claim(parts["Credential"], parts["SignedHeaders"], parts["Signature"], amz_date, code)


def _request_time(headers: Headers) -> tuple[str, int]:
    """Return the time in a header-signed request as (basic ISO text, Unix seconds)."""
    text = headers.get("x-amz-date")
    if text is not None:
        seconds = parse_basic(text)
    else:
        text = headers.get("date", "")
        seconds = parse_http(text)
        if seconds is None:
            seconds = parse_basic(text)
        if seconds is not None:
            text = format_basic(seconds)
    if seconds is None:
        raise S3Error(
            "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header"
        )
    return text, seconds


def _query_claim(parameters: dict[str, str], now: float) -> _Claim:
    """Read a presigned URL's parameters and judge its window of validity."""
    code = "AuthorizationQueryParametersError"
    try:
        algorithm, credential, amz_date, expires_text, signed_headers, signature = (
            parameters[f"X-Amz-{name}"]
            for name in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature")
        )
    except KeyError:
        _malformed(
            code,
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential,"
            " X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
        )
    if algorithm != ALGORITHM:
        _malformed(code, f'X-Amz-Algorithm only supports "{ALGORITHM}"')
    sent = parse_basic(amz_date)
    if sent is None:
        _malformed(code, 'X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd\'T\'HHmmss\'Z\'"')
    if not (expires_text.isascii() and expires_text.isdigit()):
        _malformed(code, "X-Amz-Expires should be a number")
    # The length test comes first: int() of a very long text is slow, then an error of its own.
    too_long = len(expires_text) > _EXPIRES_DIGITS_MAX
    expires = PRESIGN_SECONDS_MAX + 1 if too_long else int(expires_text)
    if not 1 <= expires <= PRESIGN_SECONDS_MAX:
        _malformed(code, f"X-Amz-Expires must be between 1 and {PRESIGN_SECONDS_MAX} seconds")
    if sent - now > CLOCK_SKEW_SECONDS_MAX:
        raise S3Error("AccessDenied", "Request is not valid yet")
    if now > sent + expires:
        fields: dict[str, str | int] = {
            "X-Amz-Expires": expires,
            "Expires": format_basic(sent + expires),
            "ServerTime": format_basic(int(now)),
        }
        raise S3Error("AccessDenied", "Request has expired", **fields)
    return _claim(credential, signed_headers, signature, amz_date, code)


def _claim(
    credential: str, signed_headers: str, signature: str, amz_date: str, code: str
) -> _Claim:
    parts = credential.rsplit("/", 4)
    if len(parts) != 5 or not parts[0]:  # noqa: PLR2004  (key, date, region, service, terminator)
        _malformed(code, "The Credential must be <key>/<date>/<region>/s3/aws4_request.")
    access_key, date, region, service, terminator = parts
    if service != _SERVICE or terminator != _TERMINATOR:
        _malformed(code, f"The Credential's scope must end in {_SERVICE}/{_TERMINATOR}.")
    if date != amz_date[:8]:
        _malformed(code, "The Credential's date is not the date of the request.")
    return _Claim(access_key, date, region, signed_headers, signature, amz_date, code)


def _raw_parameters(raw_query: str) -> dict[str, str]:
    """Return decoded query parameters, each of which may stand once.

    Names are compared as sent: an encoded or differently cased spelling of an authentication
    parameter is simply not that parameter.
    """
    parameters: dict[str, str] = {}
    for pair in raw_query.split("&"):
        name, _, value = pair.partition("=")
        if name in parameters and name:
            raise S3Error(
                "InvalidArgument", "A query parameter was given twice.", ArgumentName=name
            )
        parameters[name] = decode_component(value, plus_is_space=True)
    return parameters


def _without_signature(raw_query: str) -> str:
    return "&".join(p for p in raw_query.split("&") if not p.startswith(_SIGNATURE_PAIR))


@lru_cache(maxsize=_HEADER_LISTS_CACHED)
def _names(signed_headers: str) -> tuple[tuple[str, ...], frozenset[str]] | None:
    """Split a SignedHeaders list, or return None if it is not sorted, lower case and unique."""
    names = tuple(signed_headers.split(";"))
    if signed_headers != signed_headers.lower() or list(names) != sorted(set(names)):
        return None
    return names, frozenset(names)


def _signed_names(claim: _Claim, headers: Headers) -> tuple[str, ...]:
    """Return the signed names, having made sure that nothing that matters was left unsigned.

    An ``x-amz-*`` header that the signer did not see could turn an upload into a copy or change who
    may read it (CVE-2026-54330).
    """
    split = _names(claim.signed_headers)
    if split is None:
        _malformed(claim.error_code, "SignedHeaders must be sorted, lower case and without repeats.")
    names, signed = split
    unsigned = [
        name
        for name in headers.keys() - signed
        if name.startswith(_AMZ) or name in _MUST_BE_SIGNED
    ]
    if "host" not in signed and "host" not in unsigned:
        unsigned.append("host")
    if unsigned:
        raise S3Error(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            HeadersNotSigned=", ".join(sorted(unsigned)),
        )
    if not headers.keys() >= signed:
        raise S3Error(
            "SignatureDoesNotMatch",
            f"Signed headers are missing: {', '.join(sorted(signed - headers.keys()))}",
            AWSAccessKeyId=claim.access_key,
        )
    return names


def _header_block(names: tuple[str, ...], headers: Headers) -> str:
    """Return the canonical headers; runs of blanks inside a value count as one."""
    block = "\n".join([f"{name}:{headers[name]}" for name in names])
    if "  " in block or "\t" in block:
        block = "\n".join(f"{name}:{' '.join(headers[name].split())}" for name in names)
    return block


def _canonical_forms(raw_path: str, raw_query: str) -> Iterator[tuple[str, str]]:
    """Yield the readings of path and query under which a signature is accepted.

    First as sent. Then, if it differs, as the specification has it: every character percent-encoded
    that should be. Some clients send ``delimiter=/`` and sign ``delimiter=%2F``. Both readings decode to
    the same key and parameters, so accepting either lets nobody change what a request means.
    """
    query = _sorted_query(raw_query)
    yield raw_path, query
    path_again = _encode(decode_component(raw_path), "/~")
    query_again = query
    if _CANONICAL_QUERY.fullmatch(query) is None:
        query_again = _sorted_query("&".join(_encoded_pairs(raw_query)))
    if path_again != raw_path or query_again != query:
        yield path_again, query_again


def _encode(text: str, safe: str) -> str:
    return quote(text, safe=safe)


def _encoded_pairs(raw_query: str) -> Iterator[str]:
    for pair in raw_query.split("&"):
        name, _, value = pair.partition("=")
        if pair:
            yield (
                f"{_encode(decode_component(name, plus_is_space=True), '~')}="
                f"{_encode(decode_component(value, plus_is_space=True), '~')}"
            )


def _sorted_query(raw_query: str) -> str:
    """Return the pairs sorted by name, then value, each with an equals sign."""
    if not raw_query:
        return ""
    if "&" not in raw_query:
        return raw_query if "=" in raw_query else f"{raw_query}="
    pairs = [pair.partition("=") for pair in raw_query.split("&") if pair]
    pairs.sort()
    return "&".join([f"{name}={value}" for name, _, value in pairs])


@lru_cache(maxsize=_SIGNING_KEYS_CACHED)
def _signing_key(secret: str, date: str, region: str) -> bytes:
    """Derive a signing key. The cache is keyed by the secret: a rotated one is never mixed up."""
    key = hmac.digest(f"AWS4{secret}".encode(), date.encode(), "sha256")
    for step in (region, _SERVICE, _TERMINATOR):
        key = hmac.digest(key, step.encode(), "sha256")
    return key


def _payload(text: str) -> tuple[PayloadMode, bytes | None]:
    mode = _MODES.get(text)
    if mode is not None:
        return mode, None
    if _SHA256_HEX.fullmatch(text):
        return PayloadMode.SIGNED, bytes.fromhex(text)
    raise S3Error(
        "InvalidArgument",
        f"x-amz-content-sha256 must be {', '.join(_MODES)} or a valid sha256 value.",
        ArgumentName="x-amz-content-sha256",
        ArgumentValue=text,
    )


def _unsupported_mechanism() -> S3Error:
    return S3Error(
        "InvalidRequest",
        "The authorization mechanism you have provided is not supported."
        " Please use AWS4-HMAC-SHA256.",
    )


def _malformed(code: str, detail: str) -> NoReturn:
    raise S3Error(code, f"{S3Error(code).message} {detail}")
