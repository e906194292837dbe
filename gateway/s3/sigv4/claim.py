"""What a request says about its own signature, read and bounded before any of it is believed.

The two places a signature can stand in, the Authorization header and the query of a presigned URL,
are brought into one form here, so that everything after it is written, and tested, once.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple, NoReturn

from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers
from gateway.s3.httpdate import format_basic, parse_basic, parse_http
from gateway.s3.sigv4.verified import PayloadMode
from gateway.s3.target import Target

ALGORITHM: Final = "AWS4-HMAC-SHA256"
SERVICE: Final = "s3"
TERMINATOR: Final = "aws4_request"
CLOCK_SKEW_SECONDS_MAX: Final = 15 * 60
PRESIGN_SECONDS_MAX: Final = 7 * 24 * 60 * 60
_EXPIRES_DIGITS_MAX: Final = 6
_HEADER_PARTS: Final = frozenset({"Credential", "SignedHeaders", ""})
_TERMS_CACHED: Final = 256  # of up to one header line each

_HEADER_CODE: Final = "AuthorizationHeaderMalformed"
_QUERY_CODE: Final = "AuthorizationQueryParametersError"
_AUTH_QUERY: Final = re.compile(r"(?:^|&)x-amz-(?:algorithm|credential|signature)=", re.IGNORECASE)
_SIGV2_QUERY: Final = re.compile(r"(?:^|&)Signature=")
_SIGNATURE_PAIR: Final = "X-Amz-Signature="
_TOKEN: Final = "x-amz-security-token"
_PRESIGN_PARAMETERS: Final = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
)


class Terms(NamedTuple):
    """The part of a claim that one client repeats, request after request, all day.

    Attributes:
        date: the scope's day, ``20261121``.
        scope: ``<date>/<region>/s3/aws4_request``.
        signed_headers: the SignedHeaders list as sent.
        names: the same, split.
        name_set: the same, to look names up.
    """

    access_key: str
    date: str
    region: str
    scope: str
    signed_headers: str
    names: tuple[str, ...]
    name_set: frozenset[str]


class Claim(NamedTuple):
    """A signature and the terms it is claimed on; nothing here is verified yet.

    Attributes:
        payload: the value that stands for the body in the canonical request.
        query: the raw query that was signed, which leaves out the signature itself.
        error_code: the code that a defect in the claim is reported with.
    """

    terms: Terms
    signature: str
    amz_date: str
    payload: str
    query: str
    presigned: bool
    error_code: str


def read_claim(target: Target, headers: Headers, now: float) -> Claim:
    """Find the one signature a request carries.

    Args:
        target: the request target.
        headers: the folded headers.
        now: Unix time in seconds, for the window in which the signature may be used.

    Raises:
        S3Error: ``AccessDenied`` without a signature or outside its window, ``InvalidArgument`` for
            two of them, and the codes for malformed ones.
    """
    raw_query = target.raw_query
    authorization = headers.get("authorization")
    # The substring tests are cheap guards: few queries hold either word.
    in_query = "x-amz-" in raw_query.lower() and _AUTH_QUERY.search(raw_query) is not None
    in_query_v2 = "Signature=" in raw_query and _SIGV2_QUERY.search(raw_query) is not None
    if _TOKEN in headers or (in_query and "X-Amz-Security-Token" in target.query):
        raise S3Error("InvalidToken")  # no session tokens are issued here, so none is good
    if authorization is not None:
        if in_query or in_query_v2:
            raise S3Error(
                "InvalidArgument",
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter,"
                " Signature query string parameter or the Authorization header should be"
                " specified",
                ArgumentName="Authorization",
            )
        return _header_claim(authorization, raw_query, headers, now)
    if in_query:
        return _query_claim(target, headers, now)
    if in_query_v2:
        raise _unsupported_mechanism()
    raise S3Error("AccessDenied")


def _header_claim(authorization: str, raw_query: str, headers: Headers, now: float) -> Claim:
    terms_text, found, signature = authorization.rpartition("Signature=")
    if not found:
        terms_text, signature = authorization, ""
    elif "," in signature:  # every known client puts the signature last; none has to
        signature, comma, more = signature.partition(",")
        terms_text = f"{terms_text}{comma}{more}"
    terms = _header_terms(terms_text)
    amz_date, sent = _request_time(headers)
    if abs(now - sent) > CLOCK_SKEW_SECONDS_MAX:
        raise S3Error(
            "RequestTimeTooSkewed",
            RequestTime=amz_date,
            ServerTime=format_basic(int(now)),
            MaxAllowedSkewMilliseconds=CLOCK_SKEW_SECONDS_MAX * 1000,
        )
    payload = headers.get("x-amz-content-sha256")
    if payload is None:
        raise S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    _check_day(terms, amz_date, _HEADER_CODE)
    return Claim(terms, signature, amz_date, payload, raw_query, False, _HEADER_CODE)


@lru_cache(maxsize=_TERMS_CACHED)
def _header_terms(authorization: str) -> Terms:
    """Read an Authorization header from which the signature was taken out."""
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != ALGORITHM:
        if algorithm == "AWS" or algorithm.startswith("AWS4-"):
            raise _unsupported_mechanism()
        raise S3Error("InvalidArgument", "Unsupported Authorization Type", ArgumentName="Authorization")
    # Three parts, one of them blank: where the signature stood.
    pairs = [part.strip().partition("=") for part in rest.split(",")]
    parts = {name: value for name, _, value in pairs}
    if len(pairs) != len(_HEADER_PARTS) or parts.keys() != _HEADER_PARTS:
        malformed(_HEADER_CODE, "It must have Credential, SignedHeaders and Signature.")
    return _terms(parts["Credential"], parts["SignedHeaders"], _HEADER_CODE)


@lru_cache(maxsize=_TERMS_CACHED)
def _terms(credential: str, signed_headers: str, code: str) -> Terms:
    access_key, *scope = credential.rsplit("/", 4)
    if not access_key or scope[2:] != [SERVICE, TERMINATOR]:
        malformed(code, f"The Credential must be <key>/<date>/<region>/{SERVICE}/{TERMINATOR}.")
    date, region = scope[:2]
    names = tuple(signed_headers.split(";"))
    if signed_headers != signed_headers.lower() or list(names) != sorted(set(names)):
        malformed(code, "SignedHeaders must be sorted, lower case, without repeats.")
    text = f"{date}/{region}/{SERVICE}/{TERMINATOR}"
    return Terms(access_key, date, region, text, signed_headers, names, frozenset(names))


def _check_day(terms: Terms, amz_date: str, code: str) -> None:
    if terms.date != amz_date[:8]:
        malformed(code, "The Credential's date is not the date of the request.")


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
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    return text, seconds


def _query_claim(target: Target, headers: Headers, now: float) -> Claim:
    # Values are the decoded ones that everybody else reads; a name that was sent percent-encoded
    # is refused, since it could not be found again in the raw query that was signed.
    query = target.query
    if any(name not in query for name in _PRESIGN_PARAMETERS):
        malformed(
            _QUERY_CODE,
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential,"
            " X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
        )
    algorithm, credential, amz_date, expires, signed_headers, signature = (query[name] for name in _PRESIGN_PARAMETERS)
    if algorithm != ALGORITHM:
        malformed(_QUERY_CODE, f'X-Amz-Algorithm only supports "{ALGORITHM}"')
    _check_window(amz_date, expires, now)
    terms = _terms(credential, signed_headers, _QUERY_CODE)
    _check_day(terms, amz_date, _QUERY_CODE)
    pairs = target.raw_query.split("&")
    unsigned_pairs = [pair for pair in pairs if not pair.startswith(_SIGNATURE_PAIR)]
    if len(unsigned_pairs) != len(pairs) - 1:
        malformed(_QUERY_CODE, "X-Amz-Signature must be spelled out, once.")
    payload = headers.get("x-amz-content-sha256") or query.get("X-Amz-Content-Sha256", PayloadMode.UNSIGNED.value)
    query_signed = "&".join(unsigned_pairs)
    return Claim(terms, signature, amz_date, payload, query_signed, True, _QUERY_CODE)


def _check_window(amz_date: str, expires_text: str, now: float) -> None:
    """Refuse a presigned URL that is not valid at ``now``."""
    sent = parse_basic(amz_date)
    if sent is None:
        malformed(_QUERY_CODE, "X-Amz-Date must be in the form yyyyMMddTHHmmssZ.")
    if not (expires_text.isascii() and expires_text.isdigit()):
        malformed(_QUERY_CODE, "X-Amz-Expires should be a number")
    # The length goes first: int() of a very long text is slow, and then an error of its own.
    too_long = len(expires_text) > _EXPIRES_DIGITS_MAX
    expires = PRESIGN_SECONDS_MAX + 1 if too_long else int(expires_text)
    if not 1 <= expires <= PRESIGN_SECONDS_MAX:
        malformed(_QUERY_CODE, f"X-Amz-Expires must be between 1 and {PRESIGN_SECONDS_MAX} seconds")
    if sent - now > CLOCK_SKEW_SECONDS_MAX:
        raise S3Error("AccessDenied", "Request is not valid yet")
    if now > sent + expires:
        fields: dict[str, str | int] = {
            "X-Amz-Expires": expires,
            "Expires": format_basic(sent + expires),
            "ServerTime": format_basic(int(now)),
        }
        raise S3Error("AccessDenied", "Request has expired", **fields)


def malformed(code: str, detail: str) -> NoReturn:
    """Raise the error for a malformed claim: its standing message, then what is wrong."""
    raise S3Error(code, f"{S3Error(code).message} {detail}")


def _unsupported_mechanism() -> S3Error:
    return S3Error(
        "InvalidRequest",
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
    )
