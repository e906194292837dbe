"""The authenticator: the one place where a claimed signature becomes a verified request."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers
from gateway.s3.sigv4.canonical import (
    canonical_forms,
    header_block,
    signing_key,
    string_to_sign,
)
from gateway.s3.sigv4.claim import Terms, read_claim
from gateway.s3.sigv4.verified import Verified, parse_payload
from gateway.s3.target import Target

# An unknown access key id costs the same work as a known one with a bad signature.
_DECOY_SECRET: Final = "there is no such access key"
_MUST_BE_SIGNED: Final = frozenset({"host", "content-md5"})
_AMZ: Final = "x-amz-"

Lookup = Callable[[str], str | None]
"""Access key id -> secret access key, or None if there is no such key."""


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Checks signatures against one region and one source of secrets.

    Attributes:
        lookup: finds the secret of an access key id; called once for each request.
        region: the region this gateway says it is.
    """

    lookup: Lookup
    region: str

    def verify(self, method: str, target: Target, headers: Headers, now: float) -> Verified:
        """Prove who signed a request.

        Args:
            method: the request's method.
            target: the request target; its raw path and raw query are what was signed.
            headers: the folded header list, with Host in it.
            now: Unix time in seconds.

        Raises:
            S3Error: for each defect the code Amazon S3 uses; ``AccessDenied`` for no signature.
        """
        claim = read_claim(target, headers, now)
        terms = claim.terms
        if terms.region != self.region:
            raise S3Error(
                claim.error_code,
                f"{S3Error(claim.error_code).message} The region '{terms.region}' is wrong; expecting '{self.region}'",
                Region=self.region,
            ).with_headers({"x-amz-bucket-region": self.region})  # an answer to HEAD has nothing but headers
        payload, payload_sha256 = parse_payload(claim.payload)
        _refuse_unsigned(terms, headers)
        tail = f"{header_block(terms.names, headers)}\n\n{terms.signed_headers}\n{claim.payload}"
        secret = self.lookup(terms.access_key)
        key = signing_key(_DECOY_SECRET if secret is None else secret, terms.date, self.region)
        given = claim.signature.encode()
        for path, query in canonical_forms(target.raw_path, claim.query):
            canonical_request = f"{method}\n{path}\n{query}\n{tail}"
            to_sign = string_to_sign(claim.amz_date, terms.scope, canonical_request)
            signature = key.sign(to_sign)
            if hmac.compare_digest(signature.encode(), given) and secret is not None:
                return Verified(
                    terms.access_key,
                    payload,
                    payload_sha256,
                    claim.presigned,
                    claim.amz_date,
                    terms.scope,
                    signature,
                    key,
                    terms.names,
                )
        if secret is None:
            raise S3Error("InvalidAccessKeyId", AWSAccessKeyId=terms.access_key)
        # What we signed is no secret, and comparing it is how a client's author finds the mistake.
        raise S3Error(
            "SignatureDoesNotMatch",
            AWSAccessKeyId=terms.access_key,
            StringToSign=to_sign,
            SignatureProvided=claim.signature,
            CanonicalRequest=canonical_request,
        )


def _refuse_unsigned(terms: Terms, headers: Headers) -> None:
    """Make sure that no header that matters was left out of the signature.

    An ``x-amz-*`` header that the signer did not see could turn an upload into a copy, or change
    who may read it (CVE-2026-54330).
    """
    signed = terms.name_set
    for name in headers:
        if name not in signed and (name[:6] == _AMZ or name in _MUST_BE_SIGNED):
            break
    else:
        if "host" in signed:
            return
    unsigned = {"host"} - signed
    unsigned.update(name for name in headers.keys() - signed if name[:6] == _AMZ or name in _MUST_BE_SIGNED)
    raise S3Error(
        "AccessDenied",
        "There were headers present in the request which were not signed",
        HeadersNotSigned=", ".join(sorted(unsigned)),
    )
