"""The slowest a transfer may be: one that moves too little for too long is given up, even if it never stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator

from gateway.node.client.settings import Timeouts

STEP_BYTES = 64 * 1024
"""Most bytes that are handed over at once, so that slow ones are seen to move."""


class Pace:
    """A timeout that is put off whenever enough bytes have moved.

    Attributes:
        timeout: what gives up; the transfer happens inside of it.
        broken: why what is sent cannot be read, or None.

    Args:
        timeouts: the slowest transfer.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self.timeout = asyncio.timeout(timeouts.read_seconds)
        self.broken: Exception | None = None
        self._seconds = timeouts.read_seconds
        self._stride = max(1, int(timeouts.bytes_per_second * timeouts.read_seconds))
        self._left = self._stride
        self._over = False

    def moved(self, count: int) -> None:
        """So many bytes were sent, or have arrived."""
        self._left -= count
        if self._left <= 0:
            self.begin()

    def begin(self) -> None:
        """Something else is waited for from now on."""
        self._left = self._stride
        if not self._over and not self.timeout.expired():
            self.timeout.reschedule(asyncio.get_running_loop().time() + self._seconds)

    def end(self) -> None:
        """Nothing is waited for any longer."""
        self._over = True

    async def of_sent(self, chunks: AsyncIterable[bytes]) -> AsyncIterator[memoryview]:
        """The chunks, while they are being sent; what goes wrong with them is kept in `broken`."""
        try:
            async for chunk in chunks:
                for start in range(0, len(chunk), STEP_BYTES):
                    step = memoryview(chunk)[start : start + STEP_BYTES]
                    yield step
                    self.moved(len(step))
        except Exception as error:
            self.broken = error
            raise
        self.begin()
