"""All segment files of a data folder: their names and numbers, opening, creating, reading by number."""

from __future__ import annotations

import re
import threading
from contextlib import suppress

from gateway.store.errors import BlockMissing
from gateway.store.folder import DataFolder, SegmentKind, sync_directory
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
        self._removed_bytes = 0
        for file in sorted(folder.segments.iterdir()) if folder.segments.exists() else ():
            match = _NAME.fullmatch(file.name)
            if match:
                kind: SegmentKind = "log" if match[1] == "log" else "bulk"
                number = int(match[2])
                with suppress(FileNotFoundError):  # its owner has just deleted it
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

    def remove(self, number: int) -> None:
        """Delete a segment, durably; who is reading it may finish.  Harmless if it is gone already.

        Raises:
            OSError: it is still there.
        """
        found = self._by_number.get(number)
        if found is None:
            return
        segment = found[1]
        size = segment.file_bytes
        segment.path.unlink(missing_ok=True)
        sync_directory(segment.path.parent)
        if self._by_number.pop(number, None) is not None:
            self._removed_bytes += size

    def let_go_of_deleted(self) -> None:
        """Close the segments that their owner has deleted, so that the disk gets their room back."""
        for number, (_, segment) in list(self._by_number.items()):
            if segment.is_deleted:
                del self._by_number[number]

    def has(self, number: int) -> bool:
        """Whether there is a segment of that number."""
        try:
            self._segment(number)
        except BlockMissing:
            return False
        return True

    def is_bulk(self, number: int) -> bool:
        """Whether it is a bulk segment.

        Raises:
            BlockMissing: no such segment.
        """
        found = self._by_number.get(number) or self._open_newer(number)
        return found[0] == "bulk"

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
        found = self._by_number.get(number) or self._open_newer(number)
        return found[1]

    def _open_newer(self, number: int) -> tuple[SegmentKind, Segment]:
        """Open a segment that another process has made since; a writer knows all there are."""
        with self._creating:
            if number in self._by_number:  # by another thread, meanwhile
                return self._by_number[number]
            for kind in _KINDS if self._read_only else ():
                path = self._folder.segment(number, kind)
                with suppress(FileNotFoundError):
                    found = self._by_number[number] = (kind, Segment.open(number, path, read_only=True))
                    return found
        raise BlockMissing(f"segment {number} is gone")

    @property
    def size_bytes(self) -> int:
        """The length of all segments together, with what other processes wrote."""
        return sum(segment.file_bytes for _, segment in list(self._by_number.values()))

    @property
    def written_bytes(self) -> int:
        """As `size_bytes`, and what was removed since they were opened."""
        return self._removed_bytes + self.size_bytes

    def close(self) -> None:
        """Close every file."""
        for _, segment in self._by_number.values():
            segment.close()
        self._by_number.clear()
