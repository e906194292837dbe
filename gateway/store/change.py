"""One bucket's share of a batch: preconditions in order, then one change of its trees and one signed commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from gateway.store.draft import Draft, LoadNodes
from gateway.store.errors import BlockCorrupt, BlockMissing, RemoteUnavailable
from gateway.store.mutations import Committed, ObjectMutation
from gateway.store.versioning import apply_mutation
from mst import tree, version
from mst.block import Block
from mst.cid import CID, DAG_CBOR
from mst.commit import Commit
from mst.errors import FormatError, TreeLimitError
from mst.node import Node
from registry.heads import Bucket


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


def change_tree(
    bucket: Bucket, mutations: Sequence[ObjectMutation], load: LoadNodes, now_ms: int, first_place: int = 0
) -> Change:
    """Evaluate ``mutations`` against ``bucket`` in order and apply those that pass as one batch.

    The answers' ``bucket`` and the commit are still to be filled in.

    A mutation that would break a limit of a tree is refused alone: then the group is done over one by one.

    Args:
        bucket: the bucket before its next commit.
        mutations: what to do.
        load: reads nodes.
        now_ms: the time, milliseconds since 1970.
        first_place: which of the commit's mutations the first of these is.
    """
    draft = Draft(bucket, (mutation.key for mutation in mutations), load)
    outcomes: list[Committed | Exception] = []
    for place, mutation in enumerate(mutations, first_place):
        number = version.number_of_commit(bucket.sequence + 1, place)
        try:
            outcomes.append(apply_mutation(draft, mutation, number, now_ms))
        except (BlockMissing, BlockCorrupt, RemoteUnavailable, FormatError):  # a tree cannot be read
            raise
        except Exception as refusal:  # whatever the front's check raises is its answer
            outcomes.append(refusal)
    try:
        after, nodes = draft.apply()
    except TreeLimitError as refusal:
        if len(mutations) == 1:
            return Change(bucket, [], [], [refusal])
        return _one_by_one(bucket, mutations, load, now_ms)
    return Change(after, nodes, draft.blocks, outcomes)


def _one_by_one(bucket: Bucket, mutations: Sequence[ObjectMutation], load: LoadNodes, now_ms: int) -> Change:
    fresh: dict[CID, Node] = {}

    def load_fresh(cids: Sequence[CID]) -> list[Node]:
        return [fresh[cid] if cid in fresh else load([cid])[0] for cid in cids]

    whole = Change(bucket, [], [], [])
    for place, mutation in enumerate(mutations):
        step = change_tree(whole.after, [mutation], load_fresh, now_ms, place)
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
        versions=bucket.versions,
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
