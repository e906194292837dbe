"""litestream: the changes of a SQLite database as small objects, found again by listings."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.interop


def test_replicate_and_restore(
    program: Callable[[str], Any], endpoint: Any, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)  # with which it does not start; SSL_CERT_FILE is enough
    replica = {
        "type": "s3",
        "bucket": bucket,
        "path": "replica",
        "endpoint": endpoint.url,
        "region": endpoint.region,
        "force-path-style": True,
    }
    database, restored = tmp_path / "database", tmp_path / "restored"
    (tmp_path / "litestream.yml").write_text(json.dumps({"dbs": [{"path": str(database), "replica": replica}]}))
    litestream = program("litestream")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=wal")
        connection.execute("CREATE TABLE numbers (n)")
        for start in (0, 1000):
            connection.executemany("INSERT INTO numbers VALUES (?)", [(n,) for n in range(start, start + 1000)])
            connection.commit()
            litestream("replicate", "-config", "litestream.yml", "-once")
    litestream("restore", "-config", "litestream.yml", "-o", restored, database)
    with closing(sqlite3.connect(restored)) as connection:
        assert connection.execute("SELECT count(*), sum(n) FROM numbers").fetchall() == [(2000, 1_999_000)]
