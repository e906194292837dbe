"""What every test may use: folders of test vectors, and a signer of S3 requests that is not ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
THIRD_PARTY = REPOSITORY.parent / "shared" / "vectors" / "third-party"
"""Vectors that others published, kept beside the checkout and not in it."""


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The project's own vectors."""
    return REPOSITORY / "tests" / "vectors"


@pytest.fixture(scope="session")
def third_party() -> Callable[[str], Path]:
    """A function from a path among others' vectors to the file; skips the test where they are not."""

    def find(path: str) -> Path:
        if not THIRD_PARTY.is_dir():
            pytest.skip("the third-party vectors are not beside this checkout")
        return THIRD_PARTY / path

    return find


class SignedRequest(NamedTuple):
    """A request as it would stand on the wire."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]

    @property
    def host(self) -> str:
        return dict(self.headers)[b"Host"].decode()


@pytest.fixture(scope="session")
def sign_request() -> Callable[..., SignedRequest]:
    """Botocore's S3 signers, as one function: the oracle for ours.

    `sign_request(method, target, headers, body, at=..., presign_seconds=None, ...)` signs a raw
    request target, in the headers or, with `presign_seconds`, in the query.
    """
    from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    def sign(
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        at: float = 1_790_000_000,
        presign_seconds: int | None = None,
        host: str = "127.0.0.1:9000",
        access_key: str = "AKIDEXAMPLE",
        secret: str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        region: str = "us-east-1",
    ) -> SignedRequest:
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

    return sign
