"""The first stage of a commit: mutations are evaluated, trees changed, and all of it appended to the log and synced.

What is left then is one registry transaction (`gateway.store.registering`), which alone makes it count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from gateway.store.blocks import Blocks
from gateway.store.change import Change, change_tree, commit_block, next_commit
from gateway.store.errors import (
    BlockCorrupt,
    BlockMissing,
    BucketExists,
    BucketNotEmpty,
    NoSuchBucket,
    RemoteUnavailable,
    StoreBusy,
    StoreError,
    StoreFull,
)
from gateway.store.log import CommitLog
from gateway.store.mutations import (
    Committed,
    CommitWrite,
    DropBucket,
    DropSegments,
    MakeBucket,
    MarkShipped,
    Mutation,
    ObjectMutation,
    Outcome,
    Put,
    Record,
    RegistryWrite,
    SetVersioning,
    Survey,
)
from gateway.store.nodes import NodeCache
from gateway.store.room import DiskRoom
from mst import tree, version
from mst.block import Block
from mst.cid import CID, DAG_PB, RAW
from mst.errors import FormatError
from mst.layer import TreeParams
from mst.unixfs import decode_file_node
from registry.heads import Bucket, HeadMove, ShippedHead
from registry.space import SpaceKey

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Prepared:
    """A batch whose blocks are durable and that nothing refers to yet.

    Attributes:
        outcomes: for each mutation its answer, if all goes well; None for a `Record`, which has still to be written.
        moves: heads to be moved.
        created: a bucket to be entered.
        creation: what has to be recorded with it.
        dropped: a bucket to be removed.
        puts: places of puts that have something to record; it is told which version they made.
        records: places of records.
        shipped: commits of buckets to be noted as shipped.
    """

    outcomes: list[Outcome | None]
    moves: list[HeadMove] = field(default_factory=list)
    created: Bucket | None = None
    creation: RegistryWrite | None = None
    dropped: Bucket | None = None
    puts: list[tuple[int, CommitWrite]] = field(default_factory=list)
    records: list[tuple[int, RegistryWrite]] = field(default_factory=list)
    shipped: Sequence[ShippedHead] = ()

    @property
    def changed(self) -> list[Bucket]:
        """The buckets that have a new head."""
        created = [self.created] if self.created else []
        return [move.bucket_after for move in self.moves] + created

    @property
    def is_empty(self) -> bool:
        """Whether nothing has to be written any more."""
        return not (self.moves or self.created or self.dropped or self.puts or self.records)


class Preparer:
    """Evaluates batches, one at a time and in order.

    Args:
        blocks: read access to the trees.
        nodes: the cache that new nodes are put into.
        commit_log: where blocks go.
        key: what commits are signed with.
        clock_ms: the time in milliseconds since 1970.
        room: what the bodies in a batch leave free of the disk.
    """

    def __init__(
        self,
        *,
        blocks: Blocks,
        nodes: NodeCache,
        commit_log: CommitLog,
        key: SpaceKey,
        clock_ms: Callable[[], int],
        room: DiskRoom,
    ):
        self._blocks = blocks
        self._nodes = nodes
        self._log = commit_log
        self._key = key
        self._clock_ms = clock_ms
        self._room = room
        self._needed_since: set[int] = set()

    def prepare(self, mutations: Sequence[Mutation], heads: Mapping[str, Bucket]) -> Prepared:
        """Evaluate ``mutations`` in order against the buckets in ``heads``, and make durable what they lead to.

        A bucket's creation, deletion or change of versioning must be alone in its batch, and so must a `MarkShipped`,
        a `Survey` and a `DropSegments`.

        Raises:
            StoreFull: no room; the log is as it was.
            StoreReadOnly: the log's write or sync failed otherwise.
        """
        match mutations[0]:
            case MakeBucket() as make:
                return self._make_bucket(make, heads)
            case DropBucket() as drop:
                return self._drop_bucket(drop, heads)
            case SetVersioning() as change:
                return _set_versioning(change, heads)
            case MarkShipped() as mark:
                return Prepared([None], records=[(0, mark.record)], shipped=mark.heads)
            case Survey():
                self._needed_since.clear()
                prepared = Prepared([Committed(None, value=tuple(heads.values()))])
            case DropSegments() as drop:
                prepared = self._drop_segments(drop)
            case _:
                prepared = self._change_objects(mutations, heads)
        return prepared

    def _change_objects(self, mutations: Sequence[Mutation], heads: Mapping[str, Bucket]) -> Prepared:
        prepared = Prepared([None] * len(mutations))
        bodies: dict[CID, Block] = {}
        nodes: list[Block] = []
        for name, all_places in self._by_bucket(mutations, prepared.outcomes).items():
            bucket = heads.get(name)
            if bucket is None:
                for place in all_places:
                    prepared.outcomes[place] = NoSuchBucket(name)
                continue
            places = self._had(mutations, all_places, prepared.outcomes)
            group = [m for place in places if isinstance(m := mutations[place], ObjectMutation)]
            now_ms = self._clock_ms()
            change = self._change(bucket, group, now_ms)
            after = bucket
            if change.after is not bucket:
                bodies.update((block.cid, block) for block in change.blocks)
                nodes += (Block(new.cid, new.data) for new in change.nodes)
                after, block = self._sign(change.after, bucket, now_ms)
                nodes.append(block)
                prepared.moves.append(HeadMove(bucket.instance, bucket.commit, after))
                params = TreeParams(after.bits, after.salt)
                for new in change.nodes:
                    self._nodes.add(params, new.cid, new.node, len(new.data))
            for place, outcome in zip(places, change.outcomes, strict=True):
                done = outcome._replace(bucket=after) if isinstance(outcome, Committed) else outcome
                prepared.outcomes[place] = done
        if prepared.moves:
            # Equal bodies are common and large; a node that was there before is rare and small: written again unseen.
            unstored = [body for cid, body in bodies.items() if not self._is_stored(cid)]
            self._append(unstored + nodes, [move.bucket_after.commit for move in prepared.moves])
        for place, mutation in enumerate(mutations):
            if isinstance(mutation, Record):
                prepared.records.append((place, mutation.write))
            elif isinstance(mutation, Put) and mutation.record and isinstance(prepared.outcomes[place], Committed):
                prepared.puts.append((place, mutation.record))
        return prepared

    def _by_bucket(self, mutations: Sequence[Mutation], outcomes: list[Outcome | None]) -> dict[str, list[int]]:
        """The places of changes of objects; puts whose bodies would not leave the reserve free are refused."""
        places: dict[str, list[int]] = {}
        size = 0
        for place, mutation in enumerate(mutations):
            if not isinstance(mutation, ObjectMutation):
                continue
            body = _body(mutation)
            try:
                if body is not None:
                    self._room.require(size + len(body.data))
                    size += len(body.data)
            except StoreFull as full:
                outcomes[place] = full
            else:
                places.setdefault(mutation.bucket, []).append(place)
        return places

    def _had(self, mutations: Sequence[Mutation], places: list[int], outcomes: list[Outcome | None]) -> list[int]:
        """The places of mutations of which everything that they refer to can be had; the others are refused."""
        had = []
        for place in places:
            mutation = mutations[place]
            if self._blocks.far is None or not isinstance(mutation, Put):
                had.append(place)
                continue
            try:
                if self._can_be_had(mutation):
                    had.append(place)
                else:
                    outcomes[place] = StoreBusy("what the object is made of was replaced and dropped meanwhile")
            except (BlockMissing, BlockCorrupt, RemoteUnavailable) as error:
                outcomes[place] = error
        return had

    def _can_be_had(self, put: Put) -> bool:
        brought = {block.cid for block in put.blocks}
        meta = version.object_meta(put.entry)
        needed = {put.entry.body} | ({meta} if isinstance(meta, CID) else set())
        return all(self._has(cid) for cid in needed - brought)

    def _has(self, cid: CID) -> bool:
        """Whether the block can be had, and the nodes below it: those of one file may lie in several log segments."""
        if not self._is_stored(cid):
            return self._blocks.can_be_had(cid)  # a storage node has nothing without what it needs
        if cid.codec != DAG_PB:
            return True
        try:
            links = decode_file_node(self._blocks.read(cid)).links
        except FormatError as error:
            raise BlockCorrupt(f"file node {cid} is not valid: {error}") from error
        return all(self._has(link.cid) for link in links if link.cid.codec == DAG_PB)

    def _is_stored(self, cid: CID) -> bool:
        """Whether a segment holds the block and its bytes are right; then it must not be dropped now."""
        segment = self._blocks.segment_of(cid)
        if segment is None or not self._blocks.holds_intact(cid):
            return False
        self._needed_since.add(segment)
        return True

    def _append(self, blocks: Sequence[Block], commits: Sequence[CID], drops: Sequence[bytes] = ()) -> None:
        """Append a batch to the log; what it is in must not be dropped by who has not seen it."""
        self._needed_since.add(self._log.append(blocks, commits, drops))

    def _drop_segments(self, drop: DropSegments) -> Prepared:
        numbers = drop.numbers - self._needed_since
        self._log.forget(numbers)
        return Prepared([Committed(None, value=numbers)])

    def _change(self, bucket: Bucket, group: list[ObjectMutation], now_ms: int) -> Change:
        """`change_tree`; a tree that cannot be read refuses its own bucket's mutations and no others."""
        load = self._blocks.load_nodes(TreeParams(bucket.bits, bucket.salt))
        try:
            return change_tree(bucket, group, load, now_ms)
        except RemoteUnavailable as error:
            return Change(bucket, [], [], [error] * len(group))
        except (BlockMissing, BlockCorrupt) as error:
            damage: StoreError = error
        except FormatError as error:
            damage = BlockCorrupt(f"the tree of bucket {bucket.name} is not valid: {error}")
        log.error("tree cannot be read", bucket=bucket.name, reason=str(damage))
        return Change(bucket, [], [], [damage] * len(group))

    def _sign(self, after: Bucket, before: Bucket | None, now_ms: int) -> tuple[Bucket, Block]:
        previous = before.commit if before else None
        after, commit = next_commit(self._key.did, after, previous, now_ms)
        block = commit_block(self._key.sign_commit(commit))
        return replace(after, commit=block.cid), block

    def _make_bucket(self, make: MakeBucket, heads: Mapping[str, Bucket]) -> Prepared:
        if make.bucket in heads:
            return Prepared([BucketExists(make.bucket)])
        now_ms = self._clock_ms()
        bucket = Bucket(
            name=make.bucket, instance=make.instance, commit=tree.EMPTY_ROOT, tree=tree.EMPTY_ROOT,
            sequence=0, objects=0, size_bytes=0, bits=make.bits, salt=make.salt,
            created_ms=now_ms, head_time_ms=now_ms,
        )  # fmt: skip
        bucket, block = self._sign(bucket, None, now_ms)
        empty = Block(tree.EMPTY_ROOT, tree.EMPTY_BLOCK)
        self._append([empty, block], [block.cid])
        return Prepared([Committed(bucket)], created=bucket, creation=make.record)

    def _drop_bucket(self, drop: DropBucket, heads: Mapping[str, Bucket]) -> Prepared:
        bucket = heads.get(drop.bucket)
        if bucket is None:
            return Prepared([NoSuchBucket(drop.bucket)])
        if bucket.objects or bucket.versions is not None:
            return Prepared([BucketNotEmpty(drop.bucket)])
        self._append([], [], [bucket.instance])
        return Prepared([Committed(bucket)], dropped=bucket)


def _body(mutation: Mutation) -> Block | None:
    """The small body that a put brings along; the node on top of an upload's parts is none."""
    if not isinstance(mutation, Put) or mutation.entry.body.codec != RAW:
        return None
    return next((block for block in mutation.blocks if block.cid == mutation.entry.body), None)


def _set_versioning(change: SetVersioning, heads: Mapping[str, Bucket]) -> Prepared:
    """No tree changes, so neither does the commit."""
    bucket = heads.get(change.bucket)
    if bucket is None:
        return Prepared([NoSuchBucket(change.bucket)])
    if bucket.versioning == change.versioning:
        return Prepared([Committed(bucket)])
    after = replace(bucket, versioning=change.versioning)
    return Prepared([Committed(after)], moves=[HeadMove(bucket.instance, bucket.commit, after)])
