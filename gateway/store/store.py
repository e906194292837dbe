"""The store as the S3 front and the command line see it: an open data folder, with its buckets, bodies, mutations."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

from gateway.store.blocks import Blocks
from gateway.store.bodies import BodyWriter, Digest, read_body, read_range
from gateway.store.bulk import BulkPool, BulkSource, OwnedBulk
from gateway.store.cache import BlockCache
from gateway.store.committer import Committer, Taking
from gateway.store.errors import NoSuchBucket, StoreReadOnly
from gateway.store.far import FarBlocks, RemoteBlocks
from gateway.store.folder import DataFolder
from gateway.store.index import BlockIndex
from gateway.store.log import CommitLog
from gateway.store.mutations import Mutator
from gateway.store.nodes import NodeCache
from gateway.store.recovery import Finding, recover
from gateway.store.room import DiskRoom
from gateway.store.segment import Segment
from gateway.store.segments import Segments
from gateway.store.shared import SharedState
from gateway.store.trees import Trees
from mst.entry import Entry
from registry import heads, shards
from registry.database import Database
from registry.heads import Bucket
from registry.space import SpaceKey


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What a store can be tuned with; sizes in bytes.

    Attributes:
        segment_bytes: length at which a segment is full.
        inline_body_bytes: bodies up to this length go to the commit log, larger ones to a bulk segment.
        reserve_free_bytes: room that uploads leave on the disk, so that deletes and commits still work.
        node_cache_bytes: memory for decoded tree nodes.
        threads: threads that hash, read and write.
        keep_bulk: whether a process that serves beside the owner keeps a bulk segment after an upload for the next one;
            what it keeps cannot be dropped.
    """

    segment_bytes: int = 1 << 30
    inline_body_bytes: int = 128 << 10
    reserve_free_bytes: int = 64 << 20
    node_cache_bytes: int = 64 << 20
    threads: int = 8
    keep_bulk: bool = True


def clock_ms() -> int:
    """The wall clock, milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Owned(NamedTuple):
    """What a process that owns a folder does for the others that serve it."""

    committer: Taking
    bulk: OwnedBulk
    shared: SharedState


class Heads(Protocol):
    """Where a process finds the heads of buckets."""

    def bucket(self, name: str) -> Bucket | None:
        """One bucket with its head, None if there is none of that name."""

    def buckets(self) -> Iterable[Bucket]:
        """Every bucket with its head."""


class _KnownHeads:
    """The heads that were read from the registry, kept up to date by the committer if there is one here."""

    def __init__(self, database: Database):
        with database.read() as connection:
            self.by_name = {bucket.name: bucket for bucket in heads.load_all(connection)}

    def bucket(self, name: str) -> Bucket | None:
        return self.by_name.get(name)

    def buckets(self) -> Iterable[Bucket]:
        return list(self.by_name.values())


class Store:
    """One data folder, open.  Make it with `open_for_writing`, `open_for_serving` or `open_for_reading`.

    Attributes:
        folder: where it is.
        database: the registry.
        blocks: verified reads.
        trees: reads of entries.
        findings: what recovery found at start.
        owned: what workers ask this process for, where it owns the folder and shares it.
    """

    def __init__(
        self,
        folder: DataFolder,
        settings: StoreSettings,
        opened: ExitStack,
        *,
        database: Database,
        segments: Segments,
        index: BlockIndex,
        heads: Heads,
    ):
        self.folder = folder
        self.database = database
        self.findings: list[Finding] = []
        self.owned: Owned | None = None
        self._settings = settings
        self._opened = opened
        self._segments = segments
        self._index = index
        self._heads = heads
        self._nodes = NodeCache(settings.node_cache_bytes)
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="ms3t-io")
        self._opened.callback(self._threads.shutdown)
        self.blocks = Blocks(index, segments, self._nodes, self._threads)
        self.trees = Trees(self.blocks)
        self._committer: Mutator | None = None
        self._own_committer: Committer | None = None
        self._bulk: BulkPool | None = None
        self._own_bulk: OwnedBulk | None = None
        self._room = DiskRoom(folder.path, settings.reserve_free_bytes)

    @classmethod
    def open_for_writing(
        cls,
        folder: DataFolder,
        key: SpaceKey,
        settings: StoreSettings,
        clock: Callable[[], int] = clock_ms,
        progress: Callable[[Segment], None] | None = None,
        *,
        share: bool = False,
    ) -> Self:
        """Open a folder that this process owns (`DataFolder.own`): recover it, then take writes.

        Args:
            folder: the folder.
            key: what commits are signed with.
            settings: see there.
            clock: the time in milliseconds since 1970.
            progress: called before each segment that recovery has to look through.
            share: let other processes serve the folder with `open_for_serving`.

        Raises:
            DatabaseError: the registry cannot be opened safely.
            IndexUnusable: the block index is damaged.
            StoreReadOnly, BlockCorrupt: the disk fails where recovery looks.
        """
        with ExitStack() as opened:
            database = opened.enter_context(closing(Database.open(folder.registry)))
            known = _KnownHeads(database)
            segments = opened.enter_context(closing(Segments(folder, read_only=False)))
            shared = None
            if share:
                shared = SharedState.create(folder.shared)
                opened.callback(shared.remove)
                shared.publish(list(known.buckets()))
            index = opened.enter_context(closing(BlockIndex(folder.index, read_only=False, shared=shared)))
            with database.read() as connection:
                segments.reserve(shards.newest_segment(connection))
            # What is wholly on the storage node may have been dropped here.
            commits = [bucket.commit for bucket in known.buckets() if bucket.commit != bucket.shipped]
            findings = recover(segments, index, repair=True, heads=commits, progress=progress)
            store = cls(
                folder, settings, opened.pop_all(), database=database, segments=segments, index=index, heads=known
            )
        store.findings = findings
        bulk = OwnedBulk(segments, index, settings.segment_bytes)
        store._own_bulk = bulk
        store._bulk = BulkPool(bulk, settings.segment_bytes, store._room, keep=False)
        committer = Committer(
            database=database,
            blocks=store.blocks,
            nodes=store._nodes,
            commit_log=CommitLog(segments, index, settings.segment_bytes),
            key=key,
            clock_ms=clock,
            room=store._room,
            buckets=known.by_name,
            shared=shared,
        )
        store._committer = store._own_committer = committer
        store._opened.callback(committer.close)
        if shared is not None:
            store.owned = Owned(committer, bulk, shared)
        return store

    @classmethod
    def open_for_serving(
        cls,
        folder: DataFolder,
        settings: StoreSettings,
        shared: SharedState,
        mutator: Mutator,
        bulk_source: BulkSource,
    ) -> Self:
        """Serve a folder together with the process that owns it and has it open for writing with ``share``.

        Args:
            folder: the folder.
            settings: see there; the same as the owner's.
            shared: the owner's, joined; closed with the store.
            mutator: takes mutations to the owner's committer.
            bulk_source: where the owner lends bulk segments.

        Raises:
            DatabaseError, IndexUnusable: the owner does not have it open.
        """
        with ExitStack() as opened:
            database = opened.enter_context(closing(Database.open(folder.registry, read_only=True)))
            segments = opened.enter_context(closing(Segments(folder, read_only=True)))
            opened.callback(shared.close)
            index = opened.enter_context(closing(BlockIndex(folder.index, read_only=True, shared=shared)))
            store = cls(
                folder, settings, opened.pop_all(), database=database, segments=segments, index=index, heads=shared
            )
        store._committer = mutator
        store._bulk = BulkPool(bulk_source, settings.segment_bytes, store._room, keep=settings.keep_bulk)
        return store

    @classmethod
    def open_for_reading(cls, folder: DataFolder, settings: StoreSettings) -> Self:
        """Look at a folder, stopped or beside the server that owns it; nothing in it is changed.

        Raises:
            DatabaseError: there is no registry, or it is not of this release.
            IndexUnusable: there is no block index yet.
        """
        with ExitStack() as opened:
            database = opened.enter_context(closing(Database.open(folder.registry, read_only=True)))
            # Heads before segments: a head that was read must find its blocks, written before it moved.
            known = _KnownHeads(database)
            segments = opened.enter_context(closing(Segments(folder, read_only=True)))
            index = opened.enter_context(closing(BlockIndex(folder.index, read_only=True)))
            findings = recover(segments, index, repair=False)
            store = cls(
                folder, settings, opened.pop_all(), database=database, segments=segments, index=index, heads=known
            )
        store.findings = findings
        return store

    @property
    def committer(self) -> Mutator:
        """Where mutations go.

        Raises:
            StoreReadOnly: the store was opened for reading.
        """
        if self._committer is None:
            raise StoreReadOnly("the data folder is open for reading only")
        return self._committer

    @property
    def own_committer(self) -> Committer:
        """The committer of a store that is open for writing, whatever mutations go through before they reach it.

        Raises:
            StoreReadOnly: the store is not open for writing.
        """
        if self._own_committer is None:
            raise StoreReadOnly("the data folder is not open for writing")
        return self._own_committer

    def answer_through(self, taking: Taking) -> None:
        """Have mutations go through ``taking``, which stands before the committer; also those of workers to come."""
        self._committer = taking
        if self.owned is not None:
            self.owned = self.owned._replace(committer=taking)

    @property
    def segments(self) -> Segments:
        """The folder's segments."""
        return self._segments

    @property
    def index(self) -> BlockIndex:
        """Where every block lies in them."""
        return self._index

    def read_from_afar(self, remote: RemoteBlocks, cache: BlockCache | None) -> FarBlocks:
        """From now on, get what no segment holds from a storage node.  To be closed before this event loop ends.

        Args:
            remote: the node.
            cache: where such blocks are kept, if anywhere.
        """
        self.blocks.far = FarBlocks(remote, cache, self._threads)
        return self.blocks.far

    def retire_bulk(self, number: int) -> bool:
        """Lend and write to a bulk segment no more; returns whether nobody has it to write to."""
        return self._own_bulk is not None and self._own_bulk.retire(number)

    @property
    def size_bytes(self) -> int:
        """The length of all segments."""
        return self._segments.size_bytes

    @property
    def written_bytes(self) -> int:
        """The length of all segments that there have been since it was opened."""
        return self._segments.written_bytes

    def buckets(self) -> list[Bucket]:
        """Every bucket with its head, in byte order of the names."""
        return sorted(self._heads.buckets(), key=lambda bucket: bucket.name)

    def bucket(self, name: str) -> Bucket:
        """One bucket with its head.

        Raises:
            NoSuchBucket: there is none of that name.
        """
        bucket = self._heads.bucket(name)
        if bucket is None:
            raise NoSuchBucket(name)
        return bucket

    def new_body(self, *, digests: Sequence[Digest] = (), sha256: bool = False, part: bool = False) -> BodyWriter:
        """Begin to take a body.

        Args:
            digests: checksums to feed with its bytes.
            sha256: whether its SHA-256 is wanted even if it is large.
            part: a part of a multipart upload: always durable on its own, however small.
        """
        if self._bulk is None:
            raise StoreReadOnly("the data folder is open for reading only")
        inline = -1 if part else self._settings.inline_body_bytes
        return BodyWriter(self._bulk, self._threads, inline_bytes=inline, digests=digests, sha256=sha256)

    def read_body(self, entry: Entry, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """The bytes ``start`` to ``stop`` of the entry's object; see `gateway.store.bodies.read_body`."""
        return read_body(self.blocks, entry.body, entry.size, start, stop)

    async def read_range(self, entry: Entry, start: int, stop: int) -> bytes:
        """`read_body` for a range that fits in memory, as one piece."""
        return await read_range(self.blocks, entry.body, entry.size, start, stop)

    def require_room(self, size: int) -> None:
        """Refuse an upload of ``size`` bytes that would not leave the reserve free.

        To be asked before an upload is read; as it is written, the disk is looked at again.

        Raises:
            StoreFull: there is not that much room.
            StoreReadOnly: the store takes no writes at all.
        """
        if self.committer.failure is not None:
            raise StoreReadOnly(self.committer.failure)
        self._room.require(size)

    def close(self) -> None:
        """Finish what was submitted and close everything."""
        self._opened.close()
