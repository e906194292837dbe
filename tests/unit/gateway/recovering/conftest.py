"""Spaces of their own for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from registry.ucan.signing import KeySigner
from tests.recovering import Space
from tests.storage_node import StorageNode


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Callable[[Space], Awaitable[None]]], None]:
    """Runs something with a space of its own."""

    def run(talk: Callable[[Space], Awaitable[None]]) -> None:
        async def main() -> None:
            async with StorageNode(KeySigner(b"\x03" * 32)).listening() as node:
                await talk(Space(node, tmp_path))

        asyncio.run(main())

    return run
