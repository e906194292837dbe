"""Botocore's S3 signers as one function: an oracle for ours that shares no code with it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from unittest import mock

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ACCESS_KEY = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW = 1_790_000_000.0


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
        signer = S3SigV4Auth(credentials, "s3", region)
    else:
        signer = S3SigV4QueryAuth(credentials, "s3", region, expires=presign_seconds)
    with mock.patch("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(at, UTC)):
        signer.add_auth(request)
    wire = [(b"Host", host.encode())]
    wire += [(name.encode(), value.encode()) for name, value in request.headers.items()]
    return SignedRequest(method, request.url.removeprefix(f"http://{host}"), wire)
