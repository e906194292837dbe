"""The tree against its slow twin and against a dictionary: any history, any shape, any order, any damage."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Sequence
from hashlib import md5
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from mst import cbor, node, reference, tree
from mst.cid import CID, DAG_CBOR, DAG_PB, RAW
from mst.entry import Entry
from mst.errors import FormatError, TreeLimitError
from mst.fetch import drive_async
from mst.layer import TreeParams
from mst.node import Node
from mst.walk import Walk

TreeStore = Callable[..., Any]

TALL = [b"tall/38300", b"tall/17", b"tall/9203", b"tall/10245", b"tall/10396"]
"""Among ordinary keys, a few that stand far above them (one has 18 leading zero bits)."""
POOL = (
    TALL
    + [f"logs/2026/{n:03}".encode() for n in range(120)]
    + [f"é/{n}".encode() for n in range(40)]
    + [b"a", b"a/", b"a//", b"a/b", b"a\x01", b"\x01q\x12 " + b"0" * 32, b"\xf0\x9f\x8c\xb3", b"z" * 1024, b"z" * 1023]
)
KEYS = st.sampled_from(POOL) | st.text("ab/\x01é", min_size=1, max_size=6).map(str.encode)
MD5 = md5(b"").digest()
VALUES = st.sampled_from(
    [
        node.link(CID.of(DAG_CBOR, b"1")),
        node.link(CID.of(RAW, b"2")),
        Entry(CID.of(RAW, b"3"), 3, 1_790_000_000_000, MD5, None).encode(),
        Entry(CID.of(DAG_PB, b"4"), 2**33, 0, MD5 + b"\x00\x02", {"content-type": "a"}).encode(),
        Entry(CID.of(RAW, b"5"), 0, 1, MD5, CID.of(DAG_CBOR, b"6")).encode(),
    ]
)
SHAPES = st.builds(TreeParams, st.integers(1, 6), st.none() | st.just(bytes(range(32))))
MAPS = st.dictionaries(KEYS, VALUES, max_size=80)
BATCHES = st.dictionaries(KEYS, st.none() | VALUES, max_size=30)


def _reference(params: TreeParams, pairs: dict[bytes, bytes]) -> tuple[CID, dict[CID, bytes]]:
    return reference.build(params, {key: cbor.decode(value) for key, value in pairs.items()})


def _change(pairs: dict[bytes, bytes], batch: dict[bytes, bytes | None]) -> dict[bytes, bytes]:
    changed = {**pairs, **batch}
    return {key: value for key, value in changed.items() if value is not None}


@given(params=SHAPES, history=st.lists(BATCHES, max_size=6))
def test_any_history_gives_the_tree_of_its_last_state(
    tree_store: TreeStore, params: TreeParams, history: list[dict[bytes, bytes | None]]
) -> None:
    store = tree_store(params)
    root, pairs = tree.EMPTY_ROOT, {}
    reachable = {tree.EMPTY_ROOT}
    for batch in history:
        before = reachable
        pairs = _change(pairs, batch)
        applied = store.apply(root, batch)
        root, blocks = _reference(params, pairs)
        assert applied.root == root
        reachable = store.reachable(root)
        assert reachable == blocks.keys()
        assert [new.cid for new in applied.nodes if new.cid in before] == []
        assert {new.cid for new in applied.nodes} == reachable - before


@given(params=SHAPES, pairs=MAPS, asked=st.lists(KEYS, max_size=20))
def test_reads_agree_with_a_dictionary(
    tree_store: TreeStore, params: TreeParams, pairs: dict[bytes, bytes], asked: list[bytes]
) -> None:
    store = tree_store(params)
    root = store.build(pairs)
    for key in [*asked, *pairs]:
        assert store.get(root, key) == pairs.get(key)
    assert store.get_many(root, asked) == {key: pairs[key] for key in asked if key in pairs}
    assert store.get_many(root, pairs) == pairs
    ordered = sorted(pairs)
    for start in [b"", *asked]:
        expected = [(key, pairs[key]) for key in ordered[bisect_left(ordered, start) :]]
        assert store.pairs(root, start) == expected


@given(params=SHAPES, pairs=MAPS, gone=MAPS, random=st.randoms(use_true_random=False))
def test_the_order_of_changes_does_not_matter(
    tree_store: TreeStore, params: TreeParams, pairs: dict[bytes, bytes], gone: dict[bytes, bytes], random: Any
) -> None:
    """Whatever was put and deleted in between, in batches of any size, one key at a time included."""
    store = tree_store(params)
    steps: list[tuple[bytes, bytes | None]] = [*pairs.items()]
    passing = {key: value for key, value in gone.items() if key not in pairs}
    random.shuffle(steps)
    for key, value in passing.items():
        came = random.randint(0, len(steps))
        steps.insert(came, (key, value))
        steps.insert(random.randint(came + 1, len(steps)), (key, None))
    root = tree.EMPTY_ROOT
    while steps:
        size = random.choice([1, 1, 2, 7])
        # A key twice in one batch: the later step counts, as it would one by one.
        root = store.apply(root, dict(steps[:size])).root
        del steps[:size]
    assert root == store.build(pairs)


@given(params=SHAPES, pairs=MAPS, batch=BATCHES, limit=st.integers(1, 12))
def test_a_limit_refuses_exactly_the_trees_that_break_it(
    tree_store: TreeStore,
    params: TreeParams,
    pairs: dict[bytes, bytes],
    batch: dict[bytes, bytes | None],
    limit: int,
) -> None:
    store = tree_store(params)
    root = store.build(pairs)
    if _widest(params, store.blocks, root) > limit:
        return
    blocks = dict(store.blocks)
    wanted, wanted_blocks = _reference(params, _change(pairs, batch))
    too_wide = _widest(params, wanted_blocks, wanted) > limit
    with mock.patch.object(tree, "NODE_ENTRIES_MAX", limit):
        try:
            applied = store.apply(root, batch)
        except TreeLimitError:
            assert too_wide
            assert store.blocks == blocks
            assert store.pairs(root) == sorted(pairs.items())
        else:
            assert not too_wide
            assert applied.root == wanted


def _widest(params: TreeParams, blocks: dict[CID, bytes], root: CID) -> int:
    """The most entries of any node below ``root``."""
    widest, waiting = 0, [root]
    while waiting:
        found = node.decode(blocks[waiting.pop()], params)
        widest = max(widest, len(found.keys))
        waiting += [child for child in found.children if child]
    return widest


@given(params=SHAPES, pairs=MAPS)
def test_nodes_come_back_as_they_were(tree_store: TreeStore, params: TreeParams, pairs: dict[bytes, bytes]) -> None:
    store = tree_store(params)
    for new in store.apply(tree.EMPTY_ROOT, pairs).nodes:
        decoded = node.decode(new.data, params)
        assert decoded == new.node
        assert node.encode(decoded) == new.data
        generic = cbor.decode(new.data)
        assert isinstance(generic, dict)
        assert len(generic["e"]) == len(decoded.keys)


@st.composite
def _mutated_nodes(draw: st.DrawFn) -> tuple[TreeParams, bytes]:
    """A node of a small tree with a few bytes changed, put in, left out or repeated."""
    params = draw(SHAPES)
    pairs = draw(st.dictionaries(KEYS, VALUES, min_size=1, max_size=12))
    _, blocks = _reference(params, pairs)
    data = bytearray(draw(st.sampled_from(sorted(blocks.values()))))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["flip", "set", "insert", "delete", "repeat"]))
        if kind == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set":
            data[at : at + 1] = bytes([draw(st.sampled_from([0x00, 0x17, 0x18, 0x19, 0x1A, 0x40, 0x80, 0xA0, 0xF6]))])
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=3))
        elif kind == "delete":
            del data[at : at + draw(st.integers(1, 41))]
        else:
            data[at:at] = data[at : at + draw(st.integers(1, 60))]
    return params, bytes(data)


@settings(max_examples=5 * settings().max_examples)
@given(_mutated_nodes())
def test_a_mutated_node_is_refused_or_is_the_one_form_of_another(case: tuple[TreeParams, bytes]) -> None:
    params, data = case
    try:
        decoded = node.decode(data, params)
    except FormatError:
        return
    assert node.encode(decoded) == data
    previous = b""
    for key, child, value, row in zip(decoded.keys, decoded.children[1:], decoded.values, decoded.rows, strict=True):
        assert node.row(previous, key, child, value) == row
        assert params.layer(key) == decoded.layer
        previous = key
    cbor.decode(data)


@given(params=SHAPES, pairs=MAPS, batch=BATCHES)
def test_the_drivers_agree(
    tree_store: TreeStore, params: TreeParams, pairs: dict[bytes, bytes], batch: dict[bytes, bytes | None]
) -> None:
    store = tree_store(params)
    root = store.build(pairs)

    async def load(cids: Sequence[CID]) -> list[Node]:
        await asyncio.sleep(0)
        loaded: list[Node] = store.load(cids)
        return loaded

    async def run() -> None:
        for key in [*pairs, *batch][:10]:
            assert await drive_async(tree.get(params, root, key), load) == store.get(root, key)
        assert await drive_async(tree.get_many(params, root, batch), load) == store.get_many(root, batch)
        walk = Walk(params, root)
        await drive_async(walk.seek(b"a"), load)
        met: list[tuple[bytes, bytes]] = []
        while found := await drive_async(walk.run(), load):
            met += zip(found.keys, found.values, strict=True)
        assert met == store.pairs(root, b"a")
        assert await drive_async(tree.apply(params, root, batch), load) == store.apply(root, batch)

    asyncio.run(run())


@given(params=SHAPES, pairs=MAPS, batch=BATCHES)
def test_a_cold_tree_costs_one_round_per_level(
    tree_store: TreeStore, params: TreeParams, pairs: dict[bytes, bytes], batch: dict[bytes, bytes | None]
) -> None:
    store = tree_store(params)
    root = store.build(pairs)
    height = node.decode(store.blocks[root], params).layer + 1 if pairs else 1
    for key in [*batch][:5]:
        store.get(root, key)
        assert store.rounds == len(store.fetched) <= height
        walk = Walk(params, root)
        store.drive(walk.seek(key))
        assert store.rounds == len(store.fetched) <= height
        store.drive(walk.run())
        assert store.rounds <= height
    store.get_many(root, batch)
    assert store.rounds <= height
    assert len(store.fetched) == len(set(store.fetched))
    store.apply(root, batch)
    # The top is asked for first for its layer alone, and a top that was there before once more at the end.
    assert store.rounds <= height + 2
    assert set(store.fetched) <= store.reachable(root)
