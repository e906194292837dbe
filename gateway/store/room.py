"""How much the disk still takes, and what is kept free of it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from gateway.store.errors import StoreFull

ROOM_CHECK_SECONDS = 0.5
"""How long a look at the free space of the disk holds."""


class DiskRoom:
    """The free space of a folder's disk.

    Args:
        folder: the folder.
        reserve_bytes: what stays free, so that deletes and commits still work.
    """

    def __init__(self, folder: Path, reserve_bytes: int):
        self._folder = folder
        self._reserve_bytes = reserve_bytes
        self._looked = 0.0
        self._free_bytes = 0

    def require(self, size: int) -> None:
        """Take ``size`` bytes of the room for something that will be written.

        Raises:
            StoreFull: there is not that much besides the reserve.
        """
        now = time.monotonic()
        if now - self._looked > ROOM_CHECK_SECONDS:
            disk = os.statvfs(self._folder)
            self._free_bytes = disk.f_bavail * disk.f_frsize
            self._looked = now
        if self._free_bytes - size < self._reserve_bytes:
            raise StoreFull(f"{self._free_bytes} bytes are free, of which {self._reserve_bytes} are in reserve")
        # Until the next look: a fast disk takes more than the reserve in that time.
        self._free_bytes -= size
