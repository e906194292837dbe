"""HTTP requests to nodes: bounded in time, bytes and attempts; an answer comes back, or one of two errors.

Nothing that arrives is believed here.  No redirect is followed, nothing is decompressed, no cookie is kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Callable, Mapping
from dataclasses import dataclass, field
from random import random
from types import TracebackType
from typing import Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from gateway.node.client.breaker import Breaker, State
from gateway.node.client.errors import NodeLied, NodeUnavailable
from gateway.node.client.pace import Pace
from gateway.node.client.retrying import Retrying, is_for_now, is_of_server, retry_after_seconds
from gateway.node.client.settings import Retries, Timeouts

REQUESTS_MAX = 64
"""Most requests under way at once; more wait."""
ERROR_BYTES_MAX = 64 * 1024
"""How much of the body of an answer that is no success is read."""
ORIGINS_MAX = 256
"""Most servers whose circuit breakers are kept."""

_SUCCESSES = range(200, 300)
_SENT_BY_ITSELF = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""Headers that aiohttp adds and a signature may not cover."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, which may be sent several times.

    Attributes:
        method: such as ``GET``.
        url: where to.
        headers: exactly those that are sent, beside ``Host``.
        body: begins to yield the bytes, each time that they are sent; ``Content-Length`` is among the headers.
        moves_bytes: about how many bytes go over the network, to know how long that may take.
        answer_bytes_max: refuse a longer answer.
    """

    method: str
    url: URL
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Callable[[], AsyncIterable[bytes]] | None = None
    moves_bytes: int = 0
    answer_bytes_max: int = ERROR_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: the HTTP status.
        headers: in any case.
        body: all of it; of an answer that is no success, the first ``ERROR_BYTES_MAX`` bytes.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def succeeded(self) -> bool:
        """Whether the status says so."""
        return self.status in _SUCCESSES

    @property
    def excerpt(self) -> str:
        """The beginning of the body as text fit for a log."""
        text = self.body[:200].decode(errors="replace")
        return "".join(char if char.isprintable() else " " for char in text).strip()


@dataclass(frozen=True, slots=True)
class Observed:
    """One request that was sent, for those who count them.

    Attributes:
        method: the HTTP method.
        url: where to.
        started: monotonic seconds.
        ended: monotonic seconds.
        status: of the answer, or None where none came.
    """

    method: str
    url: str
    started: float
    ended: float
    status: int | None


Observer = Callable[[Observed], None]


class Transport:
    """Sends requests; an asynchronous context manager, inside of which it may be used.

    Args:
        timeouts: how long to wait.
        retries: how often to try.
        observer: is told of every request when it has ended.
    """

    def __init__(self, timeouts: Timeouts, retries: Retries, observer: Observer | None = None) -> None:
        self._timeouts = timeouts
        self._retries = retries
        self._retrying = Retrying(retries, random)
        self._observer = observer
        self._breakers: dict[URL, Breaker] = {}
        self._slots = asyncio.Semaphore(REQUESTS_MAX)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeouts.connect_seconds),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def breakers(self) -> dict[str, State]:
        """The circuit breakers' states, by the servers that were asked."""
        return {str(origin): breaker.state for origin, breaker in self._breakers.items()}

    async def send(self, request: Request, *, attempts: int | None = None) -> Answer:
        """Send a request until an answer comes that is not just for now.

        Args:
            request: what; to send it twice must do no harm.
            attempts: most attempts, or None for as many as the settings say.

        Raises:
            NodeUnavailable: no such answer came.
            NodeLied: the answer is longer than it may be, or compressed.
            Exception: what the body raised; the request was cut off in the middle.
        """
        attempts = self._retries.attempts if attempts is None else attempts
        async with self._slots:
            seconds = self._timeouts.total_seconds + request.moves_bytes / self._timeouts.bytes_per_second
            try:
                async with asyncio.timeout(seconds):
                    return await self._persist(request, attempts)
            except TimeoutError:
                raise NodeUnavailable(f"{_name(request)} was not answered within {seconds:g} seconds") from None

    async def _persist(self, request: Request, attempts: int) -> Answer:
        breaker = self._breaker(request.url.origin())
        attempt = 0
        while True:
            attempt += 1
            breaker.admit()
            try:
                answer = await self._once(request)
            except NodeUnavailable as error:
                breaker.failed()
                failure = error
            except BaseException:
                breaker.abandoned()
                raise
            else:
                (breaker.failed if is_of_server(answer.status) else breaker.succeeded)()
                if not is_for_now(answer.status):
                    self._retrying.succeeded()
                    return answer
                failure = NodeUnavailable(
                    f"{_name(request)} was answered {answer.status} {answer.excerpt}".rstrip(),
                    retry_after_seconds(answer.headers),
                )
            pause = self._retrying.pause_seconds(attempt, attempts, failure.retry_after_seconds)
            if pause is None:
                raise failure
            await asyncio.sleep(pause)

    async def _once(self, request: Request) -> Answer:
        started = time.monotonic()
        status: int | None = None
        pace = Pace(self._timeouts)
        try:
            async with pace.timeout, self._begin(request, pace) as response:
                status = response.status
                pace.begin()
                return await _read(response, request, pace)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            if pace.broken is not None:
                raise pace.broken from None
            reason = "too slow" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            raise NodeUnavailable(f"{_name(request)} failed: {reason}") from error
        finally:
            pace.end()
            if self._observer is not None:
                observed = Observed(request.method, str(request.url), started, time.monotonic(), status)
                self._observer(observed)

    def _begin(self, request: Request, pace: Pace) -> aiohttp.client._RequestContextManager:
        assert self._session is not None, "a transport is used inside of its context"
        return self._session.request(
            request.method,
            request.url,
            headers=CIMultiDict(request.headers),
            data=None if request.body is None else pace.of_sent(request.body()),
            skip_auto_headers=_SENT_BY_ITSELF,
            allow_redirects=False,
        )

    def _breaker(self, origin: URL) -> Breaker:
        breaker = self._breakers.get(origin)
        if breaker is None:
            if len(self._breakers) >= ORIGINS_MAX:
                self._breakers.pop(next(iter(self._breakers)))
            breaker = Breaker(str(origin), self._retries.failures_max, self._retries.open_seconds, time.monotonic)
            self._breakers[origin] = breaker
        return breaker


async def _read(response: aiohttp.ClientResponse, request: Request, pace: Pace) -> Answer:
    succeeded = response.status in _SUCCESSES
    limit = request.answer_bytes_max if succeeded else ERROR_BYTES_MAX
    if succeeded and response.headers.get("Content-Encoding", "identity") != "identity":
        raise NodeLied(f"{_name(request)} was answered with compressed bytes that nobody asked for")
    chunks = []
    left = limit
    async for chunk in response.content.iter_any():
        pace.moved(len(chunk))
        chunks.append(chunk[:left])
        left -= len(chunk)
        if left < 0:
            if succeeded:
                raise NodeLied(f"{_name(request)} was answered with more than {limit} bytes")
            break
    return Answer(response.status, response.headers, b"".join(chunks))


def _name(request: Request) -> str:
    """A request in messages, without what the URL may hold of signatures."""
    return f"{request.method} {request.url.origin()}{request.url.raw_path}"
