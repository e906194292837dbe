"""Walks over stored trees: a bucket's objects in key order, and all its versions in the order of a listing."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from gateway.store.blocks import Blocks
from gateway.store.errors import BlockCorrupt, BlockMissing
from mst import version
from mst.ahead import fetch_ahead
from mst.cid import CID
from mst.entry import Entry
from mst.errors import FormatError
from mst.fetch import drive_async
from mst.layer import TreeParams
from mst.node import Node
from mst.walk import Walk
from registry.heads import Bucket

AHEAD_KEYS_MAX = 1024
"""For how many keys nodes are fetched ahead at most."""


class StoreWalk:
    """`mst.walk.Walk` over stored blocks; where nodes are on the storage node alone, those of the next keys are fetched
    together (`mst.ahead`).

    Args:
        blocks: where nodes are.
        bucket: the bucket.
        root: one of its trees.
    """

    def __init__(self, blocks: Blocks, bucket: Bucket, root: CID):
        self._params = TreeParams(bucket.bits, bucket.salt)
        self._walk = Walk(self._params, root)
        self._blocks = blocks
        self._load_nodes = blocks.load_nodes_async(self._params)
        self._load = self._load_ahead if blocks.far is not None else self._load_nodes
        self._ahead: dict[CID, Node] = {}
        self._at = b""
        self._end: bytes | None = None
        self._keys = 1

    async def seek(self, start: bytes, keys: int = 1, end: bytes | None = None) -> None:
        """See `RowWalk`."""
        self._at, self._keys, self._end = start, keys, end
        await drive_async(self._walk.seek(start), self._load)

    async def run(self) -> tuple[Sequence[bytes], Sequence[bytes]] | None:
        """See `RowWalk`."""
        run = await drive_async(self._walk.run(), self._load)
        if run is not None:
            self._at = run.keys[-1]
        return run

    async def _load_ahead(self, cids: Sequence[CID]) -> Sequence[Node]:
        (cid,) = cids  # a walk opens one after the other
        if cid not in self._ahead and self._blocks.is_node_far(self._params, cid):
            await self._fetch_ahead()
        node = self._ahead.get(cid)
        return await self._load_nodes(cids) if node is None else (node,)

    async def _fetch_ahead(self) -> None:
        try:
            self._ahead = await drive_async(
                fetch_ahead(self._params, self._walk.root, self._at, self._keys, self._end), self._load_nodes
            )
        except (BlockMissing, BlockCorrupt, FormatError):
            self._ahead = {}  # the walk may not come to what is damaged
        # Whoever goes on and on does not say so beforehand.
        self._keys = min(2 * self._keys, AHEAD_KEYS_MAX)


class RowWalk(Protocol):
    """A position among keys and values in key order."""

    async def seek(self, start: bytes, keys: int = 1, end: bytes | None = None) -> None:
        """Stand before the first key that is not below ``start``.

        Args:
            start: see above.
            keys: how many keys will be looked at, for all the caller knows.
            end: from which key on none will be; None if they may go on to the last.
        """

    async def run(self) -> tuple[Sequence[bytes], Sequence[bytes]] | None:
        """The next keys with their encoded entries, None at the end."""


class _Rows(NamedTuple):
    keys: Sequence[bytes]
    values: Sequence[bytes]


_NONE = _Rows((), ())


class VersionWalk:
    """Every version in a bucket, each under its version key (`mst.version`), current objects too.

    Args:
        current: a walk over the tree of current objects.
        older: a walk over the tree of versions; None if there is none.
    """

    def __init__(self, current: RowWalk, older: RowWalk | None):
        self._current = current
        self._older = older
        self._start = b""
        self._rows = [_NONE, _NONE]
        self._ended = [False, older is None]

    async def seek(self, start: bytes, keys: int = 1, end: bytes | None = None) -> None:
        """See `RowWalk`; of version keys."""
        self._start = start
        self._rows = [_NONE, _NONE]
        self._ended = [False, self._older is None]
        await self._current.seek(start.partition(b"\0")[0], keys, end)
        if self._older is not None:
            await self._older.seek(start, keys, end)

    async def run(self) -> tuple[Sequence[bytes], Sequence[bytes]] | None:
        """The next version keys with their encoded entries; None at the end."""
        if not self._rows[0].keys and not self._ended[0]:
            self._rows[0] = await self._next_current()
            self._ended[0] = not self._rows[0].keys
        if not self._rows[1].keys and not self._ended[1]:
            assert self._older is not None
            self._rows[1] = _Rows(*(await self._older.run() or _NONE))
            self._ended[1] = not self._rows[1].keys
        sure = [rows.keys[-1] for rows in self._rows if rows.keys]
        if not sure:
            return None
        # What comes behind the lower of the two ends may still have something of the other tree before it.
        stops = [bisect_right(rows.keys, min(sure)) for rows in self._rows]
        pairs = sorted(
            pair
            for rows, stop in zip(self._rows, stops, strict=True)
            for pair in zip(rows.keys[:stop], rows.values[:stop], strict=True)
        )
        self._rows = [_Rows(rows.keys[stop:], rows.values[stop:]) for rows, stop in zip(self._rows, stops, strict=True)]
        return [key for key, _ in pairs], [value for _, value in pairs]

    async def _next_current(self) -> _Rows:
        """The next current objects under their version keys; none of them at the end."""
        while (run := await self._current.run()) is not None:
            keys = [
                version.version_key(key, version.order_of(Entry.decode(value))) for key, value in zip(*run, strict=True)
            ]
            first = bisect_left(keys, self._start)
            if first < len(keys):
                return _Rows(keys[first:], run[1][first:])
        return _NONE
