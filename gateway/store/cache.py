"""The cache on the disk: blocks that came from the storage node, a file each, named by their SHA-256.

Several processes read and write it without asking each other: a file is written whole under another name and then
renamed, so it is there or it is not.  Nothing is synced, since everything can be had again; what a crash left wrong is
found when it is read.  Only the owner of the data folder removes files to keep it small (`trim`).
"""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from gateway.store.folder import PRIVATE_DIRECTORY_MODE, PRIVATE_FILE_MODE

TOUCH_SECONDS: Final = 3600
"""How old, in seconds, the note of a block's last use may become before a use renews it."""
UNFINISHED_SECONDS: Final = 3600
"""After how many seconds a file that is still under its other name was left by a process that has ended."""
TRIM_TO: Final = 0.9
"""What part of its bytes remains when the cache was too large: so that it is not trimmed again at once."""
_DISK_BLOCK_BYTES: Final = 512

_numbers = itertools.count()


class _File(NamedTuple):
    used_ns: int
    size: int
    path: str


class BlockCache:
    """Blocks by digest.

    Args:
        path: the folder; made when something is put into it.
        read_only: put nothing into it, and leave what is there as it is.
    """

    def __init__(self, path: Path, *, read_only: bool = False):
        self._path = path
        self._read_only = read_only

    def holds(self, digest: bytes) -> bool:
        """Whether there is a file for the block."""
        return self._file(digest).exists()

    def get(self, digest: bytes) -> bytes | None:
        """The block with that SHA-256, verified; None if it is not here."""
        file = self._file(digest)
        try:
            with file.open("rb") as opened:
                used = os.fstat(opened.fileno()).st_mtime
                data = opened.read()
        except OSError:
            return None
        right = hashlib.sha256(data).digest() == digest
        if self._read_only:
            return data if right else None
        if not right:
            with suppress(OSError):
                file.unlink()
            return None
        if abs(time.time() - used) > TOUCH_SECONDS:
            with suppress(OSError):
                os.utime(file)
        return data

    def put(self, digest: bytes, data: bytes) -> None:
        """Keep the block with that SHA-256; if it cannot be written, it is not kept."""
        if self._read_only:
            return
        file = self._file(digest)
        unfinished = file.with_name(f"{file.name}.{os.getpid()}-{threading.get_ident()}-{next(_numbers)}.new")
        try:
            for folder in (self._path, file.parent):
                folder.mkdir(mode=PRIVATE_DIRECTORY_MODE, exist_ok=True)
            with open(unfinished, "wb", opener=_private) as opened:
                opened.write(data)
            unfinished.rename(file)
        except OSError:
            with suppress(OSError):
                unfinished.unlink()

    def size_bytes(self) -> int:
        """How much of the disk it takes."""
        return sum(file.size for file in self._files())

    def trim(self, bytes_max: int) -> None:
        """If all take more than ``bytes_max`` of the disk, remove the blocks that were not used for longest."""
        files = sorted(self._files())
        size = sum(file.size for file in files)
        if size <= bytes_max:
            return
        for file in files:
            if size <= bytes_max * TRIM_TO:
                return
            with suppress(OSError):
                os.unlink(file.path)
            size -= file.size

    def _files(self) -> Iterator[_File]:
        """Every block; what was left unfinished is removed."""
        long_ago = time.time() - UNFINISHED_SECONDS
        for folder in _entries(self._path):
            for entry in _entries(folder):
                try:
                    status = entry.stat(follow_symlinks=False)
                    if entry.name.endswith(".new") and status.st_mtime < long_ago:
                        os.unlink(entry.path)
                        continue
                except OSError:
                    continue
                yield _File(status.st_mtime_ns, status.st_blocks * _DISK_BLOCK_BYTES, entry.path)

    def _file(self, digest: bytes) -> Path:
        name = digest.hex()
        return self._path / name[:2] / name


def _entries(folder: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:  # there is none
        return []


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE_FILE_MODE)
