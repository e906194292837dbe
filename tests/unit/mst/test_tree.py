"""The tree's edges one by one: shapes at the top, splits and joins, limits, nodes that stand in the wrong place.

That any history gives the tree of its last state is in tests/property/test_tree_properties.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mst import cbor, node, reference, tree
from mst.cid import CID, DAG_CBOR
from mst.errors import FormatError, TreeLimitError
from mst.layer import TreeParams
from mst.limits import LAYER_MAX
from mst.node import EMPTY, KEYLESS, Node

TreeStore = Callable[..., Any]

FAN_OUT_2 = TreeParams(1)
FAN_OUT_4 = TreeParams(2)
VALUE = node.link(CID.of(DAG_CBOR, b"value"))
OTHER = node.link(CID.of(DAG_CBOR, b"other value"))
TALL = b"tall/38300"
"""18 leading zero bits: above the highest layer at fan-out 2."""


def _reference_root(params: TreeParams, pairs: dict[bytes, bytes]) -> CID:
    return reference.build(params, {key: cbor.decode(value) for key, value in pairs.items()})[0]


def _keys_by_layer(params: TreeParams, count: int = 2000) -> dict[int, list[bytes]]:
    layers: dict[int, list[bytes]] = {}
    for number in range(count):
        key = f"k/{number:05}".encode()
        layers.setdefault(params.layer(key), []).append(key)
    return layers


LAYERS = _keys_by_layer(FAN_OUT_4)
KEYS = [key for layer in LAYERS.values() for key in layer]


def test_nothing_is_found_in_an_empty_tree(tree_store: TreeStore) -> None:
    store = tree_store(FAN_OUT_4)
    assert store.get(tree.EMPTY_ROOT, b"a") is None
    assert store.get_many(tree.EMPTY_ROOT, [b"a", TALL]) == {}
    assert store.get_many(tree.EMPTY_ROOT, []) == {}


def test_changing_nothing_writes_nothing(tree_store: TreeStore) -> None:
    store = tree_store(FAN_OUT_4)
    assert store.apply(tree.EMPTY_ROOT, {}) == (tree.EMPTY_ROOT, [])
    assert store.apply(tree.EMPTY_ROOT, {b"a": None, TALL: None}) == (tree.EMPTY_ROOT, [])
    root = store.build({b"a": VALUE, b"b": VALUE})
    assert store.apply(root, {}) == (root, [])
    assert store.apply(root, {b"a": VALUE}) == (root, [])
    assert store.apply(root, {b"c": None, TALL: None}) == (root, [])


def test_the_last_key_leaves_the_empty_tree(tree_store: TreeStore) -> None:
    store = tree_store(FAN_OUT_4)
    for key in (b"a", LAYERS[1][0], LAYERS[3][0]):
        root = store.build({key: VALUE})
        applied = store.apply(root, {key: None})
        assert applied.root == tree.EMPTY_ROOT
        assert [new.cid for new in applied.nodes] == [tree.EMPTY_ROOT]


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_a_lone_key_is_a_lone_node_on_its_layer(tree_store: TreeStore, layer: int) -> None:
    store = tree_store(FAN_OUT_4)
    key = LAYERS[layer][0]
    applied = store.apply(tree.EMPTY_ROOT, {key: VALUE})
    assert [(new.node.layer, new.node.keys) for new in applied.nodes] == [(layer, (key,))]


def test_layers_between_are_kept_as_nodes_without_keys(tree_store: TreeStore) -> None:
    store = tree_store(FAN_OUT_4)
    high, low = LAYERS[3][0], LAYERS[0][0]
    applied = store.apply(store.build({low: VALUE}), {high: VALUE})
    assert [len(new.node.keys) for new in applied.nodes] == [0, 0, 1]
    assert applied.root == _reference_root(FAN_OUT_4, {low: VALUE, high: VALUE})
    assert store.get(applied.root, low) == store.get(applied.root, high) == VALUE


def test_the_top_is_trimmed_down_to_a_node_that_was_there(tree_store: TreeStore) -> None:
    store = tree_store(FAN_OUT_4)
    low = dict.fromkeys(LAYERS[0][:3], VALUE)
    before = store.build(low)
    applied = store.apply(store.build({**low, LAYERS[3][0]: VALUE}), {LAYERS[3][0]: None})
    assert applied.root == before


def test_no_key_is_above_the_highest_layer(tree_store: TreeStore) -> None:
    store = tree_store(FAN_OUT_2)
    pairs = {TALL: VALUE, b"a": VALUE, b"z": OTHER}
    root = store.build(pairs)
    assert node.decode(store.blocks[root], FAN_OUT_2).layer == LAYER_MAX
    assert root == _reference_root(FAN_OUT_2, pairs)
    assert store.get_many(root, pairs) == pairs
    assert store.apply(root, {TALL: None}).root == store.build({b"a": VALUE, b"z": OTHER})


def test_a_split_and_a_join_that_meet(tree_store: TreeStore) -> None:
    """One batch in which a new key divides a subtree that a going key has just joined to another."""
    store = tree_store(FAN_OUT_4)
    ups = LAYERS[2][:6]
    downs = dict.fromkeys([*LAYERS[0][:400], *LAYERS[1][:100]], VALUE)
    for going in ups[:4]:
        for coming in set(ups[:4]) - {going}:
            kept = {key: VALUE for key in ups if key != coming} | downs
            wanted = {key: value for key, value in kept.items() if key != going} | {coming: OTHER}
            applied = store.apply(store.build(kept), {going: None, coming: OTHER})
            assert applied.root == _reference_root(FAN_OUT_4, wanted)
            assert store.pairs(applied.root) == sorted(wanted.items())


def test_only_new_nodes_are_returned_children_first(tree_store: TreeStore) -> None:
    store = tree_store(FAN_OUT_4)
    pairs = dict.fromkeys(KEYS[:500], VALUE)
    root = store.build(pairs)
    before = store.reachable(root)
    applied = store.apply(root, {LAYERS[0][3]: OTHER, LAYERS[0][300]: None, LAYERS[2][5]: OTHER})
    assert {new.cid for new in applied.nodes} == store.reachable(applied.root) - before
    seen = set(before)
    for new in applied.nodes:
        assert {child for child in new.node.children if child} <= seen
        seen.add(new.cid)
    assert applied.nodes[-1].cid == applied.root


def test_a_batch_fetches_each_level_once(tree_store: TreeStore) -> None:
    store = tree_store(FAN_OUT_4)
    pairs = dict.fromkeys(KEYS, VALUE)
    root = store.build(pairs)
    height = node.decode(store.blocks[root], FAN_OUT_4).layer + 1
    store.get_many(root, list(pairs)[::7])
    assert store.rounds <= height
    store.apply(root, dict.fromkeys(list(pairs)[::7], OTHER))
    assert store.rounds <= height + 1  # the top: once to see its layer, once to change it
    assert len(store.fetched[1:]) == len(set(store.fetched[1:]))
    store.apply(root, dict.fromkeys(list(pairs)[::5]))
    assert store.rounds <= height + 1
    assert len(store.fetched[1:]) == len(set(store.fetched[1:]))


def test_a_node_of_too_many_entries_is_refused(tree_store: TreeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "NODE_ENTRIES_MAX", 8)
    store = tree_store(FAN_OUT_4)
    run = LAYERS[0][:8]
    full = store.build(dict.fromkeys(run, VALUE))
    blocks = dict(store.blocks)
    with pytest.raises(TreeLimitError, match="more than 8 entries"):
        store.apply(full, {LAYERS[0][8]: VALUE})
    assert store.blocks == blocks
    assert store.apply(full, {run[0]: None, LAYERS[0][8]: VALUE}).root == _reference_root(
        FAN_OUT_4, dict.fromkeys(LAYERS[0][1:9], VALUE)
    )


def test_a_node_of_too_many_bytes_is_refused(tree_store: TreeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tree_store(FAN_OUT_4)
    root = store.build(dict.fromkeys(LAYERS[0][:8], VALUE))
    monkeypatch.setattr(tree, "NODE_BYTES_MAX", len(store.blocks[root]))
    assert store.apply(root, {LAYERS[0][0]: OTHER}).root != root
    with pytest.raises(TreeLimitError, match="bytes"):
        store.apply(root, {LAYERS[0][8]: VALUE})


def test_a_join_may_break_a_limit_too(tree_store: TreeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleting a key puts its neighbours' subtrees together."""
    store = tree_store(FAN_OUT_4)
    divider = next(key for key in LAYERS[1] if key > LAYERS[0][7])
    below = [key for key in LAYERS[0] if key < divider][-6:] + [key for key in LAYERS[0] if key > divider][:6]
    root = store.build(dict.fromkeys([*below, divider], VALUE))
    monkeypatch.setattr(tree, "NODE_ENTRIES_MAX", 11)
    with pytest.raises(TreeLimitError):
        store.apply(root, {divider: None})
    assert store.pairs(root) == sorted(dict.fromkeys([*below, divider], VALUE).items())


def _row_of(keys: list[bytes], children: list[CID | None], params: TreeParams = FAN_OUT_4) -> bytes:
    rows = tuple(
        node.row(previous, key, child, VALUE)
        for previous, key, child in zip([b"", *keys], keys, children[1:], strict=False)
    )
    layer = params.layer(keys[0]) if keys else KEYLESS
    return node.encode(Node(tuple(keys), (), tuple(children), rows, layer))


DIVIDER = LAYERS[2][3]
LEFT = [key for key in LAYERS[1] if key < DIVIDER][-2:]
RIGHT = [key for key in LAYERS[1] if key > DIVIDER][:2]
LEAVES = [key for key in LAYERS[0] if key < DIVIDER][-2:]
BOTTOM = _row_of(LEAVES, [None] * 3)
BELOW_LEAVES = CID.of(DAG_CBOR, BOTTOM)

MISPLACED = {
    "a layer too low": _row_of([key for key in LAYERS[0] if key < DIVIDER][:1], [None, None]),
    "a layer too high": _row_of([key for key in LAYERS[2] if key < DIVIDER][:1], [None, None]),
    "the parent's key": _row_of([DIVIDER], [None, None]),
    "keys beyond the parent's": _row_of(RIGHT, [None] * 3),
    "some keys beyond the parent's": _row_of([LEFT[0], RIGHT[0]], [None] * 3),
    "no keys and no subtree": node.encode(EMPTY),
}


def _every_way_in(store: Any, root: CID, key: bytes) -> list[Callable[[], object]]:
    return [
        lambda: store.get(root, key),
        lambda: store.get_many(root, [key]),
        lambda: store.pairs(root, key),
        lambda: store.pairs(root),
        lambda: store.apply(root, {key: OTHER}),
        lambda: store.apply(root, {key: None}),
        lambda: store.apply(root, {DIVIDER: None, RIGHT[0]: VALUE}),
    ]


@pytest.mark.parametrize("what", MISPLACED)
def test_a_node_in_the_wrong_place_is_refused(tree_store: TreeStore, what: str) -> None:
    """A valid block, its CID right, that cannot stand where it stands."""
    child = CID.of(DAG_CBOR, MISPLACED[what])
    top = _row_of([DIVIDER], [child, None])
    store = tree_store(FAN_OUT_4, {child: MISPLACED[what], CID.of(DAG_CBOR, top): top})
    for way_in in _every_way_in(store, CID.of(DAG_CBOR, top), LEAVES[0]):
        with pytest.raises(FormatError):
            way_in()


def test_a_right_subtree_is_checked_against_its_left_neighbour(tree_store: TreeStore) -> None:
    stray = _row_of(LEFT, [None] * 3)
    top = _row_of([DIVIDER], [None, CID.of(DAG_CBOR, stray)])
    store = tree_store(FAN_OUT_4, {CID.of(DAG_CBOR, stray): stray, CID.of(DAG_CBOR, top): top})
    for way_in in _every_way_in(store, CID.of(DAG_CBOR, top), RIGHT[0] + b"x")[:6]:
        with pytest.raises(FormatError, match="interval"):
            way_in()


def test_the_interval_is_handed_down_through_nodes_without_keys(tree_store: TreeStore) -> None:
    stray = _row_of([key for key in LAYERS[0] if key > DIVIDER][:1], [None, None])
    between = _row_of([], [CID.of(DAG_CBOR, stray)])
    top = _row_of([DIVIDER], [CID.of(DAG_CBOR, between), None])
    store = tree_store(FAN_OUT_4, {CID.of(DAG_CBOR, data): data for data in (stray, between, top)})
    for way_in in _every_way_in(store, CID.of(DAG_CBOR, top), LEAVES[0])[:6]:
        with pytest.raises(FormatError, match="interval"):
            way_in()


def test_a_top_without_keys_is_refused(tree_store: TreeStore) -> None:
    top = _row_of([], [BELOW_LEAVES])
    store = tree_store(FAN_OUT_4, {BELOW_LEAVES: BOTTOM, CID.of(DAG_CBOR, top): top})
    for way_in in _every_way_in(store, CID.of(DAG_CBOR, top), LEAVES[0]):
        with pytest.raises(FormatError, match="top node"):
            way_in()


def test_an_endless_chain_of_nodes_without_keys_ends_at_layer_0(tree_store: TreeStore) -> None:
    """A node may name any CID, so a reader must not follow such a chain further than layers go."""
    chain = [_row_of([], [BELOW_LEAVES])]
    for _ in range(50):
        chain.append(_row_of([], [CID.of(DAG_CBOR, chain[-1])]))
    top = _row_of([DIVIDER], [CID.of(DAG_CBOR, chain[-1]), None])
    store = tree_store(FAN_OUT_4, {CID.of(DAG_CBOR, data): data for data in [BOTTOM, top, *chain]})
    for way_in in _every_way_in(store, CID.of(DAG_CBOR, top), LEAVES[0]):
        with pytest.raises(FormatError):
            way_in()
        assert store.rounds <= 4


def test_joining_meets_a_misplaced_node_only_one_of_two_pieces_shows(tree_store: TreeStore) -> None:
    """Deleting the divider opens both neighbours; the bad one is refused though the good one came first."""
    good = _row_of(LEFT, [None] * 3)
    bad = _row_of(LEAVES, [None] * 3)
    top = _row_of([DIVIDER], [CID.of(DAG_CBOR, good), CID.of(DAG_CBOR, bad)])
    store = tree_store(FAN_OUT_4, {CID.of(DAG_CBOR, data): data for data in (good, bad, top)})
    with pytest.raises(FormatError):
        store.apply(CID.of(DAG_CBOR, top), {DIVIDER: None})
