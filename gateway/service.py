"""The S3 front on listening sockets: what every process that talks to clients runs."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from collections.abc import Sequence

import structlog

from gateway.config import Config, ConfigError
from gateway.keyring import Keyring
from gateway.listener import Listener
from gateway.s3.access_log import AccessLog
from gateway.s3.call import Front
from gateway.s3.server import S3Server
from gateway.store.store import Store, clock_ms
from gateway.tls import ServerTls

GC_ALLOCATIONS = 50_000
GC_YOUNG_PER_MIDDLE = 20
GC_MIDDLE_PER_OLD = 50
"""When Python's cycle collector runs: container allocations, and collections of one generation per one of the next."""

log = structlog.get_logger(__name__)


class Service:
    """Answers S3 requests.

    Args:
        config: the configuration.
        store: what is served.

    Raises:
        ConfigError: the certificate cannot be used.
        DatabaseError: the access keys cannot be read.
    """

    def __init__(self, config: Config, store: Store):
        self._keyring = Keyring(store.database, [key.credential for key in config.credentials])
        self._following: asyncio.Task[None] | None = None
        self._access_log = AccessLog(sys.stdout.buffer, config.log.format) if config.log.access else None
        front = Front(
            store=store,
            region=config.s3.region,
            tree_bits=config.tree.bits,
            tree_salted=config.tree.salt == "random",
            body_idle_seconds=config.limits.body_idle_seconds,
            clock_ms=clock_ms,
            credential=self._keyring.get,
        )
        server = S3Server(front, config.s3.domains, self._access_log, config.limits.request_header_bytes)
        self._tls = None if config.tls.files is None else ServerTls(config.tls.files)
        connections_max = -(-config.limits.connections_max // config.worker_count)
        self._listener = Listener(server.web_server, connections_max, self._tls)

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Accept connections on ``sockets``, which this process then owns."""
        await self._listener.start(sockets)
        self._following = asyncio.create_task(self._keyring.follow())
        _relax_garbage_collection()

    def reload(self) -> None:
        """Show the certificate as its files have it now; one that cannot be used is said, and changes nothing."""
        if self._tls is not None:
            try:
                self._tls.reload()
            except ConfigError as error:
                log.error("the certificate was not replaced", reason=str(error))

    async def stop(self, seconds: float, hurry: asyncio.Event) -> int:
        """Finish the requests in progress; see `gateway.listener.Listener.stop`."""
        cut_off = await self._listener.stop(seconds, hurry)
        if self._following is not None:
            self._following.cancel()
        if self._access_log is not None:
            self._access_log.flush()
        return cut_off


def _relax_garbage_collection() -> None:
    """Look for cycles seldom: requests make next to none, and each look walks every cached tree node."""
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, GC_YOUNG_PER_MIDDLE, GC_MIDDLE_PER_OLD)
