"""Our gateway stores on a storage node made of the public packages, and reads from it."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from gateway.node.client import (
    NodeClient,
    NodeError,
    NodeLied,
    NodeRefused,
    NodeUnavailable,
    Piece,
    PublishedIndex,
    Remote,
    Retries,
    Service,
    Source,
)
from gateway.shipping.node_remote import NodeRemote
from gateway.shipping.reading import NodeBlocks
from gateway.shipping.shipper import ShipSettings
from gateway.shipping.shipping import Acknowledge, Shipping
from gateway.shipping.trimming import Trimmer
from registry.ucan.capability import Blob
from registry.ucan.did import DID
from registry.ucan.index import NO_CONTENT, Index, Slice
from registry.ucan.signing import KeySigner
from tests.interop.network.conftest import SCRIPTS
from tests.memory_remote import forget_nodes
from tests.store_client import SPACE_KEY, content_of, open_client

pytestmark = pytest.mark.interop

AGENT = KeySigner(b"\x02" * 32)
DATA = random.Random("theirs").randbytes(3_000_000)
DIGEST = sha256(DATA).digest()


class TheirNode:
    """What it said when it was started, and what it has seen since."""

    def __init__(self, ready: dict[str, str]) -> None:
        self._ready = ready

    @property
    def did(self) -> str:
        return self._ready["did"]

    def client(self, agent: KeySigner | None = AGENT) -> NodeClient:
        service = Service(self._ready["url"], DID(self.did))
        retries = Retries(attempts=1, failures_max=1000)
        return NodeClient(
            Remote(node=service, grant=self._ready["grant"], space=SPACE_KEY, agent=agent, retries=retries)
        )

    def seen(self) -> Any:
        with urllib.request.urlopen(f"{self._ready['url']}/seen") as answer:
            return json.load(answer)


Start = Callable[..., AbstractContextManager[TheirNode]]


@pytest.fixture
def their_node(nodejs: Any) -> Start:
    """Starts one, for an agent; ``wrong`` is what it does wrong."""

    @contextmanager
    def start(agent: str = AGENT.did, **told: str) -> Iterator[TheirNode]:
        argument = json.dumps({"agent": agent, **told})
        with nodejs.start(SCRIPTS / "node.js", argument, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            try:
                yield TheirNode(json.loads(process.stdout.readline()))
            finally:
                process.stdin.close()

    return start


def source(data: bytes) -> Source:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 100_000):
            yield data[start : start + 100_000]

    return Source(Blob(sha256(data).digest(), len(data)), pieces)


def test_blobs_and_their_index(their_node: Start) -> None:
    index = Index(NO_CONTENT, {DIGEST: {DIGEST: Slice(0, len(DATA))}}).encode()

    async def run(node: TheirNode) -> None:
        async with node.client() as client:
            sources = [source(DATA), source(index)]
            sites = await client.upload(sources, [PublishedIndex(NO_CONTENT, sources[1].blob)])
            assert [site.digest for site in sites] == [DIGEST, sha256(index).digest()]
            assert [client.site(site.archive()) for site in sites] == sites
            again = await client.upload(sources)
            assert [site.claim.capability for site in again] == [site.claim.capability for site in sites]
            at = {DIGEST: [sites[0]]}
            assert await client.retrieve([Piece(DIGEST, 0, len(DATA), DIGEST)], at) == [DATA]
            parts = [Piece(DIGEST, start, 1000) for start in (0, 500, 1_000_000)]
            assert await client.retrieve(parts, at) == [DATA[one.offset : one.stop] for one in parts]
            with pytest.raises(NodeRefused, match="RangeNotSatisfiable"):
                await client.retrieve([Piece(DIGEST, len(DATA) - 1, 2)], at)
            found = await client.locate([DIGEST])
            assert found.sites[DIGEST][0].urls == sites[0].urls
            assert found.indexes[sha256(index).digest()].encode() == index
            assert (await client.locate([bytes(32)])).sites == {}

    with their_node() as node:
        asyncio.run(run(node))
        seen = node.seen()
        assert seen["puts"] == 2
        assert seen["invocations"][:2] == [["blob/allocate"] * 2, ["blob/accept", "blob/accept", "assert/index"]]


@pytest.mark.parametrize(
    ("wrong", "error", "reason"),
    [
        ("receipt", NodeLied, "a receipt of"),
        ("claim", NodeLied, "a location claim of"),
        ("grant expired", NodeRefused, "Unauthorized"),
    ],
)
def test_no_blob_is_stored(their_node: Start, wrong: str, error: type[NodeError], reason: str) -> None:
    async def run(node: TheirNode) -> None:
        async with node.client() as client:
            with pytest.raises(error, match=reason):
                await client.upload([source(DATA)])

    with their_node(wrong=wrong) as node:
        asyncio.run(run(node))


@pytest.mark.parametrize(("wrong", "error"), [("bytes", NodeLied), ("location expired", NodeUnavailable)])
def test_no_bytes_are_believed(their_node: Start, wrong: str, error: type[NodeError]) -> None:
    async def run(node: TheirNode) -> None:
        async with node.client() as client:
            [site] = await client.upload([source(DATA)])
            with pytest.raises(error):
                await client.retrieve([Piece(DIGEST, 0, len(DATA), DIGEST)], {DIGEST: [site]})

    with their_node(wrong=wrong) as node:
        asyncio.run(run(node))


def test_a_bucket_is_there_and_comes_back(their_node: Start, tmp_path: Path) -> None:
    contents = {b"%03d" % n: content_of(n, size) for n, size in enumerate([0, 1, 1_000, 300_000, 3_000_000] * 4)}

    async def run(node: TheirNode) -> None:
        async with open_client(tmp_path) as client, node.client(agent=None) as to:
            shipping = Shipping.start(
                client.store, SPACE_KEY, NodeRemote(to), ShipSettings(at_once=True), Acknowledge(60.0)
            )
            far = client.store.read_from_afar(NodeBlocks(to, client.store.database, shipping.places), None)
            try:
                await client.make("b")
                await asyncio.gather(*(client.put("b", key, content) for key, content in contents.items()))
                head = client.store.bucket("b")
                assert head.shipped == head.commit
                await Trimmer(client.store, shipping.places, None, 0).trim()
                assert client.store.size_bytes < 100
                forget_nodes(client.store)
                for key, content in contents.items():
                    assert await client.read("b", key) == content
            finally:
                await far.close()
                await shipping.stop()

    with their_node(agent=SPACE_KEY.did) as node:
        asyncio.run(run(node))
        assert node.seen()["gets"] > 0
