"""What happens to the segments at start: newer batches are indexed, torn tails cut, damage reported.

Each segment is scanned from where the index knows it; a batch counts only if every byte of it agrees.  What follows
the last whole batch is a torn tail, the normal trace of a crash or of a failed write, and is cut off.  If a whole
batch follows the bad bytes, they are a torn middle: nothing is cut, the damage is reported, and the batches behind it
keep serving.  A segment that is gone, or shorter than the index knows it, is damage too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from gateway.store.index import BlockIndex, Chain
from gateway.store.segment import Segment
from gateway.store.segments import Segments
from mst import car
from mst.segment import find_batch_after, scan


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
    progress: Callable[[Segment], None] | None = None,
) -> list[Finding]:
    """Bring ``index`` up to date with ``segments``.

    Args:
        segments: the folder's segments.
        index: the index, right for a prefix of each.
        repair: cut torn tails off; False to only read, beside a process that may be writing.
        progress: called before each segment that has something new.

    Returns:
        One finding per segment that had anything new, torn, damaged or missing.
    """
    findings = []
    if repair:  # beside a process that writes, the index may know newer segments than were there to be opened
        findings += [_missing(number) for number in sorted(index.segments - segments.numbers)]
        # A number given again would make the index take the new file's first batches for those of the lost one.
        segments.reserve(max(index.segments, default=0))
    for kind in ("log", "bulk"):
        for segment in segments.of_kind(kind):
            indexed = index.end(segment.number)
            if segment.size < indexed:
                if repair:  # likewise
                    segment.poisoned = True
                    findings.append(Finding(segment.path.name, 0, 0, damaged_at=segment.size))
                continue
            if segment.size <= len(car.HEADER):
                if repair:
                    _complete_header(segment)
                continue
            start = max(indexed, len(car.HEADER))
            if segment.size == start:
                continue
            if progress:
                progress(segment)
            findings.append(_recover_segment(segment, index, start, is_log=kind == "log", repair=repair))
    return findings


def _missing(number: int) -> Finding:
    return Finding(f"segment {number:08d}", 0, 0, damaged_at=0)


def _complete_header(segment: Segment) -> None:
    """A process may have ended between creating the file and writing its header; no batch was ever in it."""
    if segment.size == len(car.HEADER) and segment.read(0, segment.size) == car.HEADER:
        return
    segment.truncate(0)
    segment.append([car.HEADER])
    segment.sync()


def _recover_segment(
    segment: Segment, index: BlockIndex, start: int, *, is_log: bool, repair: bool
) -> Finding:
    batches, good, damaged_at = _index_batches(segment, index, _File(segment), start, is_log=is_log)
    torn = segment.size - good
    if damaged_at is not None:
        segment.poisoned = True
    elif torn and repair:
        segment.truncate(good)
        segment.sync()
    return Finding(segment.path.name, batches, torn, damaged_at)


class _File:
    """A segment's bytes, read as they are asked for; not mapped, because a writer beside us may cut the file."""

    def __init__(self, segment: Segment):
        self._fd = segment.fd
        self._size = segment.size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size)
        return os.pread(self._fd, max(stop - start, 0), start)


def _index_batches(
    segment: Segment, index: BlockIndex, data: _File, start: int, *, is_log: bool
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
