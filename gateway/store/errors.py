"""What can go wrong in the store.

::

    StoreError
    ├── FolderLocked        another process owns the data folder
    ├── StoreFull           no room (or less than the reserve): nothing was changed
    ├── StoreBusy           another process kept the registry locked for too long: nothing was changed
    ├── StoreReadOnly       a sync failed: what is on disk is unknown until the next start
    ├── NotShipped          it is durable here, but not on the storage node for now, where it was to be
    ├── IndexUnusable       the block index cannot be opened or read; it can be made anew from the segments
    ├── RemoteUnavailable   only the storage node holds the block, and it cannot be asked now
    ├── BlockMissing        neither a segment nor the storage node holds the block
    ├── BlockCorrupt        the bytes at a block's place do not match its CID: never served
    ├── NoSuchBucket        the bucket does not exist (any more)
    ├── BucketExists        the name is taken
    └── BucketNotEmpty      only empty buckets can be deleted
"""

from __future__ import annotations


class StoreError(Exception):
    """Base of everything the store raises on purpose."""


class FolderLocked(StoreError):
    """Another process owns the data folder."""


class StoreFull(StoreError):
    """No room on the disk, or less than the configured reserve."""


class StoreBusy(StoreError):
    """Another process kept the registry locked for too long; nothing was changed."""


class StoreReadOnly(StoreError):
    """A write that had to be durable failed; the store takes no more writes until it is started again."""


class NotShipped(StoreError):
    """The change is durable and visible here, but has not been shipped in the time that somebody waits for it."""


class IndexUnusable(StoreError):
    """The block index cannot be opened or read."""


class RemoteUnavailable(StoreError):
    """A block is on the storage node alone, which cannot be reached now or does not give it out."""


class BlockMissing(StoreError):
    """Neither a segment nor the storage node holds the block."""


class BlockCorrupt(StoreError):
    """The bytes at a block's place do not match its CID."""


class NoSuchBucket(StoreError):
    """The bucket does not exist (any more)."""


class BucketExists(StoreError):
    """A bucket of that name exists."""


class BucketNotEmpty(StoreError):
    """The bucket still holds objects."""
