"""The S3 front on a store that keeps nothing, beside a storage node in memory that does what it is told: also the wrong
thing.  They run in a thread of their own, so that any client reaches the front as strangers do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from gateway.cli.event_loop import EventLoop
from gateway.node.client import NodeClient, Remote, Retries, Service, Timeouts
from gateway.s3.call import Front
from gateway.s3.server import S3Server
from gateway.shipping.node_remote import NodeRemote
from gateway.shipping.reading import NodeBlocks
from gateway.shipping.shipper import ShipSettings
from gateway.shipping.shipping import Acknowledge, Shipping
from gateway.shipping.trimming import Trimmer
from gateway.store.store import clock_ms
from registry.credentials import configured
from registry.ucan.signing import KeySigner
from tests.memory_remote import forget_nodes
from tests.storage_node import NOW, StorageNode
from tests.store_client import SPACE_KEY, StoreClient, open_client

ACCESS_KEY, SECRET = "faults", "a-secret-of-tests"
TIMEOUTS = Timeouts(connect_seconds=2, read_seconds=0.4, total_seconds=1, bytes_per_second=1024 * 1024)
RETRIES = Retries(attempts=2, base_seconds=0.001, cap_seconds=0.01, failures_max=10**6)
ACK_SECONDS = 2.0
"""How long writes wait for the node."""
HEADER_BYTES = 32 * 1024


@dataclass
class FarFront:
    """See above.

    Attributes:
        loop: where all of it runs.
        node: the node.
        s3: a client of the front that does not try again.
    """

    loop: EventLoop
    node: StorageNode
    s3: Any
    _client: StoreClient
    _trimmer: Trimmer

    def drop(self) -> None:
        """Have nothing here that the node has, on the disk or in memory."""
        self.loop.run(self._drop())

    def forget_nodes(self) -> None:
        """Have no tree node in memory."""
        self.loop.run(self._forget())

    def is_shipped(self, bucket: str) -> bool:
        """Whether the node has all of it."""
        head = self._client.store.bucket(bucket)
        return head.shipped == head.commit

    async def _forget(self) -> None:
        forget_nodes(self._client.store)

    async def _drop(self) -> None:
        await self._trimmer.trim()
        forget_nodes(self._client.store)


@asynccontextmanager
async def _open(path: Path, loop: EventLoop) -> AsyncIterator[FarFront]:
    async with StorageNode(KeySigner(b"\x03" * 32)).listening() as node, open_client(path) as client:
        grant = node.grant(KeySigner(bytes(range(32))).did)
        service = Service(node.url, node.did)
        remote = Remote(node=service, grant=grant, space=SPACE_KEY, timeouts=TIMEOUTS, retries=RETRIES)
        async with NodeClient(remote, now=lambda: NOW) as to:
            store = client.store
            shipping = Shipping.start(
                store, SPACE_KEY, NodeRemote(to), ShipSettings(at_once=True), Acknowledge(ACK_SECONDS)
            )
            far = store.read_from_afar(NodeBlocks(to, store.database, shipping.places), None)
            credential = configured(ACCESS_KEY, SECRET, "tests")
            front = Front(store, "us-east-1", 4, False, 60.0, clock_ms, {ACCESS_KEY: credential}.get)
            server = S3Server(front, (), None, HEADER_BYTES).web_server
            listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
            port = listener.sockets[0].getsockname()[1]
            s3 = boto3.session.Session().client(
                "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1",
                aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET,
                config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}, read_timeout=60),
            )  # fmt: skip
            try:
                yield FarFront(loop, node, s3, client, Trimmer(store, shipping.places, None, 0))
            finally:
                s3.close()
                listener.close()
                await server.shutdown(1)
                await far.close()
                await shipping.stop()


@contextmanager
def far_front(path: Path) -> Iterator[FarFront]:
    """One, with its data in the folder ``path``."""
    with EventLoop() as loop:
        opened = _open(path, loop)
        front = loop.run(opened.__aenter__())
        try:
            yield front
        finally:
            loop.run(opened.__aexit__(None, None, None))
