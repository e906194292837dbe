"""restic: minio-go, whose uploads are chunks that carry a signature each."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.interop


def test_backup_and_restore(
    program: Callable[[str], Any],
    endpoint: Any,
    bucket: str,
    there: Any,
    back: Any,
    large: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", "secret")
    restic = program("restic").with_arguments("--no-cache", "--repo", f"s3:{endpoint.url}/{bucket}-restic/repository")
    restic("init")
    restic("backup", there.path)
    there.write({"large": large})
    (there.path / "empty").unlink()
    restic("backup", there.path)
    assert len(json.loads(restic("snapshots", "--json"))) == 2
    restic("forget", "--keep-last", "1", "--prune")
    restic("check", "--read-data")
    restic("restore", "latest", "--target", back.path)
    assert {name.partition("/there/")[2]: data for name, data in back.read().items()} == there.read()
