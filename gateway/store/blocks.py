"""Verified reads: from a CID to bytes that match it, or an error; nothing else leaves the disk.

Places come from the index, bytes from the segments; every block is hashed on every read.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor

from gateway.store.errors import BlockCorrupt, BlockMissing
from gateway.store.index import BlockIndex
from gateway.store.nodes import NodeCache
from gateway.store.segments import Segments
from mst import node as node_codec
from mst import tree
from mst.cid import CID
from mst.errors import FormatError
from mst.layer import TreeParams
from mst.node import Node

PIECE_BYTES = 256 * 1024
"""Piece in which large blocks are read, hashed and sent: measured as the fastest to write under uvloop."""
LOOP_READ_BYTES_MAX = 16 * 1024
"""Largest block read and hashed on the event loop itself: a thread hop costs more (about 90 us)."""


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
        digest = cid[4:]
        place = self._index.get(digest)
        if place is None:
            raise BlockMissing(f"block {cid} is in no segment")
        data = self._segments.read(*place)
        if hashlib.sha256(data).digest() != digest:
            raise BlockCorrupt(f"segment {place.segment} at {place.offset}: bytes do not match {cid}")
        return data

    def read_pieces(self, cid: CID) -> list[bytes]:
        """`read`, in pieces of up to ``PIECE_BYTES``: each is hashed while it is still in the processor's cache.

        Raises:
            BlockMissing, BlockCorrupt: as `read`; no piece is returned before all of them match.
        """
        digest = cid[4:]
        place = self._index.get(digest)
        if place is None:
            raise BlockMissing(f"block {cid} is in no segment")
        number, offset, length = place
        hasher = hashlib.sha256()
        pieces = []
        for start in range(0, length, PIECE_BYTES):
            piece = self._segments.read(number, offset + start, min(PIECE_BYTES, length - start))
            hasher.update(piece)
            pieces.append(piece)
        if hasher.digest() != digest:
            raise BlockCorrupt(f"segment {number} at {offset}: bytes do not match {cid}")
        return pieces

    async def read_pieces_async(self, cid: CID) -> list[bytes]:
        """`read_pieces` in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.read_pieces, cid)

    async def read_async(self, cid: CID, size_hint: int) -> bytes:
        """`read` for the event loop; blocks of more than ``LOOP_READ_BYTES_MAX`` are read in a thread."""
        if size_hint <= LOOP_READ_BYTES_MAX:
            return self.read(cid)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.read, cid)

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
