"""Claims that the node answers queries with: where blobs are, and which blobs are indexes of what."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import sqlalchemy as sa

from gateway.node.server.schema import claims, indexes, slices
from mst.cid import CID

Kind: TypeAlias = Literal["location", "index"]

CLAIMS_MAX = 256
"""Most claims of one kind that are found for one multihash, the newest first."""
INDEXES_MAX = 64
"""Most indexes that are found for one multihash, the newest first."""

_INSERT = sa.insert(claims).prefix_with("OR IGNORE")
_DELETE = sa.delete(claims).where(claims.c.cid == sa.bindparam("of_cid"))
_EXPIRED = sa.delete(claims).where(claims.c.expires_s <= sa.bindparam("now_s"))
_GET = sa.select(claims.c.archive).where(claims.c.cid == sa.bindparam("of_cid"))
_NOT_EXPIRED = sa.or_(claims.c.expires_s.is_(None), claims.c.expires_s > sa.bindparam("now_s"))
_SPACES: sa.BindParameter[str] = sa.bindparam("of_spaces", expanding=True)
_FIND = (
    sa.select(claims.c.cid, claims.c.space, claims.c.archive)
    .where(claims.c.content == sa.bindparam("of_content"), claims.c.kind == sa.bindparam("of_kind"), _NOT_EXPIRED)
    .order_by(claims.c.added_s.desc(), claims.c.cid)
    .limit(CLAIMS_MAX)
)
_FIND_IN = _FIND.where(claims.c.space.in_(_SPACES))
_PUBLISHED = [indexes.c.id, indexes.c.digest, indexes.c.space, indexes.c.size, indexes.c.claim]
_INDEXES_OF_SLICE = (
    sa.select(*_PUBLISHED)
    .join_from(slices, indexes)
    .where(slices.c.digest == sa.bindparam("of_digest"))
    .order_by(indexes.c.id.desc())
    .limit(INDEXES_MAX)
)
_INDEXES_OF_SLICE_IN = _INDEXES_OF_SLICE.where(indexes.c.space.in_(_SPACES))
_INDEXES_OF_CONTENT = (
    sa.select(*_PUBLISHED)
    .where(indexes.c.content == sa.bindparam("of_content"))
    .order_by(indexes.c.id.desc())
    .limit(INDEXES_MAX)
)
_INDEXES_OF_CONTENT_IN = _INDEXES_OF_CONTENT.where(indexes.c.space.in_(_SPACES))
_INDEX_OF = sa.select(*_PUBLISHED).where(
    indexes.c.digest == sa.bindparam("of_digest"), indexes.c.space == sa.bindparam("of_space")
)
_DELETE_INDEX = sa.delete(indexes).where(indexes.c.id == sa.bindparam("of_id"))
_INSERT_INDEX = sa.insert(indexes).returning(indexes.c.id)
_INSERT_SLICES = sa.insert(slices).prefix_with("OR IGNORE")


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim.

    Attributes:
        cid: its CID.
        space: for whom, a DID, or None.
        archive: it and its proofs.
    """

    cid: CID
    space: str | None
    archive: bytes


@dataclass(frozen=True, slots=True)
class Published:
    """One index that was published.

    Attributes:
        id: its number here.
        digest: the blob that it is.
        space: whose blob.
        size: of the blob, in bytes.
        claim: the invocation that published it.
    """

    id: int
    digest: bytes
    space: str
    size: int
    claim: CID


def put(
    connection: sa.Connection, claim: Claim, *, kind: Kind, content: bytes, expires_s: int | None, now_s: int
) -> None:
    """Remember a claim; once is enough.

    Args:
        connection: a write transaction.
        claim: the claim, believed.
        kind: what it claims.
        content: of what, a multihash.
        expires_s: when it ends, or None.
        now_s: the time.
    """
    connection.execute(
        _INSERT,
        {
            "cid": bytes(claim.cid),
            "content": content,
            "kind": kind,
            "space": claim.space,
            "expires_s": expires_s,
            "added_s": now_s,
            "archive": claim.archive,
        },
    )


def delete(connection: sa.Connection, cid: CID) -> None:
    """Forget a claim."""
    connection.execute(_DELETE, {"of_cid": bytes(cid)})


def delete_expired(connection: sa.Connection, now_s: int) -> None:
    """Forget the claims that have ended."""
    connection.execute(_EXPIRED, {"now_s": now_s})


def archive(connection: sa.Connection, cid: CID) -> bytes | None:
    """The archive of a claim, if it is known."""
    found: bytes | None = connection.execute(_GET, {"of_cid": bytes(cid)}).scalar()
    return found


def find(
    connection: sa.Connection, content: bytes, kind: Kind, now_s: int, spaces: Collection[str] = ()
) -> list[Claim]:
    """The claims of that kind about a multihash, the newest first; only for ``spaces``, if there are any."""
    asked = {"of_content": content, "of_kind": kind, "now_s": now_s}
    if spaces:
        rows = connection.execute(_FIND_IN, {**asked, "of_spaces": [str(space) for space in spaces]})
    else:
        rows = connection.execute(_FIND, asked)
    return [Claim(CID(row.cid), row.space, row.archive) for row in rows]


def publish(connection: sa.Connection, published: Published, content: bytes, digests: Iterable[bytes]) -> None:
    """Remember an index in place of an earlier publication of the same blob by the same space.

    Args:
        connection: a write transaction.
        published: the index; its id is given anew.
        content: of what it is the index, a multihash.
        digests: the blocks and shards that it says places of.
    """
    unpublish(connection, published.digest, published.space)
    number = connection.execute(
        _INSERT_INDEX,
        {
            "digest": published.digest,
            "space": published.space,
            "content": content,
            "size": published.size,
            "claim": bytes(published.claim),
        },
    ).scalar_one()
    rows = [{"digest": digest, "index_id": number} for digest in digests]
    if rows:
        connection.execute(_INSERT_SLICES, rows)


def unpublish(connection: sa.Connection, digest: bytes, space: str) -> None:
    """Forget that a blob of a space is an index, and the claim that said so."""
    found = connection.execute(_INDEX_OF, {"of_digest": digest, "of_space": space}).first()
    if found is not None:
        connection.execute(_DELETE_INDEX, {"of_id": found.id})
        delete(connection, CID(found.claim))


def indexes_of_slice(connection: sa.Connection, digest: bytes, spaces: Collection[str] = ()) -> list[Published]:
    """The indexes that say where a block or shard is, the newest first; only those of ``spaces``, if there are any."""
    asked = {"of_digest": digest}
    return _published(connection, _INDEXES_OF_SLICE_IN if spaces else _INDEXES_OF_SLICE, asked, spaces)


def indexes_of_content(connection: sa.Connection, content: bytes, spaces: Collection[str] = ()) -> list[Published]:
    """The indexes of what has that multihash, likewise."""
    asked = {"of_content": content}
    return _published(connection, _INDEXES_OF_CONTENT_IN if spaces else _INDEXES_OF_CONTENT, asked, spaces)


def _published(
    connection: sa.Connection,
    statement: sa.Select[tuple[int, bytes, str, int, bytes]],
    asked: Mapping[str, object],
    spaces: Collection[str],
) -> list[Published]:
    rows = connection.execute(statement, {**asked, "of_spaces": [str(space) for space in spaces]} if spaces else asked)
    return [Published(row.id, row.digest, row.space, row.size, CID(row.claim)) for row in rows]


def unique(found: Iterable[Sequence[Published]]) -> list[Published]:
    """Each index once, in the order they were found."""
    return list({one.id: one for some in found for one in some}.values())
