"""Walk a tree in key order from any key on: what listings are made of."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from mst.cid import CID
from mst.fetch import Fetch
from mst.layer import TreeParams
from mst.node import Node
from mst.tree import Bound, check_child, check_root


class Run(NamedTuple):
    """Neighbouring keys of one node with their encoded values: the walk's unit of work."""

    keys: Sequence[bytes]
    values: Sequence[bytes]


class _Frame(NamedTuple):
    """An open node: entries from ``at`` on are still to come; the subtree left of it is dealt with."""

    node: Node
    at: int
    layer: int
    low: Bound
    high: Bound


class Walk:
    """A position in the tree at ``root``; `seek` and `run` are sans-IO and move it.

    A walk sees exactly the tree of its root: later changes make another root.

    Args:
        params: the tree's shape parameters.
        root: the CID of the top node.
    """

    def __init__(self, params: TreeParams, root: CID):
        self.params = params
        self.root = root
        self._frames: list[_Frame] = []

    def seek(self, start: bytes) -> Fetch[Node, None]:
        """Stand before the first key that is not below ``start`` (``b""``: the first of all).

        Costs one node per tree level, from wherever the walk stood.

        Raises:
            FormatError: a node on the path is not valid in its place.
        """
        (node,) = yield [self.root]
        frame = _Frame(check_root(node), 0, node.layer, None, None)
        self._frames = []
        while True:
            index = bisect_left(frame.node.keys, start)
            frame = frame._replace(at=index)
            self._frames.append(frame)
            if index < len(frame.node.keys) and frame.node.keys[index] == start:
                return
            if frame.node.children[index] is None:
                return
            frame = yield from _open_child(frame)

    def run(self) -> Fetch[Node, Run | None]:
        """The next neighbouring keys and values, never none of them; None at the end of the tree.

        Raises:
            FormatError: a node that had to be opened is not valid in its place.
        """
        frames = self._frames
        while frames:
            frame = frames.pop()
            node, index = frame.node, frame.at
            if index >= len(node.keys):
                continue
            if frame.layer == 0:
                return Run(node.keys[index:], node.values[index:])
            stop = index + 1
            while stop < len(node.keys) and node.children[stop] is None:
                stop += 1
            frame = frame._replace(at=stop)
            frames.append(frame)
            while frame.node.children[frame.at] is not None:
                frame = yield from _open_child(frame)
                frames.append(frame)
            return Run(node.keys[index:stop], node.values[index:stop])
        return None


def _open_child(parent: _Frame) -> Fetch[Node, _Frame]:
    """Open the subtree left of the parent's index, standing before its first entry."""
    node, index, layer, low, high = parent
    if index:
        low = node.keys[index - 1]
    if index < len(node.keys):
        high = node.keys[index]
    child = node.children[index]
    assert child is not None  # callers looked
    (opened,) = yield [child]
    layer -= 1
    return _Frame(check_child(opened, layer, low, high), 0, layer, low, high)
