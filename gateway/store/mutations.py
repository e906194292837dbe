"""What can be asked of the committer, what it answers, and how it is asked."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import Connection

from mst.block import Block
from mst.entry import Entry
from registry.heads import Bucket

Check: TypeAlias = Callable[[Entry | None], None]
"""Looks at the key's entry as it is at the moment of commit (None: no object) and raises to refuse the mutation.

It may be called in another process: a function of a module, or a `functools.partial` of one, that can be pickled.
"""

RegistryWrite: TypeAlias = Callable[[Connection], Any]
"""Statements for the batch's registry transaction.  If it raises, it must not have written anything yet.

It may be called in another process, like a `Check`; so may its result and what it raises go back to this one.
"""


class Put(NamedTuple):
    """Make ``key`` name ``entry``.

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
    record: RegistryWrite | None = None
    guard: RegistryWrite | None = None


class Delete(NamedTuple):
    """Make ``key`` name nothing; deleting what is not there changes nothing and is no error."""

    bucket: str
    key: bytes
    check: Check | None = None


class MakeBucket(NamedTuple):
    """Create an empty bucket of that shape."""

    bucket: str
    bits: int
    salt: bytes | None
    instance: bytes


class DropBucket(NamedTuple):
    """Delete a bucket, if it is empty at the moment of commit."""

    bucket: str


class Record(NamedTuple):
    """Write to the registry only, durable like everything else; answered with what ``write`` returns."""

    write: RegistryWrite


Mutation: TypeAlias = Put | Delete | MakeBucket | DropBucket | Record


class Committed(NamedTuple):
    """The answer to a mutation.

    Attributes:
        bucket: the bucket as the batch left it (for `DropBucket`: as it last was; for `Record`: None).
        previous: what the key named before, for `Put` and `Delete`.
        value: what a `Record` returned.
    """

    bucket: Bucket | None
    previous: Entry | None = None
    value: Any = None


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
