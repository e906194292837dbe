"""Who has a data folder, and where its server listens: written down beside the data so that other programs find it."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass

from gateway.config import Listen
from gateway.store.folder import PRIVATE_FILE_MODE, DataFolder, sync_directory

_FILE_BYTES_MAX = 4096
_PID_BYTES_MAX = 32
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Addresses that mean all of a machine's, and what to call it by on the machine itself."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is running, or was until it was killed.

    Attributes:
        pid: its process.
        endpoint: its URL.
        region: the region requests to it are signed for.
    """

    pid: int
    endpoint: str
    region: str


def endpoint_of(listen: Listen, *, tls: bool) -> str:
    """The URL at which a server that listens there, with or without TLS, is reached from this machine."""
    return f"{'https' if tls else 'http'}://{Listen(local_host(listen), listen.port)}"


def local_host(listen: Listen) -> str:
    """What this machine itself calls the host that a server listens at."""
    return _EVERYWHERE.get(listen.host, listen.host)


def write_running(folder: DataFolder, running: Running) -> None:
    """Write down that this server listens there; a reader sees the old file or the new one, never half of one."""
    unfinished = folder.server.with_name(folder.server.name + ".new")
    text = json.dumps(asdict(running)) + "\n"
    with open(os.open(unfinished, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, PRIVATE_FILE_MODE), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(folder.server)
    sync_directory(folder.path)


def forget_running(folder: DataFolder) -> None:
    """Take back what was written down, if anything; one that cannot be removed is not believed anyway."""
    with suppress(OSError):
        folder.server.unlink()


def read_running(folder: DataFolder) -> Running | None:
    """The server that has the folder now; None if none has, or it is not known where it listens."""
    running = _read(folder)
    return running if running is not None and running.pid == lock_holder(folder) else None


def lock_holder(folder: DataFolder) -> int | None:
    """The process that owns the folder, or None.

    Looks by sharing the lock for a moment, which is all that flock offers.
    """
    try:
        fd = os.open(folder.path / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(fd, _PID_BYTES_MAX).strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(fd)
    return None


def _read(folder: DataFolder) -> Running | None:
    """What was written down last; None if nothing was, or nothing that makes sense."""
    try:
        with folder.server.open() as file:
            document = json.loads(file.read(_FILE_BYTES_MAX))
        return Running(int(document["pid"]), str(document["endpoint"]), str(document["region"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
