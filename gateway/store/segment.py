"""One segment file: appended to by one writer, read by anybody, never written again after a failed write."""

from __future__ import annotations

import errno
import os
import weakref
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from gateway.store.errors import BlockCorrupt, StoreError, StoreFull, StoreReadOnly
from gateway.store.folder import PRIVATE_FILE_MODE, sync_directory
from mst import car

_IOV_MAX = 1024
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE}
"""Errors that pass: of room on the disk, or of file descriptors."""


class Segment:
    """A segment file and how far it is written.

    Args:
        number: the segment's number, unique among all kinds.
        path: its file.
        fd: the open file.
        size: its length in bytes, of which everything is whole batches.
    """

    def __init__(self, number: int, path: Path, fd: int, size: int):
        self.number = number
        self.path = path
        self.fd = fd
        self.size = size
        self.poisoned = False
        # Who still reads a segment that was dropped must never find another file under its descriptor.
        self._closing = weakref.finalize(self, os.close, fd)

    @classmethod
    def create(cls, number: int, path: Path) -> Segment:
        """Create the file with its CAR header, durable with its directory entry.

        Raises:
            StoreFull: no room, or no file descriptor; no file is left behind.
            StoreReadOnly: any other failure, likewise.
        """
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE_MODE)
        except OSError as error:
            raise _failure(f"cannot create {path.name}", error) from error
        segment = cls(number, path, fd, 0)
        try:
            segment.append([car.HEADER])
            segment.sync()
            sync_directory(path.parent)
        except BaseException as error:
            segment.close()
            path.unlink()
            if isinstance(error, OSError):
                raise _failure(f"cannot create {path.name}", error) from error
            raise
        return segment

    @classmethod
    def open(cls, number: int, path: Path, *, read_only: bool) -> Segment:
        """Open an existing file."""
        fd = os.open(path, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC)
        return cls(number, path, fd, os.fstat(fd).st_size)

    @classmethod
    def open_to_append(cls, number: int, path: Path, size: int) -> Segment:
        """Open an existing file to write behind its first ``size`` bytes, which are whole batches.

        Raises:
            StoreFull: no file descriptor, for now.
            StoreReadOnly: any other failure.
        """
        try:
            segment = cls.open(number, path, read_only=False)
        except OSError as error:
            raise _failure(f"cannot open {path.name}", error) from error
        segment.size = size
        return segment

    def append(self, buffers: Sequence[bytes]) -> None:
        """Write ``buffers`` at the end, not yet durable.

        Raises:
            StoreFull: no room.  The segment is poisoned: its tail is torn and nothing is ever appended behind it.
            StoreReadOnly: any other failure, likewise.
        """
        if self.poisoned:
            raise StoreReadOnly(f"segment {self.path.name} took a failed write")
        offset = self.size
        try:
            pending = iter(buffers)
            while group := list(islice(pending, _IOV_MAX)):
                offset += _write_all(self.fd, group, offset)
        except OSError as error:
            self.poisoned = True
            raise _failure(f"cannot write to {self.path.name}", error) from error
        self.size = offset

    def sync(self) -> None:
        """Make everything appended so far durable.

        Raises:
            StoreReadOnly: the sync failed.  It is never tried again: after a failed sync the kernel may report
                success for bytes that it dropped.
        """
        try:
            os.fdatasync(self.fd)
        except OSError as error:
            self.poisoned = True
            raise StoreReadOnly(f"cannot sync {self.path.name}: {error.strerror}") from error

    def settle(self) -> None:
        """Have the disk and the file agree: what is read from now on is durable, or was never written.

        A process that was killed, or whose sync failed, leaves bytes that are read from memory and may be on no disk.

        Raises:
            StoreReadOnly: the sync failed; the next start finds what the disk has.
        """
        self.sync()
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def truncate(self, size: int) -> None:
        """Drop everything behind ``size``.

        Raises:
            StoreReadOnly: the file system refused; the segment is poisoned.
        """
        try:
            os.ftruncate(self.fd, size)
        except OSError as error:
            self.poisoned = True
            raise StoreReadOnly(f"cannot truncate {self.path.name}: {error.strerror}") from error
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        """The bytes at ``offset``, unverified.

        Raises:
            BlockCorrupt: the disk fails, or the file ends early.
        """
        data = self.read_upto(offset, length)
        if len(data) != length:
            raise BlockCorrupt(f"{self.path.name} ends before {offset + length}")
        return data

    def read_upto(self, offset: int, length: int) -> bytes:
        """`read`, and less where the file ends.

        Raises:
            BlockCorrupt: the disk fails.
        """
        try:
            return os.pread(self.fd, length, offset)
        except OSError as error:
            raise BlockCorrupt(f"cannot read {self.path.name} at {offset}: {error.strerror}") from error

    def in_memory(self, offset: int, length: int) -> bool:
        """Whether the bytes there seem to be in the kernel's memory: their first and last page are."""
        return length == 0 or all(self._page_in_memory(at) for at in {offset, offset + length - 1})

    def _page_in_memory(self, offset: int) -> bool:
        try:
            return os.preadv(self.fd, [bytearray(1)], offset, os.RWF_NOWAIT) == 1
        except (OSError, AttributeError):  # not in memory, or not a system that can tell
            return False

    def close(self) -> None:
        """Close the file; otherwise it is closed when nobody uses this any more."""
        self._closing()

    @property
    def file_bytes(self) -> int:
        """The length of the file, to which another process may be writing."""
        return os.fstat(self.fd).st_size

    @property
    def is_deleted(self) -> bool:
        """Whether the file is gone from its folder."""
        return os.fstat(self.fd).st_nlink == 0


class SegmentBytes:
    """The beginning of a segment, read as it is asked for; not mapped, because a writer beside us may cut the file.

    Args:
        segment: the segment.
        size: how much of it, in bytes.
    """

    def __init__(self, segment: Segment, size: int):
        self._segment = segment
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size)
        return self._segment.read_upto(start, max(stop - start, 0))


def _failure(what: str, error: OSError) -> StoreError:
    kind = StoreFull if error.errno in _NO_ROOM else StoreReadOnly
    return kind(f"{what}: {error.strerror}")


def _write_all(fd: int, buffers: list[bytes], offset: int) -> int:
    """Write all of ``buffers``, however the kernel splits it; returns the number of bytes."""
    total = sum(map(len, buffers))
    written = os.pwritev(fd, buffers, offset)
    if written < total:
        rest = memoryview(b"".join(buffers))
        while written < total:
            written += os.pwrite(fd, rest[written:], offset + written)
    return total
