"""A fresh database for each test, and buckets to put in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mst.cid import CID, DAG_CBOR
from registry.database import Database
from registry.heads import Bucket


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    opened = Database.open(path)
    yield opened
    opened.close()


@pytest.fixture
def make_bucket() -> Callable[..., Bucket]:
    def make(name: str = "photos", instance: bytes = b"i" * 16, commit: bytes = b"commit 1") -> Bucket:
        return Bucket(
            name=name,
            instance=instance,
            commit=CID.of(DAG_CBOR, commit),
            tree=CID.of(DAG_CBOR, b"tree of " + commit),
            sequence=1,
            objects=2,
            size_bytes=3,
            bits=4,
            salt=None,
            created_ms=1_700_000_000_000,
            head_time_ms=1_700_000_000_001,
        )

    return make
