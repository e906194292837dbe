"""Verbs that are pointed at something else than a data folder of their kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from gateway.node.server.folder import NodeFolder, NodeKey
from gateway.store.folder import DataFolder
from registry.space import SpaceKey

GATEWAYS = ("serve", "roots", "keys list", "keys create", "env", "ls photos", "recover")
NODES = ("node serve", "node grant did:key:z6Mko9hTggMwjSTEaJaPUfE6tqcy2xvU6BnNq3e3o8qVBiyH")


def _made(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.mark.parametrize("verb", [*GATEWAYS, *NODES])
def test_a_file(verb: str, tmp_path: Path, ms3t: Callable[..., Result]) -> None:
    file = tmp_path / "data"
    file.write_text("text")
    result = ms3t(*verb.split(), data=file)
    assert result.exit_code == 2
    assert result.output == f"Error: {file} is a file, not a folder: name another with --data-dir\n"
    assert file.read_text() == "text"


@pytest.mark.parametrize("verb", GATEWAYS)
def test_a_nodes_folder(verb: str, tmp_path: Path, ms3t: Callable[..., Result]) -> None:
    node = NodeFolder(tmp_path / "node").create()
    NodeKey.load_or_create(node.key)
    node.open_database().close()
    before = _made(node.path)
    result = ms3t(*verb.split(), data=node.path)
    assert result.exit_code == 2
    told = f"{node.path} is the folder of a storage node, not of a gateway: name another with --data-dir"
    assert result.output == f"Error: {told}\n"
    assert _made(node.path) == before


@pytest.mark.parametrize("verb", NODES)
def test_a_gateways_folder(verb: str, tmp_path: Path, ms3t: Callable[..., Result]) -> None:
    gateway = DataFolder(tmp_path / "data").create()
    SpaceKey.load_or_create(gateway.key)
    before = _made(gateway.path)
    result = ms3t(*verb.split(), data=gateway.path)
    assert result.exit_code == 2
    told = f"{gateway.path} is the folder of a gateway, not of a storage node: name another with --data-dir"
    assert result.output == f"Error: {told}\n"
    assert _made(gateway.path) == before


def test_doctor_says_so_too(tmp_path: Path, ms3t: Callable[..., Result]) -> None:
    file = tmp_path / "file"
    file.touch()
    node = NodeFolder(tmp_path / "node").create()
    NodeKey.load_or_create(node.key)
    for path, told in (
        (file, f"{file} is a file, not a folder"),
        (node.path, f"{node.path} is the folder of a storage node, not of a gateway"),
    ):
        result = ms3t("doctor", "--json", data=path, env={"MS3T_LISTEN": "127.0.0.1:0"})
        assert result.exit_code == 1
        (found,) = (check for check in json.loads(result.stdout)["checks"] if check["check"] == "data folder")
        assert found == {
            "check": "data folder", "status": "fail", "detail": told, "todo": "name another with --data-dir",
        }  # fmt: skip


@pytest.mark.parametrize("where", [0, 4096])
@pytest.mark.parametrize("verb", ["serve", "roots", "keys list", "keys create", "env"])
def test_a_destroyed_registry(verb: str, where: int, own: Any, ms3t: Callable[..., Result]) -> None:
    with own.folder.registry.open("r+b") as file:
        file.seek(where)
        file.write(b"\xff" * (own.folder.registry.stat().st_size - where))
    result = ms3t(*verb.split(), data=own.path, env={"MS3T_WORKERS": "1"})
    assert result.exit_code == 5
    assert result.stderr.startswith(f"Error: the registry {own.folder.registry} is damaged: ")
    assert result.stderr.endswith("; restore it from a backup\n")
