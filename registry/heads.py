"""Which commit each bucket stands at.  A head moves only by compare-and-swap: the store's one commit point.

Beside it is the shipped head, the newest commit that is wholly on the storage node; it moves only forward.

Every function runs in the caller's transaction; nothing has happened until that has committed.  One that raises has
written nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from mst.cid import CID
from mst.errors import FormatError
from registry.errors import RegistryError
from registry.schema import buckets

Versioning: TypeAlias = Literal["unversioned", "enabled", "suspended"]
"""Whether a bucket keeps the versions of its objects; once it has, it is never unversioned again."""
UNVERSIONED: Final = "unversioned"
ENABLED: Final = "enabled"
SUSPENDED: Final = "suspended"


class HeadMoved(RegistryError):
    """The bucket does not stand at the expected commit, or is gone: nothing was changed."""

    def __init__(self, instance: bytes, expected: CID) -> None:
        super().__init__(f"bucket instance {instance.hex()} no longer stands at commit {expected}")
        self.instance = instance
        self.expected = expected


class BucketExists(RegistryError):
    """A bucket of this name (or instance id) exists."""

    def __init__(self, name: str) -> None:
        super().__init__(f"a bucket named {name} exists")
        self.name = name


class BucketMissing(RegistryError):
    """The bucket that something was to belong to is gone."""

    def __init__(self, instance: bytes) -> None:
        super().__init__(instance)
        self.instance = instance

    def __str__(self) -> str:
        return f"there is no bucket instance {self.instance.hex()}"


class HeadDamaged(RegistryError):
    """A row of the database names no possible commit or tree."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket and its newest commit.

    Args:
        name: the bucket's name, unique while it exists.
        instance: 16 random bytes that tell it from an earlier bucket of the same name.
        commit: the newest commit's block.
        tree: the tree root that commit names.
        sequence: that commit's number.
        objects: how many keys the tree has.
        size_bytes: the sum of the sizes of their objects.
        bits: log2 of the tree's fan-out.
        salt: the tree's salt, if any.
        created_ms: when the bucket was created, in milliseconds since 1970.
        head_time_ms: the newest commit's time, likewise.
        versions: the root of the tree of older versions that the commit names, None while there are none.
        versioning: see there.
        shipped: the newest commit that is wholly on the storage node, None while none is.
        shipped_sequence: that commit's number.
    """

    name: str
    instance: bytes
    commit: CID
    tree: CID
    sequence: int
    objects: int
    size_bytes: int
    bits: int
    salt: bytes | None
    created_ms: int
    head_time_ms: int
    versions: CID | None = None
    versioning: Versioning = UNVERSIONED
    shipped: CID | None = None
    shipped_sequence: int | None = None


class ShippedHead(NamedTuple):
    """A commit of a bucket that is wholly on the storage node.

    Attributes:
        instance: the bucket.
        commit: the commit's block.
        sequence: its number.
    """

    instance: bytes
    commit: CID
    sequence: int

    def is_ahead_of(self, bucket: Bucket) -> bool:
        """Whether it is of that bucket, and newer than what is known to be shipped of it."""
        return bucket.instance == self.instance and (
            bucket.shipped_sequence is None or bucket.shipped_sequence < self.sequence
        )


@dataclass(frozen=True, slots=True)
class HeadMove:
    """A bucket's step from one commit to the next, or to another state of versioning at the same commit.

    Args:
        instance: the bucket.
        expected_commit: where it must stand for the step to be taken.
        bucket_after: what it is afterwards; name, bits, salt and creation time never change and are not written.
    """

    instance: bytes
    expected_commit: CID
    bucket_after: Bucket


_FIELDS = (
    buckets.c.name,
    buckets.c.instance,
    buckets.c.commit,
    buckets.c.tree,
    buckets.c.sequence,
    buckets.c.objects,
    buckets.c.size_bytes,
    buckets.c.bits,
    buckets.c.salt,
    buckets.c.created_ms,
    buckets.c.head_time_ms,
    buckets.c.versions,
    buckets.c.versioning,
    buckets.c.shipped,
    buckets.c.shipped_sequence,
)
_MOVING = ("commit", "tree", "sequence", "objects", "size_bytes", "head_time_ms", "versions", "versioning")
_AT_COMMIT = sa.and_(
    buckets.c.instance == sa.bindparam("at_instance"),
    buckets.c.commit == sa.bindparam("at_commit"),
)
# Built once: building a statement costs several times what running it does.
_LOAD_ALL = sa.select(*_FIELDS)
_INSERT = sa.insert(buckets).values({field.name: sa.bindparam(field.name) for field in _FIELDS})
_DELETE = sa.delete(buckets).where(_AT_COMMIT)
_EXISTS = sa.select(sa.literal(1)).where(buckets.c.instance == sa.bindparam("wanted"))
_MOVE = sa.update(buckets).where(_AT_COMMIT).values({field: sa.bindparam(f"new_{field}") for field in _MOVING})
_MOVE_SHIPPED = (
    sa.update(buckets)
    .where(
        buckets.c.instance == sa.bindparam("at_instance"),
        sa.or_(buckets.c.shipped_sequence.is_(None), buckets.c.shipped_sequence < sa.bindparam("new_sequence")),
    )
    .values(shipped=sa.bindparam("new_shipped"), shipped_sequence=sa.bindparam("new_sequence"))
)


def load_all(connection: sa.Connection) -> list[Bucket]:
    """Every bucket, in byte order of the names.

    Raises:
        HeadDamaged: a row is not what this code could have written.
    """
    found = [_bucket(row) for row in connection.execute(_LOAD_ALL)]
    return sorted(found, key=lambda bucket: bucket.name.encode())


def insert_bucket(connection: sa.Connection, bucket: Bucket) -> None:
    """Add a bucket.

    Raises:
        BucketExists: its name, or its instance id, is taken.
    """
    values = {field.name: getattr(bucket, field.name) for field in _FIELDS}
    try:
        connection.execute(_INSERT, values)
    except IntegrityError:
        raise BucketExists(bucket.name) from None


def delete_bucket(connection: sa.Connection, instance: bytes, expected_commit: CID) -> None:
    """Remove a bucket that still stands at ``expected_commit``, and with it its settings, uploads and parts.

    Raises:
        HeadMoved: it stands elsewhere or is gone.
    """
    result = connection.execute(_DELETE, {"at_instance": instance, "at_commit": expected_commit})
    if result.rowcount != 1:
        raise HeadMoved(instance, expected_commit)


def require_bucket(connection: sa.Connection, instance: bytes) -> None:
    """Make sure, for a transaction that adds something to a bucket, that the bucket is there.

    Raises:
        BucketMissing: it is gone.
    """
    if connection.execute(_EXISTS, {"wanted": instance}).first() is None:
        raise BucketMissing(instance)


def move_head(connection: sa.Connection, move: HeadMove) -> None:
    """Take the step if the bucket stands where it must.

    Raises:
        HeadMoved: it stands elsewhere or is gone.
    """
    values = {f"new_{field}": getattr(move.bucket_after, field) for field in _MOVING}
    result = connection.execute(_MOVE, {"at_instance": move.instance, "at_commit": move.expected_commit, **values})
    if result.rowcount != 1:
        raise HeadMoved(move.instance, move.expected_commit)


def move_shipped(connection: sa.Connection, head: ShippedHead) -> None:
    """Note that ``head`` is wholly on the storage node; one that is not ahead of what was noted changes nothing."""
    values = {"at_instance": head.instance, "new_shipped": head.commit, "new_sequence": head.sequence}
    connection.execute(_MOVE_SHIPPED, values)


def _bucket(row: sa.Row[*tuple[Any, ...]]) -> Bucket:
    try:
        commit, tree = CID.parse(row.commit), CID.parse(row.tree)
        versions = None if row.versions is None else CID.parse(row.versions)
        shipped = None if row.shipped is None else CID.parse(row.shipped)
    except FormatError as error:
        raise HeadDamaged(f"the head of bucket {row.name} in the registry is damaged: {error}") from error
    if row.versioning not in get_args(Versioning):
        raise HeadDamaged(f"bucket {row.name} in the registry is damaged: its versioning is {row.versioning!r}")
    return Bucket(
        name=row.name,
        instance=row.instance,
        commit=commit,
        tree=tree,
        sequence=row.sequence,
        objects=row.objects,
        size_bytes=row.size_bytes,
        bits=row.bits,
        salt=row.salt,
        created_ms=row.created_ms,
        head_time_ms=row.head_time_ms,
        versions=versions,
        versioning=row.versioning,
        shipped=shipped,
        shipped_sequence=row.shipped_sequence,
    )
