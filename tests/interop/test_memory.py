"""A server's memory does not grow with the objects that pass through it: neither any process's nor that of all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

MIB = 1 << 20
PEAK_BYTES_MAX = 200 * MIB
"""For each process, as `time -v` has it."""
SUM_BYTES_MAX = 300 * MIB
"""For all of them, what several share counted once."""
LOOK_SECONDS = 0.1


@pytest.fixture(scope="module")
def fresh(start_for_module: Callable[..., Any]) -> Iterator[Any]:
    """A server whose peak is this module's doing."""
    server = start_for_module()
    server.boto3().create_bucket(Bucket="large")
    yield server
    assert server.stop() == 0


@contextmanager
def memory_watched(server: Any) -> Iterator[None]:
    """Memory stays within the limits in this context, as far as a look now and then can tell."""
    sums = [server.memory_bytes()]
    done = threading.Event()

    def look() -> None:
        while not done.wait(LOOK_SECONDS):
            sums.append(server.memory_bytes())

    watch = threading.Thread(target=look)
    watch.start()
    try:
        yield
    finally:
        done.set()
        watch.join()
    peak = server.peak_memory_bytes()
    print(f"largest process {peak // MIB} MiB; all {sums[0] // MIB} MiB before, {max(sums) // MIB} MiB at most")
    assert peak < PEAK_BYTES_MAX
    assert max(sums) < SUM_BYTES_MAX


def write_zeros_with_marks(path: Path, mebibytes: int) -> None:
    """A file without two equal MiB, cheap to make."""
    block = bytearray(MIB)
    with path.open("wb") as file:
        for number in range(mebibytes):
            block[:4] = number.to_bytes(4, "big")
            file.write(block)


def copy_up_and_down(server: Any, folder: Path, mebibytes: int) -> None:
    there, back = folder / "there", folder / "back"
    write_zeros_with_marks(there, mebibytes)
    with memory_watched(server):
        server.aws("s3", "cp", str(there), "s3://large/k", "--no-progress")
        server.aws("s3", "cp", "s3://large/k", str(back), "--no-progress")
    assert back.stat().st_size == mebibytes * MIB


def put_and_get_in_one_piece(server: Any, folder: Path, mebibytes: int) -> None:
    """One PUT and one GET, read slowly enough that the server has to wait for the client."""
    there = folder / "there"
    write_zeros_with_marks(there, mebibytes)
    s3 = server.boto3()
    with memory_watched(server):
        with there.open("rb") as file:
            s3.put_object(Bucket="large", Key="k", Body=file)
        got = s3.get_object(Bucket="large", Key="k")["Body"]
        with there.open("rb") as file:
            for piece in got.iter_chunks(MIB):
                assert piece == file.read(len(piece))


def test_aws_cp_of_256_mib(fresh: Any, tmp_path: Path) -> None:
    copy_up_and_down(fresh, tmp_path, 256)


@pytest.mark.big
def test_aws_cp_of_a_gibibyte(fresh: Any, tmp_path: Path) -> None:
    copy_up_and_down(fresh, tmp_path, 1024)


def test_one_put_and_get_of_256_mib(fresh: Any, tmp_path: Path) -> None:
    put_and_get_in_one_piece(fresh, tmp_path, 256)


@pytest.mark.big
def test_one_put_and_get_of_a_gibibyte(fresh: Any, tmp_path: Path) -> None:
    put_and_get_in_one_piece(fresh, tmp_path, 1024)


def test_clients_that_do_not_read(fresh: Any) -> None:
    """Sixteen downloads that nobody takes out of the socket: the server may not read ahead for them."""
    s3 = fresh.boto3()
    s3.put_object(Bucket="large", Key="k", Body=bytes(32 * MIB))
    connections = [fresh.connect() for _ in range(16)]
    try:
        for connection in connections:
            connection.sendall(fresh.wire_form("GET", "/large/k", fresh.signed("GET", "/large/k")))
        for connection in connections:
            assert connection.recv(12) == b"HTTP/1.1 200"
        assert s3.head_object(Bucket="large", Key="k")["ContentLength"] == 32 * MIB
        assert fresh.peak_memory_bytes() < PEAK_BYTES_MAX
    finally:
        for connection in connections:
            connection.close()


def test_sixteen_uploads_at_once(fresh: Any) -> None:
    s3 = fresh.boto3()
    body = bytes(12 * MIB)
    with memory_watched(fresh), ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: s3.put_object(Bucket="large", Key=f"k{number}", Body=body), range(16)))
