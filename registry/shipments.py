"""Which shipments there were, of which at most the newest is unfinished, and what they said of each bucket.

A shipment is written down whole before anything of it is accepted by the node, so that a restart finishes exactly it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import sqlalchemy as sa

from mst import cbor
from mst.block import Block
from mst.cid import CID, DAG_CBOR
from mst.errors import FormatError
from mst.manifest import Head, Manifest
from registry import heads as heads_table
from registry import settings, shards
from registry.errors import RegistryError
from registry.heads import Bucket, ShippedHead
from registry.schema import published, shipments
from registry.shards import Shard


class ShipmentDamaged(RegistryError):
    """A shipment's row is not what this code could have written."""


class ShipmentUnfinished(RegistryError):
    """A shipment was begun that is not the one after the newest, or while that is unfinished: nothing was written."""


@dataclass(frozen=True, slots=True)
class Shipment:
    """A shipment under way.

    Args:
        number: its manifest's sequence number.
        manifest: its manifest's block.
        heads: the heads that it brings.
        shards: the shards that it needs and no earlier one has brought.
    """

    number: int
    manifest: Block
    heads: tuple[ShippedHead, ...]
    shards: tuple[Shard, ...]


class Difference(NamedTuple):
    """How the buckets are now, where that is not what the manifests so far say.

    Attributes:
        changed: buckets that are new or different, each with its form in a manifest.
        drops: instance ids of buckets that are gone.
    """

    changed: tuple[tuple[Bucket, Head], ...]
    drops: tuple[bytes, ...]


_NEWEST = sa.select(shipments).order_by(shipments.c.number.desc()).limit(1)
_INSERT = sa.insert(shipments)
_FINISH = sa.update(shipments).where(shipments.c.number == sa.bindparam("of_number")).values(finished=True)
_ALL_PUBLISHED = sa.select(published.c.instance, published.c.document)
_PUBLISH = sa.insert(published)
_UNPUBLISH = sa.delete(published).where(published.c.instance == sa.bindparam("of_instance"))


def newest(connection: sa.Connection) -> tuple[int, CID | None]:
    """The number and the manifest of the newest shipment, 0 and None if there was none."""
    row = connection.execute(_NEWEST).first()
    return (0, None) if row is None else (row.number, CID.of(DAG_CBOR, row.manifest))


def unfinished(connection: sa.Connection) -> Shipment | None:
    """The shipment that is under way, if one is.

    Raises:
        ShipmentDamaged, ShardDamaged: a row is not what this code could have written.
    """
    row = connection.execute(_NEWEST).first()
    return None if row is None or row.finished else _shipment(connection, row)


def difference(connection: sa.Connection) -> Difference:
    """What a new shipment would have to bring.

    Args:
        connection: a read transaction, so that all of it is of one moment.
    """
    known: dict[bytes, bytes] = {row.instance: row.document for row in connection.execute(_ALL_PUBLISHED)}
    configured = settings.load_all(connection)
    changed = []
    for bucket in heads_table.load_all(connection):
        documents = configured.get(bucket.instance, {})
        head = Head(bucket.name, bucket.instance, bucket.created_ms, bucket.commit, bucket.versioning, documents)
        if known.pop(bucket.instance, None) != head.encode():
            changed.append((bucket, head))
    return Difference(tuple(changed), tuple(sorted(known)))


def begin(
    connection: sa.Connection,
    *,
    manifest: Block,
    heads: Sequence[ShippedHead],
    new: Sequence[Shard],
    held: Collection[int],
) -> Shipment:
    """Write a shipment down.

    Args:
        connection: a write transaction.
        manifest: its manifest.
        heads: the heads that the manifest brings.
        new: shards that are not in the registry yet, with this shipment's number where it needs them.
        held: the numbers of shards in the registry that it needs and no earlier shipment needed.

    Raises:
        ShipmentUnfinished: see there.
    """
    number = Manifest.decode(manifest.data).sequence
    row = connection.execute(_NEWEST).first()
    if row is not None and (not row.finished or row.number + 1 != number):
        raise ShipmentUnfinished(f"shipment {number} cannot follow shipment {row.number}")
    flat: list[cbor.Value] = [[head.instance, head.commit, head.sequence] for head in heads]
    connection.execute(
        _INSERT, {"number": number, "manifest": manifest.data, "heads": cbor.encode(flat), "finished": False}
    )
    shards.insert(connection, new)
    shards.need(connection, held, number)
    return Shipment(number, manifest, tuple(heads), tuple(shards.of_shipment(connection, number)))


def finish(connection: sa.Connection, number: int) -> None:
    """All of the unfinished shipment ``number`` is on the node and indexers know it; does nothing a second time.

    The shipped heads of its buckets move with it: see `registry.heads.move_shipped`.

    Raises:
        ShipmentDamaged, ShardDamaged: a row is not what this code could have written.
    """
    shipment = unfinished(connection)
    if shipment is None or shipment.number != number:
        return
    shards.advance(connection, [shard.number for shard in shipment.shards], "shipped")
    manifest = Manifest.decode(shipment.manifest.data)
    for instance in (*manifest.drops, *(head.instance for head in manifest.heads)):
        connection.execute(_UNPUBLISH, {"of_instance": instance})
    for head in manifest.heads:
        connection.execute(_PUBLISH, {"instance": head.instance, "document": head.encode()})
    connection.execute(_FINISH, {"of_number": number})


def restore(connection: sa.Connection, manifests: Iterable[Block], heads: Iterable[Head]) -> None:
    """Enter shipments that were all finished, in a registry that has none.

    Args:
        connection: a write transaction.
        manifests: theirs.
        heads: what they together say of the buckets that there are.
    """
    for manifest in manifests:
        number = Manifest.decode(manifest.data).sequence
        # Which heads a shipment brings is asked only while it is unfinished.
        connection.execute(
            _INSERT, {"number": number, "manifest": manifest.data, "heads": cbor.encode([]), "finished": True}
        )
    for head in heads:
        connection.execute(_PUBLISH, {"instance": head.instance, "document": head.encode()})


def _shipment(connection: sa.Connection, row: sa.Row[*tuple[Any, ...]]) -> Shipment:
    manifest = Block.of(DAG_CBOR, row.manifest)
    try:
        Manifest.decode(row.manifest)
        flat = cast("list[tuple[bytes, CID, int]]", cbor.decode(row.heads))
        heads = tuple(ShippedHead(*one) for one in flat)
    except (FormatError, TypeError) as error:
        raise ShipmentDamaged(f"shipment {row.number} in the registry is damaged: {error}") from error
    return Shipment(row.number, manifest, heads, tuple(shards.of_shipment(connection, row.number)))
