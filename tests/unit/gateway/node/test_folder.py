"""The node's data folder: its schema, its key, its one owner, and what a crash leaves in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from gateway.node.server.blobs import Blobs
from gateway.node.server.errors import Refused
from gateway.node.server.folder import SCHEMA, NodeFolder
from gateway.node.server.node import Node, NodeSettings
from gateway.node.server.proofs import CACHE_BYTES_MAX, KEPT_SECONDS, ProofCache
from gateway.node.server.schema import SCHEMA_REVISION, metadata
from gateway.store.errors import FolderLocked
from mst.block import Block
from mst.cid import CID, DAG_CBOR, RAW
from registry.database import DatabaseError
from registry.key_file import KeyFileError
from registry.migrations import runner
from tests.node_client import blob_of
from tests.schemas import shape_of


def test_the_migrations_end_at_the_schema_of_the_code(tmp_path: Path) -> None:
    assert runner.newest(SCHEMA.migrations) == SCHEMA_REVISION
    engine = sa.create_engine("sqlite://")
    with closing(NodeFolder(tmp_path).open_database()) as database, database.read() as made, engine.begin() as migrated:
        runner.upgrade(migrated, SCHEMA.migrations)
        assert compare_metadata(MigrationContext.configure(migrated), metadata) == []
        assert shape_of(migrated) == shape_of(made)


def test_a_gateways_database_is_not_the_nodes(tmp_path: Path) -> None:
    from registry.database import Database

    Database.open(tmp_path / "registry.db").close()
    with pytest.raises(DatabaseError):
        NodeFolder(tmp_path).open_database()


def test_the_folder_is_private(run_node: Callable[..., Any]) -> None:
    path = run_node().path
    for found in [path, *path.rglob("*")]:
        assert stat.S_IMODE(found.stat().st_mode) & 0o77 == 0, found


def test_one_process_owns_it(run_node: Callable[..., Any]) -> None:
    node = run_node()
    with pytest.raises(FolderLocked, match=f"in use by process {os.getpid()}"):
        NodeFolder(node.path).own()


def test_a_key_is_not_replaced(run_node: Callable[..., Any]) -> None:
    node = run_node()
    node.stop()
    key = node.path / "node.key"
    key.chmod(0o644)
    with pytest.raises(KeyFileError, match=r"node key .*chmod 600"):
        Node.open(NodeFolder(node.path), NodeSettings("http://h"))
    key.unlink()
    with pytest.raises(Refused, match="is gone"):
        Node.open(NodeFolder(node.path), NodeSettings("http://h"))
    assert not key.exists()


def test_what_a_crash_left_is_removed_at_the_start(run_node: Callable[..., Any]) -> None:
    first = run_node()
    first.client().store(b"kept")
    first.stop()
    (first.path / "uploads" / "half.part").write_bytes(b"half")
    orphan = Blobs(NodeFolder(first.path)).path(blob_of(b"orphan").digest)
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"orphan")
    second = run_node()
    assert not orphan.exists()
    assert list((second.path / "uploads").iterdir()) == []
    assert second.client().read(blob_of(b"kept").digest, 0, 3) == b"kept"


def test_a_blob_that_the_disk_lost_is_asked_for_again(run_node: Callable[..., Any]) -> None:
    node = run_node()
    client = node.client()
    client.store(b"kept")
    node.node.blobs.remove(blob_of(b"kept").digest)
    reply, _ = client.get(client.reading(blob_of(b"kept").digest, 0, 3))
    assert reply.status == 404
    client.store(b"kept")
    assert client.read(blob_of(b"kept").digest, 0, 3) == b"kept"


def test_proofs_are_kept_within_bounds() -> None:
    cache = ProofCache()
    blocks = [Block.of(DAG_CBOR, n.to_bytes(4, "big") * 4000) for n in range(1200)]
    cache.add(blocks, 0)
    kept = cache.get([block.cid for block in blocks], 0)
    assert sum(map(len, kept.values())) <= CACHE_BYTES_MAX
    assert blocks[-1].cid in kept
    assert blocks[0].cid not in kept
    assert cache.get([blocks[-1].cid], KEPT_SECONDS) == {}
    large = Block.of(RAW, bytes(16 * 1024 + 1))
    cache.add([large], 0)
    assert cache.get([large.cid, CID.of(RAW, b"")], 0) == {}
