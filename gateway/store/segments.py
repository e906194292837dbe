"""All segment files of a data folder: their names and numbers, opening, creating, reading by number."""

from __future__ import annotations

import re
import threading

from gateway.store.errors import BlockMissing
from gateway.store.folder import DataFolder, SegmentKind
from gateway.store.segment import Segment

_KINDS: tuple[SegmentKind, ...] = ("log", "bulk")
_NAME = re.compile(r"(log|bulk)-(\d{8})\.car")


class Segments:
    """The segments of one folder.

    Args:
        folder: the data folder.
        read_only: open for reading beside another process that writes.
    """

    def __init__(self, folder: DataFolder, *, read_only: bool):
        self._folder = folder
        self._read_only = read_only
        self._by_number: dict[int, tuple[SegmentKind, Segment]] = {}
        self._creating = threading.Lock()
        self._newest = 0
        for file in sorted(folder.segments.iterdir()) if folder.segments.exists() else ():
            match = _NAME.fullmatch(file.name)
            if match:
                kind: SegmentKind = "log" if match[1] == "log" else "bulk"
                number = int(match[2])
                self._by_number[number] = (kind, Segment.open(number, file, read_only=read_only))
                self._newest = max(self._newest, number)

    @property
    def numbers(self) -> set[int]:
        """The numbers of all segments."""
        return set(self._by_number)

    def reserve(self, number: int) -> None:
        """Give new segments higher numbers than ``number``."""
        self._newest = max(self._newest, number)

    def of_kind(self, kind: SegmentKind) -> list[Segment]:
        """The segments of ``kind``, oldest first."""
        return [s for _, (k, s) in sorted(self._by_number.items()) if k == kind]

    def create(self, kind: SegmentKind) -> Segment:
        """Create the next segment; durable when this returns.

        Raises:
            StoreFull: no room.
        """
        with self._creating:
            number = self._newest + 1
            segment = Segment.create(number, self._folder.segment(number, kind))
            self._newest = number
            self._by_number[number] = (kind, segment)
            return segment

    def get(self, number: int) -> Segment:
        """The segment of that number.

        Raises:
            BlockMissing: there is none.
        """
        return self._segment(number)

    def is_bulk(self, number: int) -> bool:
        """Whether it is a bulk segment.

        Raises:
            BlockMissing: no such segment.
        """
        self._segment(number)
        return self._by_number[number][0] == "bulk"

    def read(self, number: int, offset: int, length: int) -> bytes:
        """The bytes at a place, unverified.

        Raises:
            BlockMissing: no such segment.
            BlockCorrupt: the disk fails, or the file ends early.
        """
        return self._segment(number).read(offset, length)

    def in_memory(self, number: int, offset: int, length: int) -> bool:
        """Whether `read` of that place would not wait for the disk.

        Raises:
            BlockMissing: no such segment.
        """
        return self._segment(number).in_memory(offset, length)

    def _segment(self, number: int) -> Segment:
        if number not in self._by_number:
            self._open_newer(number)
        return self._by_number[number][1]

    def _open_newer(self, number: int) -> None:
        """Open a segment that another process has made since; a writer knows all there are."""
        with self._creating:
            if number in self._by_number:  # by another thread, meanwhile
                return
            for kind in _KINDS if self._read_only else ():
                path = self._folder.segment(number, kind)
                if path.exists():
                    self._by_number[number] = (kind, Segment.open(number, path, read_only=True))
                    return
        raise BlockMissing(f"segment {number} is gone")

    @property
    def size_bytes(self) -> int:
        """The length of all segments together."""
        return sum(segment.size for _, segment in self._by_number.values())

    def close(self) -> None:
        """Close every file."""
        for _, segment in self._by_number.values():
            segment.close()
        self._by_number.clear()
