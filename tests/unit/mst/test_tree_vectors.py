"""Trees against public vectors: ours, atproto's, and the 16,384 differences of mst-test-suite."""

from __future__ import annotations

import gzip
import json
from base64 import b64decode
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mst import car, node, tree
from mst.block import Block
from mst.cid import CID, DAG_CBOR
from mst.layer import TreeParams

TreeStore = Callable[..., Any]
ThirdParty = Callable[[str], Path]

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "mst"
ATPROTO = TreeParams(2)
"""Fan-out 4 without salt, values that are links: atproto's tree, byte for byte."""
INTEROP = "mst/atproto-interop-tests"


@cache
def _cases(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _link(seed: bytes) -> bytes:
    return node.link(CID.of(DAG_CBOR, seed))


def _layer(store: Any, root: CID) -> int:
    """The layer of the top, 0 for an empty tree."""
    return max(node.decode(store.blocks[root], store.params).layer, 0)


@pytest.mark.parametrize("number", range(24))
def test_random_histories(tree_store: TreeStore, number: int) -> None:
    """Adds, updates and deletes against an independent implementation; in one batch and one by one."""
    case = _cases(VECTORS / "random_histories.json")["cases"][number]
    store = tree_store(ATPROTO)
    root = store.build({key.encode(): _link(f"{key}#0".encode()) for key in case["keys"]})
    assert str(root) == case["root_before"]
    assert _layer(store, root) == case["layer_before"]
    edits: dict[bytes, bytes | None] = {key.encode(): _link(f"{key}#0".encode()) for key in case["adds"]}
    edits |= {key.encode(): _link(f"{key}#1".encode()) for key in case["updates"]}
    edits |= {key.encode(): None for key in case["dels"]}
    after = store.apply(root, edits).root
    assert str(after) == case["root_after"]
    assert _layer(store, after) == case["layer_after"]
    for key, value in edits.items():
        root = store.apply(root, {key: value}).root
    assert root == after


@pytest.mark.parametrize("number", range(10))
def test_s3_keys_at_every_fan_out(tree_store: TreeStore, number: int) -> None:
    document = _cases(VECTORS / "s3_keys_fanouts.json")
    vector = document["vectors"][number]
    keys = [key.encode() for key in document["keys"]]
    params = TreeParams(vector["bits"], bytes.fromhex(vector["salt_hex"]) or None)
    assert [params.layer(key) for key in keys] == vector["layers"]
    store = tree_store(params)
    pairs = {key: _link(key) for key in keys}
    root = store.build(pairs)
    assert str(root) == vector["root"]
    assert _layer(store, root) == vector["layer"]
    assert len(store.reachable(root)) == vector["nodes"]
    assert store.pairs(root) == list(pairs.items())
    assert str(store.apply(root, dict.fromkeys(keys[::3])).root) == vector["root_after_deleting_every_third"]


def test_key_heights_of_atproto(third_party: ThirdParty) -> None:
    for case in _cases(third_party(f"{INTEROP}/mst/key_heights.json")):
        assert ATPROTO.layer(case["key"].encode()) == case["height"], case


def test_common_prefixes_of_atproto(third_party: ThirdParty) -> None:
    for case in _cases(third_party(f"{INTEROP}/mst/common_prefix.json")):
        assert node.common_prefix_length(case["left"].encode(), case["right"].encode()) == case["len"], case


def test_example_keys_of_atproto(third_party: ThirdParty) -> None:
    """The second character of each key is its height."""
    keys = third_party(f"{INTEROP}/mst/example_keys.txt").read_text().split()
    assert len(keys) == 156
    assert [ATPROTO.layer(key.encode()) for key in keys] == [int(key[1]) for key in keys]


def test_commit_proofs_of_atproto(tree_store: TreeStore, third_party: ThirdParty) -> None:
    """Roots before and after; the blocks of the proof alone are enough to undo the commit."""
    cases = _cases(third_party(f"{INTEROP}/firehose/commit-proof-fixtures.json"))
    assert len(cases) == 6
    for case in cases:
        store = tree_store(ATPROTO)
        value = node.link(CID.from_text(case["leafValue"]))
        before = store.build({key.encode(): value for key in case["keys"]})
        assert str(before) == case["rootBeforeCommit"]
        adds, dels = [[key.encode() for key in case[name]] for name in ("adds", "dels")]
        after = store.apply(before, dict.fromkeys(adds, value) | dict.fromkeys(dels)).root
        assert str(after) == case["rootAfterCommit"]
        proof = {cid: store.blocks[cid] for cid in map(CID.from_text, case["blocksInProof"])}
        undone = tree_store(ATPROTO, proof).apply(after, dict.fromkeys(adds) | dict.fromkeys(dels, value))
        assert undone.root == before


def test_known_roots(tree_store: TreeStore, third_party: ThirdParty) -> None:
    """All but "tricky", which is stale where it was published."""
    vectors = [
        vector
        for vector in _cases(third_party("mst/known_roots.json"))["vectors"]
        if not vector["name"].startswith("tricky")
    ]
    assert len(vectors) == 11
    for vector in vectors:
        store = tree_store(ATPROTO)
        value = node.link(CID.from_text(vector["value"]))
        root = store.build({key.encode(): value for key in vector["keys"]})
        assert (str(root), _layer(store, root)) == (vector["root"], vector["layer"]), vector["name"]


def _read_car(data: bytes) -> tuple[CID, list[Block]]:
    reader = car.Reader()
    blocks = list(reader.feed(data))
    reader.finish()
    (root,) = reader.roots
    return root, blocks


def test_every_difference_of_the_mst_test_suite(tree_store: TreeStore, third_party: ThirdParty) -> None:
    """From each of 128 trees to each other by its operations: the root, and exactly the nodes that are new."""
    suite = json.loads(gzip.decompress(third_party("mst/mst-test-suite.compact.json.gz").read_bytes()))
    cids = [CID.from_text(text) for text in suite["cids"]]
    store = tree_store(ATPROTO)
    roots = []
    for _, encoded in sorted(suite["cars"].items()):
        root, blocks = _read_car(b64decode(encoded))
        roots.append(root)
        store.blocks.update(blocks)
    assert len(roots) == 128
    assert len(suite["cases"]) == 16_384
    for before, after, created, _, operations, _, _ in suite["cases"]:
        edits = {key.encode(): None if new is None else node.link(cids[new]) for key, _, new in operations}
        for key, old, _ in operations:
            assert store.get(roots[before], key.encode()) == (None if old is None else node.link(cids[old]))
        applied = store.drive(tree.apply(ATPROTO, roots[before], edits))
        assert applied.root == roots[after]
        assert {new.cid for new in applied.nodes} == {cids[number] for number in created}
        assert len(applied.nodes) == len(created)
