"""One request on its way through the front, and what every operation shares: the store, the settings, the clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from aiohttp import web

from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers
from gateway.s3.sigv4 import Verified
from gateway.s3.target import Target
from gateway.store.store import Store
from mst.cid import CID
from registry.completions import Completion
from registry.credentials import Credential
from registry.heads import Bucket


@dataclass(frozen=True, slots=True)
class Front:
    """What all requests share.

    Attributes:
        store: the store.
        region: the region this gateway is.
        tree_bits: log2 of the fan-out of new buckets.
        tree_salted: whether new buckets get a random salt.
        body_idle_seconds: how long an upload may send nothing.
        clock_ms: the time in milliseconds since 1970.
        credential: finds the credential of an access key.
    """

    store: Store
    region: str
    tree_bits: int
    tree_salted: bool
    body_idle_seconds: float
    clock_ms: Callable[[], int]
    credential: Callable[[str], Credential | None]


@dataclass
class Call:
    """One authenticated request.

    Attributes:
        front: what all requests share.
        request: aiohttp's view; only its body and its connection are used.
        request_id: what the answer carries as x-amz-request-id.
        target: bucket, key and query.
        headers: the folded headers.
        verified: the proof of who sent it.
        common_headers: what every answer carries.
    """

    front: Front
    request: web.BaseRequest
    request_id: str
    target: Target
    headers: Headers
    verified: Verified
    common_headers: dict[str, str]

    @property
    def bucket_name(self) -> str:
        """The bucket the request names; the routes guarantee that there is one."""
        assert self.target.bucket is not None
        return self.target.bucket

    @property
    def key_text(self) -> str:
        """The key the request names; the routes guarantee that there is one."""
        assert self.target.key is not None
        return self.target.key

    @cached_property
    def key(self) -> bytes:
        """`key_text` as the tree knows it."""
        return self.key_text.encode()

    @property
    def bucket(self) -> Bucket:
        """The bucket with its head of this moment: read it once, and the whole answer is from one root."""
        return self.front.store.bucket(self.bucket_name)

    @cached_property
    def owner(self) -> Credential:
        """Who sent the request."""
        credential = self.front.credential(self.verified.access_key)
        if credential is None:
            raise S3Error("InvalidAccessKeyId", AWSAccessKeyId=self.verified.access_key)
        return credential

    def answer(
        self, status: int = 200, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> web.Response:
        """A whole answer."""
        merged = self.common_headers | headers if headers else self.common_headers
        return web.Response(status=status, body=body, headers=merged)

    def xml(self, document: str, headers: dict[str, str] | None = None) -> web.Response:
        """An XML answer."""
        return self.answer(200, document.encode(), {"Content-Type": "application/xml"} | (headers or {}))


def state_headers(state: Bucket | Completion | None) -> dict[str, str]:
    """The headers that tell which state of the bucket a write led to."""
    assert state is not None  # every mutation of a bucket answers with one
    headers = {"x-ms3t-root": _text(state.tree), "x-ms3t-commit": _text(state.commit)}
    if isinstance(state, Bucket) and state.shipped is not None:
        headers["x-ms3t-shipped"] = _text(state.shipped)
    return headers


# All members of a batch are answered with the same ones.
_text = lru_cache(maxsize=64)(CID.__str__)
