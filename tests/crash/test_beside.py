"""Looking at a folder while another process writes to it: what is seen is whole, whatever moves underneath."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

from gateway.store.folder import DataFolder
from gateway.store.store import Store, StoreSettings
from tests.store_client import StoreClient
from tests.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 3.0


async def _look(path: Path) -> int:
    """Read every object of every bucket; returns how many there are."""
    store = Store.open_for_reading(DataFolder(path), StoreSettings(threads=2))
    try:
        assert [finding for finding in store.findings if finding.damaged_at is not None] == []
        return sum([len(await StoreClient(store).contents(bucket.name)) for bucket in store.buckets()])
    finally:
        store.close()


def test_readers_beside_a_writer(folder: Path) -> None:
    driver = [sys.executable, "-m", "tests.crash.driver", str(folder / "data")]
    subprocess.run([*driver, "look"], cwd=REPOSITORY, input=b"", capture_output=True, check=True)
    with (folder / "said").open("wb") as said:
        writer = subprocess.Popen([*driver, "run", "--operations", "1000000"], cwd=REPOSITORY, stdout=said)
    try:
        wait_until(lambda: b"done" in (folder / "said").read_bytes())
        seen = []
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            seen.append(asyncio.run(_look(folder / "data")))
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait()
    assert len(seen) > 3
    assert max(seen) > 0
