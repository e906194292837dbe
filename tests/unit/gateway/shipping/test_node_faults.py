"""Every way in which a node can fail while it is shipped to: shipping ends when the fault does, and what is called
shipped is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from gateway.node.client import NodeClient, Remote, Retries, Service, Timeouts
from gateway.shipping.node_remote import NodeRemote
from gateway.shipping.shipper import ShipSettings
from gateway.shipping.shipping import Acknowledge, Shipping
from mst import car
from registry.ucan.signing import KeySigner
from tests.node_faults import FAULTS
from tests.shipped import reachable
from tests.storage_node import NOW, Handler, StorageNode, resigned
from tests.store_client import SPACE_KEY, StoreClient, content_of, open_client

TIMES = 3
"""How often each fault strikes: more often than the client tries by itself."""
TIMEOUTS = Timeouts(connect_seconds=2, read_seconds=0.3, total_seconds=1, bytes_per_second=16 * 1024)
RETRIES = Retries(attempts=2, base_seconds=0.001, cap_seconds=0.01, failures_max=1000)

OF_BODIES = ("nonsense", "reset in the body", "slow", "truncated", "wrong bytes")
"""Faults of an answer's body, which means nothing after a PUT."""
STRUCK = (
    *(("POST", number, name) for number in (0, 1) for name in FAULTS),
    *(("PUT", 0, name) for name in FAULTS if name not in OF_BODIES),
)
"""Of the allocation, of the acceptance, of a blob: the method, which request with it, and what happens to that."""


def run(tmp_path: Path, talk: Callable[[StorageNode, StoreClient], Awaitable[None]]) -> None:
    async def main() -> None:
        async with StorageNode(KeySigner(b"\x03" * 32)).listening() as node, open_client(tmp_path / "data") as client:
            service = Service(node.url, node.did)
            grant = node.grant(KeySigner(bytes(range(32))).did)
            remote = Remote(node=service, grant=grant, space=SPACE_KEY, timeouts=TIMEOUTS, retries=RETRIES)
            async with NodeClient(remote, now=lambda: NOW) as to:
                settings = ShipSettings(at_once=True)
                shipping = Shipping.start(client.store, SPACE_KEY, NodeRemote(to), settings, Acknowledge(60.0))
                try:
                    await talk(node, client)
                    check(node, client)
                finally:
                    await shipping.stop()

    asyncio.run(main())


def check(node: StorageNode, client: StoreClient) -> None:
    """The head is shipped, and the node has accepted all that it needs."""
    head = client.store.bucket("photos")
    assert head.shipped == head.commit
    blocks: dict[bytes, bytes] = {}
    for digest in node.accepted:
        blocks |= {block.cid.digest: block.data for block in car.Reader().feed(node.blobs[digest])}
    assert all(cid.digest in blocks for cid in reachable(head.commit, blocks))


async def change(client: StoreClient) -> None:
    await client.make("photos")
    await client.put("photos", b"small", b"content")
    await client.put("photos", b"large", content_of("large", 300_000))


@pytest.mark.parametrize(("method", "first", "name"), STRUCK)
def test_a_fault_that_ends(tmp_path: Path, method: str, first: int, name: str) -> None:
    async def right(request: web.BaseRequest, handler: Handler) -> web.StreamResponse:
        return await handler(request)

    async def talk(node: StorageNode, client: StoreClient) -> None:
        node.faults[method] = [right] * first + [FAULTS[name]] * TIMES
        await change(client)
        assert node.faults[method] == []

    run(tmp_path, talk)


def test_receipts_of_somebody_else(tmp_path: Path) -> None:
    async def talk(node: StorageNode, client: StoreClient) -> None:
        left = [True] * 5
        node.alter = lambda one: resigned(one, KeySigner(b"\x09" * 32)) if left and left.pop() else one
        await change(client)
        assert not left

    run(tmp_path, talk)


def test_a_node_that_is_emptied_before_it_accepts(tmp_path: Path) -> None:
    async def lose(request: web.BaseRequest, handler: Handler) -> web.StreamResponse:
        node_blobs.clear()
        return await handler(request)

    node_blobs: dict[bytes, bytes] = {}

    async def talk(node: StorageNode, client: StoreClient) -> None:
        nonlocal node_blobs
        node_blobs = node.blobs

        async def right(request: web.BaseRequest, handler: Handler) -> web.StreamResponse:
            return await handler(request)

        node.faults["POST"] = [right, lose]
        await change(client)

    run(tmp_path, talk)


def test_an_allocation_that_has_expired(tmp_path: Path) -> None:
    async def talk(node: StorageNode, client: StoreClient) -> None:
        node.put_expires = NOW - 1
        waiting = asyncio.ensure_future(change(client))
        while not any("blob/allocate" in asked for asked in node.abilities):
            await asyncio.sleep(0.001)
        node.put_expires = NOW + 3600
        await waiting

    run(tmp_path, talk)


def test_an_index_that_was_told_too_early(tmp_path: Path) -> None:
    async def talk(node: StorageNode, client: StoreClient) -> None:
        node.eager_indexing = True
        await change(client)
        assert node.indexed

    run(tmp_path, talk)
