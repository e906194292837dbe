"""Servers that keep nothing: what they answer is on a storage node in another process, and is read from there."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from gateway.store.folder import DataFolder
from registry.space import SpaceKey
from tests.node_process import NodeProcess
from tests.node_proxy import NodeProxy
from tests.servers import Server, start_server

TRIM_SECONDS = 0.05
"""How often what was shipped is dropped."""


class RemoteServers:
    """A node, and servers that each have a space on it.

    Args:
        folder: where the node's data goes.

    Attributes:
        node: the node.
        proxy: what is between it and the servers.
    """

    def __init__(self, folder: Path) -> None:
        self.proxy = NodeProxy()
        self.node = NodeProcess(folder / "node", "--public-url", self.proxy.url)
        self.proxy.node_url = self.node.ready["url"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.node.stop()
        self.proxy.__exit__()

    def kill_node(self) -> None:
        """End the node as a power cut does, as far as a process can tell, and start it again."""
        self.node.stop(signal.SIGKILL)
        self.node = NodeProcess(self.node.data, "--public-url", self.proxy.url)
        self.proxy.node_url = self.node.ready["url"]

    @property
    def reads(self) -> int:
        """How many requests for blocks have reached the node."""
        return self.proxy.requests["GET"]

    def start(
        self, folder: Path, *, config: Mapping[str, Any] | None = None, data_dir: Path | None = None, **options: Any
    ) -> Server:
        """See `start_server`; what the configuration says of other things counts."""
        data_dir = data_dir or folder / "data"
        space = SpaceKey.load_or_create(DataFolder(data_dir).create().key)
        remote = {"url": self.proxy.url, "did": self.node.ready["did"], "proof": self.node.grant(space.did)}
        cache = {"max_bytes": 0, "trim_seconds": TRIM_SECONDS}
        whole = {"remote": remote, "ack": "remote", "cache": cache, **(config or {})}
        return start_server(folder, config=whole, data_dir=data_dir, **options)
