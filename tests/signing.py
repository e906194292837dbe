"""Botocore's S3 signers at any time of day, also as one function: an oracle for ours that shares no code with it.

Signers are told the time one by one: tests sign in many threads, and botocore's clock is one for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from botocore.auth import SIGV4_TIMESTAMP, S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ACCESS_KEY = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW = 1_790_000_000.0


class _AtTime:
    """A signer's time, in seconds since 1970."""

    def __init__(self, *args: Any, at: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._at = datetime.fromtimestamp(at, UTC)

    def _modify_request_before_signing(self, request: AWSRequest) -> None:
        request.context["timestamp"] = self._at.strftime(SIGV4_TIMESTAMP)
        super()._modify_request_before_signing(request)  # type: ignore[misc]


class HeaderSigner(_AtTime, S3SigV4Auth):
    """Signs in the headers; ``declared`` replaces the digest of the body."""

    def __init__(self, *args: Any, declared: str | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._declared = declared

    def payload(self, request: AWSRequest) -> str:
        return self._declared or super().payload(request)


class QuerySigner(_AtTime, S3SigV4QueryAuth):
    """Signs in the query."""


class SignedRequest(NamedTuple):
    """A request as it would stand on the wire."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]

    @property
    def host(self) -> str:
        return dict(self.headers)[b"Host"].decode()


def sign_request(
    method: str,
    target: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    at: float = NOW,
    presign_seconds: int | None = None,
    host: str = "127.0.0.1:9000",
    access_key: str = ACCESS_KEY,
    secret: str = SECRET,
    region: str = "us-east-1",
) -> SignedRequest:
    """Sign a raw request target, in the headers or, with ``presign_seconds``, in the query."""
    request = AWSRequest(method, f"http://{host}{target}", headers=dict(headers or {}), data=body)
    credentials = Credentials(access_key, secret)
    if presign_seconds is None:
        HeaderSigner(credentials, "s3", region, at=at).add_auth(request)
    else:
        QuerySigner(credentials, "s3", region, at=at, expires=presign_seconds).add_auth(request)
    wire = [(b"Host", host.encode())]
    wire += [(name.encode(), value.encode()) for name, value in request.headers.items()]
    return SignedRequest(method, request.url.removeprefix(f"http://{host}"), wire)
