"""The one kind of CID used inside: CIDv1 of sha2-256, held as its 36 bytes to be cheap everywhere.

Binary form ``01 <codec> 12 20 <digest>``, text form ``b`` and lower-case base32 without padding.  Documents that others
made may link to more; such a CID is a `Link`.
Spec: https://github.com/multiformats/cid
"""

from __future__ import annotations

from base64 import b32decode, b32encode
from hashlib import sha256
from typing import Self

from mst import varint
from mst.errors import FormatError
from mst.limits import CID_BYTES

RAW = 0x55
DAG_PB = 0x70
DAG_CBOR = 0x71
CAR = 0x0202
"""A whole CAR file; nothing inside is named so, but blobs of the storage network are."""
SHA2_256 = 0x12
IDENTITY = 0x00
"""A "hash" that is the data itself."""

_DIGEST_BYTES = 32
_MULTIHASH_PREFIX = b"\x12\x20"
_PREFIX_OF = {codec: bytes((1, codec, 0x12, 0x20)) for codec in (RAW, DAG_PB, DAG_CBOR)}
_PREFIXES = frozenset(_PREFIX_OF.values())
_TEXT_CHARS = 59

# Text is written ten bits at a time from a table: twice as fast as base64.b32encode, and every
# response names CIDs.
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_TWO_CHARS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)
_PAD_BITS = 2
_SHIFTS = tuple(range(CID_BYTES * 8 + _PAD_BITS - 10, -1, -10))


class Link(bytes):
    """A CIDv1 of any codec and any hash, in its binary form; equality, order and hash are those of its bytes.

    The constructor trusts its argument; use `read` for anything that comes from outside.
    """

    __slots__ = ()

    @staticmethod
    def read(data: bytes) -> Link:
        """The link whose binary form is exactly ``data``: a `CID` where it is one.

        Raises:
            FormatError: not a CIDv1.
        """
        if len(data) == CID_BYTES and data[:4] in _PREFIXES:
            return CID(data)
        version, pos = varint.decode(data)
        if version != 1:
            raise FormatError("not a CIDv1")
        _, pos = varint.decode(data, pos)
        _, pos = varint.decode(data, pos)
        length, pos = varint.decode(data, pos)
        if len(data) - pos != length:
            raise FormatError("the digest of a CID has another length than it says")
        return Link(data)

    @staticmethod
    def of_multihash(codec: int, multihash: bytes) -> Link:
        """The link to data of ``codec`` (any multicodec) with that multihash.

        Raises:
            FormatError: no multihash.
        """
        return Link.read(varint.encode(1) + varint.encode(codec) + multihash)

    @property
    def codec(self) -> int:
        """The multicodec of the data's encoding."""
        return varint.decode(self, 1)[0]

    @property
    def multihash(self) -> bytes:
        """Hash code, length and digest: what names the data whatever its codec."""
        return bytes(self[varint.decode(self, 1)[1] :])

    def __str__(self) -> str:
        return "b" + b32encode(self).decode().rstrip("=").lower()

    def __repr__(self) -> str:
        return f"{type(self).__name__}('{self}')"


class CID(Link):
    """A content identifier; equality, order and hash are those of its bytes.

    The constructor trusts its argument, because most CIDs are made from bytes that were checked
    before; use `parse` or `from_text` for anything that comes from outside.
    """

    __slots__ = ()

    @classmethod
    def of(cls, codec: int, data: bytes) -> Self:
        """The CID of a block.

        Args:
            codec: one of ``RAW``, ``DAG_PB``, ``DAG_CBOR``.
            data: the block's bytes.
        """
        return cls(_PREFIX_OF[codec] + sha256(data).digest())

    @classmethod
    def from_digest(cls, codec: int, digest: bytes) -> Self:
        """The CID of a block whose sha2-256 digest is known.

        Raises:
            FormatError: the codec is unknown or the digest is not 32 bytes.
        """
        prefix = _PREFIX_OF.get(codec)
        if prefix is None or len(digest) != _DIGEST_BYTES:
            raise FormatError(f"no CID for codec {codec:#x} and a digest of {len(digest)} bytes")
        return cls(prefix + digest)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The CID whose binary form is exactly ``data``.

        Raises:
            FormatError: anything but a CIDv1 of a raw, dag-pb or dag-cbor block under sha2-256.
        """
        if len(data) != CID_BYTES or data[:4] not in _PREFIXES:
            raise FormatError("not a CIDv1 of a raw, dag-pb or dag-cbor block under sha2-256")
        return cls(data)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The CID whose text form is exactly ``text`` (``bafy...``, lower case, no padding).

        Raises:
            FormatError: anything else, other multibases and CIDv0 included.
        """
        if len(text) != _TEXT_CHARS or text[0] != "b":
            raise FormatError("not a CID in base32: expected 59 characters, the first of them b")
        try:
            cid = cls.parse(b32decode(text[1:].upper() + "======"))
        except ValueError:
            raise FormatError("not a CID in base32: a character is not of its alphabet") from None
        if str(cid) != text:
            raise FormatError("not a CID in canonical base32")
        return cid

    @property
    def codec(self) -> int:
        """The multicodec of the block's encoding."""
        return self[1]

    @property
    def digest(self) -> bytes:
        """The sha2-256 digest of the block, 32 bytes."""
        return self[4:]

    def __str__(self) -> str:
        bits = int.from_bytes(self, "big") << _PAD_BITS
        return "b" + "".join([_TWO_CHARS[bits >> shift & 0x3FF] for shift in _SHIFTS])


def multihash(digest: bytes) -> bytes:
    """The multihash of a sha2-256 digest of 32 bytes."""
    return _MULTIHASH_PREFIX + digest
