"""Accepting connections over TLS: a client that is slow to shake hands, or never does, is in nobody's way."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

import structlog

HANDSHAKE_SECONDS = 10.0
"""How long a handshake may take."""
HANDSHAKES_MAX = 512
"""Most handshakes at once on one socket; for one more, the oldest is given up."""
GOODBYE_SECONDS = 2.0
"""How long a client may take to answer the end of its connection."""
PAUSE_SECONDS = 0.5
"""How long nothing is accepted after the system would not give a connection."""

log = structlog.get_logger(__name__)


class TlsServer:
    """Accepts connections on a listening socket, which it then owns, and shakes hands on them.

    Args:
        listening: the socket.
        context: what handshakes are done with.
        protocol: makes what is connected once a handshake is done.
    """

    def __init__(self, listening: socket.socket, context: ssl.SSLContext, protocol: Callable[[], asyncio.Protocol]):
        self._listening = listening
        self._context = context
        self._protocol = protocol
        self._handshakes: dict[asyncio.Task[None], None] = {}  # in the order they began
        self._accepting = asyncio.create_task(self._accept())

    def close(self) -> None:
        """Accept no more, and give up the handshakes that are not done."""
        self._accepting.cancel()
        for handshake in list(self._handshakes):
            handshake.cancel()
        self._listening.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listening)
            except OSError as error:
                log.error("cannot accept connections for a moment", reason=error.strerror)
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if len(self._handshakes) >= HANDSHAKES_MAX:
                next(iter(self._handshakes)).cancel()
            handshake = asyncio.create_task(self._shake_hands(connection))
            self._handshakes[handshake] = None
            handshake.add_done_callback(self._handshakes.pop)

    async def _shake_hands(self, connection: socket.socket) -> None:
        # A client that speaks no TLS, does not trust the certificate or goes away is no failure of ours.
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=GOODBYE_SECONDS,
            )
