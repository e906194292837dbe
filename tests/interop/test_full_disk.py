"""A disk that fills up while the server runs on it, on a small file system of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.waiting import wait_until

pytestmark = pytest.mark.not_remote(reason="what the node has is dropped, so the disk does not fill up")

MIB = 1 << 20
DISK_MIB = 96
RESERVE_MIB = 16
WORKERS = 3
LARGE_MIB = 60
PIECE_SECONDS = 0.02
COMMITS_BYTES_MAX = 4 * MIB
"""What the commits of a test take, and the registry's journal."""
ATTEMPTS_MAX = 1000
RECOVER_SECONDS_MAX = 5.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of `DISK_MIB`, where this process may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "ms3t-test", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"mounting a small file system is not possible here: {error}")
    if mounted.returncode != 0:
        pytest.skip(f"mounting a small file system is not permitted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def full(small_disk: Path, start: Callable[..., Any]) -> Iterator[Any]:
    """A server on the small disk, and a client of it."""
    server = start(
        data_dir=small_disk / "data",
        config={
            "workers": WORKERS,
            "store": {"reserve_free_bytes": f"{RESERVE_MIB}MiB", "segment_bytes": "32MiB"},
        },
    )
    client = server.boto3()
    client.create_bucket(Bucket="small")
    yield server
    assert server.stop() == 0, server.log[-3000:]
    assert "Traceback" not in server.log, server.log[-5000:]


def put(s3: Any, key: str, size: int) -> int:
    """The status of a PUT."""
    try:
        return s3.put_object(Bucket="small", Key=key, Body=key.encode() + bytes(size))["ResponseMetadata"][
            "HTTPStatusCode"
        ]
    except ClientError as error:
        assert error.response["Error"]["Code"] == "InsufficientStorage"
        return error.response["ResponseMetadata"]["HTTPStatusCode"]


def check_all(s3: Any, stored: dict[str, int]) -> None:
    """Everything that was acknowledged is there, whole, and nothing else."""
    listed = {row["Key"]: row["Size"] for row in s3.list_objects_v2(Bucket="small").get("Contents", ())}
    assert listed == {key: len(key) + size for key, size in stored.items()}
    for key, size in stored.items():
        assert s3.get_object(Bucket="small", Key=key)["Body"].read() == key.encode() + bytes(size)


@pytest.mark.parametrize("size", [4 * MIB, 100 * 1024], ids=["4 MiB", "100 KiB"])
def test_uploads_stop_at_the_reserve(full: Any, small_disk: Path, size: int) -> None:
    """507 at the reserve; reads and deletes go on; uploads too, as soon as there is room, without a restart."""
    s3 = full.boto3()
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(40 * MIB))
    stored: dict[str, int] = {}
    for number in range(ATTEMPTS_MAX):
        if put(s3, f"key-{number}", size) == 507:
            break
        stored[f"key-{number}"] = size
    else:
        pytest.fail("the disk never filled up")
    assert len(stored) > 2
    check_all(s3, stored)
    with pytest.raises(ClientError, match="InsufficientStorage"):
        upload = s3.create_multipart_upload(Bucket="small", Key="m")["UploadId"]
        s3.upload_part(Bucket="small", Key="m", UploadId=upload, PartNumber=1, Body=bytes(5 * MIB))
    s3.delete_object(Bucket="small", Key="key-0")
    s3.delete_objects(Bucket="small", Delete={"Objects": [{"Key": "key-1"}]})
    del stored["key-0"], stored["key-1"]
    check_all(s3, stored)
    ballast.unlink()
    wait_until(lambda: put(s3, "afterwards", size) == 200, RECOVER_SECONDS_MAX)
    stored["afterwards"] = size
    check_all(s3, stored)


def free_bytes(folder: Path) -> int:
    """How much the folder's file system still takes."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def upload_slowly(server: Any, connection: socket.socket, key: str, size: int) -> int:
    """The status of a PUT of which a MiB arrives every few milliseconds."""
    target = f"/small/{key}"
    headers = server.signed("PUT", target, payload="UNSIGNED-PAYLOAD")
    # A refusal may come before the last byte has gone.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(server.wire_form("PUT", target, headers, length=size))
        for _ in range(size // MIB):
            connection.sendall(bytes(MIB))
            time.sleep(PIECE_SECONDS)
    reply = server.read_reply(connection, "PUT")
    assert reply is not None
    assert reply.status == 200 or reply.code == "InsufficientStorage"
    return reply.status


def test_uploads_that_do_not_fit_together_leave_the_reserve(full: Any, small_disk: Path) -> None:
    """Each fits when it begins, each with another worker; deletes go on while they come to the end of the disk."""
    s3 = full.boto3()
    # So that each delete has something to write.
    s3.put_bucket_versioning(Bucket="small", VersioningConfiguration={"Status": "Enabled"})
    lowest = before = free_bytes(small_disk)
    deleted = 0
    connections = [connection for (connection,) in full.connections_to_all_workers().values()]
    with ThreadPoolExecutor(WORKERS) as threads:
        uploads = [
            threads.submit(upload_slowly, full, connection, f"large-{number}", LARGE_MIB * MIB)
            for number, connection in enumerate(connections)
        ]
        while not all(upload.done() for upload in uploads):
            s3.delete_object(Bucket="small", Key=f"key-{deleted}")
            deleted += 1
            lowest = min(lowest, free_bytes(small_disk))
    statuses = [upload.result() for upload in uploads]
    for connection in connections:
        connection.close()
    assert 507 in statuses
    assert deleted > 10
    # A block of each may be written between another's look at the disk and its write.
    assert lowest > (RESERVE_MIB - WORKERS) * MIB - COMMITS_BYTES_MAX
    stored = {f"large-{number}" for number, status in enumerate(statuses) if status == 200}
    assert {row["Key"] for row in s3.list_objects_v2(Bucket="small").get("Contents", ())} == stored
    assert free_bytes(small_disk) > before - LARGE_MIB * MIB * len(stored) - COMMITS_BYTES_MAX
    assert put(s3, "afterwards", MIB) == 200


def test_not_a_byte_left(full: Any, small_disk: Path) -> None:
    """Something else takes even the reserve: every write is refused, nothing acknowledged is lost, and it passes."""
    s3 = full.boto3()
    stored = {}
    for number in range(5):
        assert put(s3, f"key-{number}", 10_000) == 200
        stored[f"key-{number}"] = 10_000
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))
    for number in range(20):
        assert put(s3, f"refused-{number}", 200_000 if number % 2 else 10) == 507
        # The reserve is gone, so a delete may be refused; it may not be half done.
        try:
            s3.delete_object(Bucket="small", Key="key-0")
            stored.pop("key-0", None)
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 507
    check_all(s3, stored)
    ballast.unlink()
    wait_until(lambda: put(s3, "afterwards", 1000) == 200, RECOVER_SECONDS_MAX, log=lambda: full.log)
    stored["afterwards"] = 1000
    check_all(s3, stored)
    full.kill()
    full.restart()
    check_all(full.boto3(), stored)
