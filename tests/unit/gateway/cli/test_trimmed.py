"""Verbs on a data folder that keeps nothing of what the storage node has."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from gateway.node.client import NodeClient, Remote, Service
from gateway.shipping.node_remote import NodeRemote
from gateway.shipping.reading import NodeBlocks
from gateway.shipping.shipper import ShipSettings
from gateway.shipping.shipping import Acknowledge, Shipping
from gateway.shipping.trimming import Trimmer
from gateway.store.mutations import Delete
from gateway.store.store import Store, StoreSettings
from registry.space import SpaceKey
from registry.ucan.did import DID
from tests.node_process import NodeProcess
from tests.unit.gateway.cli.conftest import BIG, CONTENTS, Made, make_folder

FILES = {key: content for key, content in CONTENTS.items() if key != "2026/b.jpg"} | {"2026/a.jpg": b"first, changed"}


@dataclass
class Trimmed:
    """A folder of which all is on the node.

    Attributes:
        made: the folder.
        node: the node.
        proof: the node's permission.
    """

    made: Made
    node: NodeProcess
    proof: str

    @property
    def env(self) -> dict[str, str]:
        """What configures the node."""
        ready = self.node.ready
        return {"MS3T_REMOTE_URL": ready["url"], "MS3T_REMOTE_DID": ready["did"], "MS3T_REMOTE_PROOF": self.proof}

    @property
    def path(self) -> Path:
        return self.made.path

    @property
    def kept(self) -> set[tuple[str, int]]:
        """The files of the folder that hold what was stored."""
        folders = ("segments", "cache", "outbox")
        files = [file for name in folders for file in (self.path / name).rglob("*")]
        return {(file.name, file.stat().st_size) for file in files}


async def _move(made: Made, node: NodeProcess, proof: str) -> None:
    """Have everything on the node, and nothing in the folder."""
    key = SpaceKey.load(made.folder.key)
    service = Service(node.ready["url"], DID(node.ready["did"]))
    with closing(Store.open_for_writing(made.folder, key, StoreSettings())) as store:
        async with NodeClient(Remote(node=service, grant=proof, space=key)) as client:
            settings = ShipSettings(at_once=True)
            shipping = Shipping.start(store, key, NodeRemote(client), settings, Acknowledge(60.0))
            far = store.read_from_afar(NodeBlocks(client, store.database, shipping.places), None)
            await store.committer.submit(Delete("void", b"nothing"))
            while any(bucket.shipped != bucket.commit for bucket in store.buckets()):
                await asyncio.sleep(0.01)
            await Trimmer(store, shipping.places, None, 0).trim()
            assert store.size_bytes < 100
            await far.close()
            await shipping.stop()


@pytest.fixture(scope="module")
def trimmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trimmed]:
    """For tests that change nothing."""
    folder = tmp_path_factory.mktemp("trimmed")
    made = make_folder(folder / "data", many=60)
    node = NodeProcess(folder / "node")
    trimmed = Trimmed(made, node, node.grant(SpaceKey.load(made.folder.key).did))
    asyncio.run(_move(made, node, trimmed.proof))
    yield trimmed
    trimmed.node.stop(signal.SIGKILL)


VERBS = {
    "ls": ("ls", "photos", "--recursive"),
    "tree": ("tree", "photos"),
    "cat": ("cat", "photos/2026/a.jpg"),
    "log": ("log", "photos"),
}


def _check_all(trimmed: Trimmed, ms3t: Callable[..., Result]) -> None:
    """What every verb shows is what was stored."""

    def show(*arguments: str) -> Any:
        result = ms3t(*arguments, "--json", data=trimmed.path, env=trimmed.env)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    head = trimmed.made.head
    assert {row["key"]: row["bytes"] for row in show("ls", "photos", "-r")} == {k: len(v) for k, v in FILES.items()}
    assert [row["key"] for row in show("ls", "many", "-r")] == trimmed.made.many
    assert show("tree", "photos")["root"] == str(head.tree)
    assert show("tree", "photos", "--key", "big")["found"]
    for key, content in FILES.items():
        result = ms3t("cat", f"photos/{key}", data=trimmed.path, env=trimmed.env)
        assert (result.exit_code, result.stdout_bytes) == (0, content)
    (root,) = (row for row in show("roots") if row["bucket"] == "photos")
    assert root["shipped_commit"] == root["commit"] == str(head.commit)
    assert (root["behind_commits"], root["behind_bytes"]) == (0, 0)


def test_verbs_read_from_the_node(trimmed: Trimmed, ms3t: Callable[..., Result]) -> None:
    before = trimmed.kept
    _check_all(trimmed, ms3t)
    checks = json.loads(ms3t("doctor", "--json", data=trimmed.path, env=trimmed.env).stdout)["checks"]
    assert {check["status"] for check in checks if check["check"] in ("heads", "segments", "shipping")} == {"ok"}
    assert trimmed.kept == before


def test_beside_a_running_server(trimmed: Trimmed, ms3t: Callable[..., Result], serve: Callable[..., Any]) -> None:
    limits = {"MS3T_CACHE_MAX_BYTES": "0", "MS3T_ACK": "remote"}
    server = serve(trimmed.path, "--workers", "1", env={**trimmed.env, **limits})
    server.wait_until_ready()
    _check_all(trimmed, ms3t)
    assert server.stop() == 0


def test_what_was_shipped_has_only_its_newest_commit(trimmed: Trimmed, ms3t: Callable[..., Result]) -> None:
    result = ms3t("log", "photos", data=trimmed.path, env=trimmed.env)
    assert result.exit_code == 0
    assert str(trimmed.made.head.commit) in result.stdout
    assert f"{len(trimmed.made.states) - 1} older ones were dropped" in result.stderr
    at = ms3t("ls", "photos", "--at", str(trimmed.made.head.commit), data=trimmed.path, env=trimmed.env)
    assert at.exit_code == 0
    older = ms3t("ls", "photos", "--at", str(trimmed.made.states[0].commit), data=trimmed.path, env=trimmed.env)
    assert older.exit_code == 3


@pytest.mark.parametrize("verb", VERBS)
def test_without_the_remote_verbs_say_what_is_missing(trimmed: Trimmed, ms3t: Callable[..., Result], verb: str) -> None:
    result = ms3t(*VERBS[verb], data=trimmed.path)
    assert result.exit_code == 1
    assert "storage node" in result.stderr
    assert "--config" in result.stderr
    assert result.stdout == ""


def test_roots_need_nothing_of_it(trimmed: Trimmed, ms3t: Callable[..., Result]) -> None:
    result = ms3t("roots", data=trimmed.path)
    assert result.exit_code == 0
    assert str(trimmed.made.head.tree) in result.stdout


def test_doctor_without_the_remote(trimmed: Trimmed, ms3t: Callable[..., Result]) -> None:
    result = ms3t("doctor", "--json", data=trimmed.path)
    assert result.exit_code == 1
    found = [check for check in json.loads(result.stdout)["checks"] if check["check"] == "heads"]
    assert {check["status"] for check in found} == {"fail"}
    assert all("--config" in check["detail"] and "remote" in check["todo"] for check in found)


def test_a_node_that_is_not_there(trimmed: Trimmed, ms3t: Callable[..., Result]) -> None:
    trimmed.node.stop(signal.SIGKILL)
    try:
        result = ms3t("cat", "photos/big", data=trimmed.path, env=trimmed.env)
        assert result.exit_code == 1
        assert trimmed.node.ready["url"] in result.stderr
        assert len(result.stdout_bytes) < len(BIG)
    finally:
        port = trimmed.node.ready["url"].rpartition(":")[2]
        trimmed.node = NodeProcess(trimmed.node.data, "--listen", f"127.0.0.1:{port}")
    assert ms3t("cat", "photos/big", data=trimmed.path, env=trimmed.env).stdout_bytes == BIG
