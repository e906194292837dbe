"""AWS Signature Version 2 in presigned URLs, and nowhere else.

Version 1 of the aws CLI, and boto3 unless told otherwise, still presign with it in us-east-1.  Everything such a
request says is under the signature or refused: all ``x-amz-*`` headers are signed, those that boto3 writes into the
query too, and the query parameters that are not are refused unless they are known to change nothing, or to choose no
more than what the URL shows without them.

Specification: "Signing and authenticating REST requests (AWS signature version 2)", Amazon S3 User Guide.
"""

from __future__ import annotations

import base64
import hmac
import re

from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers, is_hoisted, with_hoisted
from gateway.s3.httpdate import format_basic
from gateway.s3.sigv4 import Lookup, PayloadMode, Verified
from gateway.s3.sigv4.verified import SigningKey
from gateway.s3.target import Target

_PARAMETERS = frozenset({"AWSAccessKeyId", "Signature", "Expires"})
_SIGNED_PARAMETERS = frozenset(
    {
        "acl", "cors", "delete", "lifecycle", "location", "logging", "notification", "partNumber", "policy",
        "requestPayment", "restore", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning",
        "versions", "website", "response-cache-control", "response-content-disposition",
        "response-content-encoding", "response-content-language", "response-content-type", "response-expires",
    }
)  # fmt: skip
# botocore repeats two signed headers in the query, where nobody obeys them.
_HARMLESS_PARAMETERS = frozenset({"x-id", "content-md5", "content-type"})
_OF_LISTINGS = frozenset(
    {
        "continuation-token", "delimiter", "encoding-type", "fetch-owner", "key-marker", "list-type", "marker",
        "max-keys", "max-parts", "max-uploads", "part-number-marker", "prefix", "start-after", "upload-id-marker",
        "version-id-marker",
    }
)  # fmt: skip
_TWO_IN_ONE = re.compile(f"&(?:{'|'.join(map(re.escape, sorted(_SIGNED_PARAMETERS)))})(?:[=&]|$)")
"""A value that the signature cannot tell from two parameters, because values are signed as they are."""
_EXPIRES_DIGITS_MAX = 12
_DECOY_SECRET = "there is no such access key"


def is_presigned(target: Target, headers: Headers) -> bool:
    """Whether the request claims such a signature and no other."""
    return "Signature" in target.query and "AWSAccessKeyId" in target.query and "authorization" not in headers


def verify(method: str, target: Target, headers: Headers, now: float, lookup: Lookup) -> Verified:
    """Prove who presigned a URL.

    Args:
        method: the request's method.
        target: the request target.
        headers: the folded headers.
        now: Unix time in seconds.
        lookup: finds the secret of an access key id.

    Raises:
        S3Error: AccessDenied for an expired or incomplete URL or unsigned parameters, InvalidAccessKeyId,
            SignatureDoesNotMatch; InvalidArgument for a header that the query has another value for.
    """
    query = target.query
    unknown = {name for name in query if not is_hoisted(name)}
    unknown -= _PARAMETERS | _SIGNED_PARAMETERS | _HARMLESS_PARAMETERS | _OF_LISTINGS
    # A name sent percent-encoded (%61cl) would be obeyed without having been seen by the signature.
    unknown |= query.keys() - {pair.partition("=")[0] for pair in target.raw_query.split("&")}
    unknown |= {name for name in query.keys() & _SIGNED_PARAMETERS if _TWO_IN_ONE.search(query[name])}
    if unknown:
        raise S3Error("AccessDenied", f"The signature does not cover the parameter {min(unknown)}.")
    expires = query.get("Expires", "")
    if not (expires.isascii() and expires.isdigit() and len(expires) <= _EXPIRES_DIGITS_MAX):
        raise S3Error("AccessDenied", f"Invalid date (should be seconds since epoch): {expires}")
    if now > int(expires):
        raise S3Error("AccessDenied", "Request has expired", Expires=expires, ServerTime=format_basic(int(now)))
    access_key = query["AWSAccessKeyId"]
    secret = lookup(access_key)
    signed = with_hoisted(headers, query)
    to_sign = [_string_to_sign(method, target, path, signed, expires) for path in _paths(target)]
    signatures = [_sign(secret or _DECOY_SECRET, each) for each in to_sign]
    matches = [hmac.compare_digest(signature, query["Signature"].encode()) for signature in signatures]
    if secret is None:
        raise S3Error("InvalidAccessKeyId", AWSAccessKeyId=access_key)
    if not any(matches):
        raise S3Error("SignatureDoesNotMatch", AWSAccessKeyId=access_key, StringToSign=to_sign[0])
    return Verified(
        access_key=access_key,
        payload=PayloadMode.UNSIGNED,
        payload_sha256=None,
        presigned=True,
        amz_date="",
        scope="",
        seed_signature="",
        signing_key=SigningKey(b""),
        signed_headers=(),
    )


def _sign(secret: str, to_sign: str) -> bytes:
    return base64.b64encode(hmac.digest(secret.encode(), to_sign.encode(), "sha1"))


def _paths(target: Target) -> list[str]:
    """What may have been signed: behind a bucket alone botocore signs a slash that it does not send."""
    path = f"/{target.bucket}{target.raw_path}" if target.virtual_host else target.raw_path
    return [path, f"{path}/"] if path == f"/{target.bucket}" else [path]


def _string_to_sign(method: str, target: Target, path: str, headers: Headers, expires: str) -> str:
    amz = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-amz-"))
    pairs = sorted(pair.partition("=") for pair in target.raw_query.split("&"))
    signed = "&".join(
        f"{name}={target.query[name]}" if equals else name for name, equals, _ in pairs if name in _SIGNED_PARAMETERS
    )
    resource = f"{path}?{signed}" if signed else path
    return "\n".join((method, headers.get("content-md5", ""), headers.get("content-type", ""), expires, amz + resource))
