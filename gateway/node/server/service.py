"""Running a node until it is told to stop: the folder owned, requests answered, what is not accepted forgotten."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from gateway.config import ConfigError, Listen, TlsFiles
from gateway.endpoint import endpoint_of
from gateway.file_limit import raise_file_limit
from gateway.listener import Listener, refusal_bytes
from gateway.node.server.folder import NodeFolder
from gateway.node.server.http import NodeServer
from gateway.node.server.node import Node, NodeSettings
from gateway.sockets import open_sockets
from gateway.tls import ServerTls
from registry.database import DatabaseBusy
from registry.errors import RegistryError
from registry.ucan.did import DID

CONNECTIONS_MAX = 1024
"""Most connections open at once."""
SWEEP_SECONDS = 60.0
"""How often what has expired is removed."""
SHUTDOWN_SECONDS = 30.0
"""How long requests in progress may take to end."""

_REFUSAL = refusal_bytes(b"text/plain", b"too many connections are open\n")

log = structlog.get_logger(__name__)


class NodeFailed(Exception):
    """The node stopped by itself, because its disk failed."""


@dataclass(frozen=True, slots=True)
class Serving:
    """How a node is run.

    Attributes:
        data_dir: its folder.
        listen: where it accepts connections.
        settings: of the node; without a public URL it is the address that it listens at.
        tls: the certificate that it shows, or None for plain HTTP.
        connections_max: most connections open at once.
    """

    data_dir: Path
    listen: Listen
    settings: NodeSettings
    tls: TlsFiles | None = None
    connections_max: int = CONNECTIONS_MAX


async def serve(serving: Serving, started: Callable[[str, DID], None]) -> None:
    """Own the folder and answer requests until SIGTERM or SIGINT; SIGHUP replaces the certificate.

    Args:
        serving: how.
        started: called with the URL and the node's name when requests are accepted.

    Raises:
        CannotListen: nothing can listen at the address.
        ConfigError: the certificate cannot be used.
        FolderLocked: another process owns the folder.
        NodeFailed: the disk or the database failed.
        RegistryError, OSError, Refused: the folder cannot be used.
    """
    raise_file_limit()
    folder = NodeFolder(serving.data_dir).create()
    folder.own()
    try:
        tls = None if serving.tls is None else ServerTls(serving.tls)
        sockets = open_sockets(serving.listen, 1)[0]
        url = endpoint_of(Listen(serving.listen.host, sockets[0].getsockname()[1]), tls=tls is not None)
        settings = replace(serving.settings, public_url=serving.settings.public_url or url)
        node = await asyncio.to_thread(Node.open, folder, settings)
        try:
            stop, failed = asyncio.Event(), asyncio.Event()
            hurry = _on_signals(stop, tls)

            def fail() -> None:
                failed.set()
                stop.set()

            server = NodeServer(node, fail)
            listener = Listener(server.web_server, serving.connections_max, tls, _REFUSAL)
            await listener.start(sockets)
            log.info("serving", url=url, public_url=settings.public_url, node=node.did, data_dir=str(folder.path))
            started(url, node.did)
            sweeping = asyncio.create_task(_sweep(node))
            await stop.wait()
            sweeping.cancel()
            cut_off = await listener.stop(SHUTDOWN_SECONDS, hurry)
            if cut_off:
                log.warning("requests were cut off", count=cut_off)
        finally:
            await asyncio.to_thread(node.close)
        if failed.is_set():
            raise NodeFailed("the disk failed: see the messages before, then start the node again")
    finally:
        folder.release()


async def _sweep(node: Node) -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        try:
            removed = await asyncio.to_thread(node.sweep)
        except DatabaseBusy:
            continue
        except (RegistryError, OSError) as error:
            log.error("what has expired was not removed", reason=str(error))
            continue
        if removed:
            log.info("removed blobs that were not accepted in time", count=removed)


def _on_signals(stop: asyncio.Event, tls: ServerTls | None) -> asyncio.Event:
    """Let the first SIGTERM or SIGINT set ``stop``, and a second one what is returned."""
    hurry = asyncio.Event()

    def signalled() -> None:
        (hurry if stop.is_set() else stop).set()

    def reload() -> None:
        if tls is None:
            log.info("SIGHUP changes nothing without TLS")
            return
        try:
            tls.reload()
        except ConfigError as error:
            log.error("the certificate was not replaced", reason=str(error))

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    loop.add_signal_handler(signal.SIGHUP, reload)
    return hurry
