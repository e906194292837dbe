"""The cache of decoded nodes: bounded, warm where it is used, apart for trees of different shapes."""

from __future__ import annotations

from gateway.store.nodes import DECODED_COST, NodeCache
from mst.cid import CID, DAG_CBOR
from mst.layer import TreeParams
from mst.node import EMPTY, Node

DEFAULT = TreeParams()
NODE_BYTES = 1000


def _cid(number: int) -> CID:
    return CID.of(DAG_CBOR, b"%d" % number)


def _node(number: int) -> Node:
    return EMPTY._replace(layer=number)


def _held_bytes(cache: NodeCache) -> int:
    held = {id(entry): entry[1] for generation in (cache._young, cache._old) for entry in generation.values()}
    return sum(held.values())


def test_what_was_added_is_there() -> None:
    cache = NodeCache(1 << 20)
    cache.add(DEFAULT, _cid(1), _node(1), NODE_BYTES)
    assert cache.get(DEFAULT, _cid(1)) == _node(1)
    assert cache.get(DEFAULT, _cid(2)) is None


def test_memory_is_bounded_whatever_is_added_and_read() -> None:
    most = 50 * NODE_BYTES * DECODED_COST
    cache = NodeCache(most)
    for number in range(2000):
        cache.add(DEFAULT, _cid(number), _node(number), NODE_BYTES)
        cache.get(DEFAULT, _cid(number // 2))
        cache.get(DEFAULT, _cid(number - 30))
        assert _held_bytes(cache) <= most + NODE_BYTES * DECODED_COST


def test_a_node_larger_than_the_cache_does_not_stay() -> None:
    cache = NodeCache(1000)
    cache.add(DEFAULT, _cid(0), _node(0), 10_000)
    cache.add(DEFAULT, _cid(1), _node(1), 10_000)
    assert cache.get(DEFAULT, _cid(0)) is None


def test_what_is_read_stays_while_others_pass() -> None:
    cache = NodeCache(50 * NODE_BYTES * DECODED_COST)
    cache.add(DEFAULT, _cid(0), _node(0), NODE_BYTES)
    for number in range(1, 1000):
        cache.add(DEFAULT, _cid(number), _node(number), NODE_BYTES)
        if number % 20 == 0:
            assert cache.get(DEFAULT, _cid(0)) == _node(0)
    assert cache.get(DEFAULT, _cid(1)) is None


def test_one_block_may_be_a_node_of_one_tree_and_not_of_another() -> None:
    """Whether a node is valid depends on the tree's shape, so a hit for one shape is none for another."""
    cache = NodeCache(1 << 20)
    shapes = [DEFAULT, TreeParams(2), TreeParams(4, b"s" * 32), TreeParams(4, b"t" * 32), TreeParams(2, b"s" * 32)]
    for number, shape in enumerate(shapes):
        assert cache.get(shape, _cid(1)) is None
        cache.add(shape, _cid(1), _node(number), NODE_BYTES)
    assert [cache.get(shape, _cid(1)) for shape in shapes] == [_node(number) for number in range(len(shapes))]
