"""How the shipper writes to the registry: through the committer, like everything that is written there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from gateway.shipping.gathering import Load
from gateway.store.mutations import MarkShipped, Mutator, Record
from registry import shards, shipments
from registry.database import Database
from registry.shards import Shard, State
from registry.shipments import Shipment

T = TypeVar("T")


class Ledger:
    """Shards and shipments in the registry.  Everything it notes is noted in the order of the calls.

    Args:
        database: for reading.
        committer: for writing.
    """

    def __init__(self, database: Database, committer: Mutator):
        self._database = database
        self._committer = committer

    def unfinished(self) -> Shipment | None:
        """The shipment under way."""
        with self._database.read() as connection:
            return shipments.unfinished(connection)

    def ahead(self, limit: int) -> list[Shard]:
        """Up to ``limit`` bulk shards that can be sent before a head needs them."""
        with self._database.read() as connection:
            return shards.ahead(connection, limit)

    def fresh(self, known: Sequence[Shard]) -> list[Shard]:
        """The same shards as the registry has them now."""
        with self._database.read() as connection:
            return shards.get(connection, [shard.number for shard in known])

    async def insert(self, sealed: Sequence[Shard]) -> None:
        """Enter shards that no shipment needs yet."""
        if sealed:
            await self._write(partial(shards.insert, new=sealed))

    async def begin(self, load: Load) -> Shipment:
        """Enter a shipment."""
        return await self._write(
            partial(shipments.begin, manifest=load.manifest, heads=load.heads, new=load.new, held=load.held)
        )

    async def note(self, reached: Sequence[Shard], state: State, answers: dict[int, bytes] | None = None) -> None:
        """Note how far shards have come."""
        if reached:
            numbers = [shard.number for shard in reached]
            await self._write(partial(shards.advance, numbers=numbers, state=state, answers=answers))

    async def send_back(self, lost: Sequence[Shard]) -> None:
        """Note that the bytes of shards have to be sent again."""
        await self._write(partial(shards.send_back, numbers=[shard.number for shard in lost]))

    async def finish(self, shipment: Shipment) -> None:
        """The shipment is on the node: its heads are shipped heads now."""
        await self._committer.submit(MarkShipped(shipment.heads, partial(shipments.finish, number=shipment.number)))

    async def _write(self, write: Callable[[Connection], T]) -> T:
        value: T = (await self._committer.submit(Record(write))).value
        return value
