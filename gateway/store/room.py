"""What is kept free of the disk: bodies leave a reserve, so that deletes and commits still work.

Nothing is counted from one look at the disk to the next: several processes write to it, and strangers too.  So bodies
are looked at where they are written, each block of a large one and each batch with small ones, and an upload's size
beforehand only to refuse early what cannot fit.
"""

from __future__ import annotations

import os
from pathlib import Path

from gateway.store.errors import StoreFull


class DiskRoom:
    """The free space of a folder's disk.

    What others write between a look and the write that follows it comes out of the reserve.  That is at most a block
    of 1 MiB for each thread that writes large bodies, `StoreSettings.threads` of them in each process, and the small
    bodies of one batch, `gateway.store.committer.BATCH_BYTES_MAX`.  The large ones are refused at their next block, and
    what they took is free again.  Nodes, commits and rows are never refused, whatever they are for.

    Args:
        folder: the folder.
        reserve_bytes: what stays free.
    """

    def __init__(self, folder: Path, reserve_bytes: int):
        self._folder = folder
        self._reserve_bytes = reserve_bytes

    def require(self, size: int) -> None:
        """Look whether ``size`` bytes of bodies can be written now.

        Raises:
            StoreFull: there is not that much besides the reserve, or nobody knows how much there is.
        """
        try:
            disk = os.statvfs(self._folder)
        except OSError as error:
            raise StoreFull(f"cannot look how much of the disk is free: {error.strerror}") from error
        free_bytes = disk.f_bavail * disk.f_frsize
        if free_bytes - size < self._reserve_bytes:
            raise StoreFull(f"{free_bytes} bytes are free, of which {self._reserve_bytes} are in reserve")
