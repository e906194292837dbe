"""Verified reads: from a CID to bytes that match it, or an error; nothing else leaves the disk or the storage node.

Places come from the index, bytes from the segments, and what no segment holds from afar (`gateway.store.far`).  Every
block is hashed on every read.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import cast

from gateway.store.errors import BlockCorrupt, BlockMissing
from gateway.store.far import FarBlocks
from gateway.store.index import BlockIndex
from gateway.store.nodes import NodeCache
from gateway.store.place import Place
from gateway.store.segments import Segments
from mst import node as node_codec
from mst import tree
from mst.cid import CID
from mst.errors import FormatError
from mst.layer import TreeParams
from mst.node import Node


class Blocks:
    """Read access to every stored block.

    Args:
        index: where blocks lie.
        segments: the files they lie in.
        nodes: the cache of decoded tree nodes.
        threads: where reads that would hold up the event loop are done.

    Attributes:
        far: where blocks are that no segment holds, if there is such a place.
    """

    def __init__(self, index: BlockIndex, segments: Segments, nodes: NodeCache, threads: Executor):
        self.far: FarBlocks | None = None
        self._index = index
        self._segments = segments
        self._nodes = nodes
        self._threads = threads

    def holds(self, cid: CID) -> bool:
        """Whether a segment holds the block, whole or damaged."""
        return self._index.get(cid.digest) is not None

    def holds_intact(self, cid: CID) -> bool:
        """Whether a segment holds the block and its bytes are right: what makes storing it again needless."""
        try:
            return self._read_if_here(cid) is not None
        except BlockCorrupt:
            return False

    def segment_of(self, cid: CID) -> int | None:
        """The number of the segment that holds the block, None if none does."""
        place = self._index.get(cid.digest)
        return None if place is None else place.segment

    def can_be_had(self, cid: CID) -> bool:
        """Whether the block is in a segment or afar, for all that is known here."""
        return self.holds(cid) or (self.far is not None and self.far.holds(cid.digest))

    def is_far(self, cid: CID) -> bool:
        """Whether the block can only be had from afar."""
        return self.far is not None and not self._is_here(cid)

    def is_node_far(self, params: TreeParams, cid: CID) -> bool:
        """Whether a tree node can only be had from the storage node: memory, disk and the cache there lack it."""
        if self.far is None or cid == tree.EMPTY_ROOT or self._nodes.get(params, cid) is not None:
            return False
        return not (self._is_here(cid) or self.far.is_cached(cid.digest))

    def read(self, cid: CID) -> bytes:
        """The block's bytes, verified.  For threads.

        Raises:
            BlockMissing: neither a segment nor the storage node holds it.
            BlockCorrupt: what lies at its place is something else.
            RemoteUnavailable: no segment holds it, and the storage node cannot be asked.
        """
        data = self._read_if_here(cid)
        return self._afar([cid]).read([cid])[0] if data is None else data

    async def read_async(self, cid: CID) -> bytes:
        """`read` for the event loop, which never waits for a disk.

        What the kernel has in memory is read and hashed at once: 1 MiB takes under a millisecond, and through a thread
        a fifth longer.
        """
        data = await self._read_if_here_async(cid)
        return (await self._afar([cid]).read_async([cid]))[0] if data is None else data

    async def read_many(self, cids: Sequence[CID]) -> list[bytes]:
        """The bytes of several blocks, verified, read in a thread or fetched together.

        Raises:
            BlockMissing, BlockCorrupt, RemoteUnavailable: as `read`.
        """
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: [self._read_if_here(cid) for cid in cids]
        )
        missing = [cid for cid, data in zip(cids, found, strict=True) if data is None]
        rest = iter(await self._afar(missing).read_async(missing) if missing else ())
        return [next(rest) if data is None else data for data in found]

    def _read_if_here(self, cid: CID) -> bytes | None:
        """The block, None if no segment holds it."""
        place = self._index.get(cid[4:])
        try:
            return None if place is None else self._read(cid, place)
        except BlockMissing:  # the segment is gone
            return None

    async def _read_if_here_async(self, cid: CID) -> bytes | None:
        """`_read_if_here`, in a thread if it would wait for the disk."""
        place = self._index.get(cid[4:])
        if place is None:
            return None
        try:
            if self._segments.in_memory(*place):
                return self._read(cid, place)
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, cid, place)
        except BlockMissing:  # the segment is gone
            return None

    def _afar(self, cids: Sequence[CID]) -> FarBlocks:
        if self.far is None:
            place = self._index.get(cids[0].digest)
            raise BlockMissing(f"segment {place.segment} is gone" if place else f"block {cids[0]} is in no segment")
        return self.far

    def _is_here(self, cid: CID) -> bool:
        place = self._index.get(cid.digest)
        return place is not None and self._segments.has(place.segment)

    def _read(self, cid: CID, place: Place) -> bytes:
        data = self._segments.read(*place)
        if hashlib.sha256(data).digest() != cid[4:]:
            raise BlockCorrupt(f"segment {place.segment} at {place.offset}: bytes do not match {cid}")
        return data

    def node(self, params: TreeParams, cid: CID) -> Node:
        """A tree node, from memory, disk or afar.  For threads.

        Raises:
            BlockMissing, BlockCorrupt, RemoteUnavailable: as `read`; BlockCorrupt also for a block that is no valid
                node.
        """
        return self.load_nodes(params)([cid])[0]

    def load_nodes(self, params: TreeParams) -> Callable[[Sequence[CID]], list[Node]]:
        """What `mst.fetch.drive` needs to read a tree.  For threads."""

        def load(cids: Sequence[CID]) -> list[Node]:
            found = self._nodes_here(params, cids)
            missing = [cid for cid, node in zip(cids, found, strict=True) if node is None]
            if not missing:
                return cast("list[Node]", found)
            return self._with_fetched(params, cids, found, self._afar(missing).read(missing))

        return load

    def load_nodes_async(self, params: TreeParams) -> Callable[[Sequence[CID]], Awaitable[list[Node]]]:
        """What `mst.fetch.drive_async` needs to read a tree: nodes not in memory are read in a thread, or fetched
        together from afar."""

        async def load(cids: Sequence[CID]) -> list[Node]:
            held = [self._nodes.get(params, cid) for cid in cids]
            if None not in held:
                return cast("list[Node]", held)
            in_thread = partial(asyncio.get_running_loop().run_in_executor, self._threads)
            found = await in_thread(self._nodes_here, params, cids)
            missing = [cid for cid, node in zip(cids, found, strict=True) if node is None]
            if not missing:
                return cast("list[Node]", found)
            fetched = await self._afar(missing).read_async(missing)
            return await in_thread(self._with_fetched, params, cids, found, fetched)

        return load

    def _nodes_here(self, params: TreeParams, cids: Sequence[CID]) -> list[Node | None]:
        """The nodes that are in memory or in a segment, None for the others."""
        return [self._node_here(params, cid) for cid in cids]

    def _node_here(self, params: TreeParams, cid: CID) -> Node | None:
        node = self._nodes.get(params, cid)
        if node is not None:
            return node
        data = tree.EMPTY_BLOCK if cid == tree.EMPTY_ROOT else self._read_if_here(cid)
        return None if data is None else self._decode(params, cid, data)

    def _with_fetched(
        self, params: TreeParams, cids: Sequence[CID], found: Sequence[Node | None], fetched: Sequence[bytes]
    ) -> list[Node]:
        rest = iter(fetched)
        return [
            self._decode(params, cid, next(rest)) if node is None else node
            for cid, node in zip(cids, found, strict=True)
        ]

    def _decode(self, params: TreeParams, cid: CID, data: bytes) -> Node:
        try:
            node = node_codec.decode(data, params)
        except FormatError as error:
            raise BlockCorrupt(f"block {cid} is not a tree node: {error}") from error
        self._nodes.add(params, cid, node, len(data))
        return node
