"""The Merkle Search Tree: look keys up, and apply many edits to get a new root and the new blocks.

A tree is a pure function of its (key, value) pairs and its shape parameters: a node on layer L holds exactly the keys
of that layer in its interval, children are one layer below (an intermediate node may be empty), the top node has keys.
The empty tree is one empty node.

`apply` works level by level, top down and back up, without recursion:

* Down: every node that an edit touches is opened.  A key that appears on this layer splits the subtree it falls in,
  a key that goes joins its two neighbours.  Split and joined subtrees are not moved yet: a gap between two keys simply
  remembers the old *pieces* that lie in it, and each piece is clipped to the gap when its level comes.
* Up: nodes are encoded, children first; untouched subtrees keep their CIDs.

So an operation on a cold tree costs as many rounds of fetching as the tree has levels, whatever the number of edits.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias, cast

from mst.cid import CID, DAG_CBOR
from mst.errors import FormatError, TreeLimitError
from mst.fetch import Fetch
from mst.layer import TreeParams
from mst.limits import NODE_BYTES_MAX, NODE_ENTRIES_MAX
from mst.node import EMPTY, KEYLESS, Node, encode, row

Bound: TypeAlias = bytes | None
"""An open end of an interval of keys; None is unbounded."""

EMPTY_BLOCK = encode(EMPTY)
EMPTY_ROOT = CID.of(DAG_CBOR, EMPTY_BLOCK)


class NewNode(NamedTuple):
    """A node that a change wrote: its CID, its block bytes, its decoded form."""

    cid: CID
    data: bytes
    node: Node


class Applied(NamedTuple):
    """The result of `apply`: the new root and the nodes that the old tree did not have, children first."""

    root: CID
    nodes: list[NewNode]


def check_root(node: Node) -> Node:
    """Raise FormatError if ``node`` cannot be a top node."""
    if not node.keys and node.children[0] is not None:
        raise FormatError("top node without keys")
    return node


def check_child(node: Node, layer: int, low: Bound, high: Bound) -> Node:
    """Raise FormatError if ``node`` cannot stand on ``layer`` in the open interval (``low``, ``high``)."""
    keys = node.keys
    if keys:
        if node.layer != layer:
            raise FormatError(f"node of layer {node.layer} where layer {layer} belongs")
        if (low is not None and keys[0] <= low) or (high is not None and keys[-1] >= high):
            raise FormatError("keys outside the interval their parent gives")
    elif node.children[0] is None or layer <= 0:
        raise FormatError("empty node that is not the whole tree")
    return node


def get(params: TreeParams, root: CID, key: bytes) -> Fetch[Node, bytes | None]:
    """The encoded value of ``key``, or None.

    Raises:
        FormatError: a node on the path is not valid in its place.
    """
    key_layer = params.layer(key)
    low: Bound = None
    high: Bound = None
    (node,) = yield [root]
    check_root(node)
    layer = node.layer
    while True:
        keys = node.keys
        i = bisect_left(keys, key)
        if i < len(keys):
            high = keys[i]
            if high == key:
                return node.values[i]
        if i:
            low = keys[i - 1]
        child = node.children[i]
        if child is None or layer <= key_layer:
            return None
        layer -= 1
        (node,) = yield [child]
        check_child(node, layer, low, high)


def get_many(params: TreeParams, root: CID, keys: Iterable[bytes]) -> Fetch[Node, dict[bytes, bytes]]:
    """The encoded values of those ``keys`` that exist; one round of fetching per tree level.

    Raises:
        FormatError: a node on a path is not valid in its place.
    """
    found: dict[bytes, bytes] = {}
    (top,) = yield [root]
    check_root(top)
    layer = top.layer
    level: list[tuple[Node, list[bytes], Bound, Bound]] = [(top, sorted(set(keys)), None, None)]
    while level:
        below: list[tuple[CID, list[bytes], Bound, Bound]] = []
        for node, wanted, low, high in level:
            for i, key in _places(node.keys, wanted):
                if i < len(node.keys) and node.keys[i] == key:
                    found[key] = node.values[i]
                    continue
                child = node.children[i]
                if child is None:
                    continue
                if below and below[-1][0] is child:
                    below[-1][1].append(key)
                    continue
                child_low = node.keys[i - 1] if i else low
                child_high = node.keys[i] if i < len(node.keys) else high
                below.append((child, [key], child_low, child_high))
        if not below:
            break
        layer -= 1
        nodes = yield [cid for cid, _, _, _ in below]
        level = [
            (check_child(node, layer, low, high), wanted, low, high)
            for node, (_, wanted, low, high) in zip(nodes, below, strict=True)
        ]
    return found


def _places(keys: Sequence[bytes], wanted: list[bytes]) -> Iterable[tuple[int, bytes]]:
    i = 0
    for key in wanted:
        i = bisect_left(keys, key, i)
        yield i, key


class _Piece(NamedTuple):
    """An old subtree whose keys lie in the open interval (``low``, ``high``)."""

    cid: CID
    layer: int
    low: Bound
    high: Bound

    def overlaps(self, low: Bound, high: Bound) -> bool:
        return (self.low is None or high is None or self.low < high) and (
            low is None or self.high is None or low < self.high
        )

    def within(self, low: Bound, high: Bound) -> bool:
        return (low is None or (self.low is not None and low <= self.low)) and (
            high is None or (self.high is not None and self.high <= high)
        )


class _Edit(NamedTuple):
    key: bytes
    layer: int
    value: bytes | None


class _Work:
    """One node under construction: first what it is made from, then its keys, values, rows and gaps, then its CID.

    A gap (what lies between two keys) is None, an untouched subtree's CID, or the pieces it is made from; ``below``
    holds the work that makes a gap anew.  A row that must be encoded anew is None.
    """

    __slots__ = (
        "below", "edits", "gaps", "high", "keys", "layer", "low", "pieces", "result", "rows", "values",
    )  # fmt: skip

    def __init__(self, layer: int, low: Bound, high: Bound, pieces: list[_Piece], edits: list[_Edit]) -> None:
        self.layer = layer
        self.low = low
        self.high = high
        self.pieces = pieces
        self.edits = edits
        self.keys: list[bytes] = []
        self.values: list[bytes] = []
        self.rows: list[bytes | None] = []
        self.gaps: list[CID | list[_Piece] | None] = []
        self.below: list[tuple[int, _Work]] = []
        self.result: CID | None = None

    def bounds(self, i: int) -> tuple[Bound, Bound]:
        """The open interval of gap ``i``."""
        return (
            self.keys[i - 1] if i else self.low,
            self.keys[i] if i < len(self.keys) else self.high,
        )


def apply(params: TreeParams, root: CID, edits: Mapping[bytes, bytes | None]) -> Fetch[Node, Applied]:
    """Apply ``edits`` to the tree at ``root``.

    Args:
        params: the tree's shape parameters.
        root: the CID of the top node (`EMPTY_ROOT` for an empty tree, whose block need not be stored anywhere).
        edits: key to encoded value (`mst.entry` or `mst.node.link`) to put it, key to None to delete it; deleting what
            is not there changes nothing.

    Returns:
        The new root and the new nodes.  The same set of pairs gives the same root, whatever way it was reached.

    Raises:
        FormatError: an opened node is not valid in its place.
        TreeLimitError: a node would exceed ``NODE_ENTRIES_MAX`` or ``NODE_BYTES_MAX``; nothing was changed.
    """
    (top,) = yield [root]
    check_root(top)
    ordered = [_Edit(key, params.layer(key), edits[key]) for key in sorted(edits)]
    height = max([0, top.layer, *(edit.layer for edit in ordered if edit.value is not None)])
    pieces = [] if top.layer == KEYLESS else [_Piece(root, top.layer, None, None)]
    first = _Work(height, None, None, pieces, [e for e in ordered if e.layer <= height])
    level = [first]
    levels = []
    while level:
        wanted = [p.cid for work in level for p in work.pieces if p.layer == work.layer]
        nodes = iter((yield wanted) if wanted else ())
        below: list[_Work] = []
        for work in level:
            opened = [next(nodes) if p.layer == work.layer else None for p in work.pieces]
            split = _assemble(work, opened)
            split |= _edit_own_layer(work)
            _descend(work)
            if split:
                _settle_pieces(work)
            below += (child for _, child in work.below)
        levels.append(level)
        level = below
    new: dict[CID, NewNode] = {}
    for level in reversed(levels):
        for work in level:
            _finish(work, new)
    if first.result is None:
        emptied = [] if root == EMPTY_ROOT else [NewNode(EMPTY_ROOT, EMPTY_BLOCK, EMPTY)]
        return Applied(EMPTY_ROOT, emptied)
    return (yield from _trim(first.result, new))


def _assemble(work: _Work, opened: list[Node | None]) -> bool:
    """Join the old pieces of ``work`` into one list of keys, values and gaps, clipped to its interval.

    Returns:
        Whether there are gaps made from pieces.
    """
    if len(opened) == 1 and opened[0] is not None and work.pieces[0].within(work.low, work.high):
        piece = work.pieces[0]
        node = check_child(opened[0], piece.layer, piece.low, piece.high)
        work.keys = list(node.keys)
        work.values = list(node.values)
        work.rows = list(node.rows)
        work.gaps = list(node.children)
        return False
    gap: list[_Piece] = []
    gaps = [gap]
    for piece, old in zip(work.pieces, opened, strict=True):
        if old is None:
            gap.append(piece)
            continue
        node = check_child(old, piece.layer, piece.low, piece.high)
        start = 0 if work.low is None else bisect_left(node.keys, work.low)
        stop = len(node.keys) if work.high is None else bisect_left(node.keys, work.high)
        for i in range(start, stop + 1):
            child = node.children[i]
            if child is not None:
                low = node.keys[i - 1] if i else piece.low
                high = node.keys[i] if i < len(node.keys) else piece.high
                gap.append(_Piece(child, piece.layer - 1, low, high))
            if i < stop:
                work.keys.append(node.keys[i])
                work.values.append(node.values[i])
                gap = []
                gaps.append(gap)
    work.gaps = list(gaps)
    work.rows = [None] * len(work.keys)
    return True


def _edit_own_layer(work: _Work) -> bool:
    """Apply the edits whose keys belong on this very layer; the others stay in ``work.edits``.

    Returns:
        Whether a gap was split or two were joined.
    """
    own = [edit for edit in work.edits if edit.layer == work.layer]
    if not own:
        return False
    work.edits = [edit for edit in work.edits if edit.layer < work.layer]
    keys, values, rows, gaps = work.keys, work.values, work.rows, work.gaps
    split = False
    for key, _, value in own:
        i = bisect_left(keys, key)
        present = i < len(keys) and keys[i] == key
        if value is not None and present:
            values[i] = value
            rows[i] = None
        elif value is not None:
            if gaps[i] is None:
                gaps.insert(i, None)
            else:
                pieces = _as_pieces(work, i)
                gaps[i : i + 1] = [pieces, pieces]
                split = True
            keys.insert(i, key)
            values.insert(i, value)
            rows[i : i + 1] = [None, None] if i < len(rows) else [None]
        elif present:
            if gaps[i] is None and gaps[i + 1] is None:
                del gaps[i]
            else:
                gaps[i : i + 2] = [_as_pieces(work, i) + _as_pieces(work, i + 1)]
                split = True
            del keys[i], values[i]
            # Two rows go and one is encoded anew: the subtree right of the key before, the prefix of the key behind.
            rows[max(i - 1, 0) : i + 2] = [None] * (min(i + 1, len(keys)) - max(i - 1, 0))
    return split


def _as_pieces(work: _Work, i: int) -> list[_Piece]:
    gap = work.gaps[i]
    if isinstance(gap, list):
        return gap
    # A gap that is still a CID has its old neighbours: changing a neighbour turns it into pieces first.
    return [] if gap is None else [_Piece(gap, work.layer - 1, *work.bounds(i))]


def _descend(work: _Work) -> None:
    """Give every gap that the remaining edits fall into to a `_Work` one layer below."""
    last = -1
    for edit in work.edits:
        i = bisect_left(work.keys, edit.key, max(last, 0))
        if i == last:
            work.below[-1][1].edits.append(edit)
            continue
        last = i
        low, high = work.bounds(i)
        pieces = [piece for piece in _as_pieces(work, i) if piece.overlaps(low, high)]
        work.below.append((i, _Work(work.layer - 1, low, high, pieces, [edit])))


def _settle_pieces(work: _Work) -> None:
    """Turn every gap that is still pieces into nothing, a whole old subtree, or a `_Work` one layer below."""
    begun = {i for i, _ in work.below}
    for i, gap in enumerate(work.gaps):
        if i in begun or not isinstance(gap, list):
            continue
        if i:
            work.rows[i - 1] = None
        low, high = work.bounds(i)
        pieces = [piece for piece in gap if piece.overlaps(low, high)]
        if not pieces:
            work.gaps[i] = None
        elif len(pieces) == 1 and pieces[0].within(low, high) and pieces[0].layer == work.layer - 1:
            work.gaps[i] = pieces[0].cid
        else:
            work.below.append((i, _Work(work.layer - 1, low, high, pieces, [])))


def _finish(work: _Work, new: dict[CID, NewNode]) -> None:
    """Encode ``work`` (its children are finished) and note it in ``new`` unless the old tree had that very node."""
    keys, values, rows, gaps = work.keys, work.values, work.rows, work.gaps
    for i, child in work.below:
        gaps[i] = child.result
        if i:
            rows[i - 1] = None
    children = cast("tuple[CID | None, ...]", tuple(gaps))
    if not keys and children[0] is None:
        return
    for i, encoded in enumerate(rows):
        if encoded is None:
            rows[i] = row(keys[i - 1] if i else b"", keys[i], children[i + 1], values[i])
    encoded_rows = cast("tuple[bytes, ...]", tuple(rows))
    layer = work.layer if keys else KEYLESS
    node = Node(tuple(keys), tuple(values), children, encoded_rows, layer)
    if len(keys) > NODE_ENTRIES_MAX:
        raise TreeLimitError(f"a tree node would hold more than {NODE_ENTRIES_MAX} entries")
    data = encode(node)
    if len(data) > NODE_BYTES_MAX:
        raise TreeLimitError(f"a tree node would exceed {NODE_BYTES_MAX} bytes")
    work.result = CID.of(DAG_CBOR, data)
    if all(piece.cid != work.result for piece in work.pieces):
        new[work.result] = NewNode(work.result, data, node)


def _trim(top: CID, new: dict[CID, NewNode]) -> Fetch[Node, Applied]:
    """Drop nodes without keys from the top, down to the first that has some."""
    while True:
        if top in new:
            node = new[top].node
        else:
            (node,) = yield [top]
        if node.keys:
            return Applied(top, list(new.values()))
        new.pop(top, None)
        (child,) = node.children
        if child is None:
            raise FormatError("empty node that is not the whole tree")
        top = child
