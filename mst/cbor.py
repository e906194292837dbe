"""Strict DAG-CBOR for all documents but tree nodes and entries, which have faster codecs.

One value has one byte form: `decode` accepts only what `encode` writes, so a block's CID is a
function of its value.  Of links only those to CIDs that `mst.cid.CID.parse` accepts are read, unless a reader of
others' documents asks for more.
Spec: https://ipld.io/specs/codecs/dag-cbor/spec/ and RFC 8949.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from struct import Struct
from typing import TypeAlias

from mst.cid import CID, Link
from mst.errors import FormatError
from mst.limits import BLOCK_BYTES_MAX, CBOR_DEPTH_MAX

Value: TypeAlias = "bool | int | float | str | bytes | Link | Sequence[Value] | Mapping[str, Value] | None"
"""What DAG-CBOR can say.  Decoding gives lists and dicts; a `Link`, and so a `CID`, is a link."""
ReadLink: TypeAlias = Callable[[bytes], Link]
"""Reads the binary form of a CID; raises FormatError."""

# Major types, as the top three bits of an item's first byte (RFC 8949 3.1).
UINT = 0x00
NEGATIVE = 0x20
BYTES = 0x40
TEXT = 0x60
ARRAY = 0x80
MAP = 0xA0

LINK_HEAD = b"\xd8\x2a\x58\x25\x00"
"""What precedes the 36 bytes of a CID: tag 42, byte string of 37, the multibase identity prefix."""
LINK_BYTES = 41
"""A whole link."""

_MAJOR = 0xE0
_ARGUMENT = 0x1F
_TAG_42 = 0xD8
_TAG_42_HEAD = b"\xd8\x2a"
_LINK_PREFIX = b"\x00"
_FALSE, _TRUE, _NULL, _FLOAT64 = 0xF4, 0xF5, 0xF6, 0xFB
_IMMEDIATE_MAX = 23
_INTEGER_END = 2**64

_DOUBLE = Struct(">Bd")
_HEAD_8 = Struct(">BB")
_HEAD_16 = Struct(">BH")
_HEAD_32 = Struct(">BI")
_HEAD_64 = Struct(">BQ")
# Width of the argument that follows, and the smallest number that needs it, by the low five bits.
_WIDE = {24: (1, 24), 25: (2, 2**8), 26: (4, 2**16), 27: (8, 2**32)}


def encode(value: Value) -> bytes:
    """The canonical bytes of ``value``.  Tuples are written as arrays, any mapping as a map.

    Raises:
        FormatError: the value has no form in DAG-CBOR (another type, a number out of range, NaN,
            infinity, a key that is not text, text with lone surrogates, a CID that is none), or
            nests deeper than ``CBOR_DEPTH_MAX``.
    """
    out: list[bytes] = []
    try:
        _encode(value, out, 0)
    except UnicodeEncodeError:
        raise FormatError("text with a lone surrogate") from None
    return b"".join(out)


def decode(data: bytes, *, limit_bytes: int = BLOCK_BYTES_MAX, read_link: ReadLink = CID.parse) -> Value:
    """The value of one whole document.

    Args:
        data: the document.
        limit_bytes: refuse a longer one before looking at it.
        read_link: which links are accepted; `mst.cid.Link.read` accepts those of others too.

    Raises:
        FormatError: not the canonical bytes of any value, or over a limit.
    """
    if len(data) > limit_bytes:
        raise FormatError(f"document of {len(data)} bytes exceeds {limit_bytes}")
    value, end = decode_item(data, 0, read_link)
    if end != len(data):
        raise FormatError("bytes after the document")
    return value


def decode_item(data: bytes, pos: int, read_link: ReadLink = CID.parse) -> tuple[Value, int]:
    """The value of the item that starts at ``pos``, and the position after it.  ``read_link`` is as for `decode`.

    Raises:
        FormatError: as for `decode`.
    """
    try:
        item = _decode(data, pos, 0, read_link)
    except IndexError:
        raise FormatError("document is truncated") from None
    except UnicodeDecodeError:
        raise FormatError("text is not UTF-8") from None
    # A slice beyond the end comes out short without an error, but positions only grow: one look at the last is enough.
    if item[1] > len(data):
        raise FormatError("document is truncated")
    return item


def skip(data: bytes, pos: int) -> int:
    """Validate the item that starts at ``pos`` and return the position after it.

    Raises:
        FormatError: as for `decode`.
    """
    return decode_item(data, pos)[1]


def head(major: int, n: int) -> bytes:
    """The minimal head of an item.

    Args:
        major: one of this module's major types.
        n: the argument (a number, a length, a count), 0 to 2^64 - 1.
    """
    if n <= _IMMEDIATE_MAX:
        return bytes((major | n,))
    if n < 2**8:
        return _HEAD_8.pack(major | 24, n)
    if n < 2**16:
        return _HEAD_16.pack(major | 25, n)
    if n < 2**32:
        return _HEAD_32.pack(major | 26, n)
    return _HEAD_64.pack(major | 27, n)


def read_head(data: bytes, pos: int, major: int) -> tuple[int, int]:
    """Read the head at ``pos``, which must be of ``major`` type.

    Returns:
        The argument and the position after the head.

    Raises:
        FormatError: another type, a head that is not minimal, or the end of the data.
    """
    if pos >= len(data):
        raise FormatError("document is truncated")
    n = data[pos] - major
    pos += 1
    if 0 <= n <= _IMMEDIATE_MAX:
        return n, pos
    if not 0 <= n <= _ARGUMENT:
        raise FormatError("item of another type than expected")
    return _wide_argument(data, pos, n)


def _encode(value: Value, out: list[bytes], depth: int) -> None:
    # Link before bytes and bool before int: each is a subclass of the other.
    if isinstance(value, str):
        raw = value.encode()
        out += (head(TEXT, len(raw)), raw)
    elif value is None:
        out.append(b"\xf6")
    elif isinstance(value, bool):
        out.append(b"\xf5" if value else b"\xf4")
    elif isinstance(value, int):
        _encode_int(value, out)
    elif isinstance(value, CID):
        out += (LINK_HEAD, CID.parse(value))
    elif isinstance(value, Link):
        out += (_TAG_42_HEAD, head(BYTES, len(value) + 1), _LINK_PREFIX, Link.read(value))
    elif isinstance(value, bytes):
        out += (head(BYTES, len(value)), value)
    elif isinstance(value, float):
        if not isfinite(value):
            raise FormatError("NaN and infinity have no form in DAG-CBOR")
        out.append(_DOUBLE.pack(_FLOAT64, value))
    else:
        _encode_container(value, out, depth)


def _encode_container(value: Sequence[Value] | Mapping[str, Value], out: list[bytes], depth: int) -> None:
    if depth == CBOR_DEPTH_MAX:
        raise FormatError(f"value nests deeper than {CBOR_DEPTH_MAX}")
    if isinstance(value, list | tuple):
        out.append(head(ARRAY, len(value)))
        for item in value:
            _encode(item, out, depth + 1)
    elif isinstance(value, Mapping):
        _encode_map(value, out, depth)
    else:
        raise FormatError(f"{type(value).__name__} has no form in DAG-CBOR")


def _encode_int(value: int, out: list[bytes]) -> None:
    if not -_INTEGER_END <= value < _INTEGER_END:
        raise FormatError("integer out of the 64-bit range")
    out.append(head(UINT, value) if value >= 0 else head(NEGATIVE, -1 - value))


def _encode_map(value: Mapping[str, Value], out: list[bytes], depth: int) -> None:
    pairs = []
    for key, item in value.items():
        if not isinstance(key, str):
            raise FormatError("map key is not text")
        raw = key.encode()
        pairs.append((len(raw), raw, item))
    pairs.sort(key=_key_order)
    out.append(head(MAP, len(pairs)))
    for length, raw, item in pairs:
        out += (head(TEXT, length), raw)
        _encode(item, out, depth + 1)


def _key_order(pair: tuple[int, bytes, Value]) -> tuple[int, bytes]:
    return pair[:2]


def _decode(data: bytes, pos: int, depth: int, read_link: ReadLink) -> tuple[Value, int]:
    first = data[pos]
    if first >= _TAG_42:
        return _decode_link(data, pos, read_link) if first == _TAG_42 else _decode_simple(data, pos, first)
    n = first & _ARGUMENT
    pos += 1
    if n > _IMMEDIATE_MAX:
        n, pos = _wide_argument(data, pos, n)
    major = first & _MAJOR
    if major == TEXT:
        end = pos + n
        return data[pos:end].decode(), end
    if major == UINT:
        return n, pos
    if major == BYTES:
        end = pos + n
        return data[pos:end], end
    if major == NEGATIVE:
        return -1 - n, pos
    if depth == CBOR_DEPTH_MAX:
        raise FormatError(f"document nests deeper than {CBOR_DEPTH_MAX}")
    return _decode_container(data, pos, major, n, depth + 1, read_link)


def _decode_container(
    data: bytes, pos: int, major: int, count: int, depth: int, read_link: ReadLink
) -> tuple[Value, int]:
    if major == MAP:
        return _decode_map(data, pos, count, depth, read_link)
    if major != ARRAY:
        raise FormatError("tag other than 42")
    items = []
    for _ in range(count):
        item, pos = _decode(data, pos, depth, read_link)
        items.append(item)
    return items, pos


def _decode_map(data: bytes, pos: int, count: int, depth: int, read_link: ReadLink) -> tuple[dict[str, Value], int]:
    result: dict[str, Value] = {}
    previous = b""
    for i in range(count):
        n = data[pos] - TEXT
        pos += 1
        if not 0 <= n <= _IMMEDIATE_MAX:
            n, pos = read_head(data, pos - 1, TEXT)
        end = pos + n
        key = data[pos:end]
        if i and (n < len(previous) or (n == len(previous) and key <= previous)):
            raise FormatError("map keys out of order or repeated")
        previous = key
        result[key.decode()], pos = _decode(data, end, depth, read_link)
    return result, pos


def _wide_argument(data: bytes, pos: int, low_bits: int) -> tuple[int, int]:
    wide = _WIDE.get(low_bits)
    if wide is None:
        raise FormatError("indefinite length or reserved head")
    width, least = wide
    end = pos + width
    n = int.from_bytes(data[pos:end], "big")
    if n < least:
        raise FormatError("number or length is not in its shortest form")
    return n, end


def _decode_link(data: bytes, pos: int, read_link: ReadLink) -> tuple[Link, int]:
    if data[pos : pos + 5] == LINK_HEAD:
        return read_link(data[pos + 5 : pos + LINK_BYTES]), pos + LINK_BYTES
    if data[pos : pos + 2] != _TAG_42_HEAD:
        raise FormatError("tag other than 42")
    length, start = read_head(data, pos + 2, BYTES)
    if data[start : start + 1] != _LINK_PREFIX:
        raise FormatError("link without the multibase identity prefix")
    return read_link(data[start + 1 : start + length]), start + length


def _decode_simple(data: bytes, pos: int, first: int) -> tuple[bool | float | None, int]:
    if first == _NULL:
        return None, pos + 1
    if first in (_FALSE, _TRUE):
        return first == _TRUE, pos + 1
    if first != _FLOAT64:
        raise FormatError("simple value, float or tag that DAG-CBOR does not have")
    end = pos + _DOUBLE.size
    if end > len(data):
        raise FormatError("document is truncated")
    number: float = _DOUBLE.unpack_from(data, pos)[1]
    if not isfinite(number):
        raise FormatError("NaN and infinity have no form in DAG-CBOR")
    return number, end
