"""Where the server of a data folder listens, written down beside the data so that other programs find it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

from gateway.config import Listen
from gateway.store.folder import PRIVATE_FILE_MODE, DataFolder, sync_directory

_FILE_BYTES_MAX = 4096
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Addresses that mean all of a machine's, and what to call it by on the machine itself."""


@dataclass(frozen=True, slots=True)
class Running:
    """The server that is running, or the last that was.

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


def read_running(folder: DataFolder) -> Running | None:
    """What was written down last; None if nothing was, or nothing that makes sense."""
    try:
        with folder.server.open() as file:
            document = json.loads(file.read(_FILE_BYTES_MAX))
        return Running(int(document["pid"]), str(document["endpoint"]), str(document["region"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
