"""What a client claims its bytes hash to, in all the ways S3 lets it say so, and the proof.

A checksum in a header or in a trailer, for an object or for a part; ``Content-MD5`` besides.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Final, NamedTuple

from gateway.s3.checksums import PREFIX, Algorithm, ChecksumType
from gateway.s3.chunked import trailer_names
from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers
from gateway.s3.sigv4 import PayloadMode

_PART_DIGITS_MAX: Final = 5
_MD5_BYTES: Final = 16
_BY_HEADER: Final = {algorithm.header: algorithm for algorithm in Algorithm}
# These share the prefix but carry no checksum.
_NOT_VALUES: Final = frozenset({f"{PREFIX}{word}" for word in ("algorithm", "mode", "type")})


class Declared(NamedTuple):
    """A checksum that a client has promised.

    Attributes:
        algorithm: its kind.
        digest: its value, or None while it is still to come in the trailer.
        parts: for the composite checksum of a multipart object, the number of parts behind it.
    """

    algorithm: Algorithm
    digest: bytes | None
    parts: int | None = None

    def settle(self, trailers: Mapping[str, str]) -> Declared:
        """Return this with the value that arrived in the trailers, if that is where it comes.

        Raises:
            S3Error: ``MalformedTrailerError`` when it did not, ``InvalidRequest`` for a bad value.
        """
        if self.digest is not None:
            return self
        text = trailers.get(self.algorithm.header)
        if text is None:
            raise S3Error("MalformedTrailerError")
        return parse_checksum(self.algorithm, text)

    def check(self, actual: bytes, parts: int | None = None) -> None:
        """Compare with the checksum of what was received.

        Args:
            actual: that checksum.
            parts: the number of parts behind it; a client may leave it out.

        Raises:
            S3Error: ``BadDigest``.
        """
        if self.digest != actual or self.parts not in (None, parts):
            raise S3Error(
                "BadDigest",
                f"The {self.algorithm.value} you specified did not match the calculated checksum.",
            )


def declared(headers: Headers, payload: PayloadMode, *, composite: bool = False) -> Declared | None:
    """Return the one checksum that a request promises for its content, or None.

    Args:
        headers: the request's headers.
        payload: its payload mode, which decides whether a trailer can come at all.
        composite: whether the value may be that of a multipart object (CompleteMultipartUpload).

    Raises:
        S3Error: ``InvalidRequest`` for an unknown algorithm, several checksums, a value that is
            none, or an ``x-amz-sdk-checksum-algorithm`` that names another or has none beside it;
            ``MalformedTrailerError`` for an announced trailer that cannot come or is no checksum.
    """
    found = [name for name in headers if name.startswith(PREFIX) and name not in _NOT_VALUES]
    trailers = trailer_names(headers)
    if len(found) + len(trailers) > 1:
        raise S3Error(
            "InvalidRequest",
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        )
    claim: Declared | None = None
    if found:
        name = found[0]
        if name not in _BY_HEADER:
            raise S3Error(
                "InvalidRequest",
                "The algorithm type you specified in x-amz-checksum- header is invalid.",
            )
        claim = parse_checksum(_BY_HEADER[name], headers[name], composite=composite)
    for name in trailers:
        if name not in _BY_HEADER:
            raise S3Error("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
        if payload not in (
            PayloadMode.CHUNKED_UNSIGNED_TRAILER,
            PayloadMode.CHUNKED_SIGNED_TRAILER,
        ):
            raise S3Error("MalformedTrailerError")
        claim = Declared(_BY_HEADER[name], None)
    _check_sdk_algorithm(headers.get("x-amz-sdk-checksum-algorithm"), claim)
    return claim


def requested(headers: Headers) -> tuple[Algorithm, ChecksumType] | None:
    """Return the checksum that CreateMultipartUpload asks for, or None.

    Without ``x-amz-checksum-type`` it is COMPOSITE, except for CRC64NVME, which has no such form.

    Raises:
        S3Error: ``InvalidRequest`` for an unknown algorithm or type, a type without an algorithm,
            and for the pairs that do not exist: a full-object SHA, a composite CRC64NVME.
    """
    name = headers.get("x-amz-checksum-algorithm")
    type_name = headers.get("x-amz-checksum-type")
    if name is None:
        if type_name is not None:
            raise S3Error(
                "InvalidRequest",
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )
        return None
    algorithm = parse_algorithm(name)
    only_full = algorithm is Algorithm.CRC64NVME
    if type_name is None:
        return algorithm, ChecksumType.FULL_OBJECT if only_full else ChecksumType.COMPOSITE
    kind = parse_type(type_name)
    possible = algorithm.is_crc if kind is ChecksumType.FULL_OBJECT else not only_full
    if not possible:
        raise S3Error(
            "InvalidRequest",
            f"The {kind.value} checksum type cannot be used with the {algorithm.value.lower()} checksum algorithm.",
        )
    return algorithm, kind


def parse_algorithm(name: str) -> Algorithm:
    """Return the algorithm of that name, in any case of letters.

    Raises:
        S3Error: ``InvalidRequest``.
    """
    try:
        return Algorithm(name.upper())
    except ValueError:
        raise S3Error(
            "InvalidRequest",
            "Checksum algorithm provided is unsupported. Please try again with any of the valid"
            f" types: [{', '.join(algorithm.value for algorithm in Algorithm)}]",
        ) from None


def parse_type(name: str) -> ChecksumType:
    """Return the checksum type of that name, in any case of letters.

    Raises:
        S3Error: ``InvalidRequest``.
    """
    try:
        return ChecksumType(name.upper())
    except ValueError:
        raise S3Error("InvalidRequest", "Value for x-amz-checksum-type header is invalid.") from None


def parse_checksum(algorithm: Algorithm, text: str, *, composite: bool = False) -> Declared:
    """Return the checksum written as base64, with ``-<parts>`` behind it where ``composite``
    allows.

    Raises:
        S3Error: ``InvalidRequest`` when it is not, or has another length than the algorithm's.
    """
    encoded, dash, count = text.partition("-")
    parts: int | None = None
    if composite and count.isascii() and count.isdigit() and len(count) <= _PART_DIGITS_MAX:
        parts = int(count)
    digest = _decode_base64(encoded)
    if (dash and not parts) or digest is None or len(digest) != algorithm.digest_bytes:
        raise _invalid_value(algorithm)
    return Declared(algorithm, digest, parts)


def check_part(claim: Declared | None, algorithm: Algorithm, kind: ChecksumType) -> None:
    """Compare the kind of checksum that comes with a part with the one its upload asked for.

    Raises:
        S3Error: ``InvalidRequest`` for another one, and for none where the object's checksum is
            made of those that the client knows (COMPOSITE).
    """
    if claim is not None or kind is ChecksumType.COMPOSITE:
        _check_kind(claim, algorithm)


def check_whole(claim: Declared, algorithm: Algorithm, kind: ChecksumType, actual: bytes, parts: int) -> None:
    """Compare what a client says of a multipart object with the object's checksum.

    Args:
        claim: what it says; the number of parts may be left out.
        algorithm: the kind of checksum that the object has.
        kind: its type.
        actual: its value.
        parts: the number of parts.

    Raises:
        S3Error: ``InvalidRequest`` for another kind of checksum, ``BadDigest``.
    """
    _check_kind(claim, algorithm)
    if claim.parts is not None and kind is ChecksumType.FULL_OBJECT:
        raise _invalid_value(algorithm)
    claim.check(actual, parts)


def content_md5(headers: Headers) -> bytes | None:
    """Return the digest (16 bytes) in ``Content-MD5``, or None without that header.

    Raises:
        S3Error: ``InvalidDigest``.
    """
    text = headers.get("content-md5")
    if text is None:
        return None
    digest = _decode_base64(text)
    if digest is None or len(digest) != _MD5_BYTES:
        raise S3Error("InvalidDigest")
    return digest


def check_md5(declared_md5: bytes | None, actual: bytes) -> None:
    """Compare a ``Content-MD5`` with the MD5 of what was received.

    Raises:
        S3Error: ``BadDigest``.
    """
    if declared_md5 is not None and declared_md5 != actual:
        raise S3Error("BadDigest")


def _check_sdk_algorithm(name: str | None, claim: Declared | None) -> None:
    if name is None:
        return
    algorithm = parse_algorithm(name)
    if claim is None:
        raise S3Error(
            "InvalidRequest",
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or"
            " x-amz-trailer headers were found.",
        )
    if claim.algorithm is not algorithm:
        raise S3Error("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")


def _check_kind(claim: Declared | None, algorithm: Algorithm) -> None:
    if claim is None or claim.algorithm is not algorithm:
        actual = claim.algorithm.value.lower() if claim else "null"
        raise S3Error(
            "InvalidRequest",
            "Checksum Type mismatch occurred, expected checksum Type:"
            f" {algorithm.value.lower()}, actual checksum Type: {actual}",
        )


def _invalid_value(algorithm: Algorithm) -> S3Error:
    return S3Error("InvalidRequest", f"Value for {algorithm.header} header is invalid.")


def _decode_base64(text: str) -> bytes | None:
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    # One digest has one spelling: no stray bits behind the padding.
    return decoded if base64.b64encode(decoded).decode() == text else None
