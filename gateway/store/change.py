"""One bucket's share of a batch: preconditions in order, then one change of its tree and one signed commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from gateway.store.mutations import Committed, Delete, Put
from mst import tree
from mst.block import Block
from mst.cid import CID, DAG_CBOR
from mst.commit import Commit
from mst.entry import Entry
from mst.errors import TreeLimitError
from mst.fetch import drive
from mst.layer import TreeParams
from mst.node import Node
from registry.heads import Bucket

LoadNodes = Callable[[Sequence[CID]], Sequence[Node]]


class Change(NamedTuple):
    """What a group of mutations makes of a bucket.

    Attributes:
        after: the bucket with its new head; the very same object if nothing changed.
        nodes: the new tree nodes.
        blocks: bodies and metadata of the accepted puts.
        outcomes: for each mutation, in order, its answer or the error that refused it.
    """

    after: Bucket
    nodes: list[tree.NewNode]
    blocks: list[Block]
    outcomes: list[Committed | Exception]


def change_tree(bucket: Bucket, mutations: Sequence[Put | Delete], load: LoadNodes) -> Change:
    """Evaluate ``mutations`` against ``bucket`` in order and apply those that pass as one batch.

    The answers' ``bucket`` and the commit are still to be filled in, by `seal`.

    A mutation that would break a limit of the tree is refused alone: then the group is done over one by one.
    """
    params = TreeParams(bucket.bits, bucket.salt)
    current = drive(tree.get_many(params, bucket.tree, {m.key for m in mutations}), load)
    edits: dict[bytes, bytes | None] = {}
    objects, size_bytes = bucket.objects, bucket.size_bytes
    blocks: list[Block] = []
    outcomes: list[Committed | Exception] = []
    for mutation in mutations:
        key = mutation.key
        encoded = edits[key] if key in edits else current.get(key)
        previous = None if encoded is None else Entry.decode(encoded)
        try:
            if mutation.check is not None:
                mutation.check(previous)
        except Exception as refusal:  # whatever the front's check raises is its answer
            outcomes.append(refusal)
            continue
        if previous is not None:
            objects -= 1
            size_bytes -= previous.size
        if isinstance(mutation, Put):
            objects += 1
            size_bytes += mutation.entry.size
            edits[key] = mutation.entry.encode()
            blocks += mutation.blocks
        elif previous is not None:
            edits[key] = None
        outcomes.append(Committed(bucket, previous))
    if not edits:
        return Change(bucket, [], blocks, outcomes)
    try:
        applied = drive(tree.apply(params, bucket.tree, edits), load)
    except TreeLimitError as refusal:
        if len(mutations) == 1:
            return Change(bucket, [], [], [refusal])
        return _one_by_one(bucket, mutations, load)
    after = replace(bucket, tree=applied.root, objects=objects, size_bytes=size_bytes)
    return Change(after, applied.nodes, blocks, outcomes)


def _one_by_one(bucket: Bucket, mutations: Sequence[Put | Delete], load: LoadNodes) -> Change:
    fresh: dict[CID, Node] = {}

    def load_fresh(cids: Sequence[CID]) -> list[Node]:
        return [fresh[cid] if cid in fresh else load([cid])[0] for cid in cids]

    whole = Change(bucket, [], [], [])
    for mutation in mutations:
        step = change_tree(whole.after, [mutation], load_fresh)
        fresh.update((new.cid, new.node) for new in step.nodes)
        whole = Change(
            step.after,
            whole.nodes + step.nodes,
            whole.blocks + step.blocks,
            whole.outcomes + step.outcomes,
        )
    return whole


def next_commit(space: str, bucket: Bucket, previous: CID | None, now_ms: int) -> tuple[Bucket, Commit]:
    """The unsigned commit of ``bucket``'s tree after ``previous``, and the bucket with its time and sequence.

    Args:
        space: the DID of the space key.
        bucket: the bucket with its new tree and totals.
        previous: the commit it follows, or None for a bucket's first.
        now_ms: the clock, milliseconds; a clock that goes back does not take commits along.
    """
    time_ms = max(now_ms, bucket.head_time_ms)
    bucket = replace(bucket, sequence=bucket.sequence + 1, head_time_ms=time_ms)
    commit = Commit(
        space=space,
        bucket=bucket.name,
        instance=bucket.instance,
        sequence=bucket.sequence,
        time_ms=time_ms,
        tree=bucket.tree,
        versions=None,
        prev=previous,
        bits=bucket.bits,
        salt=bucket.salt,
        objects=bucket.objects,
        size_bytes=bucket.size_bytes,
    )
    return bucket, commit


def commit_block(commit: Commit) -> Block:
    """The block of a signed commit."""
    return Block.of(DAG_CBOR, commit.encode())
