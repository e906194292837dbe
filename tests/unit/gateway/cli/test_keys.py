"""`ms3t keys`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from registry import credentials
from registry.credentials import Credential
from registry.database import Database


@pytest.fixture
def stored(own: Any) -> Callable[[], dict[str, Credential]]:
    """Reads what the folder of the test has."""

    def read() -> dict[str, Credential]:
        database = Database.open(own.folder.registry, read_only=True)
        with database.read() as connection:
            found = {key.access_key: key for key in credentials.list_all(connection)}
        database.close()
        return found

    return read


def test_a_key_is_made_and_shown_once(
    own: Any, ms3t: Callable[..., Result], ms3t_json: Callable[..., Any], stored: Callable[[], dict[str, Credential]]
) -> None:
    text = ms3t("keys", "create", "--name", "Zoë", data=own.path).stdout
    shown = dict(re.split(r" {2,}", line) for line in text.splitlines())
    assert list(shown) == ["access key", "secret key", "name", "owner id"]
    made = stored()[shown["access key"]]
    assert (made.secret, made.display_name, made.owner_id) == (shown["secret key"], "Zoë", shown["owner id"])
    document = ms3t_json("keys", "create", data=own.path)
    assert list(document) == ["access_key", "name", "status", "made", "owner_id", "secret_key"]
    assert document["name"] == document["access_key"]
    assert stored()[document["access_key"]].secret == document["secret_key"]
    for listing in (ms3t("keys", "list", data=own.path).stdout, ms3t("keys", "list", "--json", data=own.path).stdout):
        assert all(key in listing and key_of.secret not in listing for key, key_of in stored().items())
    rows = ms3t_json("keys", "list", data=own.path)
    assert [row["access_key"] for row in rows] == list(stored())
    assert all(row["status"] == "enabled" for row in rows)


def test_a_key_is_disabled_and_enabled(
    own: Any, ms3t: Callable[..., Result], ms3t_json: Callable[..., Any], stored: Callable[[], dict[str, Credential]]
) -> None:
    (first,) = stored()
    second = ms3t_json("keys", "create", data=own.path)["access_key"]
    done = ms3t("keys", "disable", first, data=own.path)
    assert (done.stdout, done.stderr) == (f"{first} is disabled\n", "")
    assert [key.disabled for key in stored().values()] == [True, False]
    assert ms3t_json("env", data=own.path)["AWS_ACCESS_KEY_ID"] == second
    last = ms3t("keys", "disable", second, data=own.path)
    assert "every request will be refused" in last.stderr
    assert ms3t("env", data=own.path).exit_code == 3
    assert ms3t_json("keys", "enable", first, data=own.path)["status"] == "enabled"
    assert [key.disabled for key in stored().values()] == [False, True]
    for verb in ("enable", "disable"):
        missing = ms3t("keys", verb, "nobody", data=own.path)
        assert missing.exit_code == 3
        assert missing.stderr == "Error: there is no access key nobody: `ms3t keys list` shows those there are\n"
        no_text = ms3t("keys", verb, os.fsdecode(b"\xff"), data=own.path)
        assert no_text.exit_code == 3
        assert no_text.stderr == "Error: there is no access key \\udcff: `ms3t keys list` shows those there are\n"


def test_configured_keys_are_listed_and_left_alone(
    own: Any, ms3t: Callable[..., Result], tmp_path: Path, stored: Callable[[], dict[str, Credential]]
) -> None:
    config = tmp_path / "ms3t.yaml"
    config.write_text("credentials: [{access_key: mine, secret_key: my-secret-1, display_name: Me}]")
    config.chmod(0o600)
    listed = ms3t("keys", "list", "--json", "--config", str(config), data=own.path).stdout
    assert "my-secret-1" not in listed
    row = json.loads(listed)[-1]
    assert (row["access_key"], row["name"], row["status"], row["made"]) == ("mine", "Me", "configured", None)
    refused = ms3t("keys", "disable", "mine", "--config", str(config), data=own.path)
    assert refused.exit_code == 1
    assert "set in the configuration" in refused.stderr
    (first,) = stored()
    assert ms3t("keys", "disable", first, "--config", str(config), data=own.path).stderr == ""
    environment = json.loads(ms3t("env", "--json", "--config", str(config), data=own.path).stdout)
    assert (environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]) == ("mine", "my-secret-1")


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb"])
def test_bad_names(own: Any, ms3t: Callable[..., Result], name: str) -> None:
    result = ms3t("keys", "create", "--name", name, data=own.path)
    assert result.exit_code == 2
    assert "--name: must be 1 to 64 printable characters" in result.stderr


def test_no_folder(tmp_path: Path, ms3t: Callable[..., Result]) -> None:
    for arguments in (["create"], ["list"], ["disable", "x"]):
        assert ms3t("keys", *arguments, data=tmp_path / "none").exit_code == 3
    assert not (tmp_path / "none").exists()
