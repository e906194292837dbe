from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest
import sqlalchemy as sa

from mst.cid import CID, DAG_CBOR
from registry import shards
from registry.database import Database
from registry.shards import STATES, Shard, ShardDamaged, Slice


def pack(word: bytes = b"pack") -> Shard:
    return Shard(0, sha256(word).digest(), 100, sha256(b"index of " + word).digest(), 10, None)


def bulk(segment: int, start: int, stop: int, *, continues: bool = False) -> Shard:
    return replace(pack(b"%d/%d" % (segment, start)), slice=Slice(segment, start, stop, continues))


def find(database: Database, segment: int, offset: int) -> Shard | None:
    with database.read() as connection:
        return shards.covering(connection, segment, offset)


def test_shards_come_back_as_they_were_put(database: Database) -> None:
    with database.write() as connection:
        first, second = shards.insert(
            connection, [bulk(3, 26, 500, continues=True), replace(bulk(3, 500, 900), answers=b"claims")]
        )
    assert first.number != second.number
    assert (find(database, 3, 26), find(database, 3, 500)) == (first, second)
    assert (first.kind, pack().kind) == ("bulk", "pack")


def test_which_shard_holds_a_byte_of_a_segment(database: Database) -> None:
    with database.write() as connection:
        first, second, other = shards.insert(connection, [bulk(3, 26, 500), bulk(3, 500, 900), bulk(4, 26, 100)])
        assert shards.end_of(connection, 3) == 900
        assert shards.end_of(connection, 5) is None
    expected = {(3, 25): None, (3, 26): first, (3, 499): first, (3, 500): second, (3, 899): second, (3, 900): None,
                (4, 99): other, (4, 100): None, (5, 30): None}  # fmt: skip
    assert {place: find(database, *place) for place in expected} == expected


def test_shards_by_their_numbers(database: Database) -> None:
    with database.write() as connection:
        first, second, _ = shards.insert(connection, [bulk(1, 26, 30), pack(), pack()])
        assert shards.get(connection, [second.number, 99, first.number]) == [second, first]
        assert shards.unreached([first, replace(second, state="uploaded")], "uploaded") == [first]


def test_two_shards_may_have_the_same_bytes(database: Database) -> None:
    with database.write() as connection:
        one, other = shards.insert(connection, [pack(), pack()])
    assert one.digest == other.digest
    assert one.number != other.number


@pytest.mark.parametrize("reached", STATES)
def test_a_shard_only_goes_forward(database: Database, reached: str) -> None:
    with database.write() as connection:
        (shard,) = shards.insert(connection, [replace(bulk(1, 26, 30), state=reached)])
        for state in STATES[1:]:
            shards.advance(connection, [shard.number], state)
            found = shards.covering(connection, 1, 26)
            assert found is not None
            assert STATES.index(found.state) == max(STATES.index(reached), STATES.index(state))
            assert found.has_reached(state)
        shards.send_back(connection, [shard.number])
        assert shards.covering(connection, 1, 26) == replace(shard, state="shipped")


def test_the_last_answers_stay(database: Database) -> None:
    with database.write() as connection:
        (shard,) = shards.insert(connection, [bulk(1, 26, 30)])
        shards.advance(connection, [shard.number], "uploaded", {shard.number: b"room"})
        shards.advance(connection, [shard.number], "accepted", {shard.number: b"claims"})
        shards.advance(connection, [shard.number], "shipped")
        assert shards.covering(connection, 1, 26) == replace(shard, state="shipped", answers=b"claims")


@pytest.mark.parametrize(("state", "back"), [("uploaded", "sealed"), ("accepted", "accepted")])
def test_only_what_was_not_promised_can_be_lost(database: Database, state: str, back: str) -> None:
    with database.write() as connection:
        (shard,) = shards.insert(connection, [replace(bulk(1, 26, 30), state=state)])
        shards.send_back(connection, [shard.number])
        found = shards.covering(connection, 1, 26)
    assert found is not None
    assert found.state == back


def test_what_can_be_sent_ahead(database: Database) -> None:
    with database.write() as connection:
        made = shards.insert(
            connection, [replace(bulk(1, n, n + 1), state=state) for n, state in enumerate(STATES, 26)]
        )
        assert shards.ahead(connection, 9) == made[:1]
        assert shards.ahead(connection, 0) == []


def test_a_damaged_row_is_named(database: Database) -> None:
    with database.write() as connection:
        (shard,) = shards.insert(connection, [bulk(1, 26, 30)])
        connection.execute(sa.text("UPDATE shards SET state = 'lost'"))
        with pytest.raises(ShardDamaged, match=f"shard {shard.number} "):
            shards.covering(connection, 1, 26)
        connection.execute(sa.text("UPDATE shards SET state = 'sealed', manifest = X'00'"))
        with pytest.raises(ShardDamaged):
            shards.covering(connection, 1, 26)


def test_the_manifest_of_a_pack(database: Database) -> None:
    manifest = CID.of(DAG_CBOR, b"manifest")
    with database.write() as connection:
        shards.insert(connection, [replace(pack(), manifest=manifest)])
        row = connection.execute(sa.text("SELECT manifest, kind FROM shards")).one()
    assert tuple(row) == (manifest, "pack")
