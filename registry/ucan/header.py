"""X-Agent-Message: an agent message in a header of a GET and of its answer, compressed.

Spec: https://github.com/storacha/specs and the README of go-ucanto's ``transport/headercar``.
"""

from __future__ import annotations

import zlib
from base64 import b64encode

from registry.ucan.archive import unpadded_base64
from registry.ucan.errors import HeaderTooLong, Malformed
from registry.ucan.limits import HEADER_CHARS_MAX, HEADER_MESSAGE_BYTES_MAX

NAME = "X-Agent-Message"

_PREFIX = "m"
_GZIP = 16 + zlib.MAX_WBITS


def encode(message: bytes) -> str:
    """The header of a message; equal messages have equal headers.

    Raises:
        HeaderTooLong: it would have more than ``HEADER_CHARS_MAX`` characters.
    """
    packer = zlib.compressobj(zlib.Z_BEST_COMPRESSION, zlib.DEFLATED, _GZIP)
    text = _PREFIX + b64encode(packer.compress(message) + packer.flush()).decode().rstrip("=")
    if len(text) > HEADER_CHARS_MAX:
        raise HeaderTooLong(f"{len(text)} characters of {NAME} exceed {HEADER_CHARS_MAX}")
    return text


def decode(text: str) -> bytes:
    """The message in a header, at most ``HEADER_MESSAGE_BYTES_MAX`` bytes of it.

    Raises:
        HeaderTooLong: the header has more than ``HEADER_CHARS_MAX`` characters.
        Malformed: it is no multibase base64 of one gzip member, or unpacks to more than that.
    """
    if len(text) > HEADER_CHARS_MAX:
        raise HeaderTooLong(f"{len(text)} characters of {NAME} exceed {HEADER_CHARS_MAX}")
    if not text.startswith(_PREFIX):
        raise Malformed(f"{NAME} is not multibase base64")
    packed = unpadded_base64(text[len(_PREFIX) :], NAME)
    unpacker = zlib.decompressobj(_GZIP)
    try:
        message = unpacker.decompress(packed, HEADER_MESSAGE_BYTES_MAX + 1)
    except zlib.error:
        raise Malformed(f"{NAME} is not compressed with gzip") from None
    if len(message) > HEADER_MESSAGE_BYTES_MAX:
        raise Malformed(f"{NAME} unpacks to more than {HEADER_MESSAGE_BYTES_MAX} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise Malformed(f"{NAME} is not exactly one gzip member")
    return message
