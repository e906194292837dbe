"""The data folder: its layout, its one owner, and durable creation of files in it."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Self

from gateway.store.errors import FolderLocked

PRIVATE_DIRECTORY_MODE = 0o700
PRIVATE_FILE_MODE = 0o600


class DataFolder:
    """Where everything of one gateway lives.

    ::

        lock            held by the process that owns the folder
        space.key       the ed25519 key that signs every commit
        registry.db     heads, credentials, uploads (SQLite)
        segments/       log-NNNNNNNN.car and bulk-NNNNNNNN.car
        index/          block locations; can be rebuilt from the segments
        server.json     where the running (or last) server listens

    Args:
        path: the folder.
    """

    def __init__(self, path: Path):
        self.path = path
        self.key = path / "space.key"
        self.registry = path / "registry.db"
        self.segments = path / "segments"
        self.index = path / "index"
        self.server = path / "server.json"
        self._lock = path / "lock"
        self._lock_fd: int | None = None

    def create(self) -> Self:
        """Make the folder, readable by its owner alone, if it is not there."""
        for directory in (self.path, self.segments, self.index):
            if not directory.exists():
                directory.mkdir(mode=PRIVATE_DIRECTORY_MODE, parents=True)
                sync_directory(directory.parent)
        return self

    def own(self) -> None:
        """Take the folder for this process, until `release` or the process's end.

        Raises:
            FolderLocked: another process has it.
        """
        fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(fd, 32).decode(errors="replace").strip()
            os.close(fd)
            raise FolderLocked(
                f"data folder {self.path} is in use by process {owner or 'unknown'}: stop it first, "
                "or choose another folder with --data-dir"
            ) from None
        self._lock_fd = fd
        with suppress(OSError):  # on a full disk the lock still holds, only its owner stays unnamed
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the folder up."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None


def sync_directory(path: Path) -> None:
    """Make the creation or removal of a file in ``path`` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
