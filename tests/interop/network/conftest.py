"""Other people's side of the storage network: the public JavaScript packages, in scripts of our own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parent / "js"


@pytest.fixture
def nodejs(program: Callable[[str], Any], absent: Callable[[str], None]) -> Any:
    """Node.js, where the packages are; ends the test where they are not."""
    found = program("node")
    program("npm")  # without which `make interop` installs no package
    if not (SCRIPTS / "node_modules" / "@ucanto" / "server").is_dir():
        absent("@ucanto/server")
    return found


@pytest.fixture
def script(nodejs: Any) -> Callable[..., bytes]:
    """Runs one of the scripts; gives what it wrote."""

    def run(name: str, *arguments: str, stdin: bytes = b"") -> bytes:
        output: bytes = nodejs(SCRIPTS / name, *arguments, stdin=stdin)
        return output

    return run
