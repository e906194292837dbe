"""What is fetched ahead of a walk, against the walk itself: all it opens, in one round per tree level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mst import node
from mst.ahead import fetch_ahead
from mst.cid import CID, DAG_CBOR
from mst.layer import TreeParams
from mst.node import Node
from mst.walk import Walk

TreeStore = Callable[..., Any]

SHAPES = st.builds(TreeParams, st.integers(1, 6), st.none() | st.just(bytes(range(32))))
KEYS = st.sampled_from([f"logs/{n:03}".encode() for n in range(200)]) | st.text("ab/é", min_size=1, max_size=4).map(
    str.encode
)


def _build(tree_store: TreeStore, params: TreeParams, keys: Sequence[bytes]) -> tuple[Any, CID, int]:
    store = tree_store(params)
    root = store.build({key: node.link(CID.of(DAG_CBOR, key)) for key in keys})
    return store, root, node.decode(store.blocks[root], params).layer + 1


def _opened(store: Any, root: CID, start: bytes, keys: int, end: bytes | None) -> set[CID]:
    """What a walk over ``keys`` keys opens."""
    opened: set[CID] = set()

    def load(cids: Sequence[CID]) -> list[Node]:
        opened.update(cids)
        loaded: list[Node] = store.load(cids)
        return loaded

    walk, met = Walk(store.params, root), 0
    _drive(walk.seek(start), load)
    while met < keys and (run := _drive(walk.run(), load)) is not None:
        met += len(run.keys)
        if end is not None and run.keys[-1] >= end:
            break
    return opened


def _drive(fetch: Any, load: Callable[[Sequence[CID]], Sequence[Node]]) -> Any:
    try:
        wanted = next(fetch)
        while True:
            wanted = fetch.send(load(wanted))
    except StopIteration as stop:
        return stop.value


@given(params=SHAPES, keys=st.sets(KEYS, max_size=120), start=st.just(b"") | KEYS)
def test_fetching_everything_ahead_is_walking_everything(
    tree_store: TreeStore, params: TreeParams, keys: set[bytes], start: bytes
) -> None:
    store, root, levels = _build(tree_store, params, sorted(keys))
    nodes = store.drive(fetch_ahead(params, root, start, 1 << 20))
    assert store.rounds <= max(levels, 1)
    assert len(store.fetched) == len(set(store.fetched)) == len(nodes)
    assert nodes == {cid: node.decode(store.blocks[cid], params) for cid in nodes}
    assert nodes.keys() == _opened(store, root, start, 1 << 20, None)


@given(params=SHAPES, keys=st.sets(KEYS, max_size=120), start=KEYS, end=KEYS, count=st.integers(1, 50))
def test_what_is_fetched_ahead_begins_where_the_walk_does_and_ends_with_it(
    tree_store: TreeStore, params: TreeParams, keys: set[bytes], start: bytes, end: bytes, count: int
) -> None:
    store, root, levels = _build(tree_store, params, sorted(keys))
    store.drive(Walk(params, root).seek(start))
    path = set(store.fetched)
    nodes = store.drive(fetch_ahead(params, root, start, count, max(start, end) + b"\0"))
    assert store.rounds <= max(levels, 1)
    assert path <= nodes.keys()
    assert nodes.keys() <= _opened(store, root, start, 1 << 20, max(start, end) + b"\0")


@pytest.mark.parametrize("params", [TreeParams(), TreeParams(2)])
def test_a_page_of_a_listing_comes_in_as_many_rounds_as_the_tree_has_levels(
    tree_store: TreeStore, params: TreeParams
) -> None:
    keys = [f"photos/{n:06}.jpg".encode() for n in range(12_000)]
    store, root, levels = _build(tree_store, params, keys)
    for start in (0, 1, 4_999, 9_345, 11_500):
        nodes = store.drive(fetch_ahead(params, root, keys[start], 1001))
        assert store.rounds <= levels
        needed = _opened(store, root, keys[start], 1001, None)
        assert needed <= nodes.keys()
        assert len(nodes) < 2 * len(needed) + 10 * levels
