"""The node itself: its key, its blobs and its database, and executing what a message asks.

Everything here blocks; it is called from worker threads.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import sqlalchemy as sa
import structlog

from gateway.node.server import allocations, claims
from gateway.node.server.blobs import Blobs, Upload
from gateway.node.server.errors import Refused
from gateway.node.server.folder import NodeFolder, NodeKey
from gateway.node.server.operations import OPERATIONS, Asked, Done, Work
from gateway.node.server.proofs import ProofCache
from mst.cid import CID, multihash
from registry import base58
from registry.database import Database
from registry.ucan import message, receipt
from registry.ucan.delegation import gather
from registry.ucan.did import DID
from registry.ucan.errors import UcanError, Unauthorized
from registry.ucan.message import Message
from registry.ucan.receipt import Failure, Ok, Receipt
from registry.ucan.validate import authorize

ALLOCATION_SECONDS = 24 * 60 * 60
"""How long a blob that is not accepted is kept, unless configured otherwise."""
BLOB_BYTES_MAX = 4_261_412_864
"""Largest blob, unless configured otherwise: 127 x 2^25, what nodes of the network take."""
RESERVE_FREE_BYTES = 64 * 1024 * 1024
"""Room on the disk that no blob may use, so that the database still can."""

log = structlog.get_logger(__name__)


def clock_s() -> int:
    """The time, in seconds since 1970."""
    return int(time.time())


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What is configured.

    Attributes:
        public_url: what clients reach the node by, without a slash at the end.
        allocation_seconds: how long a blob that is not accepted is kept.
        blob_bytes_max: largest blob.
    """

    public_url: str
    allocation_seconds: int = ALLOCATION_SECONDS
    blob_bytes_max: int = BLOB_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Node:
    """One node on a folder that this process owns.  Make it with `open`.

    Attributes:
        folder: where everything is.
        key: who it is.
        database: what it remembers.
        settings: what is configured.
        clock_s: tells the time.
        blobs: the blobs.
        proofs: UCANs seen lately.
    """

    folder: NodeFolder
    key: NodeKey
    database: Database
    settings: NodeSettings
    clock_s: Callable[[], int]
    blobs: Blobs
    proofs: ProofCache = field(default_factory=ProofCache)

    @classmethod
    def open(cls, folder: NodeFolder, settings: NodeSettings, clock_s: Callable[[], int] = clock_s) -> Self:
        """Open the node of a folder; make its key and its database at the first start.

        Raises:
            Refused: the folder has a database, but not the key that belongs to it.
            RegistryError, OSError: the folder cannot be used.
        """
        if folder.registry.exists() and not folder.key.exists():
            raise Refused("KeyMissing", f"{folder.key} is gone, which others know this node by: restore it")
        key = NodeKey.load_or_create(folder.key)
        node = cls(folder, key, folder.open_database(), settings, clock_s, Blobs(folder))
        try:
            torn = node.blobs.clear_uploads()
            node.sweep(everything=True)
        except BaseException:
            node.close()
            raise
        if torn:
            log.info("removed uploads that had not arrived", count=torn)
        return node

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    @property
    def did(self) -> DID:
        """The node's name."""
        return DID(self.key.did)

    def blob_url(self, digest: bytes) -> str:
        """Where a blob is read."""
        return f"{self.settings.public_url}/blob/{blob_text(digest)}"

    def execute(self, asked: Message) -> bytes:
        """Do what a message asks, in its order and in one transaction; returns the message of receipts.

        Raises:
            DatabaseError: nothing was done.
        """
        now_s = self.clock_s()
        prepared = {cid: self._prepared(cid, asked, now_s) for cid in asked.execute}
        with self.database.write() as connection:
            outcomes = {cid: _outcome(work, connection) for cid, work in prepared.items()}
        self._drop({digest for done in outcomes.values() if isinstance(done, Done) for digest in done.dropped})
        return message.response([self._receipt(cid, outcome) for cid, outcome in outcomes.items()])

    def _prepared(self, cid: CID, asked: Message, now_s: int) -> Work | Failure:
        try:
            invocation = gather(cid, asked.blocks)
            capability = authorize(invocation.token, asked.blocks, audiences={self.did}, now=now_s)
            operation = OPERATIONS.get(capability.can)
            if operation is None:
                return Failure.of("HandlerNotFoundError", f"this node does not do {capability.can}")
            return operation(self, Asked(invocation, asked.blocks, now_s))
        except Unauthorized as error:
            return Failure.of(error.name, str(error))
        except UcanError as error:
            return Failure.of("InvocationMalformed", str(error))
        except Refused as refused:
            return Failure.of(refused.name, str(refused))

    def _receipt(self, ran: CID, outcome: Done | Failure) -> Receipt:
        if isinstance(outcome, Failure):
            return receipt.issue(self.key, ran, outcome)
        attached = [block for claim in outcome.fork for block in claim.blocks()]
        fork = [claim.cid for claim in outcome.fork]
        return receipt.issue(self.key, ran, Ok(outcome.value), fork=fork, attached=attached)

    def require_room(self, size: int) -> None:
        """Refuse ``size`` bytes that would not leave the reserve free.

        Raises:
            Refused: there is not that much room.
        """
        disk = os.statvfs(self.folder.path)
        if disk.f_bavail * disk.f_frsize - size < RESERVE_FREE_BYTES:
            raise Refused("InsufficientStorage", "the node has no room for the blob", 507)

    def awaited(self, token: str) -> allocations.Allocated:
        """What may be put to the URL that ends in ``token``.

        Raises:
            Refused: nothing, or not any longer.
        """
        with self.database.read() as connection:
            found = allocations.by_token(connection, token, self.clock_s())
        if found is None:
            raise Refused("AllocationNotFound", "no blob is awaited here, or not any longer", 403)
        return found

    def keep(self, allocated: allocations.Allocated, upload: Upload) -> None:
        """Keep what arrived; on stable storage when this returns.

        Raises:
            Refused: it is not what was awaited, or is not awaited any longer.
            DatabaseError, OSError: it cannot be kept.
        """
        if upload.finish() != allocated.digest:
            raise Refused("DigestMismatch", f"these bytes are not blob {blob_text(allocated.digest)}", 409)
        with self.database.write() as connection:
            # Not before the write lock is had: until then a sweep might remove the file, and the allocation.
            found = allocations.by_token(connection, allocated.token, self.clock_s())
            if found is None:
                raise Refused("AllocationNotFound", "no blob is awaited here any longer", 403)
            self.blobs.keep(upload, found.digest)
            allocations.set_received(connection, found)

    def sweep(self, *, everything: bool = False) -> int:
        """Forget what was not accepted in time, and remove the blobs that no space has.

        Args:
            everything: look at all files, for those a crash left behind.

        Returns:
            How many blobs were removed.
        """
        now_s = self.clock_s()
        with self.database.write() as connection:
            expired = allocations.delete_expired(connection, now_s)
            claims.delete_expired(connection, now_s)
        return self._drop(set(self.blobs.digests()) if everything else expired)

    def _drop(self, digests: set[bytes]) -> int:
        """Remove those blobs that no space has."""
        if not digests:
            return 0
        removed = 0
        # With the write lock: what is being kept meanwhile must not be removed.
        with self.database.write() as connection:
            for digest in digests:
                if not allocations.is_kept(connection, digest):
                    self.blobs.remove(digest)
                    removed += 1
        return removed


def _outcome(work: Work | Failure, connection: sa.Connection) -> Done | Failure:
    if isinstance(work, Failure):
        return work
    try:
        return work(connection)
    except Refused as refused:
        return Failure.of(refused.name, str(refused))


def blob_text(digest: bytes) -> str:
    """A blob's name in URLs and messages: multibase base58 of its multihash."""
    return "z" + base58.encode(multihash(digest))
