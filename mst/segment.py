"""Segments: append-only CAR files whose batches can be told whole from torn.

A segment is a CARv1 file with the placeholder root.  Blocks are appended in batches; a batch ends with an in-band
*batch record*, an ordinary DAG-CBOR block that any CAR reader takes as one block more::

    ["ms3t/batch", version, sequence, previous record | null, start, end, blocks, heads, [commit...], [instance...]]

``start`` and ``end`` are the file offsets of the batch's first section and of the record's own section; ``heads`` is
the SHA-256 of all section heads (length and CID) of the batch in order.  A block's digest covers its bytes but neither
its codec nor the framing; together with the heads digest every byte of the batch is covered, hashing nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple, cast

from mst import car, cbor
from mst.block import Block
from mst.cid import CID, DAG_CBOR
from mst.errors import FormatError
from mst.fields import is_instance
from mst.limits import BATCH_RECORD_BYTES_MAX, CID_BYTES

RECORD_VERSION = 1
_NAME = "ms3t/batch"
_RECORD_PREFIX = b"\x8a\x6a" + _NAME.encode()
_SHA256_BYTES = 32
_SEARCH_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """What a batch says of itself.

    Attributes:
        sequence: number of the batch in its chain, from 1.
        previous: CID of the record before it in the chain (commit log only), or None.
        start: file offset of the batch's first section, bytes.
        end: file offset of this record's section, bytes.
        blocks: sections in the batch, this record not counted.
        heads: SHA-256 of the batch's section heads.
        commits: the signed commits in the batch, oldest first.
        drops: instance ids of the buckets that the batch deleted.
    """

    sequence: int
    previous: CID | None
    start: int
    end: int
    blocks: int
    heads: bytes
    commits: tuple[CID, ...] = ()
    drops: tuple[bytes, ...] = ()

    def block(self) -> Block:
        """The record as the block that ends the batch."""
        return Block.of(
            DAG_CBOR,
            cbor.encode(
                [
                    _NAME,
                    RECORD_VERSION,
                    self.sequence,
                    self.previous,
                    self.start,
                    self.end,
                    self.blocks,
                    self.heads,
                    list(self.commits),
                    list(self.drops),
                ]
            ),
        )

    @classmethod
    def decode(cls, data: bytes) -> BatchRecord:
        """Decode the bytes of a record block.

        Raises:
            FormatError: not a canonical batch record of a known version.
        """
        fields = cbor.decode(data, limit_bytes=BATCH_RECORD_BYTES_MAX)
        if not isinstance(fields, list) or len(fields) != 10 or fields[0] != _NAME:  # noqa: PLR2004
            raise FormatError("not a batch record")
        # True and 1.0 equal 1 as well.
        if type(fields[1]) is not int or fields[1] != RECORD_VERSION:
            raise FormatError(f"batch record of unknown version {fields[1]!r}")
        numbers, (previous, heads, commits, drops) = (
            [fields[2], fields[4], fields[5], fields[6]],
            [fields[3], fields[7], fields[8], fields[9]],
        )
        well_formed = (
            all(type(n) is int and n >= 0 for n in numbers)
            and (previous is None or isinstance(previous, CID))
            and (type(heads) is bytes and len(heads) == _SHA256_BYTES)
            and (isinstance(commits, list) and all(isinstance(c, CID) for c in commits))
            and (isinstance(drops, list) and all(is_instance(d) for d in drops))
        )
        if not well_formed:
            raise FormatError("batch record with fields of wrong types")
        sequence, start, end, blocks = cast(list[int], numbers)
        return cls(
            sequence, cast("CID | None", previous), start, end, blocks, cast(bytes, heads),
            tuple(cast(list[CID], commits)), tuple(cast(list[bytes], drops)),
        )  # fmt: skip


class Framed(NamedTuple):
    """A batch laid out for appending.

    Attributes:
        buffers: what to write, in order.
        size_bytes: their total length.
        places: (digest, file offset of the block's bytes, length in bytes) of each block, the record left out.
        record: the CID of the batch's record, the next batch's ``previous``.
    """

    buffers: list[bytes]
    size_bytes: int
    places: list[tuple[bytes, int, int]]
    record: CID


def frame_batch(
    blocks: Sequence[Block],
    *,
    start: int,
    sequence: int,
    previous: CID | None,
    commits: Sequence[CID] = (),
    drops: Sequence[bytes] = (),
) -> Framed:
    """Lay ``blocks`` and their record out as the bytes to append at file offset ``start``."""
    buffers: list[bytes] = []
    places: list[tuple[bytes, int, int]] = []
    heads = sha256()
    position = start
    for cid, data in blocks:
        head = car.section_head(cid, len(data))
        heads.update(head)
        buffers += (head, data)
        places.append((cid.digest, position + len(head), len(data)))
        position += len(head) + len(data)
    return close_batch(
        buffers, places, heads.digest(), start=start, end=position, sequence=sequence,
        previous=previous, commits=commits, drops=drops,
    )  # fmt: skip


def close_batch(
    buffers: list[bytes],
    places: list[tuple[bytes, int, int]],
    heads: bytes,
    *,
    start: int,
    end: int,
    sequence: int,
    previous: CID | None,
    commits: Sequence[CID] = (),
    drops: Sequence[bytes] = (),
) -> Framed:
    """Add the record to sections that begin at ``start`` and end at ``end``; ``heads`` is the digest of their heads."""
    record = BatchRecord(sequence, previous, start, end, len(places), heads, tuple(commits), tuple(drops)).block()
    section = car.section(record.cid, record.data)
    return Framed([*buffers, section], end - start + len(section), places, record.cid)


class Batch(NamedTuple):
    """A whole batch found in a segment.

    Attributes:
        record: its record.
        record_cid: the CID of that record.
        places: (digest, file offset of the block's bytes, length) of each block.
        stop: the file offset behind the batch.
    """

    record: BatchRecord
    record_cid: CID
    places: list[tuple[bytes, int, int]]
    stop: int


def scan(data: car.Bytes, start: int) -> Iterator[Batch]:
    """Find the whole batches of a segment from file offset ``start`` on, verifying every byte of them.

    Stops without error at the first byte that does not belong to a whole batch; the last batch's ``stop`` (or
    ``start``) tells where that is.

    Args:
        data: the whole segment file.
        start: where a batch begins: behind the file header, or a former ``stop``.
    """
    while True:
        try:
            batch = _scan_batch(data, start)
        except FormatError:
            return
        if batch is None:
            return
        yield batch
        start = batch.stop


def find_batch_after(data: car.Bytes, start: int) -> int | None:
    """The offset of a whole batch somewhere behind ``start``, or None: tells a torn middle from a torn tail."""
    for base in range(start, len(data), _SEARCH_BYTES):
        window = bytes(data[base : base + _SEARCH_BYTES + len(_RECORD_PREFIX) - 1])
        at = window.find(_RECORD_PREFIX)
        while at >= 0:
            record = _record_at(data, base + at)
            if record is not None and record.start >= start and _is_whole(data, record.start):
                return record.start
            at = window.find(_RECORD_PREFIX, at + 1)
    return None


def _is_whole(data: car.Bytes, start: int) -> bool:
    try:
        return _scan_batch(data, start) is not None
    except FormatError:
        return False


def _record_at(data: car.Bytes, at: int) -> BatchRecord | None:
    """The record whose block bytes begin at ``at``, if the section around it says how long it is."""
    for varint_bytes in (1, 2, 3):
        section = at - CID_BYTES - varint_bytes
        if section < 0:
            continue
        try:
            head, cid, stop = car.section_at(data, section)
            if len(head) == at - section:
                return BatchRecord.decode(_verified(data, cid, at, stop))
        except FormatError:
            continue
    return None


def _scan_batch(data: car.Bytes, start: int) -> Batch | None:
    """The batch at ``start``; None at the end of the file; FormatError if it is not whole.

    Frames first: only when there is a record that agrees with them is any block read and hashed.
    """
    heads = sha256()
    frames: list[tuple[CID, int, int]] = []
    position = start
    while position < len(data):
        head, cid, stop = car.section_at(data, position)
        body = position + len(head)
        if cid.codec == DAG_CBOR and bytes(data[body : body + len(_RECORD_PREFIX)]) == _RECORD_PREFIX:
            record = BatchRecord.decode(_verified(data, cid, body, stop))
            agreed = (start, position, len(frames), heads.digest())
            if agreed != (record.start, record.end, record.blocks, record.heads):
                raise FormatError("batch record does not agree with its batch")
            for frame in frames:
                _verified(data, *frame)
            places = [(block.digest, first, last - first) for block, first, last in frames]
            return Batch(record, cid, places, stop)
        heads.update(head)
        frames.append((cid, body, stop))
        position = stop
    if position == start:
        return None
    raise FormatError("batch without a record")


def _verified(data: car.Bytes, cid: CID, body: int, stop: int) -> bytes:
    block = bytes(data[body:stop])
    if sha256(block).digest() != cid.digest:
        raise FormatError("block does not match its CID")
    return block
