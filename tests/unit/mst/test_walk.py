"""Walks: where a seek stands, what runs are, how little is read, what a walk does not see."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import pytest

from mst import node, tree
from mst.cid import CID, DAG_CBOR
from mst.errors import FormatError
from mst.layer import TreeParams
from mst.walk import Walk

TreeStore = Callable[..., Any]

FAN_OUT_4 = TreeParams(2)
FAN_OUT_16 = TreeParams()
KEYS = sorted([f"logs/{n:04}".encode() for n in range(600)] + [f"x/é/{n}".encode() for n in range(50)])


def _value(key: bytes) -> bytes:
    return node.link(CID.of(DAG_CBOR, key))


PAIRS = [(key, _value(key)) for key in KEYS]


def _starts() -> list[bytes]:
    """Every key, its neighbours on either side, and both ends."""
    starts = [b"", b"\x00", b"logs", b"logs/", b"logs0", b"x/", b"\xff" * 1024]
    for key in KEYS[::29]:
        starts += (key, key + b"\x00", key[:-1], key[:-1] + bytes([key[-1] - 1, 255]))
    return starts


@pytest.mark.parametrize("params", [FAN_OUT_4, FAN_OUT_16, TreeParams(1), TreeParams(6), TreeParams(3, b"s" * 32)])
def test_a_walk_from_anywhere_meets_the_rest(tree_store: TreeStore, params: TreeParams) -> None:
    store = tree_store(params)
    root = store.build(dict(PAIRS))
    for start in _starts():
        assert store.pairs(root, start) == PAIRS[bisect_left(KEYS, start) :]


def test_a_walk_over_nothing(tree_store: TreeStore) -> None:
    store = tree_store(FAN_OUT_4)
    assert store.pairs(tree.EMPTY_ROOT) == []
    assert store.pairs(tree.EMPTY_ROOT, b"a") == []


def test_before_the_first_seek_there_is_nothing(tree_store: TreeStore) -> None:
    store = tree_store(FAN_OUT_4)
    assert store.drive(Walk(FAN_OUT_4, store.build(dict(PAIRS))).run()) is None


def test_the_end_stays_the_end(tree_store: TreeStore) -> None:
    store = tree_store(FAN_OUT_4)
    walk = Walk(FAN_OUT_4, store.build(dict(PAIRS)))
    store.drive(walk.seek(KEYS[-1]))
    assert store.drive(walk.run()).keys == (KEYS[-1],)
    assert store.drive(walk.run()) is None
    assert store.drive(walk.run()) is None


def test_a_walk_can_go_anywhere_at_any_time(tree_store: TreeStore) -> None:
    store = tree_store(FAN_OUT_4)
    walk = Walk(FAN_OUT_4, store.build(dict(PAIRS)))
    for start in [*_starts(), *reversed(_starts())]:
        store.drive(walk.seek(start))
        run = store.drive(walk.run())
        index = bisect_left(KEYS, start)
        assert (run is None) == (index == len(KEYS))
        if run is not None:
            assert list(run.keys) == KEYS[index : index + len(run.keys)]


def test_a_seek_reads_one_node_per_level(tree_store: TreeStore) -> None:
    store = tree_store(FAN_OUT_4)
    root = store.build(dict(PAIRS))
    height = node.decode(store.blocks[root], FAN_OUT_4).layer + 1
    walk = Walk(FAN_OUT_4, root)
    for start in _starts():
        store.drive(walk.seek(start))
        assert store.rounds == len(store.fetched) <= height


def test_a_whole_walk_reads_every_node_once(tree_store: TreeStore) -> None:
    store = tree_store(FAN_OUT_4)
    root = store.build(dict(PAIRS))
    walk = Walk(FAN_OUT_4, root)
    read: list[CID] = []
    store.drive(walk.seek(b""))
    read += store.fetched
    while store.drive(walk.run()):
        read += store.fetched
    read += store.fetched
    assert sorted(read) == sorted(store.reachable(root))


def test_a_walk_sees_the_tree_of_its_root_alone(tree_store: TreeStore) -> None:
    store = tree_store(FAN_OUT_4)
    root = store.build(dict(PAIRS))
    walk = Walk(FAN_OUT_4, root)
    store.drive(walk.seek(b""))
    store.apply(root, dict.fromkeys(KEYS[10:]))
    seen = []
    while run := store.drive(walk.run()):
        seen += run.keys
    assert seen == KEYS


def test_a_walk_does_not_step_over_a_bad_node(tree_store: TreeStore) -> None:
    store = tree_store(FAN_OUT_4)
    root = store.build(dict(PAIRS))
    walk = Walk(FAN_OUT_4, root)
    store.drive(walk.seek(b""))
    seen = []
    for _ in range(20):
        seen += store.drive(walk.run()).keys
    for cid in store.reachable(root):
        store.blocks[cid] = node.encode(node.EMPTY)
    before_error = len(seen)
    with pytest.raises(FormatError):
        while run := store.drive(walk.run()):
            seen += run.keys
    assert seen == KEYS[: len(seen)]
    assert before_error <= len(seen) < len(KEYS)
