"""The five checksum algorithms of S3, and how the checksums of parts become the checksum of an object."""

from __future__ import annotations

import base64
import enum
import hashlib
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Final, Protocol

from awscrt import checksums as crt
from zlib_ng import zlib_ng

PREFIX: Final = "x-amz-checksum-"


class Algorithm(enum.Enum):
    """A checksum algorithm; the values are its names on the wire and in stored metadata."""

    CRC32 = "CRC32"
    CRC32C = "CRC32C"
    CRC64NVME = "CRC64NVME"
    SHA1 = "SHA1"
    SHA256 = "SHA256"

    @property
    def header(self) -> str:
        """The lower-case name of the header or trailer that carries a checksum of this kind."""
        return f"{PREFIX}{self.value.lower()}"

    @property
    def is_crc(self) -> bool:
        """Whether the checksum of a whole follows from those of its parts."""
        return self in _CRC_COMBINE

    @property
    def digest_bytes(self) -> int:
        """The length of a checksum of this kind in bytes."""
        return _DIGEST_BYTES[self]


class ChecksumType(enum.Enum):
    """How the checksum of a multipart object relates to its bytes."""

    FULL_OBJECT = "FULL_OBJECT"
    COMPOSITE = "COMPOSITE"


class Hasher(Protocol):
    """An incremental checksum."""

    def update(self, data: bytes, /) -> None:
        """Take the next bytes."""

    def digest(self) -> bytes:
        """Return the checksum so far, big-endian."""


class _Crc:
    """A CRC behind the interface of :mod:`hashlib`."""

    __slots__ = ("_bytes", "_function", "_value")

    def __init__(self, function: Callable[[bytes, int], int], digest_bytes: int) -> None:
        self._function = function
        self._bytes = digest_bytes
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._bytes, "big")


DEFAULT: Final = Algorithm.CRC64NVME
"""What is computed and kept where the client names no algorithm; of parts, the whole object's follows from it."""
BESIDE: Final = Algorithm.CRC64NVME
"""What each part gets beside the checksum that a COMPOSITE one is made of.

The answer about a part carries both, and a client checks the one that costs it least: CRC64NVME goes five times as
fast as CRC32, which is what the aws command asks for when it uploads.
"""

_CRC_COMBINE: Final[Mapping[Algorithm, Callable[[int, int, int], int]]] = {
    Algorithm.CRC32: crt.combine_crc32,
    Algorithm.CRC32C: crt.combine_crc32c,
    Algorithm.CRC64NVME: crt.combine_crc64nvme,
}
_NEW: Final[Mapping[Algorithm, Callable[[], Hasher]]] = {
    Algorithm.CRC32: lambda: _Crc(zlib_ng.crc32, 4),
    Algorithm.CRC32C: lambda: _Crc(crt.crc32c, 4),
    Algorithm.CRC64NVME: lambda: _Crc(crt.crc64nvme, 8),
    Algorithm.SHA1: lambda: hashlib.sha1(usedforsecurity=False),
    Algorithm.SHA256: hashlib.sha256,
}
_DIGEST_BYTES: Final = {algorithm: len(new().digest()) for algorithm, new in _NEW.items()}


def new(algorithm: Algorithm) -> Hasher:
    """Return a fresh incremental checksum."""
    return _NEW[algorithm]()


def format_checksum(digest: bytes, parts: int | None = None) -> str:
    """Return a checksum as S3 writes it; with ``parts``, as a composite one."""
    text = base64.b64encode(digest).decode()
    return text if parts is None else f"{text}-{parts}"


def element(algorithm: Algorithm, digest: bytes) -> str:
    """Return a checksum as an XML element, without a number of parts."""
    name = f"Checksum{algorithm.value}"
    return f"<{name}>{format_checksum(digest)}</{name}>"


def of_a_part(algorithm: Algorithm, kind: ChecksumType) -> Set[Algorithm]:
    """Return the checksums that a part gets because of those of its object, whose algorithm and type these are."""
    return {algorithm, BESIDE} if kind is ChecksumType.COMPOSITE else {algorithm}


def of_parts(algorithm: Algorithm, kind: ChecksumType, parts: Iterable[tuple[bytes, int]]) -> bytes:
    """Return the checksum of a multipart object.

    Args:
        algorithm: the algorithm of all parts; a CRC if ``kind`` is FULL_OBJECT.
        kind: COMPOSITE hashes the parts' checksums, FULL_OBJECT gives the CRC of the whole content.
        parts: (checksum, length in bytes) of each part, in order; at least one.
    """
    if kind is ChecksumType.COMPOSITE:
        hasher = new(algorithm)
        for digest, _ in parts:
            hasher.update(digest)
        return hasher.digest()
    combine = _CRC_COMBINE[algorithm]
    value = 0  # the CRC of nothing
    for digest, size_bytes in parts:
        value = combine(value, int.from_bytes(digest, "big"), size_bytes)
    return value.to_bytes(algorithm.digest_bytes, "big")
