"""A node on a real socket, in a thread with a loop of its own, whose clock the test has."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.config import Listen
from gateway.listener import Listener
from gateway.node.server.folder import NodeFolder
from gateway.node.server.http import NodeServer
from gateway.node.server.node import Node, NodeSettings
from gateway.sockets import open_sockets
from registry.ucan.delegation import delegate
from registry.ucan.signing import KeySigner
from registry.ucan.token import Capability
from tests.node_client import NodeClient


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now_s: int = 1_800_000_000

    def __call__(self) -> int:
        return self.now_s


class RunningNode:
    """A node that answers on a real socket."""

    def __init__(self, path: Path, clock: Clock, settings: dict[str, int]) -> None:
        self.path = path
        self.clock = clock
        self.failed = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        sockets = open_sockets(Listen("127.0.0.1", 0), 1)[0]
        self.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        folder = NodeFolder(path).create()
        folder.own()
        self.node = Node.open(folder, NodeSettings(self.url, **settings), clock)
        self._listener: Listener

        async def start() -> None:
            self._listener = Listener(NodeServer(self.node, self.failed.set).web_server, 100)
            await self._listener.start(sockets)

        asyncio.run_coroutine_threadsafe(start(), self._loop).result()

    def client(self, agent: int = 2, space: int = 1, *, granted: bool = True) -> NodeClient:
        """A gateway that may use the node."""
        key = KeySigner(bytes([agent]) * 32)
        abilities = [Capability(can, self.node.did) for can in ("blob/allocate", "blob/accept")]
        proof = delegate(self.node.key, key.did, abilities, expires=None) if granted else None
        return NodeClient(self.url, self.node.did, proof, key, KeySigner(bytes([space]) * 32), self.clock)

    def stop(self) -> None:
        stopped = self._listener.stop(5, asyncio.Event())
        asyncio.run_coroutine_threadsafe(stopped, self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.node.close()
        self.node.folder.release()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def run_node(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., RunningNode]]:
    """Starts the node of this test's folder: ``run_node(blob_bytes_max=10)``."""
    started: list[RunningNode] = []

    def start(**settings: int) -> RunningNode:
        started.append(RunningNode(tmp_path / "node", clock, settings))
        return started[-1]

    yield start
    for node in started:
        if node._thread.is_alive():
            node.stop()


@pytest.fixture
def node(run_node: Callable[..., RunningNode]) -> RunningNode:
    return run_node()


@pytest.fixture
def client(node: RunningNode) -> NodeClient:
    return node.client()
