"""What the trees of a bucket say: its entries, versions and walks over them, and the metadata of an entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.store.blocks import Blocks
from gateway.store.errors import BlockCorrupt
from gateway.store.walks import StoreWalk, VersionWalk
from mst import cbor, tree, version
from mst.cid import CID
from mst.entry import Entry
from mst.errors import FormatError
from mst.fetch import Fetch, Result, drive_async
from mst.layer import TreeParams
from mst.node import Node
from mst.version import Version
from registry.heads import Bucket


class Trees:
    """Reads of buckets as they were when their heads were read.

    Args:
        blocks: where nodes and metadata come from.
    """

    def __init__(self, blocks: Blocks):
        self._blocks = blocks

    async def get(self, bucket: Bucket, key: bytes) -> Entry | None:
        """The entry of ``key`` in the bucket as it was when ``bucket`` was read.

        Raises:
            BlockMissing, BlockCorrupt: the tree cannot be read.
        """
        params = TreeParams(bucket.bits, bucket.salt)
        value = await self._read(bucket, tree.get(params, bucket.tree, key))
        return None if value is None else Entry.decode(value)

    async def get_version(self, bucket: Bucket, key: bytes, number: int) -> Entry | None:
        """The entry of one version of ``key``, current or not, an object or a delete marker.

        Args:
            bucket: the bucket as it was when it was read.
            key: the key.
            number: the version's number, `mst.version.NULL` for the null version.

        Raises:
            BlockMissing, BlockCorrupt: a tree cannot be read.
        """
        current = await self.get(bucket, key)
        if current is not None and version.version_of(current) == number:
            return current
        if number == version.NULL or bucket.versions is None:
            return await self._find(bucket, key, lambda found: version.is_null(found.entry))
        params = TreeParams(bucket.bits, bucket.salt)
        value = await self._read(bucket, tree.get(params, bucket.versions, version.version_key(key, number)))
        entry = None if value is None else Entry.decode(value)
        return None if entry is None or version.is_null(entry) else entry

    async def newest_version(self, bucket: Bucket, key: bytes) -> Entry | None:
        """The newest version of ``key``: its current object, or the delete marker that there is instead.

        Raises:
            BlockMissing, BlockCorrupt: a tree cannot be read.
        """
        current = await self.get(bucket, key)
        return current if current is not None else await self._find(bucket, key, lambda _: True)

    async def _find(self, bucket: Bucket, key: bytes, wanted: Callable[[Version], bool]) -> Entry | None:
        """The newest version of ``key`` that is not current and ``wanted``."""
        if bucket.versions is None:
            return None
        params = TreeParams(bucket.bits, bucket.salt)
        found = await self._read(bucket, version.find(params, bucket.versions, key, wanted))
        return None if found is None else found.entry

    async def _read(self, bucket: Bucket, fetch: Fetch[Node, Result]) -> Result:
        """Run an algorithm on the bucket's trees."""
        params = TreeParams(bucket.bits, bucket.salt)
        try:
            return await drive_async(fetch, self._blocks.load_nodes_async(params))
        except FormatError as error:
            raise BlockCorrupt(f"the tree of bucket {bucket.name} is not valid: {error}") from error

    def walk(self, bucket: Bucket) -> StoreWalk:
        """A walk over the bucket's objects as it was when ``bucket`` was read."""
        return StoreWalk(self._blocks, bucket, bucket.tree)

    def walk_versions(self, bucket: Bucket) -> VersionWalk:
        """A walk over all versions in the bucket as it was when ``bucket`` was read."""
        older = None if bucket.versions is None else StoreWalk(self._blocks, bucket, bucket.versions)
        return VersionWalk(self.walk(bucket), older)

    async def meta(self, entry: Entry) -> Mapping[str, cbor.Value]:
        """The object's metadata, wherever it is kept; not what the entry says of itself as a version.

        Raises:
            BlockMissing, BlockCorrupt: its block cannot be read.
        """
        try:
            kept = version.object_meta(entry)
        except FormatError as error:
            raise BlockCorrupt(str(error)) from error
        if not isinstance(kept, CID):
            return kept or {}
        data = await self._blocks.read_async(kept)
        try:
            meta = cbor.decode(data)
        except FormatError as error:
            raise BlockCorrupt(f"metadata block {kept} is not valid: {error}") from error
        if not isinstance(meta, Mapping):
            raise BlockCorrupt(f"metadata block {kept} is not a map")
        return meta
