"""Data folders: the layout of the gateway's, the one owner that each has, and durable creation of files in them."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal, Self, TypeAlias

from gateway.store.errors import FolderLocked

SegmentKind: TypeAlias = Literal["log", "bulk"]

PRIVATE_DIRECTORY_MODE = 0o700
PRIVATE_FILE_MODE = 0o600
ORPHANS_SECONDS = 5.0
"""How long the processes of an owner that was killed may take to end, in seconds."""
_LOOK_SECONDS = 0.02
_OWNER_BYTES_MAX = 32


class OwnedFolder:
    """A data folder, which one process at a time may own.

    Args:
        path: the folder.

    Attributes:
        lock_fd: the open lock, while this process owns the folder; the lock is held until every copy of it is closed.
    """

    def __init__(self, path: Path):
        self.path = path
        self.lock_fd: int | None = None
        self._lock = path / "lock"

    def make(self, *directories: Path) -> None:
        """Make the folder and those in it, readable by their owner alone, where they are not there."""
        for directory in (self.path, *directories):
            if not directory.exists():
                directory.mkdir(mode=PRIVATE_DIRECTORY_MODE, parents=True)
                sync_directory(directory.parent)

    def own(self) -> None:
        """Take the folder for this process, until `release` or the process's end.

        Raises:
            FolderLocked: another process has it.
        """
        fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE_MODE)
        deadline = time.monotonic() + ORPHANS_SECONDS
        while not _locked(fd):
            owner = os.pread(fd, _OWNER_BYTES_MAX, 0).decode(errors="replace").strip()
            # An owner that was killed leaves workers that hold the lock until they notice.
            if _is_running(owner) or time.monotonic() > deadline:
                os.close(fd)
                raise FolderLocked(
                    f"data folder {self.path} is in use by process {owner or 'unknown'}: stop it first, "
                    "or choose another folder with --data-dir"
                )
            time.sleep(_LOOK_SECONDS)
        self.lock_fd = fd
        with suppress(OSError):  # on a full disk the lock still holds, only its owner stays unnamed
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the folder up."""
        if self.lock_fd is not None:
            os.close(self.lock_fd)
            self.lock_fd = None


class DataFolder(OwnedFolder):
    """Where everything of one gateway lives.

    ::

        lock            held by the process that owns the folder
        space.key       the ed25519 key that signs every commit
        registry.db     heads, credentials, uploads (SQLite)
        segments/       log-NNNNNNNN.car and bulk-NNNNNNNN.car
        index/          block locations; can be rebuilt from the segments
        remote/         locations of blocks on the storage node; can be rebuilt from the indexes there
        cache/          blocks that came from the storage node; can be deleted
        outbox/         packs on their way to the storage node
        shared/         what the processes of the running server have in common; made anew at each start
        server.json     where the running (or killed) server listens
        recovering.db   the registry while `ms3t recover` makes it; as long as it is there, nothing else is whole

    Args:
        path: the folder.
    """

    def __init__(self, path: Path):
        super().__init__(path)
        self.key = path / "space.key"
        self.registry = path / "registry.db"
        self.segments = path / "segments"
        self.index = path / "index"
        self.remote = path / "remote"
        self.outbox = path / "outbox"
        self.cache = path / "cache"
        self.shared = path / "shared"
        self.server = path / "server.json"
        self.recovering = path / "recovering.db"

    def segment(self, number: int, kind: SegmentKind) -> Path:
        """The file of a segment."""
        return self.segments / f"{kind}-{number:08d}.car"

    def create(self) -> Self:
        """Make the folder, readable by its owner alone, if it is not there."""
        self.make(self.segments, self.index)
        return self


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OverflowError, PermissionError):
        return True
    return True


def sync_directory(path: Path) -> None:
    """Make the creation or removal of a file in ``path`` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
