"""CARv1 framing: how blocks lie in a file, so that public tools can read every file written.

A file is ``varint(length) header`` and then, per block, ``varint(length) CID data``.  Nothing
here does I/O: sections are made for somebody to append, and `Reader` is fed whatever bytes have
arrived.
Spec: https://ipld.io/specs/transport/car/carv1/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from mst import cbor, varint
from mst.block import Block
from mst.cid import CID
from mst.errors import FormatError
from mst.limits import CAR_HEADER_BYTES_MAX, CAR_SECTION_BYTES_MAX, CID_BYTES, VARINT_BYTES_MAX

_BEFORE_ROOTS = b"\xa2\x65roots"
_AFTER_ROOTS = b"\x67version\x01"
_VERSION_2 = b"\xa1\x67version\x02"
# The identity CID of zero bytes, bafkqaaa: says "no particular root" to readers that want one.
_PLACEHOLDER_LINK = b"\xd8\x2a\x45\x00\x01\x55\x00\x00"
_BODY = _BEFORE_ROOTS + b"\x81" + _PLACEHOLDER_LINK + _AFTER_ROOTS

HEADER = varint.encode(len(_BODY)) + _BODY
"""The start of a file without a root of its own, length prefix included."""

_SECTION_HEAD_BYTES_MAX = VARINT_BYTES_MAX + 1 + CID_BYTES


class Bytes(Protocol):
    """A file's bytes, however they are read."""

    def __len__(self) -> int:
        """The file's length."""

    def __getitem__(self, part: slice, /) -> bytes | memoryview:
        """The bytes of ``part``, fewer if the file has become shorter."""


def header(root: CID) -> bytes:
    """The start of a file with one root, length prefix included."""
    body = _BEFORE_ROOTS + b"\x81" + cbor.LINK_HEAD + root + _AFTER_ROOTS
    return varint.encode(len(body)) + body


def section_head(cid: CID, size_bytes: int) -> bytes:
    """What precedes the ``size_bytes`` bytes of block ``cid`` in a file.

    Raises:
        FormatError: the block is larger than a section may be.
    """
    length = CID_BYTES + size_bytes
    if length > CAR_SECTION_BYTES_MAX:
        raise FormatError(f"block of {size_bytes} bytes is too large for a CAR section")
    return varint.encode(length) + cid


def section(cid: CID, data: bytes) -> bytes:
    """The whole section of a block.

    Raises:
        FormatError: as for `section_head`.
    """
    return section_head(cid, len(data)) + data


def section_at(data: Bytes, position: int) -> tuple[bytes, CID, int]:
    """Read a section's head: its bytes, the CID in them, the offset behind the section.

    Raises:
        FormatError: no section of a possible length that ends within the file begins there.
    """
    head = bytes(data[position : position + _SECTION_HEAD_BYTES_MAX])
    length, start = varint.decode(head, 0)
    stop = position + start + length
    if length < CID_BYTES or length > CAR_SECTION_BYTES_MAX or stop > len(data):
        raise FormatError("section length out of range")
    head = head[: start + CID_BYTES]
    return head, CID.parse(head[start:]), stop


def sections(data: Bytes, start: int, stop: int) -> Iterator[tuple[CID, int, int]]:
    """Go through the blocks of a file, reading their heads only: CID, offset of the bytes, length of the bytes.

    Args:
        data: the file.
        start: where a section begins.
        stop: where one ends.

    Raises:
        FormatError: what lies between is not a row of sections.
    """
    while start < stop:
        head, cid, end = section_at(data, start)
        body = start + len(head)
        yield cid, body, end - body
        start = end
    if start != stop:
        raise FormatError("a section goes beyond the end of its range")


class Reader:
    """Reads a CARv1 file from pieces of any size and hands out its blocks, verified.

    Holds no more than one section and one piece in memory.  After a `FormatError` it repeats that
    error: what follows damaged framing cannot be told from noise.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._roots: tuple[CID, ...] | None = None

    @property
    def roots(self) -> tuple[CID, ...]:
        """The roots in the header, without the placeholder; empty until it has arrived."""
        return self._roots or ()

    def feed(self, piece: bytes) -> Iterator[Block]:
        """Take the next bytes of the file and go through the blocks they complete.

        What the iterator is not asked for comes first in the next one.

        Raises:
            FormatError: (from the iterator) a header, a section or a block that is not valid;
                blocks before it were handed out.
        """
        self._buffer += piece
        return self._blocks()

    def finish(self) -> None:
        """The file has ended.

        Raises:
            FormatError: it ends before its header does, or in the middle of a section.
        """
        if self._roots is None or self._buffer:
            raise FormatError("CAR file is truncated")

    def _blocks(self) -> Iterator[Block]:
        while (span := self._next()) is not None:
            start, end = span
            with memoryview(self._buffer) as view:
                if self._roots is None:
                    block = None
                    self._roots = _parse_header(bytes(view[start:end]))
                else:
                    cid = CID.parse(bytes(view[start : start + CID_BYTES]))
                    block = Block(cid, bytes(view[start + CID_BYTES : end]))
                    block.verify()
            # Before the block is handed out: whoever gets it may feed more.
            del self._buffer[:end]
            if block is not None:
                yield block

    def _next(self) -> tuple[int, int] | None:
        """The span of the next header or section, or None if it has not wholly arrived."""
        prefix = bytes(self._buffer[:VARINT_BYTES_MAX])
        if len(prefix) < VARINT_BYTES_MAX and all(byte & 0x80 for byte in prefix):
            return None
        length, start = varint.decode(prefix)
        if self._roots is None:
            least, most = 1, CAR_HEADER_BYTES_MAX
        else:
            least, most = CID_BYTES, CAR_SECTION_BYTES_MAX
        if not least <= length <= most:
            raise FormatError(f"CAR header or section of {length} bytes; {least} to {most} are allowed")
        end = start + length
        return (start, end) if end <= len(self._buffer) else None


def _parse_header(data: bytes) -> tuple[CID, ...]:
    """The roots of a header: canonical DAG-CBOR, but for the placeholder, a link that is no CID."""
    if data == _VERSION_2:
        raise FormatError("this is a CARv2 file; only version 1 is read")
    if not data.startswith(_BEFORE_ROOTS):
        raise FormatError("not a CARv1 header")
    count, pos = cbor.read_head(data, len(_BEFORE_ROOTS), cbor.ARRAY)
    roots = []
    for _ in range(count):
        if data.startswith(_PLACEHOLDER_LINK, pos):
            pos += len(_PLACEHOLDER_LINK)
            continue
        root, pos = cbor.decode_item(data, pos)
        if not isinstance(root, CID):
            raise FormatError("a root of a CAR header is not a link")
        roots.append(root)
    if data[pos:] != _AFTER_ROOTS:
        raise FormatError("not a CARv1 header")
    return tuple(roots)
