"""Verified reads: from a CID to bytes that match it, or an error; nothing else leaves the disk.

Places come from the index, bytes from the segments; every block is hashed on every read.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from typing import TypeVar

from gateway.store.errors import BlockCorrupt, BlockMissing
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

PIECE_BYTES = 256 * 1024
"""Piece in which large blocks are read, hashed and sent: measured as the fastest to write under uvloop."""

T = TypeVar("T")


class Blocks:
    """Read access to every stored block.

    Args:
        index: where blocks lie.
        segments: the files they lie in.
        nodes: the cache of decoded tree nodes.
        threads: where reads that would hold up the event loop are done.
    """

    def __init__(self, index: BlockIndex, segments: Segments, nodes: NodeCache, threads: Executor):
        self._index = index
        self._segments = segments
        self._nodes = nodes
        self._threads = threads

    def holds(self, cid: CID) -> bool:
        """Whether a segment holds the block, whole or damaged."""
        return self._index.get(cid.digest) is not None

    def holds_intact(self, cid: CID) -> bool:
        """Whether a segment holds the block and its bytes are right: what makes storing it again needless."""
        if not self.holds(cid):
            return False
        try:
            self.read(cid)
        except (BlockMissing, BlockCorrupt):
            return False
        return True

    def read(self, cid: CID) -> bytes:
        """The block's bytes, verified.

        Raises:
            BlockMissing: no segment holds it.
            BlockCorrupt: what lies at its place is something else.
        """
        return self._read(cid, self._place(cid))

    def read_pieces(self, cid: CID) -> list[bytes]:
        """`read`, in pieces of up to ``PIECE_BYTES``: each is hashed while it is still in the processor's cache.

        Raises:
            BlockMissing, BlockCorrupt: as `read`; no piece is returned before all of them match.
        """
        return self._read_pieces(cid, self._place(cid))

    async def read_pieces_async(self, cid: CID) -> list[bytes]:
        """`read_pieces` for the event loop, as `read_async`."""
        return await self._here_or_in_thread(self._read_pieces, cid)

    async def read_async(self, cid: CID) -> bytes:
        """`read` for the event loop, which never waits for a disk.

        What the kernel has in memory is read and hashed at once: 1 MiB takes under a millisecond, and through a thread
        a fifth longer.
        """
        return await self._here_or_in_thread(self._read, cid)

    async def _here_or_in_thread(self, read: Callable[[CID, Place], T], cid: CID) -> T:
        place = self._place(cid)
        if self._segments.in_memory(*place):
            return read(cid, place)
        return await asyncio.get_running_loop().run_in_executor(self._threads, read, cid, place)

    def _place(self, cid: CID) -> Place:
        place = self._index.get(cid[4:])
        if place is None:
            raise BlockMissing(f"block {cid} is in no segment")
        return place

    def _read(self, cid: CID, place: Place) -> bytes:
        data = self._segments.read(*place)
        if hashlib.sha256(data).digest() != cid[4:]:
            raise BlockCorrupt(f"segment {place.segment} at {place.offset}: bytes do not match {cid}")
        return data

    def _read_pieces(self, cid: CID, place: Place) -> list[bytes]:
        number, offset, length = place
        hasher = hashlib.sha256()
        pieces = []
        for start in range(0, length, PIECE_BYTES):
            piece = self._segments.read(number, offset + start, min(PIECE_BYTES, length - start))
            hasher.update(piece)
            pieces.append(piece)
        if hasher.digest() != cid[4:]:
            raise BlockCorrupt(f"segment {number} at {offset}: bytes do not match {cid}")
        return pieces

    async def read_many(self, cids: Sequence[CID]) -> list[bytes]:
        """The bytes of several blocks, verified, read in a thread."""
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: [self.read(cid) for cid in cids]
        )

    def node(self, params: TreeParams, cid: CID) -> Node:
        """A tree node, from memory or disk.

        Raises:
            BlockMissing, BlockCorrupt: as `read`; BlockCorrupt also for a block that is no valid node.
        """
        node = self._nodes.get(params, cid)
        if node is None:
            data = tree.EMPTY_BLOCK if cid == tree.EMPTY_ROOT else self.read(cid)
            try:
                node = node_codec.decode(data, params)
            except FormatError as error:
                raise BlockCorrupt(f"block {cid} is not a tree node: {error}") from error
            self._nodes.add(params, cid, node, len(data))
        return node

    def load_nodes(self, params: TreeParams) -> Callable[[Sequence[CID]], list[Node]]:
        """What `mst.fetch.drive` needs to read a tree."""
        return lambda cids: [self.node(params, cid) for cid in cids]

    def load_nodes_async(self, params: TreeParams) -> Callable[[Sequence[CID]], Awaitable[list[Node]]]:
        """What `mst.fetch.drive_async` needs to read a tree: nodes not in memory are read in a thread."""

        async def load(cids: Sequence[CID]) -> list[Node]:
            held = [self._nodes.get(params, cid) for cid in cids]
            if None not in held:
                return held  # type: ignore[return-value]
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self.load_nodes(params), cids
            )

        return load
