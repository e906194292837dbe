"""What happens to the segments at start: newer batches are indexed, torn tails cut, damage reported.

Each segment is scanned from where the index knows it, as the disk has it and not as the kernel remembers it; a batch
counts only if every byte of it agrees.  What follows
the last whole batch is a torn tail, the normal trace of a crash or of a failed write, and is cut off.  If a whole
batch follows the bad bytes, they are a torn middle: nothing is cut, the damage is reported, and the batches behind it
keep serving.  A tail that a head needs, a segment that is gone, and one shorter than the index knows it are damage too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import structlog

from gateway.store.errors import BlockCorrupt, BlockMissing
from gateway.store.folder import SegmentKind, sync_directory
from gateway.store.index import BlockIndex, Chain
from gateway.store.segment import Segment, SegmentBytes
from gateway.store.segments import Segments
from mst import car
from mst.cid import CID
from mst.segment import find_batch_after, scan

log = structlog.get_logger(__name__)

_KINDS: tuple[SegmentKind, ...] = ("log", "bulk")


@dataclass(frozen=True, slots=True)
class Finding:
    """What recovery found in one segment.

    Attributes:
        segment: the file's name.
        batches: whole batches newly indexed.
        torn_bytes: length of the tail that was cut off (or, reading only, is ignored).
        damaged_at: file offset of damage in the middle, or None.
    """

    segment: str
    batches: int
    torn_bytes: int
    damaged_at: int | None


def recover(
    segments: Segments,
    index: BlockIndex,
    *,
    repair: bool,
    heads: Collection[CID] = (),
    progress: Callable[[Segment], None] | None = None,
) -> list[Finding]:
    """Bring ``index`` up to date with ``segments``.

    Args:
        segments: the folder's segments.
        index: the index, right for a prefix of each.
        repair: cut torn tails off; False to only read, beside a process that may be writing.
        heads: the commits that buckets stand at; while one of them is missing, the log's tail is not cut: it was
            answered for, so it is damaged and not torn.
        progress: called before each segment that has something new.

    Returns:
        One finding per segment that had anything new, torn, damaged or missing.

    Raises:
        StoreReadOnly: what is new cannot be made durable, or a tail not be cut.
        BlockCorrupt: the disk fails.
    """
    findings = []
    if repair:  # beside a process that writes, the index may know newer segments than were there to be opened
        findings += [_missing(number) for number in sorted(index.segments - segments.numbers)]
        # A number given again would make the index take the new file's first batches for those of the lost one.
        segments.reserve(max(index.segments | index.forgotten, default=0))
        for number in sorted(index.forgotten & segments.numbers):
            remove_forgotten(segments, index, number)
    for kind in _KINDS:
        found = []
        for segment in segments.of_kind(kind):
            if segment.number in index.forgotten:  # its owner is about to delete it
                continue
            indexed = index.end(segment.number)
            if segment.size > max(indexed, len(car.HEADER)):
                if progress:
                    progress(segment)
                if repair:
                    segment.settle()
                found.append((segment, _index_segment(segment, index, is_log=kind == "log")))
            elif repair:  # likewise
                findings += _check_known(segment, indexed)
        answered_for = kind == "log" and any(index.get(head.digest) is None for head in heads)
        findings += [_settle_tail(*pair, answered_for) if repair else pair[1] for pair in found]
    return findings


def remove_forgotten(segments: Segments, index: BlockIndex, number: int) -> None:
    """Delete the file of a segment that the index has forgotten, and what the index still has of it.

    Raises:
        StoreFull: no room to write to the index; the file is still there.
    """
    try:
        _clean_index(segments.get(number), index)
    except BlockMissing:  # it is gone already
        return
    except BlockCorrupt as error:  # what is left in the index takes room, and nothing else
        log.warning("a segment that was dropped cannot be read", reason=str(error))
    segments.remove(number)


def _clean_index(segment: Segment, index: BlockIndex) -> None:
    data = SegmentBytes(segment, segment.file_bytes)
    start: int | None = len(car.HEADER)
    while start is not None:
        good = start
        for batch in scan(data, start):
            index.clean(segment.number, [digest for digest, _, _ in batch.places])
            good = batch.stop
        start = find_batch_after(data, good) if good < len(data) else None


def _missing(number: int) -> Finding:
    return Finding(f"segment {number:08d}", 0, 0, damaged_at=0)


def _check_known(segment: Segment, indexed: int) -> list[Finding]:
    """A segment that has nothing new: it may be shorter than it was, or may never have been begun."""
    if segment.size < indexed:
        segment.poisoned = True
        return [Finding(segment.path.name, 0, 0, damaged_at=segment.size)]
    if segment.size <= len(car.HEADER):
        _complete_header(segment)
    return []


def _complete_header(segment: Segment) -> None:
    """A process may have ended anywhere in `Segment.create`; no batch was ever in the file."""
    if segment.size != len(car.HEADER) or segment.read(0, segment.size) != car.HEADER:
        segment.truncate(0)
        segment.append([car.HEADER])
    segment.sync()
    sync_directory(segment.path.parent)


def _settle_tail(segment: Segment, finding: Finding, answered_for: bool) -> Finding:
    """Cut a torn tail off, unless it is none but damage."""
    good = segment.size - finding.torn_bytes
    if finding.torn_bytes and answered_for and finding.damaged_at is None:
        finding = replace(finding, damaged_at=good)
    if finding.damaged_at is not None:
        segment.poisoned = True
    elif finding.torn_bytes:
        segment.truncate(good)
        segment.sync()
    return finding


def _index_segment(segment: Segment, index: BlockIndex, *, is_log: bool) -> Finding:
    start = max(index.end(segment.number), len(car.HEADER))
    data = SegmentBytes(segment, segment.size)
    batches, good, damaged_at = _index_batches(segment, index, data, start, is_log=is_log)
    return Finding(segment.path.name, batches, segment.size - good, damaged_at)


def _index_batches(
    segment: Segment, index: BlockIndex, data: SegmentBytes, start: int, *, is_log: bool
) -> tuple[int, int, int | None]:
    batches = 0
    damaged_at: int | None = None
    resume: int | None = start
    while resume is not None:
        good = resume
        for batch in scan(data, resume):
            good = batch.stop
            batches += 1
            chain = Chain(batch.record.sequence, batch.record_cid) if is_log else None
            index.add(segment.number, batch.places, good, chain)
        resume = find_batch_after(data, good) if good < len(data) else None
        if resume is not None and damaged_at is None:
            damaged_at = good
    return batches, good, damaged_at
