"""What the next shipment brings: the difference between the buckets as they are and what is on the storage node.

The walk over a bucket (`mst.closure`) stops at what a shard holds.  Of what it meets, a block in the log goes into a
pack, and one in a bulk segment makes its shard needed.  A large difference is brought in several shipments, of which
only the one that completes a bucket has its head: any beginning of the walk is whole, so nothing is brought in vain.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from gateway.shipping.bulk_shards import BulkShards
from gateway.shipping.packing import Outbox, Packing
from gateway.shipping.places import RemotePlaces
from gateway.store.blocks import Blocks
from gateway.store.errors import BlockCorrupt, BlockMissing, StoreError
from gateway.store.index import BlockIndex
from gateway.store.segments import Segments
from mst import closure
from mst.block import Block
from mst.cid import CID, DAG_PB
from mst.errors import FormatError
from mst.limits import MANIFEST_BYTES_MAX, PACK_BYTES_MAX
from mst.manifest import Head, Manifest, ShardRef, beacon
from registry import shards, shipments
from registry.database import Database
from registry.heads import Bucket, ShippedHead
from registry.shards import Shard
from registry.shipments import Difference
from registry.space import SpaceKey

SHARDS_MAX: Final = 48
"""How many shards make a shipment full; with those that one more block may need they still fit one message."""
PACKS_BYTES_MAX: Final = 8 * PACK_BYTES_MAX
"""How much of the disk the packs of one shipment take."""
HEADS_BYTES_MAX: Final = MANIFEST_BYTES_MAX // 2
"""How much of a manifest heads may take; the rest of them comes with the next shipment."""
DROPS_MAX: Final = 4096
"""Most buckets that one manifest drops; likewise."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Load:
    """What a shipment brings.

    Attributes:
        manifest: its manifest.
        heads: the heads in it.
        new: shards that are to be entered in the registry, with the shipment's number where it needs them.
        held: the numbers of shards in the registry that it needs and no shipment needed before.
    """

    manifest: Block
    heads: tuple[ShippedHead, ...]
    new: tuple[Shard, ...]
    held: tuple[int, ...]


@dataclass(slots=True)
class _Filling:
    """A load as it fills.

    Attributes:
        pack: the pack that is being filled.
        packs: those that are full.
        bulk: the bulk shards that are needed, by where they begin.
        digests: the digests of the blocks in all of them that were met.
    """

    pack: Packing = field(default_factory=Packing)
    packs: list[Shard] = field(default_factory=list)
    bulk: dict[tuple[int, int], Shard] = field(default_factory=dict)
    digests: set[bytes] = field(default_factory=set)

    @property
    def is_full(self) -> bool:
        full = len(self.packs) * PACK_BYTES_MAX >= PACKS_BYTES_MAX - PACK_BYTES_MAX
        return full or len(self.packs) + len(self.bulk) >= SHARDS_MAX - 1

    @property
    def is_empty(self) -> bool:
        return not (self.packs or self.bulk or self.pack.blocks)


class Gatherer:
    """Makes loads, one after the other, while no shipment is unfinished.  Blocking: for a thread.

    Args:
        database: the registry.
        blocks: verified reads of what is in the folder.
        index: where blocks lie in it.
        segments: its segments.
        bulk: the shards of bulk segments.
        places: where blocks lie on the node.
        outbox: where packs are written.
        key: what manifests are signed with.
        clock_ms: the time in milliseconds since 1970.

    Attributes:
        left_out: instance ids of the buckets that were found to differ and whose heads no load has brought yet.
        was_cut: whether more was found to differ than one manifest takes.
    """

    def __init__(
        self,
        *,
        database: Database,
        blocks: Blocks,
        index: BlockIndex,
        segments: Segments,
        bulk: BulkShards,
        places: RemotePlaces,
        outbox: Outbox,
        key: SpaceKey,
        clock_ms: Callable[[], int],
    ):
        self._database = database
        self._blocks = blocks
        self._index = index
        self._segments = segments
        self._bulk = bulk
        self._places = places
        self._outbox = outbox
        self._key = key
        self._clock_ms = clock_ms
        self._filling = _Filling()
        self._loaded: dict[CID, bytes] = {}
        self._walk: Iterator[Load] | None = None
        self._stopped = False
        self.left_out: set[bytes] = set()
        self.was_cut = False

    @property
    def is_midway(self) -> bool:
        """Whether the last load was not all that had been found to differ."""
        return self._walk is not None

    def next(self) -> Load | None:
        """The next load, None if there is nothing to bring.

        Raises:
            StoreFull: no room for packs; the next call begins anew.
            StoreError, RegistryError: the folder cannot be read; likewise.
        """
        try:
            if self._walk is None:
                self._walk = self._loads()
            load = next(self._walk, None)
        except BaseException:
            self.begin_anew()
            raise
        if load is None:
            self.begin_anew()
        return load

    def begin_anew(self) -> None:
        """Forget the last load, which was not begun, and what was to follow it."""
        self._walk = None
        self._filling = _Filling()
        self._loaded.clear()

    def stop(self) -> None:
        """Let `next`, which another thread is in, end with an error soon; for good."""
        self._stopped = True

    def _loads(self) -> Iterator[Load]:
        self._outbox.keep_only(set())  # what a load left that was not begun
        with self._database.read() as connection:
            difference = shipments.difference(connection)
        fitting, drops = list(_fitting(difference)), difference.drops[:DROPS_MAX]
        self.was_cut = len(fitting) < len(difference.changed) or len(drops) < len(difference.drops)
        self.left_out = {bucket.instance for bucket, _ in difference.changed} | set(difference.drops[DROPS_MAX:])
        done: list[tuple[Bucket, Head]] = []
        for bucket, head in fitting:
            if (yield from self._bring(bucket)):
                done.append((bucket, head))
                self.left_out.discard(bucket.instance)
        if done or drops or not self._filling.is_empty:
            self._walk = None
            yield self._load(done, drops)

    def _bring(self, bucket: Bucket) -> Generator[Load, None, bool]:
        """Take all that the bucket's head needs, in as many loads as it takes; returns whether it could all be had."""
        try:
            for cid in closure.of_commit(bucket.commit, self._read, self._is_held):
                self._take(cid)
                if self._filling.is_full:
                    yield self._load((), ())
        except (BlockMissing, BlockCorrupt, FormatError) as error:
            self._loaded.clear()
            log.error("a bucket is damaged and is not shipped", bucket=bucket.name, reason=str(error))
            return False
        return True

    def _read(self, cid: CID) -> bytes:
        data = self._loaded[cid] = self._blocks.read(cid)  # it is taken when all that it needs has been
        return data

    def _is_held(self, cid: CID) -> bool:
        digest = cid.digest
        if digest in self._filling.digests or self._places.get(digest) is not None:
            return True
        # A file node in a bulk segment names leaves that may lie elsewhere: it is walked like one in the log.
        return cid.codec != DAG_PB and self._is_in_bulk(digest)

    def _is_in_bulk(self, digest: bytes) -> bool:
        """Whether a bulk shard holds the block; then it is needed."""
        place = self._index.get(digest)
        if place is None or not self._segments.is_bulk(place.segment):
            return False
        needed = self._bulk.needed_for(place.segment, place.offset)
        if not needed:
            return False
        for shard in needed:
            self._filling.bulk[_begin(shard)] = shard
        self._filling.digests.add(digest)
        return True

    def _take(self, cid: CID) -> None:
        if self._stopped:
            raise StoreError("the server is stopping")
        data = self._loaded.pop(cid, None)
        if self._is_in_bulk(cid.digest):
            return
        if data is None:
            data = self._blocks.read(cid)
        filling = self._filling
        if not filling.pack.has_room_for(len(data)):
            filling.packs.append(self._outbox.write(filling.pack.blocks))
            filling.pack = Packing()
        filling.pack.add(Block(cid, data))
        filling.digests.add(cid.digest)

    def _load(self, done: Sequence[tuple[Bucket, Head]], drops: Sequence[bytes]) -> Load:
        """What has been taken, with its manifest."""
        filling, self._filling = self._filling, _Filling()
        with self._database.read() as connection:
            newest, prev = shipments.newest(connection)
            before = [one for one in shards.of_shipment(connection, newest) if one.manifest is not None]
        number = newest + 1
        sealed = [
            replace(one, shipment=number if _begin(one) in filling.bulk else None) for one in self._bulk.take_sealed()
        ]
        held = [one for one in filling.bulk.values() if one.number and one.shipment is None]
        named = [*before, *filling.packs, *(one for one in sealed if one.shipment is not None), *held]
        manifest = Manifest(
            space=self._key.did,
            sequence=number,
            time_ms=self._clock_ms(),
            prev=prev,
            heads=tuple(head for _, head in done),
            drops=tuple(drops),
            shards=tuple(ShardRef(one.digest, one.size_bytes, one.index_digest, one.index_bytes) for one in named),
        )
        block = self._key.sign_manifest(manifest).block()
        last = self._outbox.write([*filling.pack.blocks, beacon(self._key.did, number)], block)
        packs = [replace(one, shipment=number) for one in (*filling.packs, last)]
        heads = tuple(ShippedHead(bucket.instance, bucket.commit, bucket.sequence) for bucket, _ in done)
        return Load(block, heads, (*sealed, *packs), tuple(one.number for one in held))


def _begin(shard: Shard) -> tuple[int, int]:
    assert shard.slice is not None
    return shard.slice.segment, shard.slice.start


def _fitting(difference: Difference) -> Iterator[tuple[Bucket, Head]]:
    """The changed buckets that fit one manifest, and always the first."""
    size = 0
    for bucket, head in difference.changed:
        size += len(head.encode())
        if size > HEADS_BYTES_MAX and bucket is not difference.changed[0][0]:
            return
        yield bucket, head
