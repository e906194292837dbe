"""Versions under any history, against a model that is a dictionary of lists: the newest version first.

Also: pages of every size join to the whole listing, and the trees depend on what is in them alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import md5
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.s3.page import collect
from gateway.s3.version_listing import start_after_version
from gateway.store.change import change_tree, next_commit
from gateway.store.errors import BucketNotEmpty
from gateway.store.mutations import Amend, Committed, Delete, ObjectMutation, Put, SetVersioning
from gateway.store.store import Store
from gateway.store.walks import StoreWalk, VersionWalk
from mst import reference, tree, version
from mst.block import Block
from mst.cbor import decode as decode_cbor
from mst.cbor import encode as encode_cbor
from mst.cid import CID, DAG_CBOR, RAW
from mst.entry import Entry
from mst.fetch import drive
from mst.layer import TreeParams
from mst.limits import VERSION_SUFFIX_BYTES
from mst.node import Node
from mst.walk import Walk
from registry.heads import ENABLED, SUSPENDED, UNVERSIONED, Bucket, Versioning
from tests.store_client import StoreClient, open_client

KEYS = [b"a", b"a/b", b"a/b/c", b"a0", b"b"]
NULL = version.NULL
Outcome = tuple[int | None, bool] | str
"""What a mutation made or deleted (a version, and whether it is a marker), or how it was refused."""


@dataclass
class Made:
    """A version in the model: ``content`` is None for a delete marker."""

    number: int
    content: bytes | None
    tagged: bool = False


@dataclass
class Model:
    """The slow, obviously right bucket: every key's versions, newest first."""

    versioning: Versioning = UNVERSIONED
    keys: dict[bytes, list[Made]] = field(default_factory=dict)

    def put(self, key: bytes, made: Made) -> None:
        versions = self.keys.setdefault(key, [])
        if made.number == NULL:
            versions[:] = [old for old in versions if old.number != NULL]
        versions.insert(0, made)

    def delete(self, key: bytes, marker: int) -> Outcome:
        if self.versioning == UNVERSIONED:
            self.keys.pop(key, None)
            return None, False
        self.put(key, Made(marker, None))
        return marker, True

    def delete_version(self, key: bytes, number: int) -> Outcome:
        versions = self.keys.get(key, [])
        gone = [old for old in versions if old.number == number]
        versions[:] = [old for old in versions if old.number != number]
        return number, any(old.content is None for old in gone)

    def find(self, key: bytes, number: int | None) -> Made | None:
        versions = self.keys.get(key, [])
        chosen = versions[:1] if number is None else [old for old in versions if old.number == number]
        return chosen[0] if chosen and chosen[0].content is not None else None

    def listed(self) -> list[tuple[bytes, Made]]:
        """Every version, in the order of a listing."""
        return [(key, made) for key in sorted(self.keys) for made in self.keys[key]]

    def current(self) -> dict[bytes, bytes]:
        found = {key: self.find(key, None) for key in self.keys}
        return {key: made.content for key, made in found.items() if made is not None and made.content is not None}


class Refused(Exception):
    """What the checks of these tests raise."""


def _must_exist(entry: Entry | None) -> None:
    if entry is None:
        raise Refused


def _amended(changed: Entry, blocks: tuple[Block, ...], entry: Entry | None) -> tuple[Entry, tuple[Block, ...]]:
    _must_exist(entry)
    return changed, blocks


def _must_not_exist(entry: Entry | None) -> None:
    if entry is not None:
        raise Refused


SIMPLE_STEP = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(KEYS), st.sampled_from([None, _must_not_exist]), st.booleans()),
    st.tuples(st.just("delete"), st.sampled_from(KEYS), st.sampled_from([None, _must_exist]), st.none()),
)
STEP = st.one_of(
    SIMPLE_STEP,
    st.tuples(st.just("delete version"), st.sampled_from(KEYS), st.none(), st.integers(-1, 3)),
    st.tuples(st.just("tag"), st.sampled_from(KEYS), st.none(), st.integers(-1, 3)),
)
BATCH_STATES = st.sampled_from([UNVERSIONED, ENABLED, SUSPENDED])
HISTORY = st.lists(st.tuples(BATCH_STATES, st.lists(STEP, max_size=7)), max_size=6)
NO_SUCH = version.number_of_commit(999, 9)


def _entry(content: bytes, large: bool, tagged: bool = False) -> tuple[Entry, tuple[Block, ...]]:
    body = Block.of(RAW, content)
    meta: dict[str, Any] = {"ct": "x" * 300} if large else {}
    if tagged:
        meta["tg"] = {"k": "v"}
    entry = Entry(body.cid, len(content), 5, md5(content).digest(), meta or None)
    if not large:
        return entry, (body,)
    block = Block.of(DAG_CBOR, encode_cbor(meta))
    return entry._replace(meta=block.cid), (body, block)


class Memory:
    """A bucket without disk: mutations go to `change_tree`, as a batch each time, nodes lie in a dictionary."""

    def __init__(self) -> None:
        self.nodes: dict[CID, Node] = {tree.EMPTY_ROOT: tree.EMPTY}
        self.bucket = Bucket("b", bytes(16), tree.EMPTY_ROOT, tree.EMPTY_ROOT, 1, 0, 0, 4, None, 5, 5)

    async def set_versioning(self, versioning: Versioning) -> None:
        self.bucket = replace(self.bucket, versioning=versioning)

    async def submit_all(self, mutations: list[ObjectMutation]) -> list[Committed | BaseException]:
        if not mutations:
            return []
        change = change_tree(self.bucket, mutations, self.load, 5)
        self.nodes.update((new.cid, new.node) for new in change.nodes)
        if change.after is not self.bucket:
            self.bucket, _ = next_commit("did:key:z", change.after, self.bucket.commit, 5)
        return list(change.outcomes)

    def load(self, cids: Sequence[CID]) -> list[Node]:
        return [self.nodes[cid] for cid in cids]

    def walk(self, root: CID) -> MemoryWalk:
        return MemoryWalk(Walk(TreeParams(4), root), self.load)

    def walk_versions(self) -> VersionWalk:
        older = None if self.bucket.versions is None else self.walk(self.bucket.versions)
        return VersionWalk(self.walk(self.bucket.tree), older)


@dataclass
class MemoryWalk:
    """`gateway.store.walks.StoreWalk` without disk."""

    walk: Walk
    load: Callable[[Sequence[CID]], list[Node]]

    async def seek(self, start: bytes, keys: int = 1, end: bytes | None = None) -> None:
        drive(self.walk.seek(start), self.load)

    async def run(self) -> tuple[Sequence[bytes], Sequence[bytes]] | None:
        return drive(self.walk.run(), self.load)


class Stored:
    """The same through the whole store; how mutations share batches is the committer's affair."""

    def __init__(self, client: StoreClient) -> None:
        self.store = client.store

    @property
    def bucket(self) -> Bucket:
        return self.store.bucket("b")

    async def set_versioning(self, versioning: Versioning) -> None:
        await self.store.committer.submit(SetVersioning("b", versioning))

    async def submit_all(self, mutations: list[ObjectMutation]) -> list[Committed | BaseException]:
        return await self.store.committer.submit_all(mutations)

    def walk(self, root: CID) -> StoreWalk:
        return self.store.trees.walk(replace(self.bucket, tree=root))

    def walk_versions(self) -> VersionWalk:
        return self.store.trees.walk_versions(self.bucket)


class History:
    """A history in a bucket, mirrored in a model."""

    def __init__(self, real: Memory | Stored) -> None:
        self.real = real
        self.model = Model()
        self.count = 0

    async def play(self, history: list[tuple[Versioning, list[Any]]]) -> None:
        for versioning, steps in history:
            await self._batch(versioning, steps)
            await self.check()

    async def _batch(self, versioning: Versioning, steps: list[Any]) -> None:
        """A change of versioning, then mutations handed in at once."""
        if versioning != UNVERSIONED:
            await self.real.set_versioning(versioning)
            self.model.versioning = versioning
        mutations: list[ObjectMutation] = []
        expected: list[Callable[[int], Outcome]] = []
        for kind, key, check, extra in steps:
            # Which version a step means is settled before the batch, as a client would.
            number = self._meant(key, extra) if kind in ("delete version", "tag") else None
            self.count += 1
            content = b"%d" % self.count
            if kind == "put":
                entry, blocks = _entry(content, extra)
                mutations.append(Put("b", key, entry, blocks, check))
                expected.append(partial(self._put, key, check, content))
            elif kind == "tag":
                entry, blocks = _entry(content, large=False, tagged=True)
                mutations.append(Amend("b", key, partial(_amended, entry, blocks), number))
                expected.append(partial(self._tag, key, number, content))
            elif number is None:
                mutations.append(Delete("b", key, check))
                expected.append(partial(self._delete, key, check))
            else:
                mutations.append(Delete("b", key, check, number))
                expected.append(partial(self._delete_version, key, number))
        answers = await self.real.submit_all(mutations)
        for answer, expect in zip(answers, expected, strict=True):
            if isinstance(answer, Committed):
                assert expect(-1 if answer.version is None else answer.version) == (answer.version, answer.marker)
            else:
                assert isinstance(answer, Refused), answer
                assert expect(-1) == "refused"

    def _meant(self, key: bytes, place: int) -> int | None:
        """A version of ``key``: none named, one that is there, the null version, or one that never was."""
        known = [made.number for made in self.model.keys.get(key, [])]
        if place < 0:
            return None
        return known[place] if place < len(known) else (NULL if place % 2 else NO_SUCH)

    def _number(self, made: int) -> int:
        """The number a new version must have: its own only in a bucket that keeps versions."""
        if self.model.versioning == ENABLED:
            assert made != NULL
            return made
        return NULL

    def _put(self, key: bytes, check: Any, content: bytes, made: int) -> Outcome:
        if check and self.model.find(key, None):
            return "refused"
        number = self._number(made)
        self.model.put(key, Made(number, content))
        return None if self.model.versioning == UNVERSIONED else number, False

    def _delete(self, key: bytes, check: Any, made: int) -> Outcome:
        if check and not self.model.find(key, None):
            return "refused"
        return self.model.delete(key, self._number(made))

    def _delete_version(self, key: bytes, number: int, _: int) -> Outcome:
        return self.model.delete_version(key, number)

    def _tag(self, key: bytes, number: int | None, content: bytes, _: int) -> Outcome:
        found = self.model.find(key, number)
        if found is None:
            return "refused"
        found.content, found.tagged = content, True
        return None if self.model.versioning == UNVERSIONED else found.number, False

    async def check(self) -> None:
        """Everything that can be read says what the model says."""
        bucket = self.real.bucket
        rows = [(stored, Entry.decode(value)) for stored, value in await _rows(self.real.walk_versions())]
        found = []
        for stored, entry in rows:
            key, order = version.split_version_key(stored)
            assert version.order_of(entry) == order
            etag = None if version.is_marker(entry) else entry.etag
            found.append((key, version.version_of(entry), etag))
        assert found == [
            (key, made.number, None if made.content is None else md5(made.content).digest())
            for key, made in self.model.listed()
        ]
        pairs = await _rows(self.real.walk(bucket.tree))
        objects = {key: Entry.decode(value) for key, value in pairs}
        assert {key: entry.etag for key, entry in objects.items()} == {
            key: md5(content).digest() for key, content in self.model.current().items()
        }
        assert bucket.objects == len(objects)
        assert bucket.size_bytes == sum(entry.size for entry in objects.values())
        assert (bucket.versions is None) == (len(found) == bucket.objects)
        await self._check_trees(bucket)

    async def _check_trees(self, bucket: Bucket) -> None:
        """Both trees are what the definition makes of their contents."""
        for root in (bucket.tree, bucket.versions or tree.EMPTY_ROOT):
            pairs = await _rows(self.real.walk(root))
            decoded = {key: decode_cbor(value) for key, value in pairs}
            assert reference.build(TreeParams(bucket.bits, bucket.salt), decoded)[0] == root

    async def empty(self) -> None:
        """Delete every version there is, the oldest first: nothing is left of either tree."""
        deletions: list[ObjectMutation] = [
            Delete("b", key, version=made.number) for key, made in reversed(self.model.listed())
        ]
        assert all(isinstance(answer, Committed) for answer in await self.real.submit_all(deletions))
        bucket = self.real.bucket
        assert (bucket.tree, bucket.versions, bucket.objects, bucket.size_bytes) == (tree.EMPTY_ROOT, None, 0, 0)


async def _rows(walk: Any) -> list[tuple[bytes, bytes]]:
    await walk.seek(b"")
    rows: list[tuple[bytes, bytes]] = []
    while run := await walk.run():
        rows += zip(*run, strict=True)
    return rows


@given(HISTORY)
def test_any_history_is_that_of_the_model(history: Any) -> None:
    async def test() -> None:
        played = History(Memory())
        await played.play(history)
        await played.empty()

    asyncio.run(test())


@given(st.lists(st.tuples(BATCH_STATES, st.lists(SIMPLE_STEP, max_size=7)), max_size=6))
def test_one_by_one_or_together(history: Any) -> None:
    """How mutations share batches changes the numbers of versions and nothing else."""

    async def test() -> None:
        together, alone = History(Memory()), History(Memory())
        await together.play(history)
        for versioning, steps in history:
            await alone.play([(versioning, []), *((versioning, [step]) for step in steps)])
        assert [(key, made.content) for key, made in together.model.listed()] == [
            (key, made.content) for key, made in alone.model.listed()
        ]

    asyncio.run(test())


@settings(max_examples=5, suppress_health_check=list(HealthCheck))
@given(history=HISTORY)
def test_the_same_through_the_store(tmp_path_factory: pytest.TempPathFactory, history: Any) -> None:
    async def test() -> None:
        async with open_client(tmp_path_factory.mktemp("store")) as client:
            await client.make("b")
            played = History(Stored(client))
            await played.play(history)
            for key in KEYS:
                await _check_reads(client.store, key, played.model.keys.get(key, []))
            assert await client.contents("b") == played.model.current()
            if played.model.listed():
                with pytest.raises(BucketNotEmpty):
                    await client.drop("b")
            await played.empty()
            await client.drop("b")

    asyncio.run(test())


async def _check_reads(store: Store, key: bytes, versions: list[Made]) -> None:
    bucket = store.bucket("b")
    newest = await store.trees.newest_version(bucket, key)
    assert (None if newest is None else version.version_of(newest)) == (versions[0].number if versions else None)
    for number in {NULL, NO_SUCH, *(made.number for made in versions)}:
        entry = await store.trees.get_version(bucket, key, number)
        made = [old for old in versions if old.number == number]
        assert (entry is None) == (not made)
        if entry is not None:
            assert version.is_marker(entry) == (made[0].content is None)
            assert ("tg" in await store.trees.meta(entry)) == made[0].tagged
            assert (await store.trees.meta(entry)).keys() <= {"ct", "tg"}


DELIMITERS = [b"", b"/", b"b", b"a/", b"0", b"7", b"f"]


@given(HISTORY, st.sampled_from([b"", b"a", b"a/", b"b", b"c"]), st.sampled_from(DELIMITERS))
def test_pages_of_every_size_join_to_the_whole(history: Any, prefix: bytes, delimiter: bytes) -> None:
    """Delimiters that also are digits of a version key must not be found there."""

    async def test() -> None:
        played = History(Memory())
        await played.play(history)
        expected: dict[Any, None] = {}
        for key, made in played.model.listed():
            if key.startswith(prefix):
                cut = key.find(delimiter, len(prefix)) if delimiter else -1
                expected[(key, made.number) if cut < 0 else key[: cut + len(delimiter)]] = None
        for limit in range(1, len(expected) + 2):
            assert await _pages(played.real, prefix, delimiter, limit) == list(expected)

    asyncio.run(test())


async def _pages(real: Memory | Stored, prefix: bytes, delimiter: bytes, limit: int) -> list[Any]:
    """A listing in pages, each begun where a client would, from the markers alone."""
    found: list[Any] = []
    marker, order = b"", None
    while True:
        start = start_after_version(marker, order, prefix, delimiter)
        page = await collect(real.walk_versions(), start, prefix, delimiter, limit, VERSION_SUFFIX_BYTES)
        merged: list[Any] = sorted([*page.rows, *((group, None) for group in page.prefixes)], key=lambda row: row[0])
        for stored, value in merged:
            if value is None:
                found.append(stored)
            else:
                found.append((version.split_version_key(stored)[0], version.version_of(Entry.decode(value))))
        assert len(merged) == limit or page.resume is None
        if page.resume is None:
            return found
        if page.rows and page.rows[-1][0] == page.last:
            marker, order = version.split_version_key(page.last)
        else:
            marker, order = page.last, None
