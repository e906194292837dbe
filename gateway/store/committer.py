"""Group commit: one thread turns whatever mutations are waiting into one batch, one sync, one registry transaction.

For each batch, in this order: preconditions are checked against the trees as they now are and edits applied; bodies,
new nodes and signed commits are appended to the log and synced; the heads are moved by compare-and-swap in one durable
registry transaction (the only commit point); the new heads become visible to readers; everybody is answered.  While
one batch syncs the next one gathers, so no timer is needed: one caller waits for one sync, a hundred share one.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import lmdb
import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from gateway.store.blocks import Blocks
from gateway.store.change import Change, change_tree, commit_block, next_commit
from gateway.store.errors import (
    BlockCorrupt,
    BlockMissing,
    BucketExists,
    BucketNotEmpty,
    NoSuchBucket,
    StoreError,
    StoreFull,
    StoreReadOnly,
)
from gateway.store.log import CommitLog
from gateway.store.mutations import (
    Committed,
    Delete,
    DropBucket,
    MakeBucket,
    Mutation,
    Mutator,
    Outcome,
    Put,
    Record,
    RegistryWrite,
)
from gateway.store.nodes import NodeCache
from gateway.store.shared import SharedState
from mst import tree
from mst.block import Block
from mst.cid import CID
from mst.errors import FormatError
from mst.layer import TreeParams
from registry import heads
from registry.database import Database, DatabaseFailed
from registry.heads import Bucket, HeadMove
from registry.space import SpaceKey

BATCH_MUTATIONS_MAX = 512
BATCH_BYTES_MAX = 32 * 1024 * 1024
"""Bodies in one batch, in bytes; together they bound a batch's memory and the latency of its first member."""

log = structlog.get_logger(__name__)

Answer: TypeAlias = Callable[[list[tuple[Any, Outcome]]], None]
"""Takes the outcomes of one caller's mutations in a batch, each with its ticket."""


class _Waiting(NamedTuple):
    mutation: Mutation
    ticket: Any
    answer: Answer


class Committer(Mutator):
    """The one writer of heads, log and registry.

    Args:
        database: the registry.
        blocks: read access to the trees.
        nodes: the cache that new nodes are put into.
        commit_log: where batches go.
        key: what commits are signed with.
        clock_ms: the time in milliseconds since 1970.
        buckets: the current heads by bucket name; this object is updated and read without a lock.
        shared: where other processes see the heads.
    """

    def __init__(
        self,
        *,
        database: Database,
        blocks: Blocks,
        nodes: NodeCache,
        commit_log: CommitLog,
        key: SpaceKey,
        clock_ms: Callable[[], int],
        buckets: dict[str, Bucket],
        shared: SharedState | None = None,
    ):
        self._database = database
        self._blocks = blocks
        self._nodes = nodes
        self._log = commit_log
        self._key = key
        self._clock_ms = clock_ms
        self._buckets = buckets
        self._shared = shared
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._left_over: _Waiting | None = None
        self._failure: str | None = None
        self._thread = threading.Thread(target=self._run, name="ms3t-committer", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> str | None:
        """Why the store takes no more writes, or None while it does."""
        return self._failure

    def enqueue(self, mutation: Mutation) -> asyncio.Future[Committed]:
        """`submit` without waiting."""
        future: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self.take(mutation, future, _settle)
        return future

    def take(self, mutation: Mutation, ticket: Any, answer: Answer) -> None:
        """Commit ``mutation``, then call ``answer`` in the committer's thread with whatever else of it is done.

        Args:
            mutation: what to commit.
            ticket: what tells the caller which outcome is this one's.
            answer: called once for all of its mutations in a batch; must neither raise nor wait.
        """
        self._queue.put(_Waiting(mutation, ticket, answer))

    def fail(self, reason: str) -> None:
        """Take no more writes: something that had to be written was not."""
        if self._failure is None:
            self._failure = reason
            log.error("store is read-only until restarted", reason=reason)
            if self._shared is not None:
                with suppress(lmdb.Error):  # every answer says it too
                    self._shared.note_failure(reason)

    def close(self) -> None:
        """Finish what is queued and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while batch := self._gather():
            mutations = [waiting.mutation for waiting in batch]
            try:
                outcomes = self._commit(mutations)
            except StoreReadOnly as error:
                self.fail(str(error))
                outcomes = [error] * len(batch)
            except StoreError as error:
                outcomes = [error] * len(batch)
            except Exception as error:
                # Nobody knows what was written: like a failed sync.
                log.exception("the committer failed")
                reason = f"the committer failed: {error!r}"
                self.fail(reason)
                outcomes = [StoreReadOnly(reason)] * len(batch)
            _deliver(batch, outcomes)

    def _gather(self) -> list[_Waiting]:
        """Everything that waits, up to the limits; a bucket's creation or deletion makes a batch of its own."""
        first = self._left_over or self._queue.get()
        self._left_over = None
        if first is None:
            return []
        batch = [first]
        size = _bytes(first.mutation)
        while not _alone(first.mutation) and len(batch) < BATCH_MUTATIONS_MAX and size < BATCH_BYTES_MAX:
            try:
                waiting = self._queue.get_nowait()
            except queue.Empty:
                break
            if waiting is None:
                self._queue.put(None)
                break
            if _alone(waiting.mutation):
                self._left_over = waiting
                break
            size += _bytes(waiting.mutation)
            batch.append(waiting)
        return batch

    def _commit(self, mutations: list[Mutation]) -> Sequence[Outcome]:
        if self._failure is not None:
            raise StoreReadOnly(self._failure)
        match mutations[0]:
            case MakeBucket() as make:
                return [self._make_bucket(make)]
            case DropBucket() as drop:
                return [self._drop_bucket(drop)]
        return self._commit_objects(mutations)

    def _commit_objects(self, mutations: list[Mutation]) -> list[Outcome]:
        outcomes: list[Outcome | None] = [None] * len(mutations)
        places_by_bucket: dict[str, list[int]] = {}
        for place, mutation in enumerate(mutations):
            if isinstance(mutation, Put | Delete):
                places_by_bucket.setdefault(mutation.bucket, []).append(place)
        bodies: dict[CID, Block] = {}
        nodes: list[Block] = []
        moves: list[HeadMove] = []
        fresh: list[tuple[Bucket, Change]] = []
        for name, places in places_by_bucket.items():
            bucket = self._buckets.get(name)
            if bucket is None:
                for place in places:
                    outcomes[place] = NoSuchBucket(name)
                continue
            group = [m for place in places if isinstance(m := mutations[place], Put | Delete)]
            change = self._change(bucket, group)
            after = bucket
            if change.after is not bucket:
                bodies.update((block.cid, block) for block in change.blocks)
                nodes += (Block(new.cid, new.data) for new in change.nodes)
                after, block = self._sign(change.after, bucket)
                nodes.append(block)
                moves.append(HeadMove(bucket.instance, bucket.commit, after))
                fresh.append((after, change))
            for place, outcome in zip(places, change.outcomes, strict=True):
                outcomes[place] = replace(outcome, bucket=after) if isinstance(outcome, Committed) else outcome
        if moves:
            # Equal bodies are common and large; a node that was there before is rare and small: written again unseen.
            unstored = [body for cid, body in bodies.items() if not self._blocks.holds_intact(cid)]
            self._log.append(unstored + nodes, [move.bucket_after.commit for move in moves])
        self._write_registry(mutations, moves, outcomes)
        for after, change in fresh:
            params = TreeParams(after.bits, after.salt)
            for new in change.nodes:
                self._nodes.add(params, new.cid, new.node, len(new.data))
        if fresh:
            self._publish([after for after, _ in fresh])
        return [outcome for outcome in outcomes if outcome is not None]

    def _change(self, bucket: Bucket, group: list[Put | Delete]) -> Change:
        """`change_tree`; a tree that cannot be read refuses its own bucket's mutations and no others."""
        load = self._blocks.load_nodes(TreeParams(bucket.bits, bucket.salt))
        try:
            return change_tree(bucket, group, load)
        except (BlockMissing, BlockCorrupt) as error:
            damage: StoreError = error
        except FormatError as error:
            damage = BlockCorrupt(f"the tree of bucket {bucket.name} is not valid: {error}")
        log.error("tree cannot be read", bucket=bucket.name, reason=str(damage))
        return Change(bucket, [], [], [damage] * len(group))

    def _write_registry(
        self, mutations: list[Mutation], moves: list[HeadMove], outcomes: list[Outcome | None]
    ) -> None:
        records = [
            (place, mutation)
            for place, mutation in enumerate(mutations)
            if isinstance(mutation, Record)
            or (isinstance(mutation, Put) and mutation.record and isinstance(outcomes[place], Committed))
        ]
        if not moves and not records:
            return

        def write(connection: Connection) -> None:
            for move in moves:
                heads.move_head(connection, move)
            for place, mutation in records:
                if isinstance(mutation, Put) and mutation.record:
                    mutation.record(connection)
                elif isinstance(mutation, Record):
                    try:
                        outcomes[place] = Committed(None, value=mutation.write(connection))
                    except DBAPIError:  # SQLite may have rolled back the whole batch
                        raise
                    except Exception as refusal:  # its answer; it has written nothing
                        outcomes[place] = refusal

        self._transact(write)

    def _transact(self, write: RegistryWrite) -> None:
        try:
            with self._database.write() as connection:
                write(connection)
        except DatabaseFailed as error:
            if error.disk_full:
                raise StoreFull(str(error)) from error
            raise StoreReadOnly(str(error)) from error

    def _sign(self, after: Bucket, before: Bucket | None) -> tuple[Bucket, Block]:
        previous = before.commit if before else None
        after, commit = next_commit(self._key.did, after, previous, self._clock_ms())
        block = commit_block(self._key.sign_commit(commit))
        return replace(after, commit=block.cid), block

    def _make_bucket(self, make: MakeBucket) -> Outcome:
        if make.bucket in self._buckets:
            return BucketExists(make.bucket)
        now_ms = self._clock_ms()
        bucket = Bucket(
            name=make.bucket, instance=make.instance, commit=tree.EMPTY_ROOT, tree=tree.EMPTY_ROOT,
            sequence=0, objects=0, size_bytes=0, bits=make.bits, salt=make.salt,
            created_ms=now_ms, head_time_ms=now_ms,
        )  # fmt: skip
        bucket, block = self._sign(bucket, None)
        empty = Block(tree.EMPTY_ROOT, tree.EMPTY_BLOCK)
        self._log.append([empty, block], [block.cid])
        self._transact(lambda connection: heads.insert_bucket(connection, bucket))
        self._publish([bucket])
        return Committed(bucket)

    def _drop_bucket(self, drop: DropBucket) -> Outcome:
        bucket = self._buckets.get(drop.bucket)
        if bucket is None:
            return NoSuchBucket(drop.bucket)
        if bucket.objects:
            return BucketNotEmpty(drop.bucket)
        self._log.append([], [], [bucket.instance])
        self._transact(lambda connection: heads.delete_bucket(connection, bucket.instance, bucket.commit))
        del self._buckets[bucket.name]
        if self._shared is not None:
            self._shared.publish([], [bucket.name])
        return Committed(bucket)

    def _publish(self, changed: list[Bucket]) -> None:
        """Let every reader see the new heads, before anybody is answered."""
        if self._shared is not None:
            self._shared.publish(changed)
        self._buckets.update((bucket.name, bucket) for bucket in changed)


def _alone(mutation: Mutation) -> bool:
    return isinstance(mutation, MakeBucket | DropBucket)


def _bytes(mutation: Mutation) -> int:
    return sum(len(block.data) for block in mutation.blocks) if isinstance(mutation, Put) else 0


def _deliver(batch: list[_Waiting], outcomes: Sequence[Outcome]) -> None:
    by_caller: dict[Answer, list[tuple[Any, Outcome]]] = {}
    for waiting, outcome in zip(batch, outcomes, strict=True):
        by_caller.setdefault(waiting.answer, []).append((waiting.ticket, outcome))
    for answer, settled in by_caller.items():
        answer(settled)


def _settle(settled: list[tuple[asyncio.Future[Committed], Outcome]]) -> None:
    """Answer callers in this process, whose tickets are futures of its one event loop."""

    def answer_all() -> None:
        for future, outcome in settled:
            if future.done():  # the caller was cancelled
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    settled[0][0].get_loop().call_soon_threadsafe(answer_all)
