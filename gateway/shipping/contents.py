"""The bytes of a shard, wherever they are: in a bulk segment, or in a pack in the outbox."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gateway.store.errors import BlockCorrupt
from gateway.store.segment import SegmentBytes
from gateway.store.segments import Segments
from mst import car, varint
from mst.cid import CAR, CID, Link, multihash
from mst.errors import FormatError
from registry.shards import Shard, Slice
from registry.ucan import index
from registry.ucan.index import Index

PIECE_BYTES: Final = 1 << 20
"""In what pieces shards are read."""


class Contents:
    """Reads shards.  Blocking: for threads.

    Args:
        segments: the folder's segments.
        outbox: the folder of packs.
    """

    def __init__(self, segments: Segments, outbox: Path):
        self._segments = segments
        self._outbox = outbox

    def pack_path(self, digest: bytes) -> Path:
        """The file of the pack with that SHA-256."""
        return self._outbox / f"{digest.hex()}.car"

    def pieces(self, shard: Shard) -> Iterator[bytes]:
        """The shard's bytes, from the first to the last.

        Raises:
            BlockMissing, BlockCorrupt: they are not there any more.
        """
        with self._opened(shard.slice, shard.digest) as data:
            for start in range(0, shard.size_bytes, PIECE_BYTES):
                stop = min(start + PIECE_BYTES, shard.size_bytes)
                piece = bytes(data[start:stop])
                if len(piece) != stop - start:
                    raise BlockCorrupt(f"shard {shard.number} ends before byte {stop}")
                yield piece

    def places(self, shard: Shard) -> list[tuple[bytes, int, int]]:
        """Digest, offset and length of each block in the shard.

        Raises:
            BlockMissing, BlockCorrupt: its bytes are not there any more, or others.
        """
        with self._opened(shard.slice, shard.digest) as data:
            return places_in(data)

    def index(self, shard: Shard) -> bytes:
        """The shard's index.

        Raises:
            BlockMissing, BlockCorrupt: as `places`; also if the index is not the one that was made first.
        """
        encoded = _index(shard.digest, shard.manifest, self.places(shard))
        if hashlib.sha256(encoded).digest() != shard.index_digest:
            raise BlockCorrupt(f"shard {shard.number} is not what it was")
        return encoded

    def seal(self, part: Slice) -> Shard:
        """The shard that is that part of a bulk segment.

        Raises:
            BlockMissing, BlockCorrupt: it cannot be read.
        """
        with self._opened(part, b"") as data:
            digest = hashlib.sha256()
            for start in range(0, len(data), PIECE_BYTES):
                digest.update(data[start : start + PIECE_BYTES])
            return describe(digest.digest(), len(data), None, places_in(data), part)

    @contextmanager
    def _opened(self, part: Slice | None, digest: bytes) -> Iterator[car.Bytes]:
        if part is not None:
            yield _SliceBytes(SegmentBytes(self._segments.get(part.segment), part.stop), part.start)
            return
        try:
            with self.pack_path(digest).open("rb") as file:
                yield _FileBytes(file.fileno())
        except OSError as error:
            raise BlockCorrupt(f"cannot read pack {digest.hex()}: {error.strerror}") from error


def describe(
    digest: bytes, size_bytes: int, manifest: CID | None, places: list[tuple[bytes, int, int]], part: Slice | None
) -> Shard:
    """A shard of those bytes, with the index that goes with it."""
    encoded = _index(digest, manifest, places)
    return Shard(0, digest, size_bytes, hashlib.sha256(encoded).digest(), len(encoded), part, manifest)


def content_of(shard: Shard) -> Link:
    """What the index of a shard is of: the manifest, if it has one, else the shard itself."""
    return _content(shard.digest, shard.manifest)


def _content(digest: bytes, manifest: CID | None) -> Link:
    return manifest or Link.of_multihash(CAR, multihash(digest))


def _index(digest: bytes, manifest: CID | None, places: list[tuple[bytes, int, int]]) -> bytes:
    slices = {block: index.Slice(offset, length) for block, offset, length in places}
    return Index(_content(digest, manifest), {digest: slices}).encode()


def places_in(data: car.Bytes) -> list[tuple[bytes, int, int]]:
    """Digest, offset and length of each block in the bytes of a shard.

    Raises:
        BlockCorrupt: they are no CAR file.
    """
    try:
        length, start = varint.decode(bytes(data[:10]))
        return [(cid.digest, at, size) for cid, at, size in car.sections(data, start + length, len(data))]
    except FormatError as error:
        raise BlockCorrupt(f"a shard is no CAR file: {error}") from error


class _SliceBytes:
    """A CAR header, then a segment from some offset on."""

    def __init__(self, segment: SegmentBytes, start: int):
        self._segment = segment
        self._shift = start - len(car.HEADER)

    def __len__(self) -> int:
        return len(self._segment) - self._shift

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(len(self))
        head = car.HEADER[start:stop]
        return head + self._segment[start + len(head) + self._shift : max(stop, start + len(head)) + self._shift]


class _FileBytes:
    """A file."""

    def __init__(self, fd: int):
        self._fd = fd
        self._size = os.fstat(fd).st_size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size)
        return os.pread(self._fd, max(stop - start, 0), start)
