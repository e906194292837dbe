"""Where every block lies.

LMDB holds the places of blocks in the indexed part of each segment; a dictionary holds those of the newer batches and
moves to LMDB in one synced transaction together with how far each segment is indexed.  So the index is always exactly
right for a prefix of every segment, and recovery scans the rest.  It can be deleted: it is rebuilt from the segments.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import lmdb

from gateway.store.errors import IndexUnusable, StoreFull
from gateway.store.place import Place
from gateway.store.shared import READERS_MAX, SharedState
from mst.cid import CID

RECENT_BLOCKS_MAX = 32_768
"""Places held in memory (about 10 MB) before they move to LMDB."""

_FORGOTTEN = 2**64 - 1
"""Stands for the end of a segment that was forgotten."""
_CLEAN_ROWS = 4096
"""How many places are taken out in one transaction."""
_MAP_BYTES = 1 << 40  # address space, not disk: LMDB's file grows as it fills
_END = struct.Struct("<Q")
_SEGMENT = struct.Struct("<I")
_CHAIN = struct.Struct("<Q36s")
_CHAIN_KEY = b"chain"
_DATABASES = (b"blocks", b"ends", b"chain")


class Chain(NamedTuple):
    """The end of the commit log's chain of batches: the newest record and its sequence number."""

    sequence: int
    record: CID | None


class BlockIndex:
    """Places by block digest (the codec does not matter: equal digests are equal bytes).

    Reading needs no lock and takes microseconds; adding is for any thread.

    Args:
        path: the folder of the LMDB environment.
        read_only: read beside another process that writes; additions stay in memory.
        shared: where other processes that serve the folder find newer places, written by the one that may write and
            read by the others.

    Raises:
        IndexUnusable: LMDB cannot open it, or (``read_only``) no writer has made it yet.
    """

    def __init__(self, path: Path, *, read_only: bool, shared: SharedState | None = None):
        self._read_only = read_only
        self._shared = shared
        self._env = _open(path, read_only=read_only)
        self._blocks, self._ends_db, self._chain_db = (self._env.open_db(name) for name in _DATABASES)
        self._lock = threading.Lock()
        self._flush_lock = threading.Lock()
        self._recent: dict[bytes, Place] = {}
        self._flushing: dict[bytes, Place] = {}
        self._ends: dict[int, int] = {}
        self._forgotten: frozenset[int] = frozenset()
        self._chain = Chain(0, None)
        with self._env.begin() as txn:
            for key, value in txn.cursor(self._ends_db):
                self._ends[_SEGMENT.unpack(key)[0]] = _END.unpack(value)[0]
            self._forgotten = frozenset(number for number, end in self._ends.items() if end == _FORGOTTEN)
            for number in self._forgotten:
                del self._ends[number]
            chain = txn.get(_CHAIN_KEY, db=self._chain_db)
            if chain:
                sequence, record = _CHAIN.unpack(chain)
                self._chain = Chain(sequence, CID.parse(record))

    @property
    def chain(self) -> Chain:
        """The newest batch of the commit log that is indexed."""
        return self._chain

    @property
    def segments(self) -> set[int]:
        """The numbers of all segments that are indexed."""
        return set(self._ends)

    @property
    def forgotten(self) -> frozenset[int]:
        """The numbers of all segments that were forgotten."""
        return self._forgotten

    def end(self, segment: int) -> int:
        """How far ``segment`` is indexed: the file offset behind its last known batch, 0 if nothing is."""
        return self._ends.get(segment, 0)

    def get(self, digest: bytes) -> Place | None:
        """The place of the block with that SHA-256, or None.

        Raises:
            IndexUnusable: it cannot be looked up.
        """
        place = self._recent.get(digest) or self._flushing.get(digest)
        if place is None and self._read_only and self._shared is not None:
            place = self._shared.place(digest)
        if place is None:
            try:
                with self._env.begin(db=self._blocks) as txn:
                    packed = txn.get(digest)
            except lmdb.Error as error:
                raise IndexUnusable(f"cannot read the block index: {error}") from error
            if packed is None:
                return None
            place = Place.unpack(packed)
        return None if place.segment in self._forgotten else place

    def add(
        self,
        segment: int,
        places: Sequence[tuple[bytes, int, int]],
        end: int,
        chain: Chain | None = None,
    ) -> None:
        """Add the blocks of a durable batch that ends at file offset ``end`` of ``segment``."""
        with self._lock:
            if self._shared is not None:
                self._shared.add(segment, places)
            for digest, offset, length in places:
                self._recent[digest] = Place(segment, offset, length)
            self._ends[segment] = end
            if chain is not None:
                self._chain = chain
            full = len(self._recent) >= RECENT_BLOCKS_MAX and not self._read_only
        if full and self._flush_lock.acquire(blocking=False):
            threading.Thread(target=self._flush_and_unlock, name="ms3t-index", daemon=True).start()

    def forget(self, segments: Collection[int]) -> None:
        """Hold none of the blocks in ``segments`` any more, durable when this returns; no later start misses them.

        Raises:
            StoreFull: it could not be written; nothing is forgotten.
        """
        with self._flush_lock:
            try:
                with self._env.begin(write=True) as txn:
                    for segment in segments:
                        txn.put(_SEGMENT.pack(segment), _END.pack(_FORGOTTEN), db=self._ends_db)
            except lmdb.Error as error:
                raise StoreFull(f"cannot write to the block index: {error}") from error
            with self._lock:
                self._forgotten |= set(segments)
                self._recent = {
                    digest: place for digest, place in self._recent.items() if place.segment not in self._forgotten
                }
                for segment in segments:
                    self._ends.pop(segment, None)

    def clean(self, segment: int, digests: Iterable[bytes]) -> None:
        """Take what is left of a forgotten segment's blocks out of LMDB: a matter of room alone.

        Raises:
            StoreFull: it could not be written.
        """
        try:
            rows = sorted(digests)
            for start in range(0, len(rows), _CLEAN_ROWS):
                with self._env.begin(write=True, db=self._blocks) as txn:
                    for digest in rows[start : start + _CLEAN_ROWS]:
                        packed = txn.get(digest)
                        if packed is not None and Place.unpack(packed).segment == segment:
                            txn.delete(digest)
        except lmdb.Error as error:
            raise StoreFull(f"cannot write to the block index: {error}") from error

    def flush(self) -> None:
        """Move everything to LMDB, durable when this returns.  A failure (a full disk) loses nothing."""
        if not self._read_only:
            self._flush_lock.acquire()
            self._flush_and_unlock()

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        self._env.close()

    def _flush_and_unlock(self) -> None:
        try:
            with self._lock:
                # In this order: a reader looks into _recent, then into _flushing.
                self._flushing = self._recent
                self._recent = {}
                if self._shared is not None:
                    self._shared.turn()
                ends, chain = dict(self._ends), self._chain
            try:
                self._write(self._flushing, ends, chain)
            except lmdb.Error:
                with self._lock:
                    self._recent = self._flushing | self._recent
            else:
                if self._shared is not None:
                    self._shared.forget_old()
            self._flushing = {}
        finally:
            self._flush_lock.release()

    def _write(self, places: dict[bytes, Place], ends: dict[int, int], chain: Chain) -> None:
        self._env.reader_check()  # a process that was killed while it read keeps pages from being used again
        with self._env.begin(write=True) as txn:
            # Sorted: neighbouring keys share pages.
            rows = [(digest, places[digest].pack()) for digest in sorted(places)]
            txn.cursor(self._blocks).putmulti(rows)
            for segment, end in ends.items():
                txn.put(_SEGMENT.pack(segment), _END.pack(end), db=self._ends_db)
            if chain.record is not None:
                txn.put(_CHAIN_KEY, _CHAIN.pack(chain.sequence, chain.record), db=self._chain_db)


def _open(path: Path, *, read_only: bool) -> lmdb.Environment:
    try:
        env = lmdb.open(
            str(path), map_size=_MAP_BYTES, max_dbs=len(_DATABASES), readonly=read_only, mode=0o600,
            max_readers=READERS_MAX, readahead=False,
        )  # fmt: skip
    except (lmdb.Error, OSError) as error:
        advice = (
            "start the server once, it makes the index anew"
            if read_only
            else "everything in it is also in the segments, so if it is broken move it away and start again"
        )
        raise IndexUnusable(f"cannot open the block index {path}: {error}; {advice}") from error
    try:
        for name in _DATABASES:
            env.open_db(name, create=not read_only)
    except lmdb.Error as error:
        env.close()
        raise IndexUnusable(f"the block index {path} is unfinished: start the server once") from error
    return env
