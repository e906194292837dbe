"""A store that is shipped to a folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.shipping.shipper import ShipSettings
from gateway.shipping.shipping import Acknowledge, Shipping
from gateway.store.store import StoreSettings
from registry.schema import shards
from tests.shipped import FolderRemote, Shipped, check_places, read
from tests.store_client import SPACE_KEY, StoreClient, open_client

AT_ONCE = Acknowledge(60.0)


class Ship:
    """A store whose changes are answered when they have been shipped."""

    def __init__(self, client: StoreClient, remote: FolderRemote, shipping: Shipping):
        self.client = client
        self.remote = remote
        self.shipping = shipping

    def read(self) -> Shipped:
        """What is on the remote, all of it checked; the shipped heads that are known here are those there."""
        shipped = read(self.remote, SPACE_KEY.did)
        for bucket in self.client.store.buckets():
            there = shipped.heads.get(bucket.name)
            assert bucket.shipped == (there.commit if there else None)
            assert bucket.shipped_sequence == (shipped.commit(bucket.name).sequence if there else None)
        check_places(self.shipping.places, self.remote, {row.number: row.digest for row in self.shards()}, shipped)
        return shipped

    def shards(self) -> list[Any]:
        """Every row of the registry's table of shards."""
        with self.client.store.database.read() as connection:
            return list(connection.execute(sa.select(shards).order_by(shards.c.number)))


@asynccontextmanager
async def _open(
    path: Path,
    remote: FolderRemote | None = None,
    *,
    settings: StoreSettings | None = None,
    acknowledge: Acknowledge | None = AT_ONCE,
    ship: ShipSettings | None = None,
) -> AsyncIterator[Ship]:
    remote = remote or FolderRemote(path / "remote side")
    ship = ship or ShipSettings(at_once=acknowledge is not None, interval_seconds=0.0)
    async with open_client(path / "data", settings) as client:
        shipping = Shipping.start(client.store, SPACE_KEY, remote, ship, acknowledge)
        try:
            yield Ship(client, remote, shipping)
        finally:
            await shipping.stop()


@pytest.fixture
def open_ship() -> Callable[..., AbstractAsyncContextManager[Ship]]:
    """Opens a store in the folder "data" of a path, shipped to the folder "remote side"."""
    return _open


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.shipping.shipper.BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr("gateway.shipping.shipper.BACKOFF_SECONDS_MAX", 0.001)
    monkeypatch.setattr("gateway.shipping.shipper.LOOK_SECONDS", 0.001)
    monkeypatch.setattr("gateway.shipping.shipper.AHEAD_SECONDS", 0.01)
