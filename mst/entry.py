"""A tree leaf's value: the facts that a listing shows, so that listing reads the tree alone.

Wire form, a DAG-CBOR array of five: link to the body, size, modification time, ETag, metadata.
The array has a fixed shape, so one regular expression validates it: a listing page checks and
reads a thousand of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, Self, TypeAlias

from mst import cbor
from mst.cid import CID, DAG_CBOR
from mst.errors import FormatError
from mst.limits import CID_BYTES, ENTRY_META_INLINE_BYTES_MAX, INTEGER_MAX

FIRST_BYTE = 0x85
"""First byte of every encoded entry; no other tree value starts with it."""

Meta: TypeAlias = "Mapping[str, cbor.Value] | CID | None"
"""Metadata: small maps inline, larger ones as a link to a DAG-CBOR block, None for an empty one."""

_HEAD = bytes((FIRST_BYTE,)) + cbor.LINK_HEAD
_SIZE_OFFSET = len(_HEAD) + CID_BYTES
_WIDE = 24  # RFC 8949 3: from here on the argument is in the 1, 2, 4 or 8 bytes that follow
_BYTES_MAJOR = 0x40
_MD5_BYTES = 16
_ETAG_HEAD = {_MD5_BYTES: b"\x50", _MD5_BYTES + 2: b"\x52"}

# A minimal unsigned integer up to INTEGER_MAX: its head byte, and 0, 1, 2, 4 or 8 more.
_UINT = (
    rb"([\x00-\x17]|\x18[\x18-\xff]|\x19(?!\x00)..|\x1a(?!\x00\x00)...."
    rb"|\x1b(?!\x00{4})[\x00-\x7f].{7})"
)
_SHAPE = re.compile(
    rb"\x85\xd8\x2a\x58\x25\x00(\x01[\x55\x70\x71]\x12\x20.{32})"
    + _UINT
    + _UINT
    + rb"(?:\x50(.{16})|\x52(.{16}(?!\x00\x00)..))"
    rb"(?:\xf6|\xd8\x2a\x58\x25\x00(\x01\x71\x12\x20.{32})|(?=([\xa1-\xb8])))",
    re.DOTALL,
)
_INLINE_META_GROUP = 7


class Entry(NamedTuple):
    """What a bucket knows about one object.

    Attributes:
        body: the object's bytes, a raw block or the root of a UnixFS file.
        size: the object's length in bytes.
        mtime_ms: modification time, milliseconds since 1970-01-01 UTC.
        etag: 16 bytes, the MD5 of the content; or 18, the MD5 of the parts' MD5s and the number of
            parts, big-endian.
        meta: see `Meta`.
    """

    body: CID
    size: int
    mtime_ms: int
    etag: bytes
    meta: Meta

    @property
    def etag_text(self) -> str:
        """The ETag as S3 writes it, without quotes: hex, and ``-<parts>`` if it has parts."""
        return etag_text(self.etag)

    def encode(self) -> bytes:
        """The entry's canonical bytes.

        Raises:
            FormatError: a field out of range, metadata that is an empty map, too large to be
                inline, or no DAG-CBOR.
        """
        body, size, mtime_ms, etag, meta = self
        etag_head = _ETAG_HEAD.get(len(etag))
        if etag_head is None or etag[_MD5_BYTES:] == b"\x00\x00":
            raise FormatError("an ETag is an MD5, alone or with a part count above zero")
        if not (0 <= size <= INTEGER_MAX and 0 <= mtime_ms <= INTEGER_MAX):
            raise FormatError("size or time of an entry out of range")
        return b"".join(
            (
                _HEAD,
                CID.parse(body),
                cbor.head(cbor.UINT, size),
                cbor.head(cbor.UINT, mtime_ms),
                etag_head,
                etag,
                b"\xf6" if meta is None else _encode_meta(meta),
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The entry whose canonical bytes are exactly ``data``.

        Raises:
            FormatError: anything else.
        """
        match = _SHAPE.match(data)
        if match is None:
            raise FormatError("not an entry")
        body, size, mtime_ms, etag, etag_parts, meta_link, inline = match.groups()
        meta: Meta = None
        end = match.end()
        if inline:
            meta, end = _decode_meta(data, end)
        elif meta_link:
            meta = CID(meta_link)
        if end != len(data):
            raise FormatError("bytes after the entry")
        # A number without its head byte; one below 24 is its head byte.
        size = int.from_bytes(size[1:] or size, "big")
        mtime_ms = int.from_bytes(mtime_ms[1:] or mtime_ms, "big")
        # Half the price of cls(...), a thousand times per listing page.
        return tuple.__new__(cls, (CID(body), size, mtime_ms, etag or etag_parts, meta))


def facts(data: bytes) -> tuple[int, int, bytes]:
    """The size, modification time and ETag (see `Entry`) of an encoded entry that is known to be valid.

    A node's values are: decoding the node checked them.  A listing reads a thousand of them per page, at a quarter of
    the cost of decoding each.

    Args:
        data: exactly one encoded entry.
    """
    start = _SIZE_OFFSET + 1
    size = data[_SIZE_OFFSET]
    pos = start
    if size >= _WIDE:
        pos += 1 << (size - _WIDE)
        size = int.from_bytes(data[start:pos], "big")
    start = pos + 1
    mtime_ms = data[pos]
    pos = start
    if mtime_ms >= _WIDE:
        pos += 1 << (mtime_ms - _WIDE)
        mtime_ms = int.from_bytes(data[start:pos], "big")
    return size, mtime_ms, data[pos + 1 : pos + 1 + data[pos] - _BYTES_MAJOR]


def etag_text(etag: bytes) -> str:
    """An ETag as S3 writes it, without quotes: hex digits, then ``-`` and the number of parts if it has parts."""
    if len(etag) == _MD5_BYTES:
        return etag.hex()
    return f"{etag[:_MD5_BYTES].hex()}-{int.from_bytes(etag[_MD5_BYTES:], 'big')}"


def skip(data: bytes, pos: int) -> int:
    """Validate the entry that starts at ``pos`` and return the position after it.

    Raises:
        FormatError: no canonical entry starts there.
    """
    match = _SHAPE.match(data, pos)
    if match is None:
        raise FormatError("not an entry")
    end = match.end()
    return end if match.lastindex != _INLINE_META_GROUP else _decode_meta(data, end)[1]


def _encode_meta(meta: Mapping[str, cbor.Value] | CID) -> bytes:
    if isinstance(meta, CID):
        if meta.codec != DAG_CBOR:
            raise FormatError("metadata block is not DAG-CBOR")
        return cbor.LINK_HEAD + CID.parse(meta)
    encoded = cbor.encode(meta)
    if not meta or len(encoded) > ENTRY_META_INLINE_BYTES_MAX:
        raise FormatError(f"inline metadata must be 1 to {ENTRY_META_INLINE_BYTES_MAX} bytes and not an empty map")
    return encoded


def _decode_meta(data: bytes, pos: int) -> tuple[Mapping[str, cbor.Value], int]:
    meta, end = cbor.decode_item(data, pos)
    if end - pos > ENTRY_META_INLINE_BYTES_MAX or not isinstance(meta, Mapping):
        raise FormatError(f"inline metadata exceeds {ENTRY_META_INLINE_BYTES_MAX} bytes")
    return meta, end
