"""Which shard of a bulk segment holds a block; what is in no shard yet is sealed when a head needs it."""

from __future__ import annotations

from gateway.shipping.contents import Contents
from gateway.shipping.slicing import cut
from gateway.store.index import BlockIndex
from gateway.store.segments import Segments
from mst import car
from registry import shards
from registry.database import Database
from registry.shards import Shard


class BulkShards:
    """The shards of bulk segments, also those that are sealed and not in the registry yet.  For one thread at a time.

    Args:
        database: the registry.
        segments: the folder's segments.
        index: says how far each of them is durable.
        contents: reads what is sealed.
    """

    def __init__(self, database: Database, segments: Segments, index: BlockIndex, contents: Contents):
        self._database = database
        self._segments = segments
        self._index = index
        self._contents = contents
        self._sealed: list[Shard] = []
        self._last: dict[int, Shard] = {}

    def take_sealed(self) -> list[Shard]:
        """The shards that were sealed since the last call; they are to be inserted in the registry now."""
        sealed, self._sealed = self._sealed, []
        self._last.clear()
        return sealed

    def needed_for(self, segment: int, offset: int) -> list[Shard]:
        """The shards that a block at ``offset`` of a bulk segment needs: its own, and those that it continues.

        Empty if the block cannot be in a shard, because its batch is damaged.

        Raises:
            BlockMissing, BlockCorrupt: the segment cannot be read.
        """
        shard = self._covering(segment, offset)
        if shard is None:
            self.seal(segment)
            shard = self._covering(segment, offset)
        if shard is None:
            return []
        needed = [shard]
        while shard is not None and shard.slice is not None and shard.slice.continues:
            shard = self._covering(segment, shard.slice.start - 1)
            needed += [shard] if shard else []
        return needed

    def seal(self, segment: int) -> None:
        """Cut all that is durable and in no shard into shards.

        Raises:
            BlockMissing, BlockCorrupt: the segment cannot be read.
        """
        opened = self._segments.get(segment)
        parts = cut(opened, self.end(segment), self._index.end(segment))
        self._sealed += [self._contents.seal(part) for part in parts]

    def unsealed_bytes(self, segment: int) -> int:
        """How much of a bulk segment is durable and in no shard."""
        return self._index.end(segment) - self.end(segment)

    def end(self, segment: int) -> int:
        """The file offset up to which a bulk segment is cut into shards."""
        sealed = [one.slice.stop for one in self._sealed if one.slice and one.slice.segment == segment]
        if sealed:
            return max(sealed)
        with self._database.read() as connection:
            return shards.end_of(connection, segment) or len(car.HEADER)

    def _covering(self, segment: int, offset: int) -> Shard | None:
        last = self._last.get(segment)
        if last is not None and _holds(last, segment, offset):
            return last
        found = next((one for one in self._sealed if _holds(one, segment, offset)), None)
        if found is None:
            with self._database.read() as connection:
                found = shards.covering(connection, segment, offset)
        if found is not None:
            self._last[segment] = found
        return found


def _holds(shard: Shard, segment: int, offset: int) -> bool:
    part = shard.slice
    return part is not None and part.segment == segment and part.start <= offset < part.stop
