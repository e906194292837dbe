"""A client and a storage node, each with a real socket, on the event loop that is used for real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

import pytest
import uvloop

from gateway.node.client import NodeClient, Observed, Piece, Remote, Retries, Service, Site, Source, Timeouts
from registry.ucan.capability import Blob
from registry.ucan.signing import KeySigner
from tests.storage_node import NOW, StorageNode

TIMEOUTS = Timeouts(connect_seconds=5, read_seconds=10, total_seconds=20, bytes_per_second=16 * 1024)
RETRIES = Retries(attempts=3, base_seconds=0.001, cap_seconds=0.01, failures_max=1000, open_seconds=60)


def source(data: bytes, chunk_bytes: int = 100_000) -> Source:
    """A blob in memory, as a file would be read."""

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(data), chunk_bytes):
            yield data[start : start + chunk_bytes]

    return Source(Blob(sha256(data).digest(), len(data)), chunks)


def round_trips(observed: Sequence[Observed]) -> int:
    """The longest chain of requests each of which began when the one before had ended."""
    count, free = 0, float("-inf")
    for one in sorted(observed, key=lambda one: one.ended):
        if one.started >= free:
            count, free = count + 1, one.ended
    return count


@dataclass
class World:
    """What a test has.

    Attributes:
        node: the node.
        remote: how the client was made.
        client: the client.
        observed: every request that has ended.
        clock: what the client takes for the time, in a list of one.
        tried: how often a request was sent that failed.
    """

    node: StorageNode
    remote: Remote
    client: NodeClient
    observed: list[Observed]
    clock: list[float]
    tried: int = 0

    async def stored(self, *datas: bytes) -> dict[bytes, list[Site]]:
        """Upload blobs; where each is."""
        return {site.digest: [site] for site in await self.client.upload([source(data) for data in datas])}

    async def read(self, sites: dict[bytes, list[Site]], *pieces: Piece) -> list[bytes]:
        """Bytes of uploaded blobs."""
        return await self.client.retrieve(pieces, sites)


@dataclass
class Runner:
    """Runs a test's talk between a client and a node.

    Attributes:
        space: the key of the space.
        agent: another key.
    """

    space: KeySigner = field(default_factory=lambda: KeySigner(b"\x01" * 32))
    agent: KeySigner = field(default_factory=lambda: KeySigner(b"\x02" * 32))
    node_key: KeySigner = field(default_factory=lambda: KeySigner(b"\x03" * 32))

    def __call__(
        self,
        talk: Callable[[World], Awaitable[None]],
        *,
        agent: KeySigner | None = None,
        timeouts: Timeouts = TIMEOUTS,
        retries: Retries = RETRIES,
        indexer: StorageNode | None = None,
    ) -> None:
        async def main() -> None:
            async with StorageNode(self.node_key).listening() as node:
                grant = node.grant((agent or self.space).did)
                remote = Remote(
                    node=Service(node.url, node.did),
                    grant=grant,
                    space=self.space,
                    agent=agent,
                    timeouts=timeouts,
                    retries=retries,
                )
                if indexer is None:
                    await self._with_client(talk, node, remote)
                else:
                    async with indexer.listening():
                        remote = replace(remote, indexer=Service(indexer.url, indexer.did))
                        await self._with_client(talk, node, remote)

        uvloop.run(asyncio.wait_for(main(), 60))

    @staticmethod
    async def _with_client(talk: Callable[[World], Awaitable[None]], node: StorageNode, remote: Remote) -> None:
        clock = [float(NOW)]
        observed: list[Observed] = []
        async with NodeClient(remote, now=lambda: clock[0], observer=observed.append) as client:
            await talk(World(node, remote, client, observed, clock))


@pytest.fixture
def run() -> Runner:
    return Runner()
