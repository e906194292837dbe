"""`ms3t recover`: what it refuses before it asks anybody; what it makes is in `tests/interop/test_recovering.py`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.store.folder import DataFolder
from registry.space import SpaceKey

Recover = Callable[..., Result]

NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    SpaceKey.load_or_create(tmp_path / "backup.key")
    return tmp_path / "backup.key"


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


@pytest.fixture
def recover(tmp_path: Path, folder: DataFolder) -> Recover:
    def run(*options: str, status: int) -> Result:
        done = CliRunner().invoke(main, ["recover", "--data-dir", str(folder.path), *options])
        assert done.exit_code == status, done.output
        return done

    return run


def files(folder: DataFolder) -> list[str]:
    return sorted(path.name for path in folder.path.iterdir())


def test_the_space_is_named_where_no_node_is_configured(recover: Recover, folder: DataFolder, key: Path) -> None:
    assert SpaceKey.load(key).did in recover("--key", str(key), status=2).stderr
    assert not folder.path.exists()


def test_a_folder_with_anything_in_it_is_left_as_it_is(recover: Recover, folder: DataFolder, key: Path) -> None:
    folder.create()
    log = folder.segment(1, "log")
    log.write_bytes(b"what was never shipped")
    said = recover("--key", str(key), status=1).stderr
    assert str(folder.segments) in said
    assert "is in the way" in said
    assert log.read_bytes() == b"what was never shipped"


def test_places_without_a_registry_are_in_the_way(recover: Recover, folder: DataFolder, key: Path) -> None:
    folder.make(folder.remote)
    (folder.remote / "data.mdb").touch()
    assert str(folder.remote) in recover("--key", str(key), status=1).stderr


def test_a_data_folder_is_used_and_not_recovered(recover: Recover, own: Any) -> None:
    before = files(own.folder)
    done = CliRunner().invoke(main, ["recover", "--data-dir", str(own.path)])
    assert done.exit_code == 1
    assert "is a data folder already" in done.stderr
    assert files(own.folder) == before


def test_without_a_key(recover: Recover, folder: DataFolder) -> None:
    assert "--key" in recover(status=3).stderr
    assert not folder.path.exists()


def test_another_key_than_the_one_in_the_folder(recover: Recover, folder: DataFolder, key: Path) -> None:
    folder.make()
    other = SpaceKey.load_or_create(folder.key)
    assert "is another key" in recover("--key", str(key), status=1).stderr
    assert SpaceKey.load(folder.key).did == other.did


def test_a_key_that_others_may_read(recover: Recover, key: Path) -> None:
    key.chmod(0o644)
    assert "chmod 600" in recover("--key", str(key), status=1).stderr


def test_a_permission_for_another_space(recover: Recover, folder: DataFolder, key: Path, tmp_path: Path) -> None:
    config = tmp_path / "ms3t.yaml"
    did = SpaceKey.load(key).did
    config.write_text(json.dumps({"remote": {"url": NOBODY, "did": did, "proof": "mAYIEA"}}))
    assert "remote" in recover("--key", str(key), "--config", str(config), status=2).stderr
    assert not folder.path.exists()
