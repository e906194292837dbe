"""`ms3t env`."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result

from gateway.endpoint import Running, read_running, write_running
from gateway.store.folder import DataFolder
from registry import credentials
from registry.database import Database


def _evaluated(script: str) -> dict[str, str]:
    """What a shell has after it ran the script, starting with settings that would be in the way."""
    names = "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_ENDPOINT_URL AWS_DEFAULT_REGION AWS_SESSION_TOKEN AWS_PROFILE"
    command = f'eval {shlex.quote(script)}; for n in {names}; do eval "echo $n=\\$$n"; done'
    environment = {"PATH": "/usr/bin:/bin", "AWS_SESSION_TOKEN": "old", "AWS_PROFILE": "old"}
    done = subprocess.run(["sh", "-c", command], env=environment, check=True, capture_output=True, text=True)
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_a_shell_can_evaluate_it(made: Any, ms3t: Callable[..., Result]) -> None:
    got = _evaluated(ms3t("env", data=made.path).stdout)
    database = Database.open(made.folder.registry, read_only=True)
    with database.read() as connection:
        (key,) = credentials.list_all(connection)
    database.close()
    assert got == {
        "AWS_ACCESS_KEY_ID": key.access_key,
        "AWS_SECRET_ACCESS_KEY": key.secret,
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9000",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_SESSION_TOKEN": "",
        "AWS_PROFILE": "",
    }
    as_json = json.loads(ms3t("env", "--json", data=made.path).stdout)
    assert as_json == {name: value for name, value in got.items() if value}


def test_values_are_quoted(own: Any, ms3t: Callable[..., Result]) -> None:
    folder = own.folder
    folder.own()
    write_running(folder, Running(os.getpid(), "http://h; echo $PWD", "re'gion"))
    got = _evaluated(ms3t("env", data=own.path).stdout)
    assert got["AWS_ENDPOINT_URL"] == "http://h; echo $PWD"
    assert got["AWS_DEFAULT_REGION"] == "re'gion"
    folder.release()


def test_a_server_that_was_killed_is_not_believed(own: Any, ms3t_json: Callable[..., Any]) -> None:
    folder = own.folder
    write_running(folder, Running(os.getpid(), "http://127.0.0.1:7777", "eu-central-1"))
    assert ms3t_json("env", data=own.path)["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9000"
    folder.own()
    assert ms3t_json("env", data=own.path)["AWS_ENDPOINT_URL"] == "http://127.0.0.1:7777"
    write_running(folder, Running(1, "http://127.0.0.1:7778", "eu-central-1"))
    assert ms3t_json("env", data=own.path)["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9000"
    folder.release()
    assert ms3t_json("env", data=own.path)["AWS_DEFAULT_REGION"] == "us-east-1"


def test_all_keys_are_disabled(own: Any, ms3t: Callable[..., Result]) -> None:
    database = Database.open_beside(own.folder.registry)
    with database.write() as connection:
        for key in credentials.list_all(connection):
            credentials.set_disabled(connection, key.access_key, disabled=True)
    database.close()
    result = ms3t("env", data=own.path)
    assert result.exit_code == 3
    told = "no access key is enabled: run `ms3t keys enable ACCESS_KEY`, or `ms3t keys create`"
    assert result.stderr == f"Error: {own.path}: {told}\n"


def test_the_configured_endpoint_where_no_server_has_run(made: Any, ms3t: Callable[..., Result]) -> None:
    settings = {"MS3T_LISTEN": "0.0.0.0:7777", "MS3T_S3_REGION": "eu-central-1"}
    out = ms3t("env", data=made.path, env=settings).stdout
    assert "AWS_ENDPOINT_URL=http://127.0.0.1:7777\n" in out
    assert "AWS_DEFAULT_REGION=eu-central-1\n" in out
    six = ms3t("env", data=made.path, env={"MS3T_LISTEN": "[::]:80"}).stdout
    assert "AWS_ENDPOINT_URL='http://[::1]:80'\n" in six


def test_a_folder_without_keys(tmp_path: Path, ms3t: Callable[..., Result]) -> None:
    folder = DataFolder(tmp_path / "data").create()
    Database.open(folder.registry).close()
    result = ms3t("env", data=folder.path)
    assert result.exit_code == 3
    assert "ms3t serve" in result.stderr


def test_a_server_json_that_makes_no_sense_is_as_none(own: Any) -> None:
    folder = own.folder
    folder.own()
    write_running(folder, Running(os.getpid(), "http://127.0.0.1:7777", "eu-central-1"))
    assert read_running(folder) is not None
    for text in ("", "[]", "{}", '{"pid": "x", "endpoint": "y", "region": "z"}', "\xff"):
        folder.server.write_bytes(text.encode("latin-1"))
        assert read_running(folder) is None
    folder.release()
