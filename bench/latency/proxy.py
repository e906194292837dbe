"""A TCP proxy that delays what passes through it by a fixed time each way, and limits nothing else.

Any number of bytes are under way at once, as on a long line.  A connection costs a round trip before its first byte,
as a handshake does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from functools import partial

_CHUNK_BYTES = 1 << 18
_METHODS = (b"POST ", b"PUT ", b"GET ")


class DelayProxy:
    """One listener, and where it leads.

    Args:
        delay_seconds: how long each byte is under way, in either direction.

    Attributes:
        port: where it listens on 127.0.0.1.
        target: the port on 127.0.0.1 that it leads to; to be set before anybody connects.
        requests: how many HTTP requests have passed.
    """

    def __init__(self, delay_seconds: float) -> None:
        self.port = 0
        self.target = 0
        self.requests = 0
        self._delay = delay_seconds

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Carry connections meanwhile; the port is known then."""
        async with await asyncio.start_server(self._accepted, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            yield

    async def _accepted(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        handshake = asyncio.get_running_loop().time() + 2 * self._delay
        far_in, far_out = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(near_in, far_out, handshake, counted=True))
                group.create_task(self._carry(far_in, near_out, handshake))
        except* OSError:
            pass  # one end is gone: so is the connection
        finally:
            near_out.close()
            far_out.close()

    async def _carry(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, not_before: float, *, counted: bool = False
    ) -> None:
        """Carry bytes one way until they end."""
        loop = asyncio.get_running_loop()
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, data = await under_way.get()
                await asyncio.sleep(due - loop.time())
                if not data:
                    sink.write_eof()
                    return
                sink.write(data)
                await sink.drain()

        delivering = asyncio.create_task(deliver())
        try:
            while True:
                data = await source.read(_CHUNK_BYTES)
                self.requests += counted and data.startswith(_METHODS)
                under_way.put_nowait((max(loop.time(), not_before) + self._delay, data))
                if not data:
                    break
            await delivering
        finally:
            delivering.cancel()


@contextmanager
def running(delay_seconds: float) -> Iterator[DelayProxy]:
    """A proxy in a thread of its own."""
    proxy = DelayProxy(delay_seconds)
    stopper: Future[Callable[[], object]] = Future()

    async def serve() -> None:
        stop = asyncio.Event()
        async with proxy.listening():
            stopper.set_result(partial(asyncio.get_running_loop().call_soon_threadsafe, stop.set))
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    stop = stopper.result()
    try:
        yield proxy
    finally:
        stop()
        thread.join()
