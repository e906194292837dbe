from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256

import pytest
import sqlalchemy as sa

from mst.block import Block
from mst.cid import CID, DAG_CBOR
from mst.manifest import Head, Manifest
from registry import heads, settings, shards, shipments
from registry.database import Database
from registry.heads import ENABLED, Bucket, HeadMove, ShippedHead
from registry.shards import Shard, Slice
from registry.shipments import ShipmentDamaged, ShipmentUnfinished

MakeBucket = Callable[..., Bucket]


def manifest(number: int, changed: Sequence[Head] = (), drops: Sequence[bytes] = ()) -> Block:
    made = Manifest(
        space="did:key:x", sequence=number, time_ms=1, prev=None, heads=tuple(changed), drops=tuple(drops),
        signature=bytes(64),
    )  # fmt: skip
    return made.block()


def shard(word: bytes, **fields: object) -> Shard:
    return replace(Shard(0, sha256(word).digest(), 100, sha256(b"i" + word).digest(), 10, None), **fields)


def begin(database: Database, block: Block, **what: object) -> shipments.Shipment:
    with database.write() as connection:
        asked = {"heads": (), "new": (), "held": (), **what}
        return shipments.begin(connection, manifest=block, **asked)  # type: ignore[arg-type]


def finish(database: Database, number: int) -> None:
    with database.write() as connection:
        shipments.finish(connection, number)


def unfinished(database: Database) -> shipments.Shipment | None:
    with database.read() as connection:
        return shipments.unfinished(connection)


def difference(database: Database) -> shipments.Difference:
    with database.read() as connection:
        return shipments.difference(connection)


def ship(database: Database, number: int) -> None:
    """All that differs."""
    found = difference(database)
    begin(database, manifest(number, [head for _, head in found.changed], found.drops))
    finish(database, number)


def test_a_shipment_is_found_again_until_it_is_finished(database: Database) -> None:
    head = ShippedHead(b"i" * 16, CID.of(DAG_CBOR, b"c"), 5)
    with database.write() as connection:
        assert shipments.newest(connection) == (0, None)
        (old, other) = shards.insert(connection, [shard(b"old", slice=Slice(1, 26, 30, False)), shard(b"other")])
    new = [shard(b"pack", shipment=7), shard(b"not needed", slice=Slice(1, 30, 40, False))]
    begun = begin(database, manifest(7), heads=[head], new=new, held=[old.number])
    assert begun == unfinished(database)
    assert (begun.number, begun.heads) == (7, (head,))
    assert {one.digest for one in begun.shards} == {old.digest, new[0].digest}
    with pytest.raises(ShipmentUnfinished):
        begin(database, manifest(8))
    finish(database, 7)
    assert unfinished(database) is None
    with database.read() as connection:
        assert shipments.newest(connection) == (7, manifest(7).cid)
        assert {one.state for one in shards.of_shipment(connection, 7)} == {"shipped"}
        assert [one.digest for one in shards.ahead(connection, 9)] == [other.digest, new[1].digest]


def test_a_shard_belongs_to_the_first_shipment_that_needs_it(database: Database) -> None:
    with database.write() as connection:
        (old,) = shards.insert(connection, [shard(b"old", slice=Slice(1, 26, 30, False))])
    begin(database, manifest(1), held=[old.number])
    finish(database, 1)
    assert begin(database, manifest(2), held=[old.number]).shards == ()
    with database.read() as connection:
        assert [one.number for one in shards.of_shipment(connection, 1)] == [old.number]


def test_shipments_are_numbered_without_gaps(database: Database) -> None:
    begin(database, manifest(1))
    finish(database, 1)
    for wrong in (1, 3):
        with pytest.raises(ShipmentUnfinished):
            begin(database, manifest(wrong))


def test_finishing_twice_and_finishing_another(database: Database) -> None:
    begin(database, manifest(1))
    finish(database, 2)
    assert unfinished(database) is not None
    finish(database, 1)
    finish(database, 1)
    assert unfinished(database) is None


def test_what_differs_from_what_was_published(database: Database, make_bucket: MakeBucket) -> None:
    photos, films = make_bucket(), make_bucket("films", b"f" * 16)
    with database.write() as connection:
        heads.insert_bucket(connection, photos)
        heads.insert_bucket(connection, films)
    found = difference(database)
    assert [bucket for bucket, _ in found.changed] == [films, photos]
    assert found.changed[0][1] == Head("films", films.instance, films.created_ms, films.commit, "unversioned", {})
    ship(database, 1)
    assert difference(database) == ((), ())
    moved = replace(photos, commit=CID.of(DAG_CBOR, b"next"), sequence=2)
    with database.write() as connection:
        heads.move_head(connection, HeadMove(photos.instance, photos.commit, moved))
        settings.put(connection, instance=films.instance, name="tagging", document=b"t")
    found = difference(database)
    assert [head for _, head in found.changed] == [
        Head("films", films.instance, films.created_ms, films.commit, "unversioned", {"tagging": b"t"}),
        Head("photos", photos.instance, photos.created_ms, moved.commit, "unversioned", {}),
    ]
    ship(database, 2)
    with database.write() as connection:
        heads.move_head(connection, HeadMove(photos.instance, moved.commit, replace(moved, versioning=ENABLED)))
        heads.delete_bucket(connection, films.instance, films.commit)
    found = difference(database)
    assert [head.versioning for _, head in found.changed] == ["enabled"]
    assert found.drops == (films.instance,)
    ship(database, 3)
    assert difference(database) == ((), ())


@pytest.mark.parametrize("column", ["manifest", "heads"])
def test_a_damaged_row_is_named(database: Database, column: str) -> None:
    begin(database, manifest(1))
    with database.write() as connection:
        connection.execute(sa.text(f"UPDATE shipments SET {column} = X'81'"))
    with pytest.raises(ShipmentDamaged, match="shipment 1 "):
        unfinished(database)
