"""One keep-alive connection of the closed loop: each request follows the last answer at once."""

from __future__ import annotations

import asyncio
import re
import time
from array import array
from collections.abc import Iterator
from typing import cast

from bench.batch import LIST_PAGE_KEYS, Request
from bench.bodies import BodyPool
from bench.spec import LoadSpec
from bench.wire import ResponseReader, WireError

RECEIVE_BUFFER_BYTES = 256 * 1024
SEND_PIECE_BYTES = 256 * 1024
MAX_ERRORS = 20
"""After this many failed requests a run is given up: its figure would mean nothing."""
CONNECT_TIMEOUT_SECONDS = 10.0
MAX_ERROR_BODY_BYTES = 1024
_OK_STATUSES = (200, 204)


class Phase:
    """The shared state of all connections during one phase (warm-up or measurement)."""

    def __init__(self, requests: Iterator[Request], duration_s: float) -> None:
        self.requests = requests
        self.latencies_s = array("d")
        self.body_bytes = 0
        self.errors = 0
        self.first_error = ""
        self.started = time.perf_counter()
        self.deadline = self.started + duration_s
        self.finished = self.started
        self.last_index = -1

    def over(self) -> bool:
        return self.errors >= MAX_ERRORS or time.perf_counter() >= self.deadline

    def take(self) -> Request | None:
        request = next(self.requests, None)
        if request is not None:
            self.last_index = max(self.last_index, request.body_index)
        return request

    def fail(self, reason: str) -> None:
        self.errors += 1
        self.first_error = self.first_error or reason

    def give_up(self, reason: str) -> None:
        self.errors = max(self.errors, MAX_ERRORS)
        self.first_error = self.first_error or reason


class Connection(asyncio.BufferedProtocol):
    """One keep-alive connection that runs a phase's requests one after another."""

    def __init__(self, spec: LoadSpec, pool: BodyPool | None) -> None:
        self._spec = spec
        self._pool = pool
        self._sends_body = spec.operation in ("put", "fill")
        self._receives_body = spec.operation == "get"
        self._buffer = bytearray(RECEIVE_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._reader = ResponseReader()
        self._transport: asyncio.Transport | None = None
        self._phase: Phase | None = None
        self._request: Request | None = None
        self._sent_at = 0.0
        self._unsent: memoryview | None = None
        self._writable = True
        self._mismatch = ""
        self._collected = bytearray()
        self._done: asyncio.Future[None] | None = None
        self._reconnecting: asyncio.Task[None] | None = None

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        connecting = loop.create_connection(lambda: self, "127.0.0.1", self._spec.port)
        await asyncio.wait_for(connecting, CONNECT_TIMEOUT_SECONDS)

    def close(self) -> None:
        """Drop the connection; a request under way is forgotten."""
        self._request = None
        self._unsent = None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def run(self, phase: Phase) -> asyncio.Future[None]:
        """Work through the phase's requests; the future is done when none is left."""
        self._phase = phase
        self._done = asyncio.get_running_loop().create_future()
        self._next()
        return self._done

    # --- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._transport.set_write_buffer_limits(high=2 * SEND_PIECE_BYTES)
        self._writable = True

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        try:
            complete = self._reader.feed(self._view[:nbytes])
        except WireError as error:
            self._answered(str(error))
            return
        if complete:
            self._answered("")

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._send_more()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._request is not None:
            whole = error is None and self._reader.feed_eof()
            self._answered("" if whole else f"connection lost in mid-request: {error or 'closed'}")

    # --- the loop: next -> answered -> next

    def _next(self) -> None:
        assert self._phase is not None
        if self._phase.over():
            self._finish()
            return
        if self._transport is None or self._transport.is_closing():
            self._reconnect(self._phase)
            return
        request = self._phase.take()
        if request is None:
            self._finish()
            return
        self._request = request
        self._mismatch = ""
        self._start_reading()
        if self._sends_body and self._pool is not None:
            body = self._pool.body(request.body_index)
            first = SEND_PIECE_BYTES - len(request.head)
            self._unsent = body[first:] if len(body) > first else None
            payload = request.head + body[:first]  # one write: no small packet waits for an ACK
        else:
            payload = request.head
        self._sent_at = time.perf_counter()
        self._transport.write(payload)
        if self._unsent is not None:
            self._send_more()

    def _start_reading(self) -> None:
        if self._receives_body:
            self._reader.begin(self._check_piece)
        elif self._spec.operation == "list":
            self._collected.clear()
            self._reader.begin(self._collect_piece)
        else:
            self._reader.begin(self._collect_error, head_only=self._spec.operation == "head")
            self._collected.clear()

    def _send_more(self) -> None:
        while self._unsent is not None and self._writable and self._transport is not None:
            piece = bytes(self._unsent[:SEND_PIECE_BYTES])
            rest = self._unsent[SEND_PIECE_BYTES:]
            self._unsent = rest if len(rest) else None
            self._transport.write(piece)

    def _check_piece(self, piece: memoryview) -> None:
        assert self._request is not None
        assert self._pool is not None
        position = self._reader.body_bytes - len(piece)
        if self._reader.status not in _OK_STATUSES:
            self._collect_error(piece)
        elif not self._pool.sample_matches(self._request.body_index, position, piece):
            self._mismatch = f"wrong content at byte {position}"

    def _collect_piece(self, piece: memoryview) -> None:
        self._collected += piece

    def _collect_error(self, piece: memoryview) -> None:
        self._collected += piece[:MAX_ERROR_BODY_BYTES]

    def _answered(self, broken: str) -> None:
        now = time.perf_counter()
        phase, reader = self._phase, self._reader
        assert phase is not None
        self._request = None
        reason = broken or self._what_is_wrong()
        if reason:
            phase.fail(reason)
        else:
            phase.latencies_s.append(now - self._sent_at)
            size = reader.body_bytes
            phase.body_bytes += self._spec.size_bytes if self._sends_body else size
        phase.finished = now
        if broken or self._unsent is not None or not reader.keep_alive:
            self.close()
        self._next()

    def _what_is_wrong(self) -> str:
        reader, spec = self._reader, self._spec
        if reader.status not in _OK_STATUSES:
            return f"HTTP {reader.status} {_error_code(self._collected)}"
        if self._receives_body and reader.body_bytes != spec.size_bytes:
            return f"{reader.body_bytes} bytes received, not {spec.size_bytes}"
        if spec.operation == "list":
            found = self._collected.count(b"<Key>")
            if found != LIST_PAGE_KEYS:
                return f"a page of {found} keys, not {LIST_PAGE_KEYS}"
        return self._mismatch

    def _finish(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _reconnect(self, phase: Phase) -> None:
        async def reopen(phase: Phase) -> None:
            try:
                await self.open()
            except (OSError, TimeoutError) as error:
                phase.give_up(f"cannot connect: {error!r}")
                self._finish()
            else:
                self._next()

        self._reconnecting = asyncio.get_running_loop().create_task(reopen(phase))


def _error_code(answer: bytes | bytearray) -> str:
    """The S3 error code of an XML answer, or how an answer of another kind begins."""
    found = re.search(rb"<Code>([^<]*)</Code>", answer)
    return (found.group(1) if found else bytes(answer[:120])).decode(errors="replace")
