"""What a proven signature says: the value that the rest of the S3 front asks for."""

from __future__ import annotations

import enum
from hashlib import sha256
from typing import Final, NamedTuple

from gateway.s3.errors import S3Error

_SHA256_HEX_DIGITS: Final = 64
_HMAC_BLOCK_BYTES: Final = 64
_INNER_PAD: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD: Final = bytes(byte ^ 0x5C for byte in range(256))


class PayloadMode(enum.Enum):
    """What ``x-amz-content-sha256`` promises about the body; the values are its wire spellings."""

    SIGNED = "SHA256"
    UNSIGNED = "UNSIGNED-PAYLOAD"
    CHUNKED_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    CHUNKED_SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    CHUNKED_SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"

    @property
    def is_chunked(self) -> bool:
        """Whether the body is framed as aws-chunked, which only PutObject and UploadPart allow."""
        return self is not PayloadMode.SIGNED and self is not PayloadMode.UNSIGNED


_MODES: Final = {mode.value: mode for mode in PayloadMode if mode is not PayloadMode.SIGNED}


def parse_payload(text: str) -> tuple[PayloadMode, bytes | None]:
    """Return the mode that an ``x-amz-content-sha256`` value names, with the digest it declares.

    Raises:
        S3Error: ``InvalidArgument``; hex digits have to be lower case, as everywhere in SigV4.
    """
    if len(text) == _SHA256_HEX_DIGITS:
        try:
            digest = bytes.fromhex(text)
        except ValueError:
            digest = b""
        if digest.hex() == text:  # fromhex also takes capitals and blanks
            return PayloadMode.SIGNED, digest
    mode = _MODES.get(text)
    if mode is not None:
        return mode, None
    raise S3Error(
        "InvalidArgument",
        f"x-amz-content-sha256 must be {', '.join(_MODES)} or a valid sha256 value.",
        ArgumentName="x-amz-content-sha256",
        ArgumentValue=text,
    )


class SigningKey:
    """The key of one secret, day and region, ready to sign.

    HMAC-SHA256 (RFC 2104) from two SHA-256 states that have absorbed the key already: a third of
    the time of a one-shot HMAC, which matters because every request is signed once. It shows
    nothing of itself when printed.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        """Absorb a key of at most 64 bytes; derived keys have 32."""
        padded = key.ljust(_HMAC_BLOCK_BYTES, b"\0")
        self._inner = sha256(padded.translate(_INNER_PAD))
        self._outer = sha256(padded.translate(_OUTER_PAD))

    def sign(self, text: str) -> str:
        """Return the signature of ``text``: 64 lower-case hex digits."""
        inner = self._inner.copy()
        inner.update(text.encode())
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()


class Verified(NamedTuple):
    """A request whose signature holds. Only the checks of signatures make these.

    Attributes:
        access_key: the id of the key that signed.
        payload: how the body is protected.
        payload_sha256: the body's declared SHA-256 (32 bytes), exactly when ``payload`` is SIGNED.
        presigned: whether the signature came in the query.
        amz_date: ``20261121T113000Z``, as signed.
        scope: ``20261121/us-east-1/s3/aws4_request``.
        seed_signature: the request's signature (64 hex digits), which a chunk signature continues.
        signing_key: signs chunks and trailers of the body.
        signed_headers: lower-case names, sorted.
    """

    access_key: str
    payload: PayloadMode
    payload_sha256: bytes | None
    presigned: bool
    amz_date: str
    scope: str
    seed_signature: str
    signing_key: SigningKey
    signed_headers: tuple[str, ...]
