"""Shipping to a real storage node in another process: the space key alone finds and reads what is there."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from gateway.node.client import NodeClient, Observed, Piece, Remote, Retries, Service, Site
from gateway.shipping.node_remote import NodeRemote
from gateway.shipping.shipper import ShipSettings
from gateway.shipping.shipping import Acknowledge, Shipping
from mst import car
from mst.manifest import Manifest, beacon
from registry.space import verify_manifest
from registry.ucan.did import DID
from tests.node_process import NodeProcess
from tests.shipped import reachable
from tests.store_client import SPACE_KEY, StoreClient, content_of, open_client


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    started = NodeProcess(tmp_path / "node")
    yield started
    started.stop()


def client_of(node: NodeProcess, observer: Any = None) -> NodeClient:
    service = Service(node.ready["url"], DID(node.ready["did"]))
    retries = Retries(base_seconds=0.01, cap_seconds=0.1, open_seconds=0.1)
    remote = Remote(node=service, grant=node.grant(SPACE_KEY.did), space=SPACE_KEY, retries=retries)
    return NodeClient(remote, observer=observer)


@asynccontextmanager
async def shipped_to(node: NodeProcess, path: Path, observer: Any = None) -> AsyncIterator[StoreClient]:
    async with open_client(path) as client, client_of(node, observer) as to:
        shipping = Shipping.start(
            client.store, SPACE_KEY, NodeRemote(to), ShipSettings(at_once=True), Acknowledge(60.0)
        )
        try:
            yield client
        finally:
            await shipping.stop()


async def fill(client: StoreClient) -> None:
    await client.make("photos")
    sizes = [10, 5_000, 200_000, 1_500_000]
    await asyncio.gather(*(client.put("photos", b"%d" % n, content_of(n, sizes[n % 4])) for n in range(12)))


async def read_back(node: NodeProcess) -> dict[str, tuple[Manifest, dict[bytes, bytes]]]:
    """By each bucket's name: the manifest that brought its head, and every block that the head needs."""
    async with client_of(node) as client:
        manifests: list[Manifest] = []
        shards: dict[bytes, dict[bytes, Any]] = {}
        sites: dict[bytes, Sequence[Site]] = {}
        while (known := await client.locate([beacon(SPACE_KEY.did, len(manifests) + 1).cid.digest])).indexes:
            (index,) = known.indexes.values()
            ((shard, slices),) = index.shards.items()
            shards[shard] = dict(slices)
            sites |= known.sites
            root = index.content.multihash[2:]
            at = slices[root]
            (data,) = await client.retrieve([Piece(shard, at.offset, at.length, root)], sites)
            manifests.append(Manifest.decode(data))
        blocks: dict[bytes, bytes] = {}
        for manifest in manifests:
            verify_manifest(manifest)
            for named in manifest.shards:
                found = await client.locate([named.digest])
                (data,) = await client.retrieve([Piece(named.digest, 0, named.size_bytes, None)], found.sites)
                assert sha256(data).digest() == named.digest
                blocks |= {block.cid.digest: block.data for block in car.Reader().feed(data)}
        for shard, slices in shards.items():
            pieces = [Piece(shard, at.offset, at.length, digest) for digest, at in slices.items()]
            blocks |= zip(slices, await client.retrieve(pieces, sites), strict=True)
    newest = {}
    for manifest in sorted(manifests, key=lambda one: one.sequence):
        for head in manifest.heads:
            needed = {cid.digest: blocks[cid.digest] for cid in reachable(head.commit, blocks)}
            newest[head.name] = (manifest, needed)
    return newest


def test_what_was_answered_is_found_with_the_space_key_alone(node: NodeProcess, tmp_path: Path) -> None:
    async def run() -> None:
        async with shipped_to(node, tmp_path / "data") as client:
            await fill(client)
            head = client.store.bucket("photos")
            assert head.shipped == head.commit
        manifest, blocks = (await read_back(node))["photos"]
        assert manifest.heads[0].commit == head.commit
        assert sum(map(len, blocks.values())) > head.size_bytes

    asyncio.run(run())


def test_three_round_trips(node: NodeProcess, tmp_path: Path) -> None:
    seen: list[Observed] = []

    async def run() -> None:
        async with shipped_to(node, tmp_path / "data", seen.append) as client:
            await fill(client)

    asyncio.run(run())
    assert seen
    methods = [one.method for one in sorted(seen, key=lambda one: one.started)]
    waves = [method for method, _ in groupby(methods)]
    shipments = waves.count("PUT")
    assert shipments < 10
    assert waves == ["POST", "PUT"] * shipments + ["POST"]
    assert methods.count("POST") == 2 * shipments


def test_a_node_that_is_killed_and_comes_back(node: NodeProcess, tmp_path: Path) -> None:
    port = node.ready["url"].rpartition(":")[2]

    async def run() -> None:
        async with shipped_to(node, tmp_path / "data") as client:
            await client.make("photos")
            node.stop(signal.SIGKILL)
            waiting = asyncio.ensure_future(fill_again(client))
            await asyncio.sleep(0)
            again = await asyncio.to_thread(NodeProcess, tmp_path / "node", "--listen", f"127.0.0.1:{port}")
            try:
                await waiting
                head = client.store.bucket("photos")
                assert head.shipped == head.commit
                assert (await read_back(again))["photos"][0].heads[0].commit == head.commit
            finally:
                again.stop()

    async def fill_again(client: StoreClient) -> None:
        await asyncio.gather(*(client.put("photos", b"%d" % n, content_of(n, 200_000)) for n in range(4)))

    asyncio.run(run())
