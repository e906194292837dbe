"""Which blobs are kept for which spaces: allocated, then received, then accepted; or forgotten after a while."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import sqlalchemy as sa

from gateway.node.server.schema import allocations
from mst.cid import CID

_COLUMNS = allocations.c
_OF = sa.and_(_COLUMNS.digest == sa.bindparam("of_digest"), _COLUMNS.space == sa.bindparam("of_space"))
_GET = sa.select(allocations).where(_OF)
_BY_TOKEN = sa.select(allocations).where(_COLUMNS.token == sa.bindparam("of_token"))
_ANY = sa.select(sa.literal(1)).where(_COLUMNS.digest == sa.bindparam("of_digest")).limit(1)
_DELETE = sa.delete(allocations).where(_OF)
_INSERT = sa.insert(allocations)
_RECEIVED = sa.update(allocations).where(_OF).values(received=True)
_ACCEPTED = sa.update(allocations).where(_OF).values(
    accepted_s=sa.bindparam("at_s"), claim=sa.bindparam("by_claim")
)  # fmt: skip
_EXPIRED = (
    sa.delete(allocations)
    .where(_COLUMNS.accepted_s.is_(None), _COLUMNS.expires_s <= sa.bindparam("now_s"))
    .returning(_COLUMNS.digest)
)
_LIST = (
    sa.select(allocations)
    .where(
        _COLUMNS.space == sa.bindparam("of_space"),
        _COLUMNS.accepted_s.is_not(None),
        sa.tuple_(_COLUMNS.accepted_s, _COLUMNS.digest)
        < sa.tuple_(sa.bindparam("before_s"), sa.bindparam("before_digest", type_=sa.LargeBinary)),
    )
    .order_by(_COLUMNS.accepted_s.desc(), _COLUMNS.digest.desc())
    .limit(sa.bindparam("many"))
)


@dataclass(frozen=True, slots=True)
class Allocated:
    """One blob of one space.

    Attributes:
        digest: the blob, by its sha2-256 digest.
        space: whose it is, a DID.
        size: its size in bytes.
        token: what the URL it is put to ends in; who knows it may put the blob.
        expires_s: when it is forgotten if it is not accepted, seconds since 1970.
        received: whether this space has sent the bytes.
        accepted_s: when it was accepted, or None.
        claim: the location claim made then, or None.
    """

    digest: bytes
    space: str
    size: int
    token: str
    expires_s: int
    received: bool
    accepted_s: int | None
    claim: CID | None

    def is_alive(self, now_s: int) -> bool:
        """Whether it has not expired."""
        return self.accepted_s is not None or now_s < self.expires_s

    @classmethod
    def _of(cls, row: sa.Row[tuple[object, ...]] | None) -> Self | None:
        if row is None:
            return None
        found = row._mapping
        return cls(**{**found, "claim": None if found["claim"] is None else CID(found["claim"])})


def get(connection: sa.Connection, digest: bytes, space: str, now_s: int) -> Allocated | None:
    """The blob ``digest`` of ``space``, unless it has expired."""
    found = Allocated._of(connection.execute(_GET, {"of_digest": digest, "of_space": space}).first())
    return found if found is not None and found.is_alive(now_s) else None


def by_token(connection: sa.Connection, token: str, now_s: int) -> Allocated | None:
    """What is put to the URL that ends in ``token``, unless it has expired."""
    found = Allocated._of(connection.execute(_BY_TOKEN, {"of_token": token}).first())
    return found if found is not None and found.is_alive(now_s) else None


def is_kept(connection: sa.Connection, digest: bytes) -> bool:
    """Whether any space has the blob, expired or not."""
    return connection.execute(_ANY, {"of_digest": digest}).first() is not None


def put(connection: sa.Connection, allocated: Allocated) -> None:
    """Keep ``allocated``, which nothing has been sent for yet, in place of any earlier one."""
    connection.execute(_DELETE, {"of_digest": allocated.digest, "of_space": allocated.space})
    connection.execute(
        _INSERT,
        {
            "digest": allocated.digest,
            "space": allocated.space,
            "size": allocated.size,
            "token": allocated.token,
            "expires_s": allocated.expires_s,
            "received": allocated.received,
        },
    )


def set_received(connection: sa.Connection, allocated: Allocated) -> None:
    """The bytes are here."""
    connection.execute(_RECEIVED, {"of_digest": allocated.digest, "of_space": allocated.space})


def set_accepted(connection: sa.Connection, allocated: Allocated, claim: CID, now_s: int) -> None:
    """The blob is vouched for by ``claim``."""
    connection.execute(
        _ACCEPTED,
        {"of_digest": allocated.digest, "of_space": allocated.space, "at_s": now_s, "by_claim": bytes(claim)},
    )


def delete(connection: sa.Connection, allocated: Allocated) -> None:
    """Forget it, and the index that it is."""
    connection.execute(_DELETE, {"of_digest": allocated.digest, "of_space": allocated.space})


def delete_expired(connection: sa.Connection, now_s: int) -> set[bytes]:
    """Forget what was not accepted in time; returns the blobs' digests."""
    return set(connection.execute(_EXPIRED, {"now_s": now_s}).scalars())


def accepted(connection: sa.Connection, space: str, *, before: tuple[int, bytes], many: int) -> list[Allocated]:
    """Accepted blobs of ``space``, the newest first.

    Args:
        connection: a transaction.
        space: whose.
        before: only those accepted before that time, or then and with a smaller digest.
        many: at most so many.
    """
    values = {"of_space": space, "before_s": before[0], "before_digest": before[1], "many": many}
    found = map(Allocated._of, connection.execute(_LIST, values))
    return [one for one in found if one is not None]
