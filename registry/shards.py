"""The CAR files that a storage node is to hold, and how far each has come: a shard only ever goes forward.

A shard is bytes that are there already (`gateway.shipping`): part of a bulk segment, or a pack in the outbox.  Here is
which bytes, what the node has said about them, and which shipment needs them.  Two may have the same bytes: to the
node they are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias, get_args

import sqlalchemy as sa

from mst import car
from mst.cid import CID
from mst.errors import FormatError
from registry.errors import RegistryError
from registry.schema import shards

Kind: TypeAlias = Literal["bulk", "pack"]
State: TypeAlias = Literal["sealed", "uploaded", "accepted", "shipped"]
"""How far a shard has come: it will not change; the node has it and its index; has promised to keep them, and everybody
can find what is in it; so can everybody find the heads that it was needed for."""
STATES: Final[tuple[State, ...]] = get_args(State)
"""In the order in which a shard goes through them."""


class ShardDamaged(RegistryError):
    """A shard's row is not what this code could have written."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The part of a bulk segment that a shard is.

    Args:
        segment: the segment's number.
        start: file offset of its first section.
        stop: file offset behind its last section.
        continues: whether it begins within a batch, so that it is of use only with the shard before it.
    """

    segment: int
    start: int
    stop: int
    continues: bool


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard.

    Args:
        number: what the places of blocks name it by; 0 until it is inserted.
        digest: the SHA-256 of its bytes.
        size_bytes: its length.
        index_digest: the SHA-256 of its index.
        index_bytes: the length of its index.
        slice: which part of which bulk segment it is, None for a pack, and for one that is only on the node.
        manifest: the manifest that is its root, if it has one.
        state: how far it has come.
        shipment: the number of the shipment that needs it, None while none does.
        answers: what the node has answered last about it and its index, as the client of the node keeps it.
    """

    number: int
    digest: bytes
    size_bytes: int
    index_digest: bytes
    index_bytes: int
    slice: Slice | None
    manifest: CID | None = None
    state: State = "sealed"
    shipment: int | None = None
    answers: bytes | None = None

    @property
    def kind(self) -> Kind:
        """Where its bytes are, until it is shipped: in a bulk segment, or in the outbox."""
        return "pack" if self.slice is None else "bulk"

    def has_reached(self, state: State) -> bool:
        """Whether it has come as far as ``state``."""
        return STATES.index(self.state) >= STATES.index(state)


_OF_NUMBER = shards.c.number == sa.bindparam("of_number")
_INSERT = sa.insert(shards)
_LOAD = sa.select(shards)
_GET = _LOAD.where(_OF_NUMBER)
_OF_SHIPMENT = _LOAD.where(shards.c.shipment == sa.bindparam("of_shipment")).order_by(shards.c.number)
_COVERING = (
    _LOAD.where(shards.c.segment == sa.bindparam("of_segment"), shards.c.start <= sa.bindparam("at"))
    .order_by(shards.c.start.desc())
    .limit(1)
)
_END = sa.select(sa.func.max(shards.c.stop)).where(shards.c.segment == sa.bindparam("of_segment"))
_NEWEST_SEGMENT = sa.select(sa.func.max(shards.c.segment))
_OF_SEGMENT = _LOAD.where(shards.c.segment == sa.bindparam("of_segment")).order_by(shards.c.start)
_AHEAD = (
    _LOAD.where(shards.c.shipment.is_(None), shards.c.state == "sealed")
    .order_by(shards.c.number)
    .limit(sa.bindparam("row_count"))
)
_NEED = sa.update(shards).where(_OF_NUMBER, shards.c.shipment.is_(None)).values(shipment=sa.bindparam("new_shipment"))
_SEND_BACK = sa.update(shards).where(_OF_NUMBER, shards.c.state == "uploaded").values(state="sealed", answers=None)
_ADVANCE = {
    state: sa.update(shards)
    .where(_OF_NUMBER, shards.c.state.in_(STATES[: STATES.index(state)]))
    .values(state=state, answers=sa.func.coalesce(sa.bindparam("new_answers"), shards.c.answers))
    for state in STATES[1:]
}


def insert(connection: sa.Connection, new: Iterable[Shard]) -> list[Shard]:
    """Add shards; returns them with their numbers."""
    inserted = []
    for shard in new:
        part = shard.slice
        row = {
            "digest": shard.digest,
            "size_bytes": shard.size_bytes,
            "kind": shard.kind,
            "state": shard.state,
            "index_digest": shard.index_digest,
            "index_bytes": shard.index_bytes,
            "manifest": shard.manifest,
            "segment": part and part.segment,
            "start": part and part.start,
            "stop": part and part.stop,
            "continues": part and part.continues,
            "shipment": shard.shipment,
            "answers": shard.answers,
        }
        key = connection.execute(_INSERT, row).inserted_primary_key
        assert key is not None
        inserted.append(replace(shard, number=key[0]))
    return inserted


def need(connection: sa.Connection, numbers: Iterable[int], shipment: int) -> None:
    """Note that ``shipment`` needs shards that no shipment has needed before; others are left as they are."""
    for number in numbers:
        connection.execute(_NEED, {"of_number": number, "new_shipment": shipment})


def advance(
    connection: sa.Connection, numbers: Iterable[int], state: State, answers: Mapping[int, bytes] | None = None
) -> None:
    """Note that shards have come as far as ``state``; those that have already, or farther, are left as they are.

    Args:
        connection: a write transaction.
        numbers: the shards.
        state: what they have reached, "uploaded" or later.
        answers: what the node has answered, by shard.
    """
    for number in numbers:
        connection.execute(_ADVANCE[state], {"of_number": number, "new_answers": (answers or {}).get(number)})


def send_back(connection: sa.Connection, numbers: Iterable[int]) -> None:
    """The node has not got shards any more whose bytes it had, but had not promised to keep: they begin anew."""
    for number in numbers:
        connection.execute(_SEND_BACK, {"of_number": number})


def of_shipment(connection: sa.Connection, shipment: int) -> list[Shard]:
    """The shards that a shipment was the first to need, by number.

    Raises:
        ShardDamaged: a row is not what this code could have written.
    """
    return _shards(connection.execute(_OF_SHIPMENT, {"of_shipment": shipment}))


def get(connection: sa.Connection, numbers: Iterable[int]) -> list[Shard]:
    """The shards of those numbers, in their order; what is not there is left out.

    Raises:
        ShardDamaged: as `of_shipment`.
    """
    return [shard for number in numbers for shard in _shards(connection.execute(_GET, {"of_number": number}))]


def ahead(connection: sa.Connection, limit: int) -> list[Shard]:
    """Up to ``limit`` bulk shards that no shipment needs yet and whose bytes the node has not got, by number.

    Raises:
        ShardDamaged: as `of_shipment`.
    """
    return _shards(connection.execute(_AHEAD, {"row_count": limit}))


def covering(connection: sa.Connection, segment: int, offset: int) -> Shard | None:
    """The shard that holds the byte at ``offset`` of a bulk segment, if one does.

    Raises:
        ShardDamaged: as `of_shipment`.
    """
    found = _shards(connection.execute(_COVERING, {"of_segment": segment, "at": offset}))
    if not found or found[0].slice is None or offset >= found[0].slice.stop:
        return None
    return found[0]


def end_of(connection: sa.Connection, segment: int) -> int | None:
    """The file offset behind the last shard of a bulk segment; None if it has none."""
    end: int | None = connection.execute(_END, {"of_segment": segment}).scalar()
    return end


def unreached(found: Sequence[Shard], state: State) -> list[Shard]:
    """Those that have not come as far as ``state``."""
    return [shard for shard in found if not shard.has_reached(state)]


def newest_segment(connection: sa.Connection) -> int:
    """The highest number of a bulk segment that has a shard, 0 if none has."""
    newest: int | None = connection.execute(_NEWEST_SEGMENT).scalar()
    return newest or 0


def kept_until(connection: sa.Connection, segment: int) -> int:
    """The file offset up to which the node has promised to keep all of a bulk segment.

    Raises:
        ShardDamaged: as `of_shipment`.
    """
    end = len(car.HEADER)
    for shard in _shards(connection.execute(_OF_SEGMENT, {"of_segment": segment})):
        if shard.slice is None or shard.slice.start != end or not shard.has_reached("accepted"):
            break
        end = shard.slice.stop
    return end


def _shards(rows: Iterable[sa.Row[*tuple[Any, ...]]]) -> list[Shard]:
    return [_shard(row) for row in rows]


def _shard(row: sa.Row[*tuple[Any, ...]]) -> Shard:
    if row.state not in STATES or row.kind not in get_args(Kind) or (row.kind == "bulk") != (row.segment is not None):
        raise ShardDamaged(f"shard {row.number} in the registry is damaged")
    try:
        manifest = None if row.manifest is None else CID.parse(row.manifest)
    except FormatError as error:
        raise ShardDamaged(f"shard {row.number} in the registry is damaged: {error}") from error
    part = None if row.segment is None else Slice(row.segment, row.start, row.stop, row.continues)
    return Shard(
        row.number, row.digest, row.size_bytes, row.index_digest, row.index_bytes, part, manifest, row.state,
        row.shipment, row.answers,
    )  # fmt: skip
