"""A bucket while a group of mutations is applied: its two trees with the edits that are still to be made to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from mst import tree, version
from mst.block import Block
from mst.cid import CID
from mst.entry import Entry
from mst.fetch import drive
from mst.layer import TreeParams
from mst.node import Node
from mst.version import Version
from registry.heads import Bucket

LoadNodes: TypeAlias = Callable[[Sequence[CID]], Sequence[Node]]


class Applied(NamedTuple):
    """A draft made real.

    Attributes:
        after: the bucket with its new roots and totals; the very same object if nothing was changed.
        nodes: the new nodes of both trees.
    """

    after: Bucket
    nodes: list[tree.NewNode]


class Draft:
    """What each key of a bucket names, as it is meant to become.

    Reads see the edits made before them. The tree of versions is read only when something asks for it.

    Args:
        bucket: the bucket as it is.
        keys: every key that will be asked for.
        load: reads nodes.

    Attributes:
        bucket: see above.
        blocks: bodies and metadata that the edits refer to.

    Every method that reads raises FormatError, BlockMissing or BlockCorrupt for a tree that cannot be read.
    """

    def __init__(self, bucket: Bucket, keys: Iterable[bytes], load: LoadNodes):
        self.bucket = bucket
        self.blocks: list[Block] = []
        self._params = TreeParams(bucket.bits, bucket.salt)
        self._load = load
        self._stored = drive(tree.get_many(self._params, bucket.tree, set(keys)), load)
        self._objects = bucket.objects
        self._size_bytes = bucket.size_bytes
        self._edits: dict[bytes, bytes | None] = {}
        self._version_edits: dict[bytes, dict[int, bytes | None]] = {}

    def current(self, key: bytes) -> Entry | None:
        """The current object of ``key``."""
        encoded = self._edits[key] if key in self._edits else self._stored.get(key)
        return None if encoded is None else Entry.decode(encoded)

    def set_current(self, key: bytes, previous: Entry | None, entry: Entry | None) -> None:
        """Put ``entry`` in the place of ``previous``, which is what `current` says."""
        if previous is not None:
            self._objects -= 1
            self._size_bytes -= previous.size
        if entry is not None:
            self._objects += 1
            self._size_bytes += entry.size
            self._edits[key] = entry.encode()
        elif previous is not None:
            self._edits[key] = None

    def version(self, key: bytes, number: int) -> Version | None:
        """The version of ``key`` that is not current and has that number, `mst.version.NULL` for the null version."""
        if number == version.NULL:
            return self._find(key, lambda found: version.is_null(found.entry))
        edits = self._version_edits.get(key, {})
        if number in edits:
            encoded = edits[number]
        elif self.bucket.versions is None:
            encoded = None
        else:
            wanted = version.version_key(key, number)
            encoded = drive(tree.get(self._params, self.bucket.versions, wanted), self._load)
        entry = None if encoded is None else Entry.decode(encoded)
        return None if entry is None or version.is_null(entry) else Version(number, entry)

    def newest(self, key: bytes) -> Version | None:
        """The newest version of ``key`` that is not current."""
        return self._find(key, lambda _: True)

    def set_version(self, key: bytes, number: int, entry: Entry | None) -> None:
        """Put ``entry`` among the versions of ``key`` under its number, or take away what is there."""
        self._version_edits.setdefault(key, {})[number] = None if entry is None else entry.encode()

    def apply(self) -> Applied:
        """Make the edits.

        Raises:
            TreeLimitError: a tree would exceed a limit.
        """
        bucket = self.bucket
        if not self._edits and not self._version_edits:
            return Applied(bucket, [])
        after = replace(bucket, objects=self._objects, size_bytes=self._size_bytes)
        nodes: list[tree.NewNode] = []
        if self._edits:
            root, nodes = drive(tree.apply(self._params, bucket.tree, self._edits), self._load)
            after = replace(after, tree=root)
        if self._version_edits:
            edits = {
                version.version_key(key, number): encoded
                for key, by_number in self._version_edits.items()
                for number, encoded in by_number.items()
            }
            start = bucket.versions or tree.EMPTY_ROOT
            root, new = drive(tree.apply(self._params, start, edits), self._load)
            after = replace(after, versions=None if root == tree.EMPTY_ROOT else root)
            nodes = nodes + new
        return Applied(after, nodes)

    def _find(self, key: bytes, wanted: Callable[[Version], bool]) -> Version | None:
        edits = self._version_edits.get(key, {})
        made = [Version(number, Entry.decode(encoded)) for number, encoded in edits.items() if encoded is not None]
        found = [candidate for candidate in made if wanted(candidate)]
        if self.bucket.versions is not None:
            search = version.find(
                self._params, self.bucket.versions, key, lambda it: it.number not in edits and wanted(it)
            )
            stored = drive(search, self._load)
            found += [stored] if stored is not None else []
        return max(found, key=lambda it: it.number, default=None)
