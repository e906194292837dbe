"""Walks over stored trees: a bucket's objects in key order, and all its versions in the order of a listing."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from gateway.store.blocks import Blocks
from mst import version
from mst.cid import CID
from mst.entry import Entry
from mst.fetch import drive_async
from mst.layer import TreeParams
from mst.walk import Walk
from registry.heads import Bucket


class StoreWalk:
    """`mst.walk.Walk` over stored blocks.

    Args:
        blocks: where nodes are.
        bucket: the bucket.
        root: one of its trees.
    """

    def __init__(self, blocks: Blocks, bucket: Bucket, root: CID):
        params = TreeParams(bucket.bits, bucket.salt)
        self._walk = Walk(params, root)
        self._load = blocks.load_nodes_async(params)

    async def seek(self, start: bytes) -> None:
        """Stand before the first key that is not below ``start``."""
        await drive_async(self._walk.seek(start), self._load)

    async def run(self) -> tuple[Sequence[bytes], Sequence[bytes]] | None:
        """The next keys with their encoded entries; None at the end."""
        return await drive_async(self._walk.run(), self._load)


class RowWalk(Protocol):
    """A position among keys and values in key order."""

    async def seek(self, start: bytes) -> None:
        """Stand before the first key that is not below ``start``."""

    async def run(self) -> tuple[Sequence[bytes], Sequence[bytes]] | None:
        """The next keys and values, None at the end."""


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

    async def seek(self, start: bytes) -> None:
        """Stand before the first version key that is not below ``start``."""
        self._start = start
        self._rows = [_NONE, _NONE]
        self._ended = [False, self._older is None]
        await self._current.seek(start.partition(b"\0")[0])
        if self._older is not None:
            await self._older.seek(start)

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
        self._rows = [
            _Rows(rows.keys[stop:], rows.values[stop:]) for rows, stop in zip(self._rows, stops, strict=True)
        ]
        return [key for key, _ in pairs], [value for _, value in pairs]

    async def _next_current(self) -> _Rows:
        """The next current objects under their version keys; none of them at the end."""
        while (run := await self._current.run()) is not None:
            keys = [
                version.version_key(key, version.order_of(Entry.decode(value)))
                for key, value in zip(*run, strict=True)
            ]
            first = bisect_left(keys, self._start)
            if first < len(keys):
                return _Rows(keys[first:], run[1][first:])
        return _NONE
