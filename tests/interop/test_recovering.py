"""A gateway whose data folder is lost: `ms3t recover` makes it anew from the node, and everything is as it was."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.space import SpaceKey
from tests.node_process import MS3T, NodeProcess
from tests.servers import Server, child_environment

Start = Callable[..., Server]


class Site:
    """A gateway with a node, and what is left when its folder is lost: key and configuration.

    Attributes:
        data: the data folder.
        key: the copy of the space key.
    """

    def __init__(self, tmp_path: Path, start: Start) -> None:
        self.data = tmp_path / "gateway"
        self.key = tmp_path / "backup.key"
        self.node = NodeProcess(tmp_path / "node")
        self._start = start
        self._config = tmp_path / "ms3t.yaml"
        space = SpaceKey.load_or_create(self.key)
        self.data.mkdir(mode=0o700)
        shutil.copy(self.key, self.data / "space.key")
        ready = self.node.ready
        self.remote = {"url": ready["url"], "did": ready["did"], "proof": self.node.grant(space.did)}
        self._config.write_text(json.dumps({"remote": self.remote}))

    def serve(self, **config: Any) -> Server:
        """Start the gateway."""
        return self._start(data_dir=self.data, config={"remote": self.remote, **config})

    def recover(self, *options: str, status: int = 0) -> Any:
        """What `ms3t recover` says as JSON, or its error."""
        config = ["--config", str(self._config), "--data-dir", str(self.data)]
        done = self.ms3t("recover", "--json", *config, *options, status=status)
        return json.loads(done.stdout) if status == 0 else done.stderr

    def ms3t(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(MS3T), *arguments], capture_output=True, text=True, env=child_environment(), check=False
        )
        assert done.returncode == status, done.stderr
        return done

    def lose(self) -> None:
        """The folder is gone."""
        shutil.rmtree(self.data)


@pytest.fixture
def site(tmp_path: Path, start: Start) -> Iterator[Site]:
    made = Site(tmp_path, start)
    yield made
    made.node.stop(signal.SIGKILL)


def look(server: Server) -> dict[str, Any]:
    """Everything that clients see, but for who owns it: every version of every object with its bytes and its facts."""
    s3 = server.boto3()
    seen: dict[str, Any] = {}
    for bucket in s3.list_buckets()["Buckets"]:
        name = bucket["Name"]
        versions = s3.list_object_versions(Bucket=name)
        found: dict[Any, Any] = {"created": bucket["CreationDate"]}
        found["versioning"] = s3.get_bucket_versioning(Bucket=name).get("Status")
        found["listing"] = [without_owner(one) for one in s3.list_objects_v2(Bucket=name).get("Contents", [])]
        found["markers"] = [without_owner(one) for one in versions.get("DeleteMarkers", [])]
        try:
            found["tags"] = s3.get_bucket_tagging(Bucket=name)["TagSet"]
        except s3.exceptions.ClientError as error:
            found["tags"] = error.response["Error"]["Code"]
        for one in versions.get("Versions", []):
            named = {"Bucket": name, "Key": one["Key"], "VersionId": one["VersionId"]}
            got = s3.get_object(**named)
            headers = got["ResponseMetadata"]["HTTPHeaders"]
            facts = {header: headers.get(header) for header in FACTS}
            tags = s3.get_object_tagging(**named)["TagSet"]
            found[one["Key"], one["VersionId"]] = (without_owner(one), got["Body"].read(), got["Metadata"], facts, tags)
        seen[name] = found
    return seen


FACTS = ("etag", "last-modified", "content-type", "content-length", "x-ms3t-cid", "x-amz-checksum-crc64nvme")


def without_owner(one: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name != "Owner"}


def roots(site: Site, server: Server) -> dict[str, Any]:
    """What `ms3t roots` says of a folder, by bucket."""
    config = server.arguments[server.arguments.index("--config") + 1]
    done = site.ms3t("roots", "--json", "--config", config, "--data-dir", str(site.data))
    return {root["bucket"]: root for root in json.loads(done.stdout)}


def fill(server: Server) -> None:
    """Buckets of every kind."""
    s3 = server.boto3()
    s3.create_bucket(Bucket="photos")
    s3.put_bucket_versioning(Bucket="photos", VersioningConfiguration={"Status": "Enabled"})
    for number in range(12):
        s3.put_object(Bucket="photos", Key=f"{number % 8:03}", Body=b"%d" % number * 500, Metadata={"n": str(number)})
    s3.delete_object(Bucket="photos", Key="003")
    s3.put_object_tagging(Bucket="photos", Key="004", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    s3.put_bucket_versioning(Bucket="photos", VersioningConfiguration={"Status": "Suspended"})
    s3.put_object(Bucket="photos", Key="005", Body=b"null version")
    s3.create_bucket(Bucket="films")
    s3.put_bucket_tagging(Bucket="films", Tagging={"TagSet": [{"Key": "kind", "Value": "moving"}]})
    upload = s3.create_multipart_upload(Bucket="films", Key="parts", ContentType="video/mp4")["UploadId"]
    parts = []
    for number, size in ((1, 5 << 20), (2, 1_500_000)):
        part = s3.upload_part(
            Bucket="films", Key="parts", UploadId=upload, PartNumber=number, Body=bytes([number]) * size
        )
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    s3.complete_multipart_upload(Bucket="films", Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
    s3.put_object(Bucket="films", Key="one piece", Body=bytes(300_000))
    for name in ("gone", "again", "empty"):
        s3.create_bucket(Bucket=name)
    s3.put_object(Bucket="again", Key="old", Body=b"of the first")


def remake(server: Server) -> None:
    s3 = server.boto3()
    s3.delete_bucket(Bucket="gone")
    s3.delete_object(Bucket="again", Key="old")
    s3.delete_bucket(Bucket="again")
    s3.create_bucket(Bucket="again")
    s3.put_object(Bucket="again", Key="new", Body=b"of the second")


def test_everything_comes_back_and_goes_on(site: Site) -> None:
    server = site.serve(ack="remote", workers=1)
    fill(server)
    remake(server)
    at_first = roots(site, server), look(server)
    upload = server.boto3().create_multipart_upload(Bucket="empty", Key="never completed")["UploadId"]
    server.stop()
    site.lose()

    found = site.recover("--key", str(site.key), "--dry-run", "--verify")
    assert not site.data.exists()
    assert {one["bucket"]: one["root"] for one in found["buckets"]} == {
        name: root["root"] for name, root in at_first[0].items()
    }
    assert found["missing"] == found["passed_over"] == []
    assert site.recover("--key", str(site.key)) == found | {"dry_run": False, "missing": None}
    assert (site.data / "space.key").read_bytes() == site.key.read_bytes()
    assert (site.data / "space.key").stat().st_mode & 0o777 == 0o600

    server = site.serve(ack="remote", workers=2)
    assert (roots(site, server), look(server)) == at_first
    s3 = server.boto3()
    with pytest.raises(s3.exceptions.ClientError, match="NoSuchUpload"):
        s3.list_parts(Bucket="empty", Key="never completed", UploadId=upload)
    s3.put_object(Bucket="again", Key="after", Body=bytes(200_000))
    s3.delete_object(Bucket="films", Key="one piece")
    s3.create_bucket(Bucket="later")
    s3.delete_bucket(Bucket="empty")
    later = roots(site, server), look(server)
    assert all(root["behind_commits"] == 0 for root in later[0].values())
    server.stop()
    site.lose()

    again = site.recover("--key", str(site.key))
    assert again["manifests"] > found["manifests"]
    assert again["shard_bytes"] < found["shard_bytes"] + 250_000, "what the node had was shipped once more"
    server = site.serve(workers=1)
    assert (roots(site, server), look(server)) == later
    assert server.stop() == 0
