"""Whether the node has every byte that the buckets need: all of it is read once and hashed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from gateway.recovering.asking import Progress
from gateway.recovering.reading import Missing, fetch_each
from gateway.shipping.places import RemotePlaces
from gateway.shipping.reading import NodeBlocks
from mst import closure
from mst.cid import CID
from mst.fetch import drive_async
from registry.heads import Bucket

BLOCKS_AT_ONCE: Final = 256
"""How many blocks are asked for at once, at most."""
BYTES_AT_ONCE: Final = 16 << 20
"""How many bytes of them, at most, unless one alone has more."""


class Hole(NamedTuple):
    """A block that a bucket needs and the node does not give.

    Attributes:
        bucket: the bucket's name.
        block: the block.
        reason: why.
    """

    bucket: str
    block: CID
    reason: str


class Verifier:
    """Reads all that buckets need.

    Args:
        blocks: the node.
        places: where blocks lie there.
        progress: is told how many bytes have been read.
    """

    def __init__(self, blocks: NodeBlocks, places: RemotePlaces, progress: Progress):
        self._blocks = blocks
        self._places = places
        self._progress = progress
        self._read_bytes = 0

    async def holes(self, bucket: Bucket) -> list[Hole]:
        """What the bucket's commit needs and the node does not give.

        Raises:
            FormatError: a block is not what its parent says it is.
            RemoteUnavailable: the node cannot be asked now.
        """
        found: list[Hole] = []

        async def load(cids: Sequence[CID]) -> list[bytes | None]:
            loaded: list[bytes | None] = []
            for some in self._in_portions(cids):
                got = await fetch_each(self._blocks, [cid.digest for cid in some])
                for cid in some:
                    data = got[cid.digest]
                    if isinstance(data, Missing):
                        found.append(Hole(bucket.name, cid, data.reason))
                        loaded.append(None)
                        continue
                    self._read_bytes += len(data)
                    loaded.append(data if closure.is_followed(cid) else b"")
                self._progress("bytes verified", self._read_bytes, None)
            return loaded

        await drive_async(closure.in_waves(bucket.commit, BLOCKS_AT_ONCE), load)
        return found

    def _in_portions(self, cids: Sequence[CID]) -> Iterator[list[CID]]:
        portion: list[CID] = []
        size = 0
        for cid in cids:
            place = self._places.get(cid.digest)
            length = 0 if place is None else place.length
            if portion and size + length > BYTES_AT_ONCE:
                yield portion
                portion, size = [], 0
            portion.append(cid)
            size += length
        if portion:
            yield portion
