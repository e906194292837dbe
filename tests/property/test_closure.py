"""What a commit needs: every block once, children first, against a search that follows all links there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mst import cbor, closure, node, version
from mst.block import Block
from mst.cid import CID, DAG_CBOR, DAG_PB, RAW
from mst.commit import Commit
from mst.entry import Entry
from mst.errors import FormatError
from mst.fetch import drive
from mst.layer import TreeParams
from mst.unixfs import FileLink, encode_file_node

PARAMS = TreeParams(2)
NOTHING = CID.of(RAW, b"")
"""What a delete marker names, and nobody needs."""
KEYS = [f"{n % 7}/{n:03}".encode() for n in range(120)]

Changes = dict[bytes, int | None]


class Bucket:
    """A bucket's history in memory, with bodies of several blocks, metadata blocks and older versions."""

    def __init__(self, tree_store: Callable[..., Any]):
        self.store = tree_store(PARAMS)
        self.blocks: dict[CID, bytes] = self.store.blocks
        self.trees = [self.store.build({}), self.store.build({})]
        self.head: CID | None = None
        self.sequence = 0

    def add(self, codec: int, data: bytes) -> CID:
        block = Block.of(codec, data)
        self.blocks[block.cid] = block.data
        return block.cid

    def file(self, seed: int) -> tuple[CID, int]:
        """A leaf, or a node over leaves that other files share, or a node over nodes."""
        if seed % 3 == 0:
            return self.add(RAW, b"%d" % seed), len(b"%d" % seed)
        leaves = [FileLink(self.add(RAW, b"%d" % n), len(b"%d" % n), len(b"%d" % n)) for n in (seed, 7, seed, 8)]
        data = encode_file_node(leaves)
        size = sum(leaf.blocksize for leaf in leaves)
        root = self.add(DAG_PB, data)
        if seed % 3 == 2:
            over = [FileLink(root, size + len(data), size)] * 2
            return self.add(DAG_PB, encode_file_node(over)), 2 * size
        return root, size

    def entry(self, seed: int) -> Entry:
        body, size = self.file(seed)
        meta = self.add(DAG_CBOR, cbor.encode({"large": seed})) if seed % 4 == 0 else {"small": seed}
        return Entry(body, size, 1, bytes(16), meta)

    def version(self, seed: int | None) -> Entry:
        """An older version, or a delete marker."""
        if seed is None:
            return version.delete_marker(100, 1, null=False)
        return version.as_version(self.entry(seed), seed + 1, null=False)[0]

    def commit(self, current: Changes, older: Changes) -> CID:
        edits = {key: None if seed is None else self.entry(seed).encode() for key, seed in current.items()}
        olds = {version.version_key(key, (seed or 99) + 1): self.version(seed).encode() for key, seed in older.items()}
        self.trees = [
            self.store.apply(root, changes).root for root, changes in zip(self.trees, (edits, olds), strict=True)
        ]
        self.sequence += 1
        made = Commit(
            space="did:key:x", bucket="b", instance=bytes(16), sequence=self.sequence, time_ms=1, tree=self.trees[0],
            versions=self.trees[1], prev=self.head, bits=PARAMS.bits, salt=None, objects=0, size_bytes=0,
            signature=bytes(64),
        )  # fmt: skip
        self.head = self.add(DAG_CBOR, made.encode())
        return self.head

    def needs(self, cid: CID) -> set[CID]:
        """What a block needs itself: every link in it, but for the commit before."""
        data = self.blocks[cid]
        if cid.codec == DAG_PB:
            return {CID(data[at : at + 36]) for at in range(len(data)) if data[at : at + 36] in self.blocks}
        links: set[CID] = set()
        if cid.codec == DAG_CBOR:
            _collect(cbor.decode(data), links)
        return links - {NOTHING}

    def reachable(self, head: CID) -> set[CID]:
        seen: set[CID] = set()
        waiting = [head]
        while waiting:
            cid = waiting.pop()
            if cid not in seen:
                seen.add(cid)
                waiting += self.needs(cid)
        return seen


def _collect(value: Any, links: set[CID]) -> None:
    if isinstance(value, CID):
        links.add(value)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name != "prev":
                _collect(item, links)
    elif isinstance(value, list):
        for item in value:
            _collect(item, links)


SEEDS = st.integers(0, 60)
CHANGES = st.dictionaries(st.sampled_from(KEYS), st.one_of(st.none(), SEEDS), max_size=40)
OLDER = st.dictionaries(st.sampled_from(KEYS), st.one_of(st.none(), SEEDS), max_size=10)


@given(history=st.lists(st.tuples(CHANGES, OLDER), min_size=1, max_size=4), data=st.data())
def test_all_that_is_needed_once_and_children_first(
    tree_store: Callable[..., Any], history: list[tuple[Changes, Changes]], data: st.DataObject
) -> None:
    bucket = Bucket(tree_store)
    copied: set[CID] = set()
    for current, older in history:
        head = bucket.commit(current, older)
        walked: list[CID] = []
        stop = data.draw(st.integers(0, 300))  # a copy that was interrupted, and goes on with the next commit
        for cid in closure.of_commit(head, bucket.blocks.__getitem__, copied.__contains__):
            assert bucket.needs(cid) <= copied
            assert cid not in copied
            copied.add(cid)
            walked.append(cid)
            if len(walked) == stop:
                break
        else:
            assert head in copied
            assert bucket.reachable(head) <= copied
            assert set(walked) <= bucket.reachable(head)


def test_what_is_known_is_not_even_loaded(tree_store: Callable[..., Any]) -> None:
    bucket = Bucket(tree_store)
    first = bucket.commit({key: n for n, key in enumerate(KEYS)}, {})
    copied = set(closure.of_commit(first, bucket.blocks.__getitem__, lambda _: False))
    second = bucket.commit({KEYS[60]: 99}, {})
    loaded: list[CID] = []

    def load(cid: CID) -> bytes:
        loaded.append(cid)
        return bucket.blocks[cid]

    new = set(closure.of_commit(second, load, copied.__contains__))
    assert new == bucket.reachable(second) - copied
    assert set(loaded) <= new


@given(current=CHANGES, older=OLDER, width=st.integers(1, 40), data=st.data())
def test_waves_reach_the_same(
    tree_store: Callable[..., Any], current: Changes, older: Changes, width: int, data: st.DataObject
) -> None:
    bucket = Bucket(tree_store)
    head = bucket.commit(current, older)
    needed = bucket.reachable(head)
    gone = data.draw(st.sets(st.sampled_from(sorted(needed)), max_size=2))
    asked: list[CID] = []

    def load(cids: Sequence[CID]) -> list[bytes | None]:
        assert 0 < len(cids) <= width
        asked.extend(cids)
        return [
            None if cid in gone else bucket.blocks[cid] if closure.is_followed(cid) else b"anything" for cid in cids
        ]

    drive(closure.in_waves(head, width), load)
    assert set(asked) <= needed
    waiting, reached = [head], set()
    while waiting:
        cid = waiting.pop()
        reached.add(cid)
        waiting += () if cid in gone else bucket.needs(cid)
    assert set(asked) == reached


def test_a_block_that_is_not_what_its_parent_says(tree_store: Callable[..., Any]) -> None:
    bucket = Bucket(tree_store)
    head = bucket.commit({b"k": 1}, {})
    bucket.blocks[bucket.trees[0]] = node.encode(node.EMPTY)[:-1]
    with pytest.raises(FormatError):
        list(closure.of_commit(head, bucket.blocks.__getitem__, lambda _: False))
