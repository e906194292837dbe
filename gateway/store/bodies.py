"""Object bodies: a stream of bytes becomes UnixFS blocks on the way in, and is read back range by range.

A body's memory is a few MiB whatever its size: one stretch of it is hashed and written in threads while the next one
arrives.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, Protocol, TypeVar, TypeVarTuple, Unpack

from gateway.store.blocks import Blocks
from gateway.store.bulk import BulkPool, BulkWriter
from gateway.store.errors import BlockCorrupt
from mst.block import Block
from mst.cid import CID, RAW
from mst.errors import FormatError
from mst.fetch import drive_async
from mst.limits import BLOCK_BYTES_MAX, CHUNK_BYTES
from mst.unixfs import FileBuilder, Leaf, leaf_ranges

T = TypeVar("T")
Args = TypeVarTuple("Args")

WINDOW_BYTES = 1 << 30
"""How much of a body's leaves is looked up at once, which bounds the memory of reading a huge one."""
AHEAD_BYTES = (4 << 20, 8 << 20, 15 << 20)
"""How much of a body is fetched at once from the storage node, at first, then, and from then on.  With what lies
between its leaves, the last still fits one request of 16 MiB."""
STRETCH_BYTES = 2 * CHUNK_BYTES
"""How much of a body threads are given at once: handing it over costs as much as hashing 100 KB."""
LOOP_HASH_BYTES_MAX = 16 * 1024
"""Largest body hashed on the event loop itself; for more a thread hop is the cheaper way."""


class Digest(Protocol):
    """An incremental checksum, as in hashlib."""

    def update(self, data: bytes, /) -> object:
        """Take more bytes."""


@dataclass(frozen=True, slots=True)
class Body:
    """A body that has arrived whole.

    Attributes:
        cid: the body's CID, a raw block or a UnixFS file.
        size: its length in bytes.
        md5: MD5 of the content.
        sha256: SHA-256 of the content, if it was asked for or came for free.
        leaves: (CID, length) of each leaf in order.
        blocks: blocks not stored yet, for the commit that makes the body visible; the others are durable.
    """

    cid: CID
    size: int
    md5: bytes
    sha256: bytes | None
    leaves: tuple[tuple[CID, int], ...]
    blocks: tuple[Block, ...]


class BodyWriter:
    """Takes one body.  End it with `finish` or `abort`.

    Args:
        bulk: where large bodies go.
        threads: where hashing and writing is done.
        inline_bytes: bodies up to this length (at most one leaf) are handed to the commit instead of a bulk segment.
        digests: checksums to feed with the content.
        sha256: whether `Body.sha256` is wanted even if the body has several leaves.
    """

    def __init__(
        self,
        bulk: BulkPool,
        threads: Executor,
        *,
        inline_bytes: int,
        digests: Sequence[Digest] = (),
        sha256: bool = False,
    ):
        self._bulk_pool = bulk
        self._threads = threads
        self._inline_bytes = inline_bytes
        self._digests = digests
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256() if sha256 else None
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._size = 0
        self._bulk: BulkWriter | None = None
        self._builder = FileBuilder()
        self._leaves: list[tuple[CID, int]] = []
        self._busy: asyncio.Future[Any] | None = None

    @property
    def size(self) -> int:
        """Bytes taken so far."""
        return self._size

    async def write(self, piece: bytes) -> None:
        """Take the next bytes.

        Raises:
            StoreFull, StoreReadOnly: an earlier leaf could not be written.
        """
        self._size += len(piece)
        self._buffered += len(piece)
        self._pieces.append(piece)
        # Strictly more than a stretch: a body's last leaf is stored by `finish`.
        while self._buffered > STRETCH_BYTES:
            await self._store(self._take(STRETCH_BYTES))
        if self._busy is not None and self._busy.done():
            # Of several uploads that come to the end of the disk, one that gives back at once saves the next.
            await self._settle()

    def _take(self, length: int) -> list[list[bytes]]:
        """Take the next ``length`` bytes as leaves, each in the pieces that it came in."""
        leaves: list[list[bytes]] = []
        room = 0
        while length:
            if not room:
                leaves.append([])
                room = CHUNK_BYTES
            piece = self._pieces[0]
            taken = min(len(piece), room, length)
            leaves[-1].append(piece[:taken])
            if taken < len(piece):
                self._pieces[0] = piece[taken:]
            else:
                del self._pieces[0]
            room -= taken
            length -= taken
            self._buffered -= taken
        return leaves

    async def finish(self, verify: Callable[[bytes, bytes | None], None] | None = None) -> Body:
        """The body is complete.

        Args:
            verify: called with the content's MD5 and SHA-256 (None unless it was asked for or came for free) when all
                digests are final and before anything is made durable; raises to refuse the body.

        Raises:
            StoreFull, StoreReadOnly: it could not be made durable; call `abort`.
            anything ``verify`` raises; call `abort`.
        """
        if self._size <= CHUNK_BYTES:
            pieces, self._pieces = self._pieces, []
            return await self._finish_single(pieces[0] if len(pieces) == 1 else b"".join(pieces), verify)
        await self._store(self._take(self._buffered))
        await self._settle()
        sha256 = self._sha256.digest() if self._sha256 else None
        if verify is not None:
            verify(self._md5.digest(), sha256)
        root = await self._done(self._in_thread(self._finish_bulk))
        return Body(root, self._size, self._md5.digest(), sha256, tuple(self._leaves), ())

    async def abort(self) -> None:
        """Forget the body; nothing of it stays."""
        if self._busy is not None:
            await asyncio.wait([self._busy])
        if self._bulk is not None:
            await asyncio.shield(self._in_thread(self._bulk.abort))

    async def _finish_single(self, data: bytes, verify: Callable[[bytes, bytes | None], None] | None) -> Body:
        if len(data) <= LOOP_HASH_BYTES_MAX:
            self._md5.update(data)
            cid = CID.of(RAW, data)
            self._feed_digests(data)
        else:
            md5 = self._in_thread(self._hash_content, [data])
            cid, _ = await asyncio.gather(self._in_thread(self._leaf_cid, [data]), md5)
        if verify is not None:
            verify(self._md5.digest(), cid.digest)
        blocks: tuple[Block, ...] = (Block(cid, data),)
        if len(data) > self._inline_bytes:
            await self._done(self._in_thread(self._store_alone, cid, data))
            blocks = ()
        leaves = ((cid, len(data)),) if data else ()
        return Body(cid, self._size, self._md5.digest(), cid.digest, leaves, blocks)

    async def _store(self, leaves: list[list[bytes]]) -> None:
        """Hash and write some leaves in the background, after those before them."""
        await self._settle()
        self._busy = asyncio.gather(
            self._in_thread(self._hash_content, [piece for leaf in leaves for piece in leaf]),
            self._in_thread(self._write_leaves, leaves),
        )

    async def _settle(self) -> None:
        if self._busy is not None:
            await self._done(self._busy)

    async def _done(self, work: asyncio.Future[T]) -> T:
        """The result of a thread's work, for which `abort` waits where a request is cancelled meanwhile."""
        self._busy = work
        result = await asyncio.shield(work)
        self._busy = None
        return result

    def _in_thread(self, function: Callable[[Unpack[Args]], T], *args: *Args) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def _hash_content(self, pieces: Sequence[bytes]) -> None:
        # MD5 alone takes longer than everything else together: it has a thread of its own.
        for piece in pieces:
            self._md5.update(piece)

    def _feed_digests(self, piece: bytes) -> None:
        for digest in self._digests:
            digest.update(piece)

    def _leaf_cid(self, pieces: Sequence[bytes]) -> CID:
        sha256 = hashlib.sha256()
        for piece in pieces:
            self._feed_digests(piece)
            sha256.update(piece)
        return CID.from_digest(RAW, sha256.digest())

    def _write_leaves(self, leaves: Sequence[Sequence[bytes]]) -> None:
        if self._bulk is None:
            self._bulk = self._bulk_pool.borrow()
        for leaf in leaves:
            cid = self._leaf_cid(leaf)
            if self._sha256 is not None:
                for piece in leaf:
                    self._sha256.update(piece)
            self._bulk.append(cid, *leaf)
            length = sum(map(len, leaf))
            self._leaves.append((cid, length))
            for block in self._builder.add_leaf(cid, length):
                self._bulk.append(*block)

    def _finish_bulk(self) -> CID:
        assert self._bulk is not None
        root, blocks = self._builder.finish()
        for block in blocks:
            self._bulk.append(*block)
        self._bulk.finish()
        self._bulk = None
        return root

    def _store_alone(self, cid: CID, data: bytes) -> None:
        self._bulk = self._bulk_pool.borrow()
        self._bulk.append(cid, data)
        self._bulk.finish()
        self._bulk = None


async def read_range(blocks: Blocks, body: CID, size: int, start: int, stop: int) -> bytes:
    """`read_body` for a range that fits in memory, as one piece."""
    if body.codec == RAW and size <= BLOCK_BYTES_MAX:
        data = await blocks.read_async(body)
        return data if stop - start == size else data[start:stop]
    return b"".join([piece async for piece in read_body(blocks, body, size, start, stop)])


async def read_body(blocks: Blocks, body: CID, size: int, start: int, stop: int) -> AsyncGenerator[bytes, None]:
    """The bytes ``start`` to ``stop`` of a body, one verified leaf after the other; what follows is read ahead.

    Args:
        blocks: where from.
        body: the body's CID.
        size: its length in bytes.
        start: first byte.
        stop: behind the last byte, at most ``size``.

    Raises:
        BlockMissing, BlockCorrupt, RemoteUnavailable: a leaf cannot be had; what was yielded before was right.
    """
    for first in range(start, stop, WINDOW_BYTES):
        last = min(first + WINDOW_BYTES, stop)
        try:
            leaves = await drive_async(leaf_ranges(body, size, first, last), blocks.read_many)
        except FormatError as error:
            raise BlockCorrupt(f"body {body} is not a valid file: {error}") from error
        async with aclosing(_read_leaves(blocks, leaves, first, last)) as pieces:
            async for piece in pieces:
                yield piece


class _Stretch(NamedTuple):
    """Neighbouring leaves that are read together, and how much of the memory for reading ahead they have reserved."""

    leaves: list[Leaf]
    reserved: int


async def _read_leaves(blocks: Blocks, leaves: Sequence[Leaf], start: int, stop: int) -> AsyncGenerator[bytes, None]:
    stretches = _stretches(blocks, leaves)
    reserved: list[int] = []
    ahead: asyncio.Task[list[bytes]] | None = None

    def begin() -> asyncio.Task[list[bytes]] | None:
        stretch = next(stretches, None)
        if stretch is None:
            return None
        reserved.append(stretch.reserved)
        return asyncio.ensure_future(_read_stretch(blocks, stretch.leaves))

    offset = leaves[0].offset if leaves else 0
    try:
        ahead = begin()
        while ahead is not None:
            contents = await ahead
            ahead = begin()
            for data in contents:
                first, last = max(start - offset, 0), min(stop - offset, len(data))
                offset += len(data)
                if first < last:
                    yield data[first:last]  # the very leaf, uncopied, if it is wanted whole
            del contents
            _release(blocks, reserved.pop(0))
    finally:
        if ahead is not None:
            ahead.cancel()
        for taken in reserved:
            _release(blocks, taken)


def _stretches(blocks: Blocks, leaves: Sequence[Leaf]) -> Iterator[_Stretch]:
    """Each leaf alone if it is here, and with those that follow it if they have to be fetched."""
    number = fetched = 0
    while number < len(leaves):
        taken, reserved = [leaves[number]], 0
        if blocks.far is not None and blocks.is_far(leaves[number].cid):
            reserved = blocks.far.reserve(AHEAD_BYTES[min(fetched, len(AHEAD_BYTES) - 1)])
            fetched += 1
            size = leaves[number].size_bytes
            for leaf in islice(leaves, number + 1, None):
                size += leaf.size_bytes
                if size > reserved or not blocks.is_far(leaf.cid):
                    break
                taken.append(leaf)
        number += len(taken)
        yield _Stretch(taken, reserved)


async def _read_stretch(blocks: Blocks, leaves: Sequence[Leaf]) -> list[bytes]:
    if len(leaves) == 1:
        return [await blocks.read_async(leaves[0].cid)]
    return await blocks.read_many([leaf.cid for leaf in leaves])


def _release(blocks: Blocks, reserved: int) -> None:
    if reserved and blocks.far is not None:
        blocks.far.release(reserved)
