"""The SDK for JavaScript version 3 and minio-js, each in a script of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.interop

SCRIPTS = Path(__file__).parent / "js"


@pytest.mark.parametrize(("script", "package"), [("sdk.js", "@aws-sdk/client-s3"), ("minio.js", "minio")])
def test_script(
    program: Callable[[str], Any], absent: Callable[[str], None], bucket: str, script: str, package: str
) -> None:
    node = program("node")
    program("npm")  # without which `make interop` installs no package
    if not (SCRIPTS / "node_modules" / package).is_dir():
        absent(package)
    node(SCRIPTS / script, f"{bucket}-js")
