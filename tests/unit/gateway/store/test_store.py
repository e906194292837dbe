"""The store as a whole: what was put is read back, after a restart too, and content alone decides the root."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from tests.store_client import content_of, open_client


def test_x(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_client(tmp_path) as client:
            await client.make("photos")
            await client.put("photos", b"a", b"content")
            assert await client.contents("photos") == {b"a": b"content"}

    asyncio.run(run())
