"""Shipping as the composition root sees it: put together, started, stopped."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import structlog

from gateway.shipping.acknowledging import ShippedFirst
from gateway.shipping.bulk_shards import BulkShards
from gateway.shipping.contents import Contents
from gateway.shipping.gathering import Gatherer
from gateway.shipping.ledger import Ledger
from gateway.shipping.packing import Outbox
from gateway.shipping.places import RemotePlaces
from gateway.shipping.remote import Remote
from gateway.shipping.sending import Sender
from gateway.shipping.shipper import Shipper, ShipSettings
from gateway.store.store import Store, clock_ms
from registry.space import SpaceKey

log = structlog.get_logger(__name__)


class Acknowledge(NamedTuple):
    """That changes are answered only when they have been shipped.

    Attributes:
        seconds: how long a client is kept waiting for it.
    """

    seconds: float


class Shipping:
    """What ships a store that this process owns.  Make it with `start`, in the event loop.

    Args:
        places: where blocks lie on the remote; other tasks may read there.
        shipper: the machine.
        first: what withholds answers, if something does.
    """

    def __init__(self, places: RemotePlaces, shipper: Shipper, first: ShippedFirst | None):
        self.places = places
        self.shipper = shipper
        self._first = first
        self._task = asyncio.create_task(shipper.run())
        self._task.add_done_callback(_report)

    @classmethod
    def start(
        cls, store: Store, key: SpaceKey, remote: Remote, settings: ShipSettings, acknowledge: Acknowledge | None = None
    ) -> Shipping:
        """Begin to ship.

        Args:
            store: what is shipped, open for writing.
            key: what manifests are signed with.
            remote: where to.
            settings: see there; with ``acknowledge`` it is always shipped at once.
            acknowledge: see there; from now on the store's committer answers so.

        Raises:
            IndexUnusable: the locations of blocks on the remote cannot be opened.
        """
        committer = store.own_committer
        places = RemotePlaces.open(store.folder.remote, read_only=False)
        contents = Contents(store.segments, store.folder.outbox)
        outbox = Outbox(store.folder.outbox)
        bulk = BulkShards(store.database, store.segments, store.index, contents)
        ledger = Ledger(store.database, committer)
        gatherer = Gatherer(
            database=store.database,
            blocks=store.blocks,
            index=store.index,
            segments=store.segments,
            bulk=bulk,
            places=places,
            outbox=outbox,
            key=key,
            clock_ms=clock_ms,
        )
        first = None if acknowledge is None else ShippedFirst(committer, acknowledge.seconds)
        shipper = Shipper(
            settings,
            segments=store.segments,
            gatherer=gatherer,
            bulk=bulk,
            outbox=outbox,
            ledger=ledger,
            sender=Sender(remote, contents, ledger, places),
            watch=first,
            commits=lambda: committer.commits,
            written=lambda: store.written_bytes,
        )
        if first is not None:
            first.want = shipper.want
            store.answer_through(first)
        return cls(places, shipper, first)

    async def stop(self) -> None:
        """Stop where it is; the next start goes on from there."""
        if self._first is not None:
            self._first.close()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.places.close()


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("NOTHING IS SHIPPED ANY MORE; restart the server", exc_info=error)
