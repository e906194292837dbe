"""The machine that ships: one shipment after the other, each step noted in the registry and harmless to repeat.

A shipment is gathered and written down; its shards and their indexes are brought to the remote; then its heads are
shipped heads.  Whatever ends this in between, the process or the remote, the next attempt goes on from what the
registry says and finishes exactly this shipment.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import structlog

from gateway.shipping.bulk_shards import BulkShards
from gateway.shipping.gathering import Gatherer
from gateway.shipping.ledger import Ledger
from gateway.shipping.packing import Outbox
from gateway.shipping.remote import RemoteError
from gateway.shipping.sending import Sender
from gateway.store.errors import StoreError
from gateway.store.segments import Segments
from registry.errors import RegistryError
from registry.shards import Shard
from registry.shipments import Shipment

BACKOFF_SECONDS: Final = 0.5
BACKOFF_SECONDS_MAX: Final = 10.0
"""How long is waited after one failure, at most, and after many; each time a random part of it."""
REMIND_SECONDS: Final = 60.0
"""How often the log says again that shipping fails."""
LOOK_SECONDS: Final = 1.0
"""How often is looked whether there is something to ship."""
COMPANY_SHARE: Final = 0.25
COMPANY_SECONDS_MAX: Final = 0.1
"""How long a shipment waits for those who were answered last to come back with their next changes: such a part of what
the last shipment took, and no longer than this."""
AHEAD_SECONDS: Final = 5.0
"""How often is looked for bulk segments to send ahead."""
AHEAD_BYTES: Final = 64 << 20
"""How much of a bulk segment, at least, is sent before a head needs it."""
AHEAD_SHARDS: Final = 4
"""How many shards are sent ahead between two looks."""

_PASSING: Final = (RemoteError, StoreError, RegistryError, OSError)
"""What goes wrong in one attempt and may go right in the next."""

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ShipSettings:
    """When is shipped, and how much at once.

    Attributes:
        interval_seconds: how long changes wait for more changes.
        bytes: how much may have been written until they wait no longer.
        at_once: ship when `Shipper.want` says so, because somebody waits for it.
    """

    interval_seconds: float = 30.0
    bytes: int = 64 << 20
    at_once: bool = False


class Watch(Protocol):
    """Who waits for what is committed to be shipped."""

    def mark(self) -> int:
        """A number that stands for all that has been committed so far."""

    def shipped(self, mark: int, left_out: frozenset[bytes]) -> None:
        """All that ``mark`` stands for is on the remote, but for the buckets with these instance ids."""

    def expects_more(self) -> bool:
        """Whether fewer changes wait than did when something was `shipped` last: who waited for it may come back."""


class Shipper:
    """Ships what one data folder's owner commits.

    Args:
        settings: see there.
        segments: the folder's segments.
        gatherer: makes loads.
        bulk: the shards of bulk segments.
        outbox: where packs wait.
        ledger: the registry.
        sender: brings shards to the remote.
        watch: is told what has been shipped.
        commits: how often something was committed; a number that only grows.
        written: how many bytes have been written to segments.
    """

    def __init__(
        self,
        settings: ShipSettings,
        *,
        segments: Segments,
        gatherer: Gatherer,
        bulk: BulkShards,
        outbox: Outbox,
        ledger: Ledger,
        sender: Sender,
        watch: Watch | None,
        commits: Callable[[], int],
        written: Callable[[], int],
    ):
        self._settings = settings
        self._segments = segments
        self._gatherer = gatherer
        self._bulk = bulk
        self._outbox = outbox
        self._ledger = ledger
        self._sender = sender
        self._watch = watch
        self._commits = commits
        self._written = written
        self._wanted = asyncio.Event()
        self._wanted.set()  # a start may find what an earlier process has not shipped
        self._cutting = asyncio.Lock()
        self._seen = -1
        self._written_before = 0
        self._mark = 0
        self._took_seconds = 0.0
        self._busy: set[asyncio.Future[Any]] = set()

    def want(self) -> None:
        """Somebody waits for what has been committed."""
        self._wanted.set()

    async def run(self) -> None:
        """Ship until cancelled."""
        ahead = asyncio.create_task(self._send_ahead())
        try:
            await self._until_done(self._finish_left_over)
            while True:
                await self._until_due()
                await self._until_done(self._ship)
        finally:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)
            await self._gathering_ended()

    async def _until_due(self) -> None:
        if self._settings.at_once:
            await self._wanted.wait()
            self._wanted.clear()
            await self._company()
            return
        while self._seen == self._commits():
            await asyncio.sleep(LOOK_SECONDS)
        until = time.monotonic() + self._settings.interval_seconds
        while (left := until - time.monotonic()) > 0 and self._written() - self._written_before < self._settings.bytes:
            await asyncio.sleep(min(left, LOOK_SECONDS))

    async def _company(self) -> None:
        """Let those who were answered last join, who would have to wait for this shipment and the next otherwise."""
        until = time.monotonic() + min(self._took_seconds * COMPANY_SHARE, COMPANY_SECONDS_MAX)
        while self._watch is not None and self._watch.expects_more() and (left := until - time.monotonic()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._wanted.wait()
            self._wanted.clear()

    async def _until_done(self, work: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        """Repeat ``work`` until it says that it is done; less and less often while it fails."""
        failures = 0
        said = -REMIND_SECONDS
        while True:
            try:
                if await work():
                    return
                failures = 0
            except _PASSING as error:
                longest = min(BACKOFF_SECONDS * 2**failures, BACKOFF_SECONDS_MAX)
                failures += 1
                if time.monotonic() - said >= REMIND_SECONDS:
                    said = time.monotonic()
                    log.warning("not shipped for now", reason=str(error), failures=failures)
                await asyncio.sleep(random.uniform(0, longest))

    async def _finish_left_over(self) -> bool:
        """What an earlier process began."""
        shipment = await asyncio.to_thread(self._ledger.unfinished)
        packs = {shard.digest for shard in shipment.shards if shard.slice is None} if shipment else set()
        await asyncio.to_thread(self._outbox.keep_only, packs)
        if shipment is not None:
            await self._bring(shipment)
        return True

    async def _ship(self) -> bool:
        """One shipment; returns whether there was nothing more to ship."""
        started = time.monotonic()
        shipment = await asyncio.to_thread(self._ledger.unfinished) or await self._begin()
        if shipment is not None:
            await self._bring(shipment)
            self._took_seconds = time.monotonic() - started
        if self._gatherer.is_midway:
            return False
        if self._watch is not None:
            self._watch.shipped(self._mark, frozenset(self._gatherer.left_out))
        return not self._gatherer.was_cut

    async def _begin(self) -> Shipment | None:
        async with self._cutting:
            if not self._gatherer.is_midway:
                self._seen, self._written_before = self._commits(), self._written()
                self._mark = 0 if self._watch is None else self._watch.mark()
            load = await self._in_thread(self._gatherer.next)
            if load is None:
                return None
            try:
                return await self._ledger.begin(load)
            except BaseException:  # it may have been begun all the same: its packs stay
                self._gatherer.begin_anew()
                raise

    async def _bring(self, shipment: Shipment) -> None:
        await self._sender.upload(shipment.shards)
        await self._sender.accept(await asyncio.to_thread(self._ledger.fresh, shipment.shards))
        await self._ledger.finish(shipment)
        await asyncio.to_thread(self._outbox.keep_only, set())
        size = sum(shard.size_bytes for shard in shipment.shards)
        log.info("shipped", shipment=shipment.number, buckets=len(shipment.heads), bytes=size)

    async def _send_ahead(self) -> None:
        """Send bulk segments before a head needs them: the parts of uploads that will be completed."""
        while True:
            await asyncio.sleep(AHEAD_SECONDS)
            try:
                async with self._cutting:
                    await self._ledger.insert(await self._in_thread(self._seal_ahead))
                for shard in await asyncio.to_thread(self._ledger.ahead, AHEAD_SHARDS):
                    await self._sender.upload([shard])
            except _PASSING as error:
                log.debug("nothing is sent ahead for now", reason=str(error))

    def _seal_ahead(self) -> list[Shard]:
        for segment in self._segments.of_kind("bulk"):
            if self._bulk.unsealed_bytes(segment.number) >= AHEAD_BYTES:
                self._bulk.seal(segment.number)
        return self._bulk.take_sealed()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Like `asyncio.to_thread`; what is cancelled goes on until `_gathering_ended`."""
        busy = asyncio.ensure_future(asyncio.to_thread(work))
        self._busy.add(busy)
        busy.add_done_callback(self._busy.discard)
        return await asyncio.shield(busy)

    async def _gathering_ended(self) -> None:
        self._gatherer.stop()
        if self._busy:
            await asyncio.gather(*self._busy, return_exceptions=True)
