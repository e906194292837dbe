"""What can be asked of the committer, what it answers, and how it is asked."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import Connection

from mst.block import Block
from mst.entry import Entry
from registry.heads import Bucket, ShippedHead, Versioning

Check: TypeAlias = Callable[[Entry | None], None]
"""Looks at the entry that the mutation is about as it is at the moment of commit, and raises to refuse the mutation.

That is the key's current object, or the version that the mutation names; None if there is no such object, and for a
delete marker.

It may be called in another process: a function of a module, or a `functools.partial` of one, that can be pickled.
"""

EntryChange: TypeAlias = Callable[[Entry | None], tuple[Entry, tuple[Block, ...]]]
"""Makes of an entry, as it is at the moment of commit, the one that takes its place, and the blocks that this refers to
and that are not stored yet; raises to refuse the mutation.  It is given what a `Check` is given, must refuse None, and
says nothing of versions in the new entry.

It may be called in another process, like a `Check`.
"""

RegistryWrite: TypeAlias = Callable[[Connection], Any]
"""Statements for the batch's registry transaction.  If it raises, it must not have written anything yet.

It may be called in another process, like a `Check`; so may its result and what it raises go back to this one.
"""

CommitWrite: TypeAlias = Callable[[Connection, int | None], Any]
"""A `RegistryWrite` that is also told which version was made: see `Committed`."""


class Put(NamedTuple):
    """Make ``key`` name ``entry``; where versions are kept, as a new version.

    Attributes:
        bucket: the bucket's name.
        key: the object's key.
        entry: what it becomes.
        blocks: blocks it refers to that are not stored yet.
        check: see `Check`.
        record: statements that belong to the same commit (the end of a multipart upload), called when the head has
            moved in the same transaction; must not raise.
        guard: looks at the registry before anything is written, and raises to refuse the mutation. A mutation with one
            is a batch of its own, so that what the guard saw still holds when ``record`` is called.
    """

    bucket: str
    key: bytes
    entry: Entry
    blocks: tuple[Block, ...] = ()
    check: Check | None = None
    record: CommitWrite | None = None
    guard: RegistryWrite | None = None


class Amend(NamedTuple):
    """Change what is kept with an object, which stays the version that it is.

    Attributes:
        bucket: the bucket's name.
        key: the object's key.
        change: see there.
        version: which version, `mst.version.NULL` for the null version; None for the current object.
    """

    bucket: str
    key: bytes
    change: EntryChange
    version: int | None = None


class Delete(NamedTuple):
    """Make ``key`` name nothing, where versions are kept by a delete marker; or delete one version for good.

    Deleting what is not there is no error.

    Attributes:
        bucket: the bucket's name.
        key: the object's key.
        check: see `Check`.
        version: the version to delete, `mst.version.NULL` for the null version; None for the object.
    """

    bucket: str
    key: bytes
    check: Check | None = None
    version: int | None = None


class MakeBucket(NamedTuple):
    """Create an empty bucket.

    Attributes:
        bucket: its name.
        bits: the fan-out of its tree, as a power of two.
        salt: what makes its tree's shape its own, or None.
        instance: the id that tells it from earlier ones of its name.
        record: statements that belong to the same commit (what is configured for it from the start), called when the
            bucket has been entered in the same transaction; must not raise.
    """

    bucket: str
    bits: int
    salt: bytes | None
    instance: bytes
    record: RegistryWrite | None = None


class DropBucket(NamedTuple):
    """Delete a bucket, if it has neither objects nor versions at the moment of commit."""

    bucket: str


class SetVersioning(NamedTuple):
    """Keep versions of the bucket's objects from now on, or no longer; what is there stays."""

    bucket: str
    versioning: Versioning


class Record(NamedTuple):
    """Write to the registry only, durable like everything else; answered with what ``write`` returns.

    Attributes:
        write: the statements.
        instance: the bucket whose settings they change, if they do: then it is a change like any other of the bucket.
    """

    write: RegistryWrite
    instance: bytes | None = None


class MarkShipped(NamedTuple):
    """Note that commits of buckets are wholly on the storage node; what is not ahead of what was noted changes nothing.

    Attributes:
        heads: the commits.
        record: statements that belong to the same commit of the registry (the end of a shipment).
    """

    heads: tuple[ShippedHead, ...]
    record: RegistryWrite


class Survey(NamedTuple):
    """Answered with every bucket as it is between two batches.

    From then on is noted which segments have something that heads come to need again, for `DropSegments`.
    """


class DropSegments(NamedTuple):
    """Forget segments of which no bucket, as the last `Survey` answered, needs anything that cannot be had elsewhere.

    Answered with the numbers of those that were forgotten, whose files are still there: all but those that are needed
    again meanwhile.

    Attributes:
        numbers: the segments; if the log's newest is among them, the log goes on in another.
    """

    numbers: frozenset[int]


ObjectMutation: TypeAlias = Put | Amend | Delete
Mutation: TypeAlias = (
    ObjectMutation | MakeBucket | DropBucket | SetVersioning | Record | MarkShipped | Survey | DropSegments
)


class Committed(NamedTuple):
    """The answer to a mutation.

    Attributes:
        bucket: the bucket as the batch left it (for `DropBucket`: as it last was), None for a mutation of no bucket.
        previous: the object that was replaced, amended or deleted, if there was one.
        value: what a `Record` returned, or a `Survey` or `DropSegments` answers.
        version: the version that was made, amended or deleted, `mst.version.NULL` for the null version; None if the
            bucket keeps none and the mutation named none.
        marker: whether that version is a delete marker.
    """

    bucket: Bucket | None
    previous: Entry | None = None
    value: Any = None
    version: int | None = None
    marker: bool = False


Outcome: TypeAlias = Committed | Exception
"""What becomes of a mutation: its answer, or the error that refused it."""


class Mutator(ABC):
    """Where a process hands its mutations in: the committer itself, or the way to the one of another process."""

    @property
    @abstractmethod
    def failure(self) -> str | None:
        """Why the store takes no more writes, or None while it does."""

    @abstractmethod
    def enqueue(self, mutation: Mutation) -> asyncio.Future[Committed]:
        """`submit` without waiting."""

    async def submit(self, mutation: Mutation) -> Committed:
        """Commit ``mutation`` and return when it is durable and visible.

        Raises:
            NoSuchBucket, BucketExists, BucketNotEmpty: the mutation does not fit the buckets as they are.
            TreeLimitError: the bucket's tree would exceed a limit.
            StoreFull, StoreReadOnly: it could not be made durable; it is not visible.
            anything its ``check`` or ``write`` raises.
        """
        return await self.enqueue(mutation)

    async def submit_all(self, mutations: Sequence[Mutation]) -> list[Committed | BaseException]:
        """Commit several, in order where they concern one key; each has its own answer or error."""
        return await asyncio.gather(*map(self.enqueue, mutations), return_exceptions=True)
