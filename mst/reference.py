"""The slow, obviously right twin of the tree, for tests: built bottom up from the whole map by the definition.

It shares with the real tree only CID, the generic DAG-CBOR encoder and the layer rule: neither the node codec nor any
tree algorithm.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from mst import cbor
from mst.cid import CID, DAG_CBOR
from mst.layer import TreeParams


def build(params: TreeParams, pairs: Mapping[bytes, cbor.Value]) -> tuple[CID, dict[CID, bytes]]:
    """Build the tree of ``pairs`` (key to decoded value) from nothing.

    Returns:
        The root and every block of the tree.
    """
    blocks: dict[CID, bytes] = {}
    keys = sorted(pairs)
    top = max((params.layer(key) for key in keys), default=0)
    root = _subtree(params, pairs, keys, top, blocks)
    if root is None:
        root = _store({"e": [], "l": None}, blocks)
    return root, blocks


def _subtree(
    params: TreeParams,
    pairs: Mapping[bytes, cbor.Value],
    keys: list[bytes],
    layer: int,
    blocks: dict[CID, bytes],
) -> CID | None:
    if not keys:
        return None
    own = [key for key in keys if params.layer(key) == layer]
    bounds = [None, *own, None]
    children = []
    for low, high in pairwise(bounds):
        between = [k for k in keys if (low is None or k > low) and (high is None or k < high)]
        children.append(_subtree(params, pairs, between, layer - 1, blocks))
    entries: list[cbor.Value] = []
    previous = b""
    for key, right in zip(own, children[1:], strict=True):
        shared = 0
        while shared < min(len(previous), len(key)) and previous[shared] == key[shared]:
            shared += 1
        entries.append({"k": key[shared:], "p": shared, "t": right, "v": pairs[key]})
        previous = key
    return _store({"e": entries, "l": children[0]}, blocks)


def _store(node: cbor.Value, blocks: dict[CID, bytes]) -> CID:
    data = cbor.encode(node)
    cid = CID.of(DAG_CBOR, data)
    blocks[cid] = data
    return cid
