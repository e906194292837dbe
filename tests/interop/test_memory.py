"""A server's memory does not grow with the objects that pass through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

MIB = 1 << 20
PEAK_BYTES_MAX = 200 * MIB


@pytest.fixture(scope="module")
def fresh(start_for_module: Callable[..., Any]) -> Iterator[Any]:
    """A server whose peak is this module's doing."""
    server = start_for_module()
    server.boto3().create_bucket(Bucket="large")
    yield server
    assert server.stop() == 0


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
    server.aws("s3", "cp", str(there), "s3://large/k", "--no-progress")
    server.aws("s3", "cp", "s3://large/k", str(back), "--no-progress")
    assert back.stat().st_size == mebibytes * MIB
    assert server.peak_memory_bytes() < PEAK_BYTES_MAX


def put_and_get_in_one_piece(server: Any, folder: Path, mebibytes: int) -> None:
    """One PUT and one GET, read slowly enough that the server has to wait for the client."""
    there = folder / "there"
    write_zeros_with_marks(there, mebibytes)
    s3 = server.boto3()
    with there.open("rb") as file:
        s3.put_object(Bucket="large", Key="k", Body=file)
    got = s3.get_object(Bucket="large", Key="k")["Body"]
    with there.open("rb") as file:
        for piece in got.iter_chunks(MIB):
            assert piece == file.read(len(piece))
    assert server.peak_memory_bytes() < PEAK_BYTES_MAX


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
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: s3.put_object(Bucket="large", Key=f"k{number}", Body=body), range(16)))
    assert fresh.peak_memory_bytes() < PEAK_BYTES_MAX
