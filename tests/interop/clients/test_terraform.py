"""Terraform: state in a bucket, with a lock that is a conditional write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.interop


@pytest.fixture
def terraform(
    program: Callable[[str], Any], endpoint: Any, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """The program in a folder with a configuration that needs no provider from elsewhere."""
    monkeypatch.setenv("CHECKPOINT_DISABLE", "1")
    monkeypatch.delenv("TF_CLI_CONFIG_FILE", raising=False)
    backend = {
        "bucket": bucket,
        "key": "folder/state",
        "region": endpoint.region,
        "endpoints": {"s3": endpoint.url},
        "use_path_style": True,
        "use_lockfile": True,
        "skip_credentials_validation": True,
        "skip_requesting_account_id": True,
        "skip_metadata_api_check": True,
    }
    configuration = {
        "terraform": {"backend": {"s3": backend}},
        "variable": {"wanted": {"default": "first"}},
        "resource": {"terraform_data": {"it": {"input": "${var.wanted}"}}},
        "output": {"it": {"value": "${terraform_data.it.output}"}},
    }
    (tmp_path / "main.tf.json").write_text(json.dumps(configuration))
    program = program("terraform")
    program("init", "-no-color")
    return program


def test_state(terraform: Any, objects: Callable[[], dict[str, bytes]]) -> None:
    terraform("apply", "-auto-approve")
    terraform("apply", "-auto-approve", "-var", "wanted=second")
    assert terraform("output", "-raw", "it") == b"second"
    [(key, state)] = objects().items()
    assert key == "folder/state"
    assert json.loads(state)["outputs"]["it"]["value"] == "second"
    terraform("workspace", "new", "other")
    assert b"other" in terraform("workspace", "list")


def test_a_lock_that_is_held_stops_it(terraform: Any, s3: Any, bucket: str) -> None:
    held = {"ID": "0b1a94a5-b8b5-4c7f-9c56-7a1f2b6b8f11", "Operation": "OperationTypeApply", "Who": "somebody"}
    s3.put_object(Bucket=bucket, Key="folder/state.tflock", Body=json.dumps(held))
    refused = terraform("apply", "-auto-approve", "-no-color", status=1)
    assert b"Error acquiring the state lock" in refused
    assert b"somebody" in refused
    terraform("force-unlock", "-force", held["ID"])
    terraform("apply", "-auto-approve")
