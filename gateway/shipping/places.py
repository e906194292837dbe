"""Where blocks lie on the storage node: by digest, in which shard, at which offset.

LMDB, so that any process reads it beside the one that writes.  A shard's blocks are entered, durably, when the node has
accepted it and before the registry says so: whatever the registry calls accepted is here.  It can be rebuilt from the
indexes of the shards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

import lmdb

from gateway.store.errors import IndexUnusable
from gateway.store.folder import PRIVATE_DIRECTORY_MODE, sync_directory
from gateway.store.place import Place
from gateway.store.place import pack as pack_place
from gateway.store.shared import READERS_MAX

_MAP_BYTES = 1 << 40  # address space, not disk: LMDB's file grows as it fills


class RemotePlaces:
    """Places by block digest; a place's ``segment`` is the number of a shard.  Make it with `open`."""

    def __init__(self, env: lmdb.Environment):
        self._env = env

    @classmethod
    def open(cls, path: Path, *, read_only: bool) -> Self:
        """Open the table in the folder ``path``.

        Raises:
            IndexUnusable: it cannot be opened, or (``read_only``) nothing has been shipped yet.
        """
        try:
            if not read_only and not path.exists():
                path.mkdir(mode=PRIVATE_DIRECTORY_MODE)
                sync_directory(path.parent)
            env = lmdb.open(
                str(path), map_size=_MAP_BYTES, readonly=read_only, mode=0o600, max_readers=READERS_MAX, readahead=False
            )
            return cls(env)
        except (lmdb.Error, OSError) as error:
            raise IndexUnusable(f"cannot open the locations on the storage node {path}: {error}") from error

    def get(self, digest: bytes) -> Place | None:
        """The place of the block with that SHA-256, None if no accepted shard holds it.

        Raises:
            IndexUnusable: it cannot be looked up.
        """
        try:
            with self._env.begin() as txn:
                packed = txn.get(digest)
        except lmdb.Error as error:
            raise IndexUnusable(f"cannot read locations on the storage node: {error}") from error
        return None if packed is None else Place.unpack(packed)

    def add(self, shard: int, places: Iterable[tuple[bytes, int, int]]) -> None:
        """Enter the blocks (digest, offset, length) of a shard, durable when this returns.

        Raises:
            IndexUnusable: they could not be written.
        """
        self.add_all({shard: places})

    def add_all(self, places: Mapping[int, Iterable[tuple[bytes, int, int]]]) -> None:
        """`add` for several shards, at the price of one.

        Raises:
            IndexUnusable: they could not be written.
        """
        rows = sorted(
            (digest, pack_place(shard, offset, length))
            for shard, blocks in places.items()
            for digest, offset, length in blocks
        )
        try:
            self._env.reader_check()  # a process that was killed while it read keeps pages from being used again
            with self._env.begin(write=True) as txn:
                txn.cursor().putmulti(rows)
        except lmdb.Error as error:
            raise IndexUnusable(f"cannot write locations on the storage node: {error}") from error

    def close(self) -> None:
        """Close it."""
        self._env.close()
