"""A gateway that is killed while it drops segments, a node that is killed while it is read from: nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, HTTPClientError, ResponseStreamingError

from tests.remote_servers import RemoteServers
from tests.servers import kept_running
from tests.store_client import content_of

CONTENTS = {f"{n:02d}": content_of(n, (100, 20_000, 1_500_000)[n % 3]) for n in range(12)}
READERS = 3
END_SECONDS_MAX = 60.0


def sweep(folder: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.crash.trimming", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def test_dropping_that_was_killed_is_finished(folder: Path) -> None:
    report = sweep(folder, "--first", "60", "--step", "240")
    assert report["wrong"] == []
    assert report["points"] >= 2


@pytest.mark.parametrize(
    "bug",
    [
        "what_came_since_goes",
        pytest.param("forgotten_in_memory_alone", marks=pytest.mark.crash_long),
        pytest.param("what_is_needed_goes", marks=pytest.mark.crash_long),
    ],
)
def test_this_would_find(folder: Path, bug: str) -> None:
    assert sweep(folder, "--first", "250", "--step", "7", "--bug", bug)["wrong"]


@pytest.mark.crash_long
def test_every_step(folder: Path) -> None:
    report = sweep(folder)
    assert report["wrong"] == []
    assert report["points"] >= 100


def kill_the_node_while_it_is_read(folder: Path, seconds: float) -> int:
    """Kill the node again and again for as long; returns how often somebody was told that it is away."""
    wrong: list[str] = []
    away = 0
    over = threading.Event()

    def read(s3: Any) -> None:
        nonlocal away
        while not over.is_set():
            for key, content in CONTENTS.items():
                try:
                    if s3.get_object(Bucket="read", Key=key)["Body"].read() != content:
                        wrong.append(f"{key} has other bytes")
                    if len(s3.list_objects_v2(Bucket="read")["Contents"]) != len(CONTENTS):
                        wrong.append("a listing lacks something")
                except ClientError as error:
                    away += 1
                    if error.response["ResponseMetadata"]["HTTPStatusCode"] != 503:
                        wrong.append(repr(error))
                except (HTTPClientError, ResponseStreamingError):  # cut in the middle
                    away += 1

    with RemoteServers(folder) as servers, kept_running(servers.start(folder)) as server:
        s3 = server.boto3()
        s3.create_bucket(Bucket="read")
        for key, content in CONTENTS.items():
            s3.put_object(Bucket="read", Key=key, Body=content)
        readers = [threading.Thread(target=read, args=[server.boto3()]) for _ in range(READERS)]
        for reader in readers:
            reader.start()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            before = servers.reads
            while servers.reads < before + 3 and time.monotonic() < until:
                time.sleep(0.01)
            servers.kill_node()
        over.set()
        for reader in readers:
            reader.join()
        assert wrong == []
        deadline = time.monotonic() + END_SECONDS_MAX
        left = dict(CONTENTS)
        while left:
            assert time.monotonic() < deadline
            key = next(iter(left))
            try:
                assert s3.get_object(Bucket="read", Key=key)["Body"].read() == left[key]
                del left[key]
            except ClientError as error:  # it was away too often to be asked at once
                assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503
                time.sleep(0.2)
    return away


@pytest.mark.crash_long
def test_a_node_that_is_killed_again_and_again(tmp_path: Path, seconds: float) -> None:
    print(f"away {kill_the_node_while_it_is_read(tmp_path, seconds)} times")
