"""A server of ours whose writes are answered when its storage node has them, and that node behind a `DelayProxy`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.latency.proxy import DelayProxy
from bench.peers import Running, find_program, output, start_ms3t
from bench.server import ServerProcess, free_ports, wait_for_port

_SHIPPED = re.compile(r'"event": "shipped"')
_DID = re.compile(r"did:key:z[A-Za-z0-9]+")


@dataclass(slots=True)
class Far:
    """The pair.

    Attributes:
        gateway: where S3 is spoken to.
        folder: the gateway's; its log is there.
        servers: both processes.
    """

    gateway: Running
    folder: Path
    servers: tuple[ServerProcess, ...]

    def shipments(self) -> int:
        """How many shipments have reached the node."""
        return len(_SHIPPED.findall((self.folder / "server.log").read_text()))


@contextmanager
def started(folder: Path, proxy: DelayProxy) -> Iterator[Far]:
    """Start both; StartError when one of them will not."""
    gateway, node = folder / "gateway", folder / "node"
    gateway.mkdir()
    node.mkdir()
    ms3t = find_program("ms3t")
    (proxy.target,) = free_ports(1)
    url = f"http://127.0.0.1:{proxy.port}"
    data = str(node / "data")
    listen = ("--listen", f"127.0.0.1:{proxy.target}", "--public-url", url)
    storage = ServerProcess([ms3t, "node", "serve", "--data-dir", data, *listen], node)
    try:
        wait_for_port(storage, proxy.target)
        space = _space(ms3t, gateway)
        proof = output([ms3t, "node", "grant", "--data-dir", data, space], node).strip()
        (did,) = set(_DID.findall((node / "server.log").read_text()))
        config = {"remote": {"url": url, "did": did, "proof": proof}, "ack": "remote", "log": {"format": "json"}}
        running = start_ms3t(gateway, config)
        try:
            yield Far(running, gateway, (running.process, storage))
        finally:
            running.process.stop()
    finally:
        storage.stop()


def _space(ms3t: str, gateway: Path) -> str:
    """The DID of the gateway's space, which it has after its first start."""
    start_ms3t(gateway).process.stop()
    checks = json.loads(output([ms3t, "doctor", "--json", "--data-dir", str(gateway / "data")], gateway))["checks"]
    (found,) = {did for check in checks for did in _DID.findall(check["detail"])}
    return found
