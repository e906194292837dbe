"""Several access keys: made, disabled and enabled beside the running server, and whose things are shown as whose."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

HONOURED_SECONDS = 2.0
"""How long a running server may take to notice a change of keys; as docs/operations/keys.md says."""
PATIENCE_SECONDS = 30.0
"""For a machine that is busy with something else."""


def ms3t_keys(server: Any, *arguments: str) -> Any:
    """What `ms3t keys` answers beside the server."""
    program = str(Path(sys.executable).with_name("ms3t"))
    return json.loads(
        subprocess.run(
            [program, "keys", *arguments, "--json", "--data-dir", str(server.data_dir)],
            env=server.child_environment(), check=True, capture_output=True,
        ).stdout
    )  # fmt: skip


def client_of(server: Any, access_key: str, secret_key: str) -> Any:
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
    )
    server.clients.append(client)
    return client


def is_taken(client: Any) -> bool:
    try:
        client.list_buckets()
    except ClientError as error:
        assert error.response["Error"]["Code"] == "InvalidAccessKeyId"
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        return False
    return True


def wait_until(client: Any, *, taken: bool) -> None:
    """Wait until every worker agrees: connections, new ones here, are spread over them."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    in_a_row = 0
    while in_a_row < 10:
        assert time.monotonic() < deadline, f"after {PATIENCE_SECONDS} s the key is still {'not ' * taken}taken"
        in_a_row = in_a_row + 1 if is_taken(client) == taken else 0
        client.close()


@pytest.fixture(scope="module")
def shared(start_for_module: Callable[..., Any]) -> Any:
    """A server of two workers, with one key from its configuration."""
    mine = {"access_key": "mine", "secret_key": "my-secret-1", "display_name": "Me & mine"}
    return start_for_module(config={"workers": 2, "credentials": [mine]})


def test_keys_change_beside_the_running_server(shared: Any) -> None:
    made = ms3t_keys(shared, "create", "--name", "ann")
    ann = client_of(shared, made["access_key"], made["secret_key"])
    wait_until(ann, taken=True)
    ann.create_bucket(Bucket="of-ann")
    ms3t_keys(shared, "disable", made["access_key"])
    wait_until(ann, taken=False)
    assert is_taken(client_of(shared, "mine", "my-secret-1"))
    ms3t_keys(shared, "enable", made["access_key"])
    wait_until(ann, taken=True)
    assert [bucket["Name"] for bucket in ann.list_buckets()["Buckets"]] == ["of-ann"]
    assert made["secret_key"] not in shared.log
    assert "my-secret-1" not in shared.log


def test_everybody_is_shown_as_themselves(shared: Any) -> None:
    """Buckets and objects are of whoever asks, as everybody may do everything; an upload is of who began it."""
    made = ms3t_keys(shared, "create", "--name", "<bob>")
    bob, me = client_of(shared, made["access_key"], made["secret_key"]), client_of(shared, "mine", "my-secret-1")
    wait_until(bob, taken=True)
    assert bob.list_buckets()["Owner"] == {"ID": made["owner_id"], "DisplayName": "<bob>"}
    mine = me.list_buckets()["Owner"]
    assert mine["DisplayName"] == "Me & mine"
    me.create_bucket(Bucket="both")
    me.put_object(Bucket="both", Key="k", Body=b"x")
    listed = bob.list_objects_v2(Bucket="both", FetchOwner=True)["Contents"]
    assert [row["Owner"]["ID"] for row in listed] == [made["owner_id"]]
    upload = bob.create_multipart_upload(Bucket="both", Key="u")["UploadId"]
    (row,) = me.list_multipart_uploads(Bucket="both")["Uploads"]
    assert row["Initiator"] == row["Owner"] == {"ID": made["owner_id"], "DisplayName": "<bob>"}
    parts = me.list_parts(Bucket="both", Key="u", UploadId=upload)
    assert parts["Initiator"]["ID"] == made["owner_id"] != mine["ID"]
    me.abort_multipart_upload(Bucket="both", Key="u", UploadId=upload)


def test_a_key_that_was_made_while_the_server_stood_still(start: Callable[..., Any]) -> None:
    server = start()
    assert server.stop() == 0
    made = ms3t_keys(server, "create")
    ms3t_keys(server, "disable", server.environment["AWS_ACCESS_KEY_ID"])
    server.restart()
    assert server.settings()["AWS_ACCESS_KEY_ID"] == made["access_key"]
    assert is_taken(client_of(server, made["access_key"], made["secret_key"]))
    assert server.stop() == 0


def test_what_is_promised_is_what_the_code_does() -> None:
    from gateway.keyring import REFRESH_SECONDS

    assert REFRESH_SECONDS < HONOURED_SECONDS
