"""From the first commit to a remote that has everything: what is there, how much of it, in how many round trips."""

from __future__ import annotations

import asyncio
import errno
import os
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing
from functools import partial
from itertools import groupby
from pathlib import Path
from shutil import rmtree
from typing import Any, TypeAlias

import pytest

from gateway.shipping import gathering, slicing
from gateway.shipping.distance import Distance, distances
from gateway.shipping.packing import Outbox
from gateway.shipping.places import RemotePlaces
from gateway.shipping.remote import RemoteError
from gateway.shipping.shipper import ShipSettings
from gateway.shipping.shipping import Acknowledge
from gateway.store.errors import NotShipped
from gateway.store.folder import DataFolder
from gateway.store.mutations import MakeBucket, Put, Record, SetVersioning
from gateway.store.store import Store, StoreSettings
from mst.cid import CID, RAW
from mst.entry import Entry
from registry import settings
from registry.heads import ENABLED, Bucket
from tests.shipped import FolderRemote, reachable, read
from tests.store_client import CLOCK_MS, SPACE_KEY, StoreClient, content_of, open_client

OpenShip: TypeAlias = Callable[..., AbstractAsyncContextManager[Any]]


def test_what_was_answered_is_on_the_remote(open_ship: OpenShip, tmp_path: Path) -> None:
    async def run() -> None:
        async with open_ship(tmp_path) as ship:
            made = await ship.client.make("photos")
            assert ship.read().heads["photos"].commit == made.bucket.commit == made.bucket.shipped
            small, large = content_of("small", 1000), content_of("large", 3_000_000)
            await ship.client.put("photos", b"small", small)
            assert ship.read().commit("photos").objects == 1
            done = await ship.client.put("photos", b"large", large)
            shipped = ship.read()
            assert shipped.commit("photos").sequence == done.bucket.sequence == 3
            await ship.client.delete("photos", b"small")
            assert ship.read().commit("photos").objects == 1
            await ship.client.delete("photos", b"large")
            await ship.client.drop("photos")
            assert ship.read().heads == {}

    asyncio.run(run())


def test_settings_and_versioning_are_shipped_before_they_are_answered(open_ship: OpenShip, tmp_path: Path) -> None:
    async def run() -> None:
        async with open_ship(tmp_path) as ship:
            bucket = (await ship.client.make("photos")).bucket
            committer = ship.client.store.committer
            await committer.submit(SetVersioning("photos", ENABLED))
            assert ship.read().heads["photos"].versioning == ENABLED
            write = partial(settings.put, instance=bucket.instance, name="tagging", document=b"\xa0")
            await committer.submit(Record(write, bucket.instance))
            assert ship.read().heads["photos"].settings == {"tagging": b"\xa0"}
            for content in (b"old", b"new"):
                await ship.client.put("photos", b"k", content)
            assert ship.read().commit("photos").versions is not None

    asyncio.run(run())


def test_what_changes_nothing_is_answered_too(open_ship: OpenShip, tmp_path: Path) -> None:
    async def run() -> None:
        async with open_ship(tmp_path) as ship:
            await ship.client.make("photos")
            for _ in range(3):
                done = await ship.client.delete("photos", b"not there")
            assert done.bucket.sequence == 1
            assert len(ship.read().manifests) == 1

    asyncio.run(run())


def test_a_random_life(open_ship: OpenShip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many writers at once, starts in between, limits so small that everything is cut everywhere."""
    monkeypatch.setattr("gateway.shipping.packing.PACK_BYTES_MAX", (1 << 20) + 60_000)
    monkeypatch.setattr(gathering, "PACK_BYTES_MAX", 60_000)
    monkeypatch.setattr(gathering, "PACKS_BYTES_MAX", 120_000)
    monkeypatch.setattr(gathering, "SHARDS_MAX", 5)
    monkeypatch.setattr(slicing, "_ROOM", 1_200_000)
    store_settings = StoreSettings(segment_bytes=3_000_000, inline_body_bytes=3_000, threads=4)
    dice = random.Random(5)

    async def write(client: StoreClient, writer: int) -> None:
        for _ in range(12):
            key = f"{writer}/{dice.randrange(5)}".encode()
            size = dice.choice([0, 10, 2_000, 2_900, 5_000, 40_000, 40_000, 1_500_000])
            await client.put(dice.choice("ab"), key, content_of(dice.random(), size))
            if dice.random() < 0.3:
                await client.delete(dice.choice("ab"), key)

    async def run() -> None:
        for turn in range(3):
            async with open_ship(tmp_path, settings=store_settings) as ship:
                if turn == 0:
                    await asyncio.gather(ship.client.make("a"), ship.client.make("b"))
                await asyncio.gather(*(write(ship.client, writer) for writer in range(6)))
                shipped = ship.read()
                for bucket in ship.client.store.buckets():
                    assert bucket.shipped == bucket.commit == shipped.heads[bucket.name].commit
                packed = [row.digest for row in ship.shards() if row.kind == "pack"]
                assert len(set(packed)) == len(packed)
                assert {row.state for row in ship.shards() if row.shipment is not None} == {"shipped"}
                assert list(ship.client.store.folder.outbox.iterdir()) == []

    asyncio.run(run())


def test_a_large_difference_comes_in_several_shipments(
    open_ship: OpenShip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.shipping.packing.PACK_BYTES_MAX", (1 << 20) + 50_000)
    monkeypatch.setattr(gathering, "PACK_BYTES_MAX", 50_000)
    monkeypatch.setattr(gathering, "PACKS_BYTES_MAX", 200_000)

    async def run() -> None:
        async with open_client(tmp_path / "data") as client:
            await client.make("photos")
            await asyncio.gather(*(client.put("photos", b"%d" % n, content_of(n, 9_000)) for n in range(100)))
        async with open_ship(tmp_path) as ship:
            await ship.client.delete("photos", b"not there")
            manifests = ship.read().manifests
            brought = [len(manifest.heads) for manifest in manifests]
            assert brought[-1] == 1
            assert brought.count(0) >= 3
            assert manifests[-1].heads[0].commit == ship.client.store.bucket("photos").commit
            assert ship.remote.put_bytes < 1_050_000

    asyncio.run(run())


def test_a_batch_that_is_too_large_for_one_shard(
    open_ship: OpenShip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object's root is in the last piece; it is of use only with all the others."""
    monkeypatch.setattr(slicing, "_ROOM", 2_500_000)

    async def run() -> None:
        async with open_ship(tmp_path) as ship:
            await ship.client.make("photos")
            await ship.client.put("photos", b"k", content_of("x", 9_000_000))
            ship.read()
            pieces = [row for row in ship.shards() if row.kind == "bulk"]
            assert [row.continues for row in pieces] == [False] + [True] * (len(pieces) - 1)
            assert len(pieces) == 5
            assert {row.state for row in pieces} == {"shipped"}

    asyncio.run(run())


def test_equal_objects_in_two_segments(open_ship: OpenShip, tmp_path: Path) -> None:
    async def run() -> None:
        async with open_ship(tmp_path) as ship:
            await ship.client.make("photos")
            content = content_of("x", 2_000_000)
            await asyncio.gather(*(ship.client.put("photos", b"%d" % n, content) for n in range(3)))
            ship.read()

    asyncio.run(run())


def _refuse(step: str) -> None:
    raise RemoteError(f"no {step} today")


def test_at_most_three_round_trips_for_each_shipment(open_ship: OpenShip, tmp_path: Path) -> None:
    async def run() -> None:
        async with open_ship(tmp_path) as ship:
            await ship.client.make("photos")
            sizes = [10, 1000, 200_000, 2_000_000]
            await asyncio.gather(
                *(ship.client.put("photos", b"%d" % n, content_of(n, sizes[n % 4])) for n in range(40))
            )
            steps = [step for step, _ in groupby(ship.remote.round_trips)]
            shipments = len(ship.read().manifests)
            assert steps == ["allocate", "put", "accept"] * shipments
            assert shipments < 20

    asyncio.run(run())


def test_clients_that_each_wait_for_their_answer_share_shipments(
    open_ship: OpenShip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten at once cost the round trips of one: they do not fall apart into some that are shipped and some that wait."""
    monkeypatch.setattr("gateway.shipping.shipper.COMPANY_SHARE", 1e9)
    monkeypatch.setattr("gateway.shipping.shipper.COMPANY_SECONDS_MAX", 10.0)
    clients, rounds = 10, 6
    under_way = asyncio.Event()

    class FarRemote(FolderRemote):
        async def upload(self, blobs: Any) -> list[bytes]:
            under_way.set()
            await asyncio.sleep(0.02)
            return await super().upload(blobs)

    async def run() -> None:
        remote = FarRemote(tmp_path / "remote side")
        async with open_ship(tmp_path, remote) as ship:
            await ship.client.make("photos")
            remote.round_trips.clear()
            under_way.clear()
            answered = asyncio.Semaphore(0)

            async def client(number: int) -> None:
                for turn in range(10 * rounds):
                    await ship.client.put("photos", b"%d/%d" % (number, turn), b"%d" % turn)
                    answered.release()

            async with asyncio.TaskGroup() as group:
                busy = [group.create_task(client(0))]
                await under_way.wait()
                busy += [group.create_task(client(number)) for number in range(1, clients)]
                for _ in range(clients * rounds):
                    await answered.acquire()
                shipments = remote.round_trips.count("accept")
                for one in busy:
                    one.cancel()
            assert rounds <= shipments <= rounds + 2

    asyncio.run(run())


def test_bytes_shipped_for_each_byte_that_lives(open_ship: OpenShip, tmp_path: Path) -> None:
    """10,000 random keys, shipped twice; indexes and what died in between count too."""

    async def run() -> None:
        only_when_asked = ShipSettings(at_once=True)
        async with open_ship(tmp_path, acknowledge=None, ship=only_when_asked) as ship:
            await ship.client.make("photos")
            dice = random.Random(7)
            for turn in range(100):
                puts = [(dice.randbytes(12).hex().encode(), dice.randbytes(1024)) for _ in range(100)]
                await asyncio.gather(*(ship.client.put("photos", key, content) for key, content in puts))
                if turn in (49, 99):
                    ship.shipping.shipper.want()
                    await _until_shipped(ship)
            shipped = ship.read()
            needed = reachable(shipped.heads["photos"].commit, shipped.blocks)
            live = sum(len(shipped.blocks[cid.digest]) for cid in needed)
            assert live > 10_000 * 1024
            assert ship.remote.put_bytes / live <= 1.3

    asyncio.run(run())


async def _until_shipped(ship: Any) -> None:
    while any(bucket.shipped != bucket.commit for bucket in ship.client.store.buckets()):
        await asyncio.sleep(0.001)


def test_every_call_fails_once(open_ship: OpenShip, tmp_path: Path) -> None:
    """Before its effect, or after it, when only the answer is lost."""
    remote = FolderRemote(tmp_path / "remote side")
    failed: set[tuple[int, str]] = set()
    seen: dict[str, int] = {}

    def fail_once(step: str) -> None:
        seen[step] = seen.get(step, 0) + 1
        place = (seen[step] // 2, step)
        if place not in failed:
            failed.add(place)
            raise RemoteError(f"no {step} this time")

    async def run() -> None:
        async with open_ship(tmp_path, remote) as ship:
            remote.hook = fail_once
            await ship.client.make("photos")
            await ship.client.put("photos", b"small", b"small")
            await ship.client.put("photos", b"large", content_of("large", 2_500_000))
            shipped = ship.read()
            assert shipped.commit("photos").objects == 2
            assert len(shipped.manifests) == 3

    asyncio.run(run())
    every = {"allocate", "allocated", "put", "was put", "accept", "accepted", "published"}
    assert {step for _, step in failed} == every


def test_bytes_that_the_remote_lost_before_it_promised_to_keep_them(open_ship: OpenShip, tmp_path: Path) -> None:
    remote = FolderRemote(tmp_path / "remote side")
    lost: list[str] = []

    def lose(step: str) -> None:
        if step == "accept" and len(lost) < 2:
            remote.forget_unaccepted()
            lost.append(step)

    async def run() -> None:
        async with open_ship(tmp_path, remote) as ship:
            remote.hook = lose
            await ship.client.make("photos")
            await ship.client.put("photos", b"large", content_of("large", 2_500_000))
            assert ship.read().commit("photos").objects == 1

    asyncio.run(run())
    assert len(lost) == 2


def test_a_client_is_not_kept_waiting_for_ever(open_ship: OpenShip, tmp_path: Path) -> None:
    async def run() -> None:
        async with open_ship(tmp_path, acknowledge=Acknowledge(0.05)) as ship:
            ship.remote.hook = _refuse
            with pytest.raises(NotShipped):
                await ship.client.make("photos")
            with pytest.raises(NotShipped):
                await ship.client.put("photos", b"k", b"here")
            assert await ship.client.read("photos", b"k") == b"here"
            assert ship.read().heads == {}
            ship.remote.hook = lambda _: None
            await _until_shipped(ship)
            assert ship.read().commit("photos").objects == 1

    asyncio.run(run())


def test_a_stop_answers_who_waits(open_ship: OpenShip, tmp_path: Path) -> None:
    async def run() -> None:
        async with open_ship(tmp_path) as ship:
            ship.remote.hook = _refuse
            waiting = asyncio.ensure_future(ship.client.make("photos"))
            while not ship.client.store.buckets():
                await asyncio.sleep(0)
        with pytest.raises(NotShipped):
            await waiting
        async with open_ship(tmp_path) as ship:
            await _until_shipped(ship)
            assert ship.read().heads.keys() == {"photos"}

    asyncio.run(run())


def test_a_damaged_bucket_keeps_no_other_from_being_shipped(open_ship: OpenShip, tmp_path: Path) -> None:
    async def run() -> None:
        async with open_client(tmp_path / "data") as client:
            store = client.store
            await asyncio.gather(client.make("good"), client.make("bad"))
            await client.put("bad", b"k", content_of("bad", 3000))
            entry = await store.trees.get(store.bucket("bad"), b"k")
            assert entry is not None
            _damage(store, entry.body)
        async with open_ship(tmp_path) as ship:
            await ship.client.put("good", b"k", b"content")
            bad = asyncio.ensure_future(ship.client.put("bad", b"other", b"content"))
            for n in range(3):
                await ship.client.put("good", b"k", b"content %d" % n)
                assert ship.read().heads.keys() == {"good"}
            assert not bad.done()
        with pytest.raises(NotShipped):
            await bad

    asyncio.run(run())


def test_a_disk_that_fails_for_a_while_ends_nothing(
    open_ship: OpenShip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "outbox" / "lost+found").mkdir(parents=True)
    read = os.pread

    async def run() -> None:
        async with open_ship(tmp_path) as ship:
            await asyncio.gather(ship.client.make("good"), ship.client.make("bad"))
            put = await ship.client.entry(content_of("large", 1_500_000))
            failing = {segment.fd for segment in ship.client.store.segments.of_kind("bulk")}

            def fail(fd: int, *what: int) -> bytes:
                if fd in failing:
                    raise OSError(errno.EIO, "Input/output error")
                return read(fd, *what)

            with monkeypatch.context() as patch:
                patch.setattr(os, "pread", fail)
                bad = asyncio.ensure_future(ship.client.store.committer.submit(Put("bad", b"k", put.entry, put.blocks)))
                for n in range(3):
                    await ship.client.put("good", b"k", b"content %d" % n)
                    assert ship.read().commit("good").sequence == n + 2
                assert not bad.done()
            await ship.client.put("good", b"k", b"and again")
            await bad
            assert ship.read().commit("bad").objects == 1

    asyncio.run(run())


def test_an_attempt_that_fails_in_an_unforeseen_way_is_repeated(
    open_ship: OpenShip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, failures = Outbox.keep_only, [OSError(errno.EIO, "Input/output error")] * 3

    def fail_at_first(*what: Any) -> None:
        if failures:
            raise failures.pop()
        whole(*what)

    async def run() -> None:
        async with open_ship(tmp_path) as ship:
            monkeypatch.setattr(Outbox, "keep_only", fail_at_first)
            await ship.client.make("photos")
            assert ship.read().heads.keys() == {"photos"}

    asyncio.run(run())


def _damage(store: Any, cid: CID) -> None:
    place = store.index.get(cid.digest)
    path = store.segments.get(place.segment).path
    with path.open("r+b") as file:
        file.seek(place.offset)
        file.write(b"damage")


def test_a_damaged_upload_that_nobody_needs(open_ship: OpenShip, tmp_path: Path) -> None:
    """It shares a bulk segment with one that is needed, which then is read block by block."""

    async def run() -> None:
        async with open_ship(tmp_path) as ship:
            await ship.client.make("photos")
            await ship.client.entry(content_of("stray", 1_500_000))
            put = await ship.client.entry(content_of("needed", 1_500_000))
            _damage(ship.client.store, _leaf(content_of("stray", 1_500_000)))
            await ship.client.store.committer.submit(Put("photos", b"k", put.entry))
            assert ship.read().commit("photos").objects == 1
            assert "bulk" not in {row.kind for row in ship.shards()}

    asyncio.run(run())


def _leaf(content: bytes) -> CID:
    return CID.of(RAW, content[: 1 << 20])


def test_parts_of_uploads_are_sent_ahead_and_accepted_when_a_head_needs_them(
    open_ship: OpenShip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.shipping.shipper.AHEAD_BYTES", 1_000_000)

    async def run() -> None:
        async with open_ship(tmp_path) as ship:
            await ship.client.make("photos")
            writer = ship.client.store.new_body(part=True)
            await writer.write(content_of("part", 1 << 20))
            part = await writer.finish()
            while not (rows := [row for row in ship.shards() if row.kind == "bulk" and row.state == "uploaded"]):
                await asyncio.sleep(0.001)
            (row,) = rows
            assert row.digest not in ship.remote.accepted()
            assert row.shipment is None
            puts, sent = ship.remote.round_trips.count("put"), ship.remote.put_bytes
            entry = Entry(part.cid, part.size, CLOCK_MS, part.md5, None)
            await ship.client.store.committer.submit(Put("photos", b"k", entry))
            assert row.digest in ship.remote.accepted()
            assert ship.remote.put_bytes - sent < 10_000
            assert ship.remote.round_trips.count("put") == puts + 2
            assert ship.read().commit("photos").size_bytes == 1 << 20

    asyncio.run(run())


def test_shipping_behind(open_ship: OpenShip, tmp_path: Path) -> None:
    async def run() -> None:
        async with open_ship(tmp_path, acknowledge=None) as ship:
            ship.remote.hook = _refuse
            await ship.client.make("photos")
            await ship.client.put("photos", b"k", b"content")
            assert ship.client.store.bucket("photos").shipped is None
            ship.remote.hook = lambda _: None
            await _until_shipped(ship)
            assert ship.read().commit("photos").objects == 1

    asyncio.run(run())


def test_lost_places_cost_another_copy_and_no_more(open_ship: OpenShip, tmp_path: Path) -> None:
    async def run() -> None:
        async with open_ship(tmp_path) as ship:
            await ship.client.make("photos")
            for size in (1_000, 300_000):
                await ship.client.put("photos", b"%d" % size, content_of(size, size))
            folder = ship.client.store.folder.remote
        rmtree(folder)
        async with open_ship(tmp_path) as ship:
            await ship.client.put("photos", b"more", b"content")
            assert read(ship.remote, SPACE_KEY.did).commit("photos").objects == 3

    asyncio.run(run())


def test_how_far_the_remote_is_behind(open_ship: OpenShip, tmp_path: Path) -> None:
    async def write(seed: int, **options: Any) -> Bucket:
        async with open_ship(tmp_path, **options) as ship:
            if not ship.client.store.buckets():
                await ship.client.make("photos")
            done = await ship.client.put("photos", b"k", content_of(seed, 200_000))
            return done.bucket

    def found(bucket: Bucket) -> Distance:
        folder = DataFolder(tmp_path / "data")
        with (
            closing(Store.open_for_reading(folder, StoreSettings())) as store,
            closing(RemotePlaces.open(folder.remote, read_only=True)) as places,
        ):
            return distances(store, places)[bucket.instance]

    async def run() -> None:
        remote = FolderRemote(tmp_path / "unused", _refuse)
        behind = found(await write(1, remote=remote, acknowledge=None))
        assert behind.commits == 2
        assert 200_000 < behind.bytes < 201_000
        assert found(await write(2)) == (0, 0)
        behind = found(await write(3, remote=remote, acknowledge=None))
        assert behind.commits == 1
        assert 200_000 < behind.bytes < 201_000

    asyncio.run(run())


def test_many_buckets_fit_several_manifests(
    open_ship: OpenShip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "HEADS_BYTES_MAX", 200)
    monkeypatch.setattr(gathering, "DROPS_MAX", 2)

    async def run() -> None:
        names = [f"bucket-{n}" for n in range(7)]
        async with open_ship(tmp_path) as ship:
            await asyncio.gather(*map(ship.client.make, names))
            shipped = ship.read()
            assert sorted(shipped.heads) == names
            assert all(len(manifest.heads) <= 2 for manifest in shipped.manifests)
            await asyncio.gather(*map(ship.client.drop, names))
            shipped = ship.read()
            assert shipped.heads == {}
            assert all(len(manifest.drops) <= 2 for manifest in shipped.manifests)

    asyncio.run(run())


def test_a_bucket_that_comes_again_under_its_name(open_ship: OpenShip, tmp_path: Path) -> None:
    async def run() -> None:
        async with open_ship(tmp_path) as ship:
            await ship.client.make("photos")
            await ship.client.drop("photos")
            await ship.client.store.committer.submit(MakeBucket("photos", 4, None, b"another instance"))
            assert ship.read().heads["photos"].instance == b"another instance"

    asyncio.run(run())
