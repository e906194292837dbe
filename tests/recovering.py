"""A space on a node in memory: gateways that ship to it, folders that are recovered from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gateway.node.client import NodeClient, Remote, Retries, Service, Timeouts
from gateway.recovering.new_folder import NewFolder, begun
from gateway.recovering.recovering import Recoverer, Recovery
from gateway.shipping.node_remote import NodeRemote
from gateway.shipping.reading import NodeBlocks
from gateway.shipping.shipper import ShipSettings
from gateway.shipping.shipping import Acknowledge, Shipping
from gateway.store.folder import DataFolder
from registry import heads, schema, shards, shipments
from registry.database import Database
from registry.ucan.signing import KeySigner
from tests.storage_node import NOW, StorageNode
from tests.store_client import SPACE_KEY, StoreClient, content_of, open_client

TIMEOUTS = Timeouts(connect_seconds=2, read_seconds=0.3, total_seconds=1, bytes_per_second=16 * 1024)
RETRIES = Retries(attempts=2, base_seconds=0.001, cap_seconds=0.01, failures_max=1000)


class Space:
    """A node, and gateways that come and go.

    Attributes:
        node: the node.
        path: where data folders are.
    """

    def __init__(self, node: StorageNode, path: Path) -> None:
        self.node = node
        self.path = path

    @asynccontextmanager
    async def client(self) -> AsyncIterator[NodeClient]:
        """The node, as gateways use it."""
        grant = self.node.grant(KeySigner(bytes(range(32))).did)
        service = Service(self.node.url, self.node.did)
        remote = Remote(node=service, grant=grant, space=SPACE_KEY, timeouts=TIMEOUTS, retries=RETRIES)
        async with NodeClient(remote, now=lambda: NOW) as client:
            yield client

    @asynccontextmanager
    async def gateway(self, name: str = "data") -> AsyncIterator[StoreClient]:
        """A gateway that answers when it has shipped, and reads from the node what it has not got."""
        async with self.client() as node, open_client(self.path / name) as client:
            shipping = Shipping.start(
                client.store, SPACE_KEY, NodeRemote(node), ShipSettings(at_once=True), Acknowledge(60.0)
            )
            far = client.store.read_from_afar(NodeBlocks(node, client.store.database, shipping.places), None)
            try:
                yield client
            finally:
                await far.close()
                await shipping.stop()

    async def recover(self, name: str = "again", *, verify: bool = True) -> Recovery:
        """Recover into a folder of that name."""

        @contextmanager
        def begin() -> Iterator[NewFolder]:
            folder = DataFolder(self.path / name)
            folder.make()
            with begun(folder) as new:
                yield new

        async with self.client() as client:
            recoverer = Recoverer(client, SPACE_KEY, begin, "root", lambda what, done, total: None)
            return await recoverer.recover(verify=verify)


async def fill(client: StoreClient) -> None:
    """Four shipments."""
    await client.make("photos")
    await client.put("photos", b"small", b"content")
    await client.put("photos", b"large", content_of("large", 300_000))
    await client.make("films")


def registry(path: Path) -> dict[str, Any]:
    """What matters of a registry."""
    database = Database.open(DataFolder(path).registry, read_only=True)
    try:
        with database.read() as connection:
            rows = connection.execute(sa.select(schema.shards)).all()
            return {
                "buckets": heads.load_all(connection),
                "newest": shipments.newest(connection),
                "unfinished": shipments.unfinished(connection),
                "difference": shipments.difference(connection),
                "shards": {
                    (row.digest, row.size_bytes, row.index_digest, row.index_bytes, row.state, row.shipment)
                    for row in rows
                    if row.shipment is not None
                },
                "packs": {
                    number: [one.manifest for one in shards.of_shipment(connection, number) if one.manifest]
                    for number in range(1, shipments.newest(connection)[0] + 1)
                },
            }
    finally:
        database.close()
