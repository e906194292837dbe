"""Reading from a real storage node in another process: in how many requests, and what if it is gone."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.node.client import NodeClient, Observed, Remote, Retries, Service
from gateway.s3.page import collect
from gateway.shipping.node_remote import NodeRemote
from gateway.shipping.reading import NodeBlocks
from gateway.shipping.shipper import ShipSettings
from gateway.shipping.shipping import Acknowledge, Shipping
from gateway.shipping.trimming import Trimmer
from gateway.store.errors import RemoteUnavailable
from mst.layer import TreeParams
from registry.ucan.did import DID
from tests.memory_remote import forget_nodes
from tests.node_process import NodeProcess
from tests.store_client import SPACE_KEY, StoreClient, content_of, open_client


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    started = NodeProcess(tmp_path_factory.mktemp("node"))
    yield started
    started.stop()


@asynccontextmanager
async def _far(
    node: NodeProcess, path: Path, contents: dict[bytes, bytes]
) -> AsyncIterator[tuple[StoreClient, list[Observed]]]:
    """A store of which nothing is left here: all is on the node."""
    seen: list[Observed] = []
    service = Service(node.ready["url"], DID(node.ready["did"]))
    retries = Retries(attempts=2, base_seconds=0.01, cap_seconds=0.1, open_seconds=0.1)
    remote = Remote(node=service, grant=node.grant(SPACE_KEY.did), space=SPACE_KEY, retries=retries)
    async with open_client(path) as client, NodeClient(remote, observer=seen.append) as to:
        shipping = Shipping.start(
            client.store, SPACE_KEY, NodeRemote(to), ShipSettings(at_once=True), Acknowledge(600.0)
        )
        far = client.store.read_from_afar(NodeBlocks(to, client.store.database, shipping.places), None)
        try:
            await client.make("b")
            await asyncio.gather(*(client.put("b", key, content) for key, content in contents.items()))
            await Trimmer(client.store, shipping.places, None, 0).trim()
            assert client.store.size_bytes < 100
            forget_nodes(client.store)
            seen.clear()
            yield client, seen
        finally:
            await far.close()
            await shipping.stop()


def _waves(seen: list[Observed]) -> int:
    """How many requests came one after the other."""
    waves, end = 0, 0.0
    for one in sorted(seen, key=lambda one: one.started):
        if one.started >= end:
            waves += 1
            end = one.ended
        end = max(end, one.ended)
    return waves


async def _levels(client: StoreClient) -> int:
    bucket = client.store.bucket("b")
    root = await asyncio.to_thread(client.store.blocks.node, TreeParams(bucket.bits, bucket.salt), bucket.tree)
    forget_nodes(client.store)
    return root.layer + 1


@pytest.mark.parametrize("keys", [2_500, pytest.param(100_000, marks=pytest.mark.big)])
def test_round_trips(node: NodeProcess, tmp_path: Path, keys: int) -> None:
    async def run() -> None:
        contents = {b"%05d" % n: b"%d".ljust(1024) % n for n in range(keys)}
        contents[b"large"] = b"".join(content_of(n, 1 << 20) for n in range(64))
        async with _far(node, tmp_path, contents) as (client, seen):
            levels = await _levels(client)
            for key in (b"00000", b"01234", b"02499"):
                forget_nodes(client.store)
                seen.clear()
                assert await client.read("b", key) == contents[key]
                assert 0 < _waves(seen) <= len(seen) <= levels + 1
            forget_nodes(client.store)
            seen.clear()
            page = await collect(client.store.trees.walk(client.store.bucket("b")), b"00500", b"", b"", 1000)
            assert [key for key, _ in page.rows] == sorted(contents)[500:1500]
            assert 0 < _waves(seen) <= levels
            entry = await client.store.trees.get(client.store.bucket("b"), b"large")
            assert entry is not None
            seen.clear()
            assert await client.content(entry) == contents[b"large"]
            assert 0 < len(seen) <= 8
            assert {one.method for one in seen} == {"GET"}

    asyncio.run(run())


def test_a_node_that_is_gone_and_comes_back(tmp_path: Path) -> None:
    async def run() -> None:
        node = NodeProcess(tmp_path / "node")
        port = node.ready["url"].rpartition(":")[2]
        try:
            contents = {b"a": b"1", b"large": content_of("large", 300_000)}
            async with _far(node, tmp_path / "data", contents) as (client, _):
                await asyncio.to_thread(node.stop, signal.SIGKILL)
                with pytest.raises(RemoteUnavailable):
                    await client.read("b", b"a")
                node = await asyncio.to_thread(NodeProcess, tmp_path / "node", "--listen", f"127.0.0.1:{port}")
                async with asyncio.timeout(30):
                    while True:
                        try:
                            assert await client.read("b", b"a") == b"1"
                            break
                        except RemoteUnavailable:
                            await asyncio.sleep(0.05)
                assert await client.read("b", b"large") == contents[b"large"]
        finally:
            node.stop()

    asyncio.run(run())
