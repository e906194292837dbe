"""Which byte ranges to ask for, so that many pieces of blobs come with few requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

GAP_BYTES_MAX = 64 * 1024
"""Most bytes between two pieces that are fetched for nothing rather than asking twice."""
RANGE_BYTES_MAX = 16 * 1024 * 1024
"""Largest range of one request."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a blob.

    Attributes:
        shard: sha2-256 of the blob, 32 bytes.
        offset: where they begin.
        length: how many they are; none costs nothing.
        digest: their sha2-256, 32 bytes, to be checked before they are given out; None where they are checked later.
    """

    shard: bytes
    offset: int
    length: int
    digest: bytes | None = None

    @property
    def stop(self) -> int:
        """Behind the last byte."""
        return self.offset + self.length


class Part(NamedTuple):
    """As much of a piece as one range has.

    Attributes:
        piece: its number.
        start: where in the blob it begins.
        stop: where it ends.
    """

    piece: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Range:
    """One request.

    Attributes:
        shard: sha2-256 of the blob, 32 bytes.
        start: the first byte.
        stop: behind the last byte.
        parts: what of it was asked for.
    """

    shard: bytes
    start: int
    stop: int
    parts: tuple[Part, ...]


def coalesce(pieces: Sequence[Piece]) -> list[Range]:
    """The ranges that cover all pieces, those first that the first pieces need.

    Pieces that overlap, touch or have a small gap between them share a range as long as it is not too large; a piece
    that is larger is cut.
    """
    by_shard: dict[bytes, list[Part]] = {}
    for number, piece in enumerate(pieces):
        cuts = range(piece.offset, piece.stop, RANGE_BYTES_MAX)
        parts = [Part(number, start, min(start + RANGE_BYTES_MAX, piece.stop)) for start in cuts]
        by_shard.setdefault(piece.shard, []).extend(parts)
    ranges = [one for shard, parts in by_shard.items() for one in _of_shard(shard, parts)]
    return sorted(ranges, key=lambda one: min(part.piece for part in one.parts))


def _of_shard(shard: bytes, parts: list[Part]) -> list[Range]:
    ranges: list[Range] = []
    taken: list[Part] = []
    start = stop = 0
    for part in sorted(parts, key=lambda part: (part.start, part.stop)):
        end = max(stop, part.stop)
        if taken and (part.start > stop + GAP_BYTES_MAX or end - start > RANGE_BYTES_MAX):
            ranges.append(Range(shard, start, stop, tuple(taken)))
            taken = []
        if not taken:
            start, end = part.start, part.stop
        taken.append(part)
        stop = end
    if taken:
        ranges.append(Range(shard, start, stop, tuple(taken)))
    return ranges
