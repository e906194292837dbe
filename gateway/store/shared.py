"""What several processes that serve one data folder see at the same moment: heads of buckets, places of new blocks.

The process that commits writes it, the others read it, without asking each other: an LMDB environment is memory that
they all map, and one of its transactions is seen whole or not at all.  A commit is made visible here before it is
answered, so whichever process a client talks to next finds what it wrote.  Nothing in it is ever synced: it is made
anew at each start, from the registry and the index, which are durable.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any, Self, cast

import lmdb

from gateway.store.errors import IndexUnusable
from gateway.store.folder import PRIVATE_DIRECTORY_MODE
from gateway.store.place import Place
from gateway.store.place import pack as pack_place
from mst import cbor
from registry.heads import Bucket

READERS_MAX = 4096
"""Transactions that may be open for reading at once, over all processes; each takes 64 bytes."""
DECODED_MAX = 16_384
"""Buckets, also deleted ones, that are remembered as decoded (about 1 KB each)."""
RESERVED_BYTES = 16 << 20
"""Room on the disk that is taken at the start: on a disk that is full, what was committed must still become visible."""

_MAP_BYTES = 1 << 36  # address space, not disk: the file grows as it fills
_GENERATIONS = (b"places-0", b"places-1")
_HEADS = b"heads"
_NOTES = b"notes"
_FAILURE_KEY = b"failure"
_bucket_fields = attrgetter(*(field.name for field in fields(Bucket)))


class SharedState:
    """The table.  Make it with `create` in the process that commits, with `join` in the others.

    Places are kept in two generations: new ones go to the young one, the old one is forgotten when the index on disk
    has taken it over.  LMDB reuses the space, so the file stays within what is reserved.
    """

    def __init__(self, env: lmdb.Environment, path: Path):
        self._env = env
        self._path = path
        self._generations = [env.open_db(name) for name in _GENERATIONS]
        self._heads = env.open_db(_HEADS)
        self._notes = env.open_db(_NOTES)
        self._young = 0
        self._old_is_empty = True
        self._decoded: dict[bytes, tuple[bytes, Bucket]] = {}

    @classmethod
    def create(cls, path: Path) -> Self:
        """A new, empty table in the folder ``path``; what another server left there is removed.

        Raises:
            IndexUnusable: it cannot be made.
        """
        try:
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(mode=PRIVATE_DIRECTORY_MODE)
            table = cls(_open(path, read_only=False), path)
            _reserve(path / "data.mdb")
            return table
        except (lmdb.Error, OSError) as error:
            raise IndexUnusable(f"cannot make {path}: {error}") from error

    @classmethod
    def join(cls, path: Path) -> Self:
        """The table that another process created, for reading.

        Raises:
            IndexUnusable: there is none.
        """
        try:
            return cls(_open(path, read_only=True), path)
        except lmdb.Error as error:
            raise IndexUnusable(f"cannot open {path}: {error}") from error

    def place(self, digest: bytes) -> Place | None:
        """Where the block with that SHA-256 lies, if it is new enough to be here."""
        with self._env.begin() as txn:
            for generation in self._generations:
                packed = txn.get(digest, db=generation)
                if packed is not None:
                    return Place.unpack(packed)
        return None

    def add(self, segment: int, places: Sequence[tuple[bytes, int, int]]) -> None:
        """Add the blocks (digest, offset, length) of a durable batch of ``segment``."""
        with self._env.begin(write=True) as txn:
            if not self._old_is_empty:  # a block that is stored anew, because it was damaged, has one place here
                for digest, _, _ in places:
                    txn.delete(digest, db=self._generations[1 - self._young])
            rows = [(digest, pack_place(segment, offset, length)) for digest, offset, length in places]
            txn.cursor(self._generations[self._young]).putmulti(rows)

    def turn(self) -> None:
        """What is here becomes the old generation, unless there is one already that was not forgotten."""
        if self._old_is_empty:
            self._young = 1 - self._young
            self._old_is_empty = False

    def forget_old(self) -> None:
        """The old generation has moved to the index on disk."""
        with self._env.begin(write=True) as txn:
            txn.drop(self._generations[1 - self._young], delete=False)
        self._old_is_empty = True

    def bucket(self, name: str) -> Bucket | None:
        """A bucket with its head, None if there is no such bucket."""
        key = name.encode()
        with self._env.begin() as txn:
            packed = txn.get(key, db=self._heads)
        return None if packed is None else self._decode(key, packed)

    def buckets(self) -> list[Bucket]:
        """Every bucket, all as of one moment."""
        with self._env.begin() as txn:
            rows = list(txn.cursor(self._heads))
        return [self._decode(key, packed) for key, packed in rows]

    def publish(self, changed: Sequence[Bucket], dropped: Sequence[str] = ()) -> None:
        """Make new heads visible, all at once."""
        with self._env.begin(write=True, db=self._heads) as txn:
            for bucket in changed:
                txn.put(bucket.name.encode(), _encode(bucket))
            for name in dropped:
                txn.delete(name.encode())

    @property
    def failure(self) -> str | None:
        """Why the store takes no more writes, None while it does."""
        with self._env.begin() as txn:
            reason = txn.get(_FAILURE_KEY, db=self._notes)
        return None if reason is None else reason.decode()

    def note_failure(self, reason: str) -> None:
        """The store takes no more writes."""
        with self._env.begin(write=True, db=self._notes) as txn:
            txn.put(_FAILURE_KEY, reason.encode())

    def forget_dead_readers(self) -> None:
        """A process that was killed while it read would keep old pages from being used again."""
        self._env.reader_check()

    def close(self) -> None:
        """Close it."""
        self._env.close()

    def remove(self) -> None:
        """Close it and delete the folder; processes that joined it keep what they mapped."""
        self._env.close()
        shutil.rmtree(self._path, ignore_errors=True)

    def _decode(self, key: bytes, packed: bytes) -> Bucket:
        """Between two commits every request reads the same bytes: they are decoded once."""
        known = self._decoded.get(key)
        if known is None or known[0] != packed:
            if len(self._decoded) >= DECODED_MAX:
                self._decoded.clear()
            known = self._decoded[key] = (packed, _decode(packed))
        return known[1]


def _encode(bucket: Bucket) -> bytes:
    return cbor.encode(_bucket_fields(bucket))


def _decode(packed: bytes) -> Bucket:
    return Bucket(*cast("list[Any]", cbor.decode(packed)))


def _reserve(file: Path) -> None:
    with file.open("r+b") as opened, suppress(OSError):  # a start on a full disk, which can still be read
        os.posix_fallocate(opened.fileno(), 0, RESERVED_BYTES)


def _open(path: Path, *, read_only: bool) -> lmdb.Environment:
    env = lmdb.open(
        str(path), map_size=_MAP_BYTES, max_dbs=len(_GENERATIONS) + 2, readonly=read_only, mode=0o600,
        max_readers=READERS_MAX, sync=False, metasync=False, readahead=False,
    )  # fmt: skip
    for name in (*_GENERATIONS, _HEADS, _NOTES):
        env.open_db(name, create=not read_only)
    return env
