"""CAR files that carry a few blocks around one root, held whole: messages, archives, indexes, answers to queries.

Unlike in segments, a block may be of any codec, a CAR inside a CAR among them.
Spec: https://ipld.io/specs/transport/car/carv1/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from mst import varint
from mst.cid import SHA2_256, Link, multihash
from mst.errors import FormatError
from mst.limits import BLOCK_BYTES_MAX, CAR_HEADER_BYTES_MAX
from registry.ucan import wire
from registry.ucan.errors import Malformed
from registry.ucan.limits import MESSAGE_BLOCKS_MAX

_MULTIHASH_BYTES = 34


@dataclass(frozen=True, slots=True)
class Car:
    """What is in such a file.

    Attributes:
        root: the CID its header names.
        blocks: every block by its CID, in the order of the file; each has been hashed.
    """

    root: Link
    blocks: Mapping[Link, bytes]


def encode(root: Link, blocks: Iterable[tuple[Link, bytes]]) -> bytes:
    """The file with those blocks in that order.

    Raises:
        Malformed: ``root`` is no link.
    """
    header = wire.encode({"roots": [root], "version": 1}, "CAR header")
    out = [varint.encode(len(header)), header]
    for cid, data in blocks:
        out += (varint.encode(len(cid) + len(data)), cid, data)
    return b"".join(out)


def decode(
    data: bytes,
    what: str,
    *,
    limit_bytes: int,
    block_bytes_max: int = BLOCK_BYTES_MAX,
    blocks_max: int = MESSAGE_BLOCKS_MAX,
) -> Car:
    """The file that is exactly ``data``.

    Args:
        data: the whole file.
        what: what it should be, for messages.
        limit_bytes: refuse a larger file before looking at it.
        block_bytes_max: refuse a larger block.
        blocks_max: refuse more blocks.

    Raises:
        Malformed: not a CARv1 file with one root, a block that does not match its CID, or over a limit.
    """
    if len(data) > limit_bytes:
        raise Malformed(f"{what}: {len(data)} bytes exceed {limit_bytes}")
    try:
        return _decode(data, what, block_bytes_max, blocks_max)
    except FormatError as error:
        raise Malformed(f"{what}: {error}") from None


def _decode(data: bytes, what: str, block_bytes_max: int, blocks_max: int) -> Car:
    start, end = _span(data, 0, CAR_HEADER_BYTES_MAX)
    fields = wire.Fields(wire.decode(data[start:end], what, limit_bytes=CAR_HEADER_BYTES_MAX), what)
    if fields.take("version", int) != 1:
        raise Malformed(f"{what}: not a CAR file of version 1")
    roots = fields.take_list("roots", Link, many=1)
    fields.end()
    if not roots:
        raise Malformed(f"{what}: a CAR file without a root")
    blocks: dict[Link, bytes] = {}
    sections = 0
    while end < len(data):
        sections += 1
        if sections > blocks_max:
            raise Malformed(f"{what}: more than {blocks_max} blocks")
        start, end = _span(data, end, block_bytes_max)
        at = _end_of_cid(data, start, end)
        blocks[Link.read(data[start:at])] = _verified(data[at - _MULTIHASH_BYTES : at], data[at:end], what)
    return Car(roots[0], blocks)


def _span(data: bytes, pos: int, limit_bytes: int) -> tuple[int, int]:
    length, start = varint.decode(data, pos)
    if length > limit_bytes or start + length > len(data):
        raise FormatError("a section is truncated or too large")
    return start, start + length


def _end_of_cid(data: bytes, start: int, end: int) -> int:
    """Where the block begins; the CID before it must be a CIDv1 under sha2-256."""
    version, pos = varint.decode(data, start)
    _, pos = varint.decode(data, pos)
    after = pos + _MULTIHASH_BYTES
    if version != 1 or data[pos] != SHA2_256 or after > end:
        raise FormatError("a block whose CID is not a CIDv1 under sha2-256")
    return after


def _verified(expected: bytes, block: bytes, what: str) -> bytes:
    if multihash(sha256(block).digest()) != expected:
        raise Malformed(f"{what}: a block does not match its CID")
    return block
