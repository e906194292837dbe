"""`ms3t serve` and `ms3t node serve`, each in processes of its own: what a client is answered is on the node."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.store.folder import DataFolder
from registry.database import Database
from registry.heads import load_all
from registry.space import SpaceKey
from tests.node_process import MS3T, NodeProcess
from tests.servers import Server, child_environment
from tests.waiting import wait_until

Start = Callable[..., Server]


class Pair:
    """A gateway and the node that it ships to."""

    def __init__(self, tmp_path: Path, start: Start) -> None:
        self.data = tmp_path / "gateway"
        self._start = start
        self.node = NodeProcess(tmp_path / "node")
        self.port = self.node.ready["url"].rpartition(":")[2]
        self.did = SpaceKey.load_or_create(DataFolder(self.data).create().key).did

    def serve(self, **config: Any) -> Server:
        """Start the gateway."""
        ready = self.node.ready
        remote = {"url": ready["url"], "did": ready["did"], "proof": self.node.grant(self.did)}
        return self._start(data_dir=self.data, config={"remote": remote, **config})

    def restart_node(self) -> None:
        """Start the node again, where it was."""
        self.node = NodeProcess(self.node.data, "--listen", f"127.0.0.1:{self.port}")

    def ms3t(self, *arguments: str, status: int | None = 0, config: Path | None = None) -> Any:
        """What a verb prints as JSON."""
        options = ["--data-dir", str(self.data), *(["--config", str(config)] if config else [])]
        done = subprocess.run(
            [str(MS3T), *arguments, *options], capture_output=True, text=True, env=child_environment(), check=False
        )
        assert status is None or done.returncode == status, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def pair(tmp_path: Path, start: Start) -> Iterator[Pair]:
    made = Pair(tmp_path, start)
    yield made
    made.node.stop(signal.SIGKILL)


def config_of(server: Server) -> Path:
    return Path(server.arguments[server.arguments.index("--config") + 1])


def roots(pair: Pair, server: Server) -> dict[str, Any]:
    return {root["bucket"]: root for root in pair.ms3t("roots", "--json", config=config_of(server))}


def test_what_is_answered_is_shipped(pair: Pair) -> None:
    server = pair.serve(ack="remote", workers=2)
    s3 = server.boto3()
    s3.create_bucket(Bucket="photos")
    for size in (10, 300_000, 3_000_000):
        done = s3.put_object(Bucket="photos", Key=f"{size}", Body=bytes(size))
        headers = done["ResponseMetadata"]["HTTPHeaders"]
        assert headers["x-ms3t-shipped"] == headers["x-ms3t-commit"]
        root = roots(pair, server)["photos"]
        assert root["shipped_commit"] == root["commit"] == headers["x-ms3t-commit"]
        assert (root["shipped_sequence"], root["behind_commits"], root["behind_bytes"]) == (root["sequence"], 0, 0)
    upload = s3.create_multipart_upload(Bucket="photos", Key="parts")["UploadId"]
    parts = []
    for number in (1, 2):
        part = s3.upload_part(Bucket="photos", Key="parts", UploadId=upload, PartNumber=number, Body=bytes(5 << 20))
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    s3.complete_multipart_upload(Bucket="photos", Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
    s3.put_bucket_tagging(Bucket="photos", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    root = roots(pair, server)["photos"]
    assert root["shipped_commit"] == root["commit"]
    checks = {check["check"]: check for check in pair.ms3t("doctor", "--json", config=config_of(server))["checks"]}
    assert checks["shipping"]["status"] == checks["storage node"]["status"] == "ok"
    assert str(pair.did) in checks["space key"]["detail"]  # what a person gives to whoever runs the node
    s3.delete_bucket_tagging(Bucket="photos")
    assert server.stop() == 0


def test_a_gateway_that_is_killed_goes_on_where_it_was(pair: Pair) -> None:
    server = pair.serve(ship={"interval_seconds": 0})
    s3 = server.boto3()
    s3.create_bucket(Bucket="photos")
    for number in range(20):
        s3.put_object(Bucket="photos", Key=f"{number}", Body=bytes(200_000))
    server.kill()
    server.restart()
    until_shipped(pair, server)
    assert server.stop() == 0


def test_a_node_that_is_gone_and_comes_back(pair: Pair) -> None:
    server = pair.serve(ack="remote", ship={"timeout_seconds": 2})
    s3 = server.boto3()
    s3.create_bucket(Bucket="photos")
    pair.node.stop(signal.SIGKILL)
    with pytest.raises(s3.exceptions.ClientError) as refused:
        s3.put_object(Bucket="photos", Key="k", Body=b"content")
    error = refused.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == ("ServiceUnavailable", 503)
    assert s3.get_object(Bucket="photos", Key="k")["Body"].read() == b"content"
    root = roots(pair, server)["photos"]
    assert root["behind_commits"] >= 1  # the client may have tried again
    assert root["behind_bytes"] > len(b"content")
    pair.restart_node()
    until_shipped(pair, server)
    assert server.stop() == 0


def until_shipped(pair: Pair, server: Server) -> None:
    with closing(Database.open(server.data_dir / "registry.db", read_only=True)) as database:

        def is_shipped() -> bool:
            with database.read() as connection:
                return all(bucket.shipped == bucket.commit for bucket in load_all(connection))

        wait_until(is_shipped, log=lambda: server.log)
    assert roots(pair, server)["photos"]["behind_commits"] == 0


def test_ack_remote_needs_a_remote(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(MS3T), "serve", "--data-dir", str(tmp_path / "data")], capture_output=True, text=True, check=False,
        env=child_environment({"MS3T_ACK": "remote"}),
    )  # fmt: skip
    assert done.returncode == 2
    assert "there is no remote" in done.stderr


def test_a_permission_for_another_gateway_is_refused_at_start(pair: Pair) -> None:
    other = pair.node.grant("did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd")
    environment = {"MS3T_REMOTE_URL": pair.node.ready["url"], "MS3T_REMOTE_DID": pair.node.ready["did"]}
    done = subprocess.run(
        [str(MS3T), "serve", "--data-dir", str(pair.data), "--workers", "1"], capture_output=True, text=True,
        check=False, env=child_environment({**environment, "MS3T_REMOTE_PROOF": other}),
    )  # fmt: skip
    assert done.returncode == 2
    assert "remote" in done.stderr
