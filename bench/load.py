"""Closed-loop S3 load generator, run in a process of its own: `python -m bench.load < spec.json`.

Every connection sends its next request as soon as it has the whole answer to the last one.
Requests are signed before the clock starts, connections are kept alive, and every answer's status
is checked; for GET also the length and samples of the content, for LIST the number of keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import math
import random
import re
import sys
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple, cast

import uvloop

from bench import process
from bench.bodies import BodyPool
from bench.signing import UNSIGNED_PAYLOAD, Credentials, Signer, encode_path, encode_query
from bench.wire import ResponseReader, WireError

RECEIVE_BUFFER_BYTES = 256 * 1024
SEND_PIECE_BYTES = 256 * 1024
MAX_ERRORS = 20
"""After this many failed requests a run is given up: its figure would mean nothing."""
GRACE_SECONDS = 30.0
"""How long requests that are under way at the end may still take."""
CONNECT_TIMEOUT_SECONDS = 10.0
MAX_ERROR_BODY_BYTES = 1024
SPARE_FACTOR = 1.6
"""PUTs signed beforehand, as a multiple of what the warm-up's rate would use."""
MAX_SIGNED_REQUESTS = 400_000
MAX_READ_KEYS = 4096
LIST_PAGE_KEYS = 1000
FOLDER_KEYS = 1000
LIST_STARTS = 64
_OK_STATUSES = (200, 204)


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """One run. `first_index` and `keys` say which keys (see `key_name`) are written or read."""

    port: int
    access_key: str
    secret_key: str
    region: str
    bucket: str
    operation: str
    """put, get, head, list, fill (exactly `keys` PUTs) or plain (unsigned GET of /)."""
    size_bytes: int
    concurrency: int
    duration_s: float
    warmup_s: float
    prefix: str
    first_index: int
    keys: int
    max_bytes: int
    """Upper bound of the body bytes that this run sends or receives inside the clock."""
    signed_payload: bool
    server_pid: int


@dataclass(slots=True)
class LoadResult:
    """What one run measured; rates and latencies cover the measured phase only."""

    operations: int = 0
    seconds: float = 0.0
    body_bytes: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    errors: int = 0
    first_error: str = ""
    server_cpu_s: float = 0.0
    client_cpu_s: float = 0.0
    other_cpu_s: float = 0.0
    """What neither the server nor this generator used: other programs, the kernel's own threads."""
    server_peak_rss_bytes: int = 0
    next_index: int = 0
    """The first key index that this run has not used: the next writing run starts there."""


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """Nearest-rank percentile of values in ascending order; 0 for no values."""
    if not ordered:
        return 0.0
    rank = math.ceil(fraction * len(ordered))
    return ordered[min(len(ordered), max(1, rank)) - 1]


class Request(NamedTuple):
    head: bytes
    body_index: int
    """Which body is sent or expected."""


class _Phase:
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
        self._phase: _Phase | None = None
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

    def run(self, phase: _Phase) -> asyncio.Future[None]:
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

    def _reconnect(self, phase: _Phase) -> None:
        async def reopen(phase: _Phase) -> None:
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


@dataclass(slots=True)
class _RequestMaker:
    """Signs the requests of one run."""

    spec: LoadSpec
    pool: BodyPool | None
    signer: Signer = field(init=False)

    def __post_init__(self) -> None:
        spec = self.spec
        credentials = Credentials(spec.access_key, spec.secret_key, spec.region)
        self.signer = Signer(credentials, f"127.0.0.1:{spec.port}")

    def puts(self, first: int, count: int) -> list[Request]:
        return [self._put(index) for index in range(first, first + count)]

    def reads(self) -> Iterator[Request]:
        """An endless, shuffled repetition of the GET, HEAD, LIST or plain requests."""
        spec = self.spec
        if spec.operation == "plain":
            return itertools.repeat(Request(self.signer.head("GET", "/"), 0))
        requests = self._lists() if spec.operation == "list" else self._objects()
        random.Random(1).shuffle(requests)
        return itertools.cycle(requests)

    def _put(self, index: int) -> Request:
        assert self.pool is not None
        digest = self.pool.sha256(index) if self.spec.signed_payload else UNSIGNED_PAYLOAD
        path = encode_path(self.spec.bucket, key_name(self.spec.prefix, index))
        return Request(self.signer.head("PUT", path, "", digest, self.spec.size_bytes), index)

    def _objects(self) -> list[Request]:
        spec = self.spec
        method = spec.operation.upper()
        indexes = range(spec.first_index, spec.first_index + min(spec.keys, MAX_READ_KEYS))
        paths = (encode_path(spec.bucket, key_name(spec.prefix, index)) for index in indexes)
        heads = (self.signer.head(method, path) for path in paths)
        return [Request(head, index) for head, index in zip(heads, indexes, strict=True)]

    def _lists(self) -> list[Request]:
        """Pages that start at places spread evenly over the bucket; a full page follows each."""
        spec = self.spec
        last = spec.keys - LIST_PAGE_KEYS - 1
        requests = []
        for number in range(LIST_STARTS):
            after = key_name(spec.prefix, spec.first_index + last * number // (LIST_STARTS - 1))
            query = encode_query(
                (("list-type", "2"), ("max-keys", str(LIST_PAGE_KEYS)), ("start-after", after))
            )
            requests.append(Request(self.signer.head("GET", f"/{spec.bucket}", query), number))
        return requests


def key_name(prefix: str, index: int) -> str:
    """The key of an index: fixed width, so that byte order is index order.

    A new folder every 1,000 keys: it is how people lay keys out, and a server that maps keys to
    files is not made to search one huge directory at each PUT (rclone does, entry by entry).
    """
    return f"{prefix}{index // FOLDER_KEYS:06d}/{index:09d}"


class _Run:
    """One specification's warm-up and measurement."""

    def __init__(self, spec: LoadSpec) -> None:
        self._spec = spec
        self._pool = BodyPool(spec.size_bytes) if spec.operation in ("put", "get", "fill") else None
        self._maker = _RequestMaker(spec, self._pool)
        self._connections = [Connection(spec, self._pool) for _ in range(spec.concurrency)]
        self._next_index = spec.first_index

    async def result(self) -> LoadResult:
        for connection in self._connections:
            await connection.open()
        try:
            if self._spec.operation == "fill":
                puts = self._maker.puts(self._spec.first_index, self._spec.keys)
                return await self._measure(iter(puts))
            if self._spec.operation == "put":
                return await self._measure_puts()
            reads = self._maker.reads()
            await self._phase(self._bounded(reads), self._spec.warmup_s)
            return await self._measure(self._bounded(reads))
        finally:
            for connection in self._connections:
                connection.close()

    async def _measure_puts(self) -> LoadResult:
        """The warm-up signs as it goes; its rate says how many PUTs to sign before the clock."""
        spec = self._spec
        lazily = (self._maker.puts(index, 1)[0] for index in itertools.count(spec.first_index))
        warm = await self._phase(self._bounded(lazily), spec.warmup_s)
        if warm.errors >= MAX_ERRORS:
            return self._to_result(warm)
        self._next_index = max(spec.first_index, warm.last_index + 1)
        rate = len(warm.latencies_s) / max(warm.finished - warm.started, 1e-6)
        wanted = int(rate * spec.duration_s * SPARE_FACTOR) + 2 * spec.concurrency
        count = min(wanted, self._max_requests(), MAX_SIGNED_REQUESTS)
        return await self._measure(iter(self._maker.puts(self._next_index, count)))

    async def _measure(self, requests: Iterator[Request]) -> LoadResult:
        pid = self._spec.server_pid
        if pid:
            process.reset_peak(pid)
        server_before = process.cpu_seconds(pid) if pid else 0.0
        client_before, busy_before = time.process_time(), process.busy_seconds()
        phase = await self._phase(requests, self._spec.duration_s)
        result = self._to_result(phase)
        result.client_cpu_s = time.process_time() - client_before
        if pid:
            result.server_cpu_s = process.cpu_seconds(pid) - server_before
            result.server_peak_rss_bytes = process.peak_rss_bytes(pid)
        busy = process.busy_seconds() - busy_before
        result.other_cpu_s = max(0.0, busy - result.client_cpu_s - result.server_cpu_s)
        return result

    async def _phase(self, requests: Iterator[Request], duration_s: float) -> _Phase:
        gc.collect()
        gc.disable()  # a collection over 100 k signed requests would show up as a server's p99
        try:
            phase = _Phase(requests, duration_s)
            ended = asyncio.gather(*(connection.run(phase) for connection in self._connections))
            try:
                await asyncio.wait_for(ended, duration_s + GRACE_SECONDS)
            except TimeoutError:
                phase.fail(f"no answer within {GRACE_SECONDS:.0f} s after the end")
                phase.finished = time.perf_counter()
            return phase
        finally:
            gc.enable()

    def _max_requests(self) -> int:
        bound = self._spec.max_bytes // max(self._spec.size_bytes, 1)
        return max(bound, self._spec.concurrency)

    def _bounded(self, requests: Iterator[Request]) -> Iterator[Request]:
        return itertools.islice(requests, self._max_requests())

    def _to_result(self, phase: _Phase) -> LoadResult:
        ordered = sorted(phase.latencies_s)
        return LoadResult(
            operations=len(ordered),
            seconds=phase.finished - phase.started,
            body_bytes=phase.body_bytes,
            p50_ms=percentile(ordered, 0.50) * 1000,
            p99_ms=percentile(ordered, 0.99) * 1000,
            errors=phase.errors,
            first_error=phase.first_error,
            next_index=max(self._next_index, phase.last_index + 1),
        )


def run_load(spec: LoadSpec) -> LoadResult:
    """Run one specification in this process."""
    return uvloop.run(_Run(spec).result())


def main() -> None:
    """Read a specification from standard input, write the result to standard output, both JSON."""
    spec = LoadSpec(**json.load(sys.stdin))
    with contextlib.suppress(KeyboardInterrupt):
        json.dump(asdict(run_load(spec)), sys.stdout)


if __name__ == "__main__":
    main()
