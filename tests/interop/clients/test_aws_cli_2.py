"""The aws CLI version 2, whose transfers are not those of version 1."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def path_of_version_2() -> str | None:
    """Version 1 comes with the development tools, so the first one found may be of it."""
    for folder in os.get_exec_path():
        path = shutil.which("aws", path=folder)
        if path and subprocess.check_output([path, "--version"]).startswith(b"aws-cli/2."):
            return path
    return None


@pytest.fixture
def aws_s3(
    path_of_version_2: str | None, program: Callable[[str], Any], absent: Callable[[str], None], endpoint: Any
) -> Any:
    if path_of_version_2 is None:
        absent("aws CLI 2")
    # Versions before 2.13 do not look for AWS_ENDPOINT_URL.
    return program(path_of_version_2).with_arguments("--endpoint-url", endpoint.url, "s3")


def test_a_tree_up_and_down(
    aws_s3: Any, bucket: str, there: Any, back: Any, files: dict[str, bytes], objects: Callable[[], dict[str, bytes]]
) -> None:
    aws_s3("sync", there.path, f"s3://{bucket}/tree")
    assert objects() == {f"tree/{name}": data for name, data in files.items()}
    aws_s3("sync", f"s3://{bucket}/tree", back.path)
    assert back.read() == files
    assert aws_s3("sync", there.path, f"s3://{bucket}/tree") == b""
    (there.path / "empty").unlink()
    aws_s3("sync", "--delete", there.path, f"s3://{bucket}/tree")
    assert objects() == {f"tree/{name}": data for name, data in there.read().items()}


def test_large_files(
    aws_s3: Any, bucket: str, tmp_path: Path, large: bytes, objects: Callable[[], dict[str, bytes]]
) -> None:
    (tmp_path / "large").write_bytes(large)
    aws_s3("cp", "large", f"s3://{bucket}/large")
    aws_s3("cp", "-", f"s3://{bucket}/piped", stdin=large)
    aws_s3("mv", f"s3://{bucket}/large", f"s3://{bucket}/moved")
    assert objects() == {"moved": large, "piped": large}
    aws_s3("cp", f"s3://{bucket}/moved", "back")
    assert (tmp_path / "back").read_bytes() == large


def test_buckets(aws_s3: Any, bucket: str) -> None:
    other = f"{bucket}-aws2"
    aws_s3("mb", f"s3://{other}")
    aws_s3("cp", "-", f"s3://{other}/a b+c", stdin=b"x")
    assert aws_s3("ls", f"s3://{other}").endswith(b"1 a b+c\n")
    aws_s3("rb", "--force", f"s3://{other}")
    assert b"NoSuchBucket" in aws_s3("ls", f"s3://{other}", status=254)
