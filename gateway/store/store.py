"""The store as the S3 front and the command line see it: buckets, entries, walks, bodies, mutations."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from gateway.store.blocks import Blocks
from gateway.store.bodies import BodyWriter, Digest, read_body, read_range
from gateway.store.bulk import BulkPool
from gateway.store.committer import Committer
from gateway.store.errors import BlockCorrupt, NoSuchBucket, StoreFull, StoreReadOnly
from gateway.store.folder import DataFolder
from gateway.store.index import BlockIndex
from gateway.store.log import CommitLog
from gateway.store.nodes import NodeCache
from gateway.store.recovery import Finding, recover
from gateway.store.segment import Segment
from gateway.store.segments import Segments
from mst import cbor, tree
from mst.cid import CID
from mst.entry import Entry
from mst.errors import FormatError
from mst.fetch import drive_async
from mst.layer import TreeParams
from mst.walk import Walk
from registry import heads
from registry.database import Database
from registry.heads import Bucket
from registry.space import SpaceKey

ROOM_CHECK_SECONDS = 0.5
"""How long a look at the free space of the disk holds."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What a store can be tuned with; sizes in bytes.

    Attributes:
        segment_bytes: length at which a segment is full.
        inline_body_bytes: bodies up to this length go to the commit log, larger ones to a bulk segment.
        reserve_free_bytes: room that uploads leave on the disk, so that deletes and commits still work.
        node_cache_bytes: memory for decoded tree nodes.
        threads: threads that hash, read and write.
    """

    segment_bytes: int = 1 << 30
    inline_body_bytes: int = 128 << 10
    reserve_free_bytes: int = 64 << 20
    node_cache_bytes: int = 64 << 20
    threads: int = 8


def clock_ms() -> int:
    """The wall clock, milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Store:
    """One data folder, open.  Make it with `open_for_writing` or `open_for_reading`.

    Attributes:
        folder: where it is.
        database: the registry.
        blocks: verified reads.
        findings: what recovery found at start.
    """

    def __init__(self, folder: DataFolder, settings: StoreSettings, *, read_only: bool):
        self.folder = folder
        self._settings = settings
        self._nodes = NodeCache(settings.node_cache_bytes)
        with ExitStack() as opened:
            self.database = Database.open(folder.registry, read_only=read_only)
            opened.callback(self.database.close)
            # Heads before segments: a head that was read must find its blocks, written before it moved.
            with self.database.read() as connection:
                self._buckets = {bucket.name: bucket for bucket in heads.load_all(connection)}
            self._segments = Segments(folder.segments, read_only=read_only)
            opened.callback(self._segments.close)
            self._index = BlockIndex(folder.index, read_only=read_only)
            opened.pop_all()
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="ms3t-io")
        self.blocks = Blocks(self._index, self._segments, self._nodes, self._threads)
        self.findings: list[Finding] = []
        self._committer: Committer | None = None
        self._bulk: BulkPool | None = None
        self._room_checked = 0.0
        self._room = 0

    @classmethod
    def open_for_writing(
        cls,
        folder: DataFolder,
        key: SpaceKey,
        settings: StoreSettings,
        clock: Callable[[], int] = clock_ms,
        progress: Callable[[Segment], None] | None = None,
    ) -> Self:
        """Open a folder that this process owns (`DataFolder.own`): recover it, then take writes.

        Raises:
            DatabaseError: the registry cannot be opened safely.
            IndexUnusable: the block index is damaged.
        """
        store = cls(folder, settings, read_only=False)
        commits = [bucket.commit for bucket in store._buckets.values()]
        store.findings = recover(store._segments, store._index, repair=True, heads=commits, progress=progress)
        store._bulk = BulkPool(store._segments, store._index, settings.segment_bytes)
        store._committer = Committer(
            database=store.database,
            blocks=store.blocks,
            nodes=store._nodes,
            commit_log=CommitLog(store._segments, store._index, settings.segment_bytes),
            key=key,
            clock_ms=clock,
            buckets=store._buckets,
        )
        return store

    @classmethod
    def open_for_reading(cls, folder: DataFolder, settings: StoreSettings) -> Self:
        """Look at a folder, stopped or beside the server that owns it; nothing in it is changed.

        Raises:
            DatabaseError: there is no registry, or it is not of this release.
            IndexUnusable: there is no block index yet.
        """
        store = cls(folder, settings, read_only=True)
        store.findings = recover(store._segments, store._index, repair=False)
        return store

    @property
    def committer(self) -> Committer:
        """Where mutations go.

        Raises:
            StoreReadOnly: the store was opened for reading.
        """
        if self._committer is None:
            raise StoreReadOnly("the data folder is open for reading only")
        return self._committer

    @property
    def size_bytes(self) -> int:
        """The length of all segments."""
        return self._segments.size_bytes

    def buckets(self) -> list[Bucket]:
        """Every bucket with its head, in byte order of the names."""
        return sorted(self._buckets.values(), key=lambda bucket: bucket.name)

    def bucket(self, name: str) -> Bucket:
        """One bucket with its head.

        Raises:
            NoSuchBucket: there is none of that name.
        """
        try:
            return self._buckets[name]
        except KeyError:
            raise NoSuchBucket(name) from None

    async def get(self, bucket: Bucket, key: bytes) -> Entry | None:
        """The entry of ``key`` in the bucket as it was when ``bucket`` was read.

        Raises:
            BlockMissing, BlockCorrupt: the tree cannot be read.
        """
        params = TreeParams(bucket.bits, bucket.salt)
        try:
            value = await drive_async(
                tree.get(params, bucket.tree, key), self.blocks.load_nodes_async(params)
            )
            return None if value is None else Entry.decode(value)
        except FormatError as error:
            raise BlockCorrupt(f"the tree of bucket {bucket.name} is not valid: {error}") from error

    def walk(self, bucket: Bucket) -> StoreWalk:
        """A walk over the bucket as it was when ``bucket`` was read."""
        return StoreWalk(self.blocks, bucket)

    async def meta(self, entry: Entry) -> Mapping[str, cbor.Value]:
        """The entry's metadata, wherever it is kept.

        Raises:
            BlockMissing, BlockCorrupt: its block cannot be read.
        """
        if entry.meta is None:
            return {}
        if not isinstance(entry.meta, CID):
            return entry.meta
        data = await self.blocks.read_async(entry.meta, 0)
        try:
            meta = cbor.decode(data)
        except FormatError as error:
            raise BlockCorrupt(f"metadata block {entry.meta} is not valid: {error}") from error
        if not isinstance(meta, Mapping):
            raise BlockCorrupt(f"metadata block {entry.meta} is not a map")
        return meta

    def new_body(
        self, *, digests: Sequence[Digest] = (), sha256: bool = False, part: bool = False
    ) -> BodyWriter:
        """Begin to take a body.

        Args:
            digests: checksums to feed with its bytes.
            sha256: whether its SHA-256 is wanted even if it is large.
            part: a part of a multipart upload: always durable on its own, however small.
        """
        if self._bulk is None:
            raise StoreReadOnly("the data folder is open for reading only")
        inline = -1 if part else self._settings.inline_body_bytes
        return BodyWriter(
            self._bulk, self._threads, inline_bytes=inline, digests=digests, sha256=sha256
        )

    def read_body(self, entry: Entry, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """The bytes ``start`` to ``stop`` of the entry's object; see `gateway.store.bodies.read_body`."""
        return read_body(self.blocks, entry.body, entry.size, start, stop)

    async def read_range(self, entry: Entry, start: int, stop: int) -> bytes:
        """`read_body` for a range that fits in memory, as one piece."""
        return await read_range(self.blocks, entry.body, entry.size, start, stop)

    def require_room(self, size: int) -> None:
        """Refuse an upload of ``size`` bytes that would not leave the reserve free.

        Raises:
            StoreFull: there is not that much room.
            StoreReadOnly: the store takes no writes at all.
        """
        if self.committer.failure is not None:
            raise StoreReadOnly(self.committer.failure)
        now = time.monotonic()
        if now - self._room_checked > ROOM_CHECK_SECONDS:
            disk = os.statvfs(self.folder.path)
            self._room = disk.f_bavail * disk.f_frsize
            self._room_checked = now
        if self._room - size < self._settings.reserve_free_bytes:
            raise StoreFull(
                f"{self._room} bytes are free, of which {self._settings.reserve_free_bytes} are in reserve"
            )
        # Until the next look: a fast disk takes more than the reserve in that time.
        self._room -= size

    def close(self) -> None:
        """Finish what was submitted and close everything."""
        if self._committer is not None:
            self._committer.close()
        self._threads.shutdown()
        self._index.close()
        self._segments.close()
        self.database.close()


class StoreWalk:
    """`mst.walk.Walk` over stored blocks."""

    def __init__(self, blocks: Blocks, bucket: Bucket):
        params = TreeParams(bucket.bits, bucket.salt)
        self._walk = Walk(params, bucket.tree)
        self._load = blocks.load_nodes_async(params)

    async def seek(self, start: bytes) -> None:
        """Stand before the first key that is not below ``start``."""
        await drive_async(self._walk.seek(start), self._load)

    async def run(self) -> tuple[Sequence[bytes], Sequence[bytes]] | None:
        """The next keys with their encoded entries; None at the end."""
        return await drive_async(self._walk.run(), self._load)
