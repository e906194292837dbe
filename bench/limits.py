"""What this machine can do at most, measured in the same run as the servers.

Every figure of a server is read beside these: a PUT cannot be faster than MD5, a durable commit not
faster than a flush, a Python gateway not faster than aiohttp with nothing behind it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import socket
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.generator import run_in_process
from bench.server import ServerProcess, free_ports, wait_for_port
from bench.spec import LoadSpec
from bench.workspace import filesystem

MEGABYTE = 10**6
MEBIBYTE = 1 << 20
_HASH_SECONDS = 0.4
_LOOPBACK_BYTES = 1 << 30
_LOOPBACK_PIECE_BYTES = 256 * 1024
_SYNC_REPEATS = 150
_CREATE_REPEATS = 500
_SQLITE_SECONDS = 0.8
_HELLO_SECONDS = 1.5
_HELLO_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Limit:
    """One measured bound."""

    name: str
    value: float
    unit: str


def measure(folder: Path) -> Iterator[Limit]:
    """Measure all limits; scratch files go to the folder, which should be on the servers' disk."""
    yield Limit("md5, one core", _hash_rate(hashlib.md5), "MB/s")
    yield Limit("sha256, one core", _hash_rate(hashlib.sha256), "MB/s")
    yield Limit("append 4 KiB + fdatasync, p50", _append_sync_ms(folder, 4096), "ms")
    yield Limit("append 1 MiB + fdatasync, p50", _append_sync_ms(folder, MEBIBYTE), "ms")
    yield Limit("create 1 KiB file + rename, p50", _create_ms(folder), "ms")
    yield Limit("loopback TCP, one connection", _loopback_rate(), "MB/s")
    yield Limit("SQLite WAL FULL, one row each", _sqlite_commits(folder), "commits/s")
    yield Limit("aiohttp hello, 64 connections", _hello_rate(folder, "aiohttp"), "req/s")
    yield Limit("this generator, 64 connections", _hello_rate(folder, "raw"), "req/s")


def machine(folder: Path) -> dict[str, str]:
    """What the figures were measured on."""
    return {
        "cpu": _cpu_name(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory_gib": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f}",
        "filesystem": filesystem(folder),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


@contextmanager
def _scratch(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
        path.unlink()


def _hash_rate(make: Callable[[bytes], object]) -> float:
    buffer = os.urandom(MEBIBYTE)
    started = time.perf_counter()
    rounds = 0
    while time.perf_counter() - started < _HASH_SECONDS:
        make(buffer)
        rounds += 1
    return rounds * MEBIBYTE / (time.perf_counter() - started) / MEGABYTE


def _append_sync_ms(folder: Path, size_bytes: int) -> float:
    block = os.urandom(size_bytes)
    times = []
    with _scratch(folder / "append") as descriptor:
        for _ in range(_SYNC_REPEATS):
            started = time.perf_counter()
            os.write(descriptor, block)
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def _create_ms(folder: Path) -> float:
    """What a server pays at least that keeps each object in a file, without any sync."""
    times = []
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for number in range(_CREATE_REPEATS):
            started = time.perf_counter()
            path = Path(scratch, f"{number}.part")
            path.write_bytes(b"x" * 1024)
            path.rename(path.with_suffix(".whole"))
            times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def _loopback_rate() -> float:
    """Sender and receiver are threads: both spend their time in system calls without the GIL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = socket.create_connection(listener.getsockname())
        receiver, _ = listener.accept()

    def send() -> None:
        piece = bytes(_LOOPBACK_PIECE_BYTES)
        with sender:
            for _ in range(_LOOPBACK_BYTES // len(piece)):
                sender.sendall(piece)

    thread = threading.Thread(target=send, daemon=True)
    buffer = bytearray(_LOOPBACK_PIECE_BYTES)
    received = 0
    started = time.perf_counter()
    thread.start()
    with receiver:
        while count := receiver.recv_into(buffer):
            received += count
    elapsed = time.perf_counter() - started
    thread.join()
    return received / elapsed / MEGABYTE


def _sqlite_commits(folder: Path) -> float:
    path = folder / "limit.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)")
        started = time.perf_counter()
        commits = 0
        while time.perf_counter() - started < _SQLITE_SECONDS:
            connection.execute("INSERT INTO t VALUES (?, ?)", (commits, b"x" * 100))
            commits += 1
        return commits / (time.perf_counter() - started)
    finally:
        connection.close()
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def _hello_rate(folder: Path, kind: str) -> float:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "bench.hello", kind, str(port)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    server = ServerProcess(command, folder, environment)
    try:
        wait_for_port(server, port)
        spec = LoadSpec(
            port=port,
            access_key="hello",
            secret_key="hello",
            region="us-east-1",
            bucket="",
            operation="plain",
            size_bytes=0,
            concurrency=_HELLO_CONNECTIONS,
            duration_s=_HELLO_SECONDS,
            warmup_s=0.3,
            prefix="",
            first_index=0,
            keys=0,
            max_bytes=1 << 40,
            signed_payload=True,
            server_pid=server.pid,
        )
        result = run_in_process(spec)
        return result.operations / result.seconds if result.seconds else 0.0
    finally:
        server.stop()
