"""The folder all servers' data lies in: on a real disk, spread, warmed, deleted at the end."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WARM_TIMEOUT_SECONDS = 15.0
MEMORY_FILESYSTEMS = ("tmpfs", "ramfs")
_PIECE_BYTES = 8 << 20
# From linux/fs.h; the argument is a long, of which the kernel uses the lower 32 bits.
_FS_IOC_GETFLAGS = 0x80086601
_FS_IOC_SETFLAGS = 0x40086602
_FS_TOPDIR_FL = 0x00020000


@contextmanager
def workspace(parent: Path) -> Iterator[Path]:
    """A fresh folder below the parent, deleted on the way out."""
    folder = Path(tempfile.mkdtemp(prefix="ms3t-bench-", dir=parent))
    try:
        _spread_subfolders(folder)
        yield folder
    finally:
        # An impatient second Ctrl-C waits until the gigabytes are gone.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        shutil.rmtree(folder, ignore_errors=True)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def filesystem(folder: Path) -> str:
    """The type of the filesystem that holds the folder, such as ext4."""
    best_mount, best_type = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind = line.split()[:3]
        inside = folder.resolve().is_relative_to(mount)
        if inside and len(mount) >= len(best_mount):
            best_mount, best_type = mount, kind
    return best_type


def warm_disk(folder: Path, size_bytes: int) -> int:
    """Write and delete a file, so that no server pays for a virtual disk's first touch of blocks.

    Returns the bytes written: fewer than asked when time or half of the free space runs out.
    """
    space = os.statvfs(folder)
    size_bytes = min(size_bytes, space.f_bavail * space.f_frsize // 2)
    piece = os.urandom(_PIECE_BYTES)
    deadline = time.monotonic() + WARM_TIMEOUT_SECONDS
    written = 0
    path = folder / "warm"
    try:
        with path.open("wb", buffering=0) as file:
            while written < size_bytes and time.monotonic() < deadline:
                written += file.write(piece)
                os.fdatasync(file.fileno())
    finally:
        path.unlink(missing_ok=True)
    return written


def _spread_subfolders(folder: Path) -> None:
    """Ask ext4 to put each subfolder in a block group of its own (chattr +T).

    Measured on one machine: after runs had created and deleted many files below /var/tmp, creating
    one there took 0.4 to 1.1 ms, but 20 to 40 us in a subfolder of a folder with this flag at the
    same time. Servers that keep a file per object would pay for that. The likely reason, not
    verified, is that ext4 steps over recently deleted inodes of the parent's block group.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        answer = fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, struct.pack("@l", 0))
        (flags,) = struct.unpack("@l", answer)
        fcntl.ioctl(descriptor, _FS_IOC_SETFLAGS, struct.pack("@l", flags | _FS_TOPDIR_FL))
    except OSError:
        return  # another kind of filesystem, which has no such flag and no need of it
    finally:
        os.close(descriptor)
