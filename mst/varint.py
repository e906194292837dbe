"""Unsigned varints as multiformats defines them: the length prefixes of CAR files and dag-pb.

Least significant group first, minimal, at most 9 bytes.
Spec: https://github.com/multiformats/unsigned-varint
"""

from __future__ import annotations

from mst.errors import FormatError
from mst.limits import INTEGER_MAX, VARINT_BYTES_MAX

_MORE = 0x80
"""Set in every byte of a varint but the last."""
_ONE_BYTE = tuple(bytes((n,)) for n in range(_MORE))


def encode(n: int) -> bytes:
    """The varint of ``n``.

    Raises:
        FormatError: ``n`` is negative or needs more than 63 bits.
    """
    if 0 <= n < _MORE:
        return _ONE_BYTE[n]
    if not 0 <= n <= INTEGER_MAX:
        raise FormatError(f"{n} does not fit an unsigned varint")
    out = bytearray()
    while n >= _MORE:
        out.append(n & 0x7F | _MORE)
        n >>= 7
    out.append(n)
    return bytes(out)


def decode(data: bytes | memoryview, pos: int = 0) -> tuple[int, int]:
    """Read the varint that starts at ``pos``.

    Returns:
        The number and the position after it.

    Raises:
        FormatError: the varint is truncated, longer than 9 bytes, or not minimal.
    """
    try:
        byte = data[pos]
        if byte < _MORE:
            return byte, pos + 1
        n = byte & 0x7F
        for i in range(1, VARINT_BYTES_MAX):
            byte = data[pos + i]
            n |= (byte & 0x7F) << 7 * i
            if byte < _MORE:
                if byte == 0:
                    raise FormatError("varint is not minimal")
                return n, pos + i + 1
    except IndexError:
        raise FormatError("varint is truncated") from None
    raise FormatError(f"varint is longer than {VARINT_BYTES_MAX} bytes")
