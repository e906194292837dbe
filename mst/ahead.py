"""The nodes that a walk will open, fetched a whole tree level at a time: for trees that are far away.

A walk (`mst.walk`) learns of each node when it stands before it, so it costs a wait per node.  Here the next keys'
nodes are asked for together, level by level.  How many there are below a node not even its parent says: it is guessed,
so that hardly ever too few nodes are fetched, and a walk that needs more asks for more.
"""

from __future__ import annotations

from bisect import bisect_left
from math import sqrt
from typing import NamedTuple

from mst.cid import CID
from mst.fetch import Fetch
from mst.layer import TreeParams
from mst.node import Node
from mst.tree import Bound, check_child, check_root

_SPREADS = 4
_SPARE = 3
"""How many nodes are fetched above the number expected: a few, and some of its standard deviations."""


class _Gap(NamedTuple):
    """A subtree that is still closed, its open interval, and how many of the keys asked for come before it."""

    cid: CID
    low: Bound
    high: Bound
    before: int


def fetch_ahead(
    params: TreeParams, root: CID, start: bytes, keys: int, end: Bound = None
) -> Fetch[Node, dict[CID, Node]]:
    """The nodes that a walk over the next ``keys`` keys opens, or most of them.

    Costs at most one round of fetching per tree level.

    Args:
        params: the tree's shape parameters.
        root: the CID of the top node.
        start: where the walk stands: before the first key that is not below it.
        keys: how many keys it is going to meet.
        end: it does not go on from this key; None if it may go on to the end of the tree.

    Returns:
        At least the nodes on the way to ``start``, down to the one that has it.

    Raises:
        FormatError: a node is not valid in its place.
    """
    (top,) = yield [root]
    nodes = {root: check_root(top)}
    layer = top.layer
    level = [(top, _Gap(root, None, None, 0))]
    while level:
        wanted = _nearest(params, layer, _gaps(level, start, end), start, keys)
        layer -= 1
        opened = (yield [gap.cid for gap in wanted]) if wanted else ()
        level = [(check_child(node, layer, gap.low, gap.high), gap) for node, gap in zip(opened, wanted, strict=True)]
        nodes.update((gap.cid, node) for node, gap in level)
    return nodes


def _gaps(level: list[tuple[Node, _Gap]], start: bytes, end: Bound) -> list[_Gap]:
    """The subtrees below a level that hold keys from ``start`` to ``end``, in order."""
    gaps: list[_Gap] = []
    more = 0  # keys of this level, which come before what is right of them
    for node, above in level:
        keys = node.keys
        first = bisect_left(keys, start)
        if first < len(keys) and keys[first] == start:
            first += 1
            more += 1
        for i in range(first, len(keys) + 1):
            low = keys[i - 1] if i else above.low
            if end is not None and low is not None and low >= end:
                return gaps
            child = node.children[i]
            if child is not None:
                gaps.append(_Gap(child, low, keys[i] if i < len(keys) else above.high, above.before + more))
            more += i < len(keys)
    return gaps


def _nearest(params: TreeParams, layer: int, gaps: list[_Gap], start: bytes, keys: int) -> list[_Gap]:
    """Those of the subtrees below ``layer`` that the next ``keys`` keys are in, if they are not unusually small."""
    keys_each = 2 ** (params.bits * layer)
    for number, gap in enumerate(gaps):
        if gap.before >= keys:
            return gaps[:number]
        expected = (keys - gap.before) / keys_each
        if number >= expected + _SPREADS * sqrt(expected) + _SPARE:
            return gaps[:number]
    return gaps
