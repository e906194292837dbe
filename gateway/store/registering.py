"""The second stage of a commit: one durable registry transaction, the only commit point; then every reader sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from gateway.store.errors import StoreBusy, StoreError, StoreFull, StoreReadOnly
from gateway.store.mutations import Committed, Outcome, RegistryWrite
from gateway.store.preparing import Prepared
from gateway.store.shared import SharedState
from registry import heads
from registry.database import Database, DatabaseBusy, DatabaseFailed
from registry.heads import Bucket


class Registrar:
    """Moves heads, by compare-and-swap, and publishes them.

    Args:
        database: the registry.
        buckets: the current heads by bucket name; this object is updated and read without a lock.
        shared: where other processes see the heads.
    """

    def __init__(self, database: Database, buckets: dict[str, Bucket], shared: SharedState | None):
        self._database = database
        self._buckets = buckets
        self._shared = shared

    def register(self, prepared: Prepared) -> list[Outcome]:
        """Commit the batch; it is durable and visible when this returns.

        Returns:
            The outcome of each mutation.

        Raises:
            StoreFull: the registry has no room; nothing has happened.
            StoreBusy: another process keeps the registry locked; nothing has happened.
            StoreReadOnly: the registry failed; it is unknown whether anything has happened.
        """
        if not prepared.is_empty:
            self._transact(prepared)
            self._publish(prepared)
        return [outcome for outcome in prepared.outcomes if outcome is not None]

    def refusal(self, guard: RegistryWrite) -> Exception | None:
        """What ``guard`` raises when it looks at the registry as it is now: the answer of the mutation it belongs to.

        Raises:
            StoreReadOnly: the registry failed.
        """
        try:
            with _failures_named(), self._database.read() as connection:
                guard(connection)
        except StoreError:
            raise
        except Exception as refusal:
            return refusal
        return None

    def _transact(self, prepared: Prepared) -> None:
        with _failures_named(), self._database.write() as connection:
            _write(connection, prepared)

    def _publish(self, prepared: Prepared) -> None:
        changed, dropped = [*prepared.changed, *self._shipped(prepared)], prepared.dropped
        if self._shared is not None and (changed or dropped):
            self._shared.publish(changed, [dropped.name] if dropped else [])
        self._buckets.update((bucket.name, bucket) for bucket in changed)
        if dropped:
            del self._buckets[dropped.name]

    def _shipped(self, prepared: Prepared) -> list[Bucket]:
        """The buckets of which more has been shipped than was known."""
        ahead = {head.instance: head for head in prepared.shipped}
        return [
            replace(bucket, shipped=head.commit, shipped_sequence=head.sequence)
            for bucket in self._buckets.values()
            if (head := ahead.get(bucket.instance)) is not None and head.is_ahead_of(bucket)
        ]


@contextmanager
def _failures_named() -> Iterator[None]:
    try:
        yield
    except DatabaseBusy as error:
        raise StoreBusy(str(error)) from error
    except DatabaseFailed as error:
        if error.disk_full:
            raise StoreFull(str(error)) from error
        raise StoreReadOnly(str(error)) from error


def _write(connection: Connection, prepared: Prepared) -> None:
    for move in prepared.moves:
        heads.move_head(connection, move)
    if prepared.created:
        heads.insert_bucket(connection, prepared.created)
    if prepared.creation:
        prepared.creation(connection)
    if prepared.dropped:
        heads.delete_bucket(connection, prepared.dropped.instance, prepared.dropped.commit)
    for shipped in prepared.shipped:
        heads.move_shipped(connection, shipped)
    for place, record in prepared.puts:
        done = prepared.outcomes[place]
        assert isinstance(done, Committed)
        record(connection, done.version)
    for place, write in prepared.records:
        try:
            prepared.outcomes[place] = Committed(None, value=write(connection))
        except DBAPIError:  # SQLite may have rolled back the whole batch
            raise
        except Exception as refusal:  # its answer; it has written nothing
            prepared.outcomes[place] = refusal
