"""What is recovered is what was shipped, whatever is missing, doubled or false on the node."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.node.client import NodeRefused, PublishedIndex, Source
from gateway.recovering.errors import NothingThere, SpaceDamaged
from gateway.store.folder import DataFolder
from mst import car
from mst.block import Block
from mst.cid import CID
from mst.manifest import Manifest, beacon
from registry import credentials
from registry.database import Database
from registry.space import SpaceKey
from registry.ucan import archive
from registry.ucan.capability import Blob, BlobAccept, BlobAllocate
from registry.ucan.delegation import delegate
from registry.ucan.index import Index, Slice
from registry.ucan.signing import KeySigner
from registry.ucan.token import Capability
from tests.recovering import Space, fill, registry
from tests.storage_node import NOW
from tests.store_client import SPACE_KEY, StoreClient, content_of

Run = Callable[[Callable[[Space], Awaitable[None]]], None]


def keys(path: Path) -> int:
    database = Database.open(DataFolder(path).registry, read_only=True)
    try:
        with database.read() as connection:
            return len(credentials.list_all(connection))
    finally:
        database.close()


async def read_all(client: StoreClient) -> dict[str, dict[bytes, bytes]]:
    """Every object of every bucket, read as a server reads."""
    return {
        bucket.name: {key: await client.content(entry) for key, entry in (await client.entries(bucket.name)).items()}
        for bucket in client.store.buckets()
    }


def newest(space: Space) -> Manifest:
    """The newest manifest on the node."""
    found = []
    for data in space.node.blobs.values():
        reader = car.Reader()
        blocks = list(reader.feed(data))
        if blocks and blocks[-1].cid in reader.roots:
            found += [Manifest.decode(blocks[-1].data)] if blocks[-2].data.startswith(b"ms3t manifest") else []
    return max(found, key=lambda one: one.sequence)


def forget(space: Space, digest: bytes) -> None:
    """The node does not promise to keep a blob any more."""
    del space.node.accepted[digest]


def test_the_registry_is_as_shipping_left_it(run: Run) -> None:
    async def talk(space: Space) -> None:
        async with space.gateway() as client:
            await fill(client)
            content = await read_all(client)
        recovery = await space.recover()
        assert (recovery.passed_over, recovery.holes) == ((), ())
        assert registry(space.path / "again") == registry(space.path / "data")
        assert keys(space.path / "again") == 1
        async with space.gateway("again") as client:
            assert await read_all(client) == content
            before = set(space.node.blobs)
            await client.put("photos", b"more", b"content")
            brought = sum(len(space.node.blobs[digest]) for digest in space.node.blobs.keys() - before)
            assert brought < 10_000, "what was there was shipped again"
            content = await read_all(client)
        shutil.rmtree(space.path / "again")
        assert (await space.recover()).newest.sequence == recovery.newest.sequence + 1
        async with space.gateway("again") as client:
            assert await read_all(client) == content

    run(talk)


def test_more_manifests_than_an_answer_has_room_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.recovering.finding.DIGESTS_AT_ONCE", 4)
    monkeypatch.setattr("gateway.recovering.recovering.SHARDS_AT_ONCE", 2)

    async def talk(space: Space) -> None:
        async with space.gateway() as client:
            await client.make("photos")
            for number in range(20):
                await client.put("photos", b"%d" % number, b"%d" % number)
        recovery = await space.recover(verify=False)
        assert recovery.newest.sequence == 21
        assert recovery.buckets[0].objects == 20
        assert registry(space.path / "again") == registry(space.path / "data")

    run(talk)


def test_a_shipment_that_never_ended_is_passed_over(run: Run) -> None:
    async def talk(space: Space) -> None:
        async with space.gateway() as client:
            await client.make("photos")
            await client.put("photos", b"small", b"content")
            content = await read_all(client)
            await client.put("photos", b"large", content_of("large", 300_000))
        (bulk,) = (one for one in newest(space).shards if one.size_bytes > 300_000)
        forget(space, bulk.digest)
        recovery = await space.recover()
        assert recovery.newest.sequence == 2
        assert [one.sequence for one in recovery.newer] == [3]
        assert bulk.digest.hex() in recovery.newer[0].reason
        async with space.gateway("again") as client:
            assert await read_all(client) == content
            await client.put("photos", b"other", b"branch")
            await client.put("photos", b"other", b"further")
            content = await read_all(client)
        shutil.rmtree(space.path / "again")
        recovery = await space.recover()  # two manifests have number 3
        assert (recovery.newest.sequence, recovery.newer) == (4, ())
        assert [one.sequence for one in recovery.passed_over] == [3]
        async with space.gateway("again") as client:
            assert await read_all(client) == content

    run(talk)


def test_the_branch_that_goes_on_furthest(run: Run) -> None:
    async def talk(space: Space) -> None:
        async with space.gateway() as client:
            await fill(client)
        shutil.copytree(space.path / "data", space.path / "copy")
        async with space.gateway("copy") as client:
            await client.put("photos", b"of the copy", b"1")
        async with space.gateway() as client:
            await client.put("films", b"of the original", b"1")
            await client.put("films", b"of the original", b"2")
            content = await read_all(client)
        recovery = await space.recover()
        assert [(one.sequence, "branch" in one.reason) for one in recovery.passed_over] == [(5, True)]
        async with space.gateway("again") as client:
            assert await read_all(client) == content

    run(talk)


async def publish(space: Space, block: Block, sequence: int) -> None:
    """Have the node tell of a pack that is said to have a manifest."""
    light = beacon(SPACE_KEY.did, sequence)
    pack = car.header(block.cid) + car.section(*light) + car.section(*block)
    slices = {
        one.cid.digest: Slice(pack.index(one.data, len(car.header(block.cid))), len(one.data)) for one in (light, block)
    }
    index = Index(block.cid, {sha256(pack).digest(): slices}).encode()

    async with space.client() as client:
        blobs = [Source(Blob(sha256(data).digest(), len(data)), pieces_of(data)) for data in (pack, index)]
        await client.upload(blobs, [PublishedIndex(block.cid, blobs[1].blob)])


def pieces_of(data: bytes) -> Callable[[], Any]:
    async def pieces() -> Any:
        yield data

    return pieces


def test_what_the_space_did_not_sign_counts_for_nothing(run: Run) -> None:
    async def talk(space: Space) -> None:
        async with space.gateway() as client:
            await fill(client)
        last = newest(space)
        other = SpaceKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
        fields = {"sequence": last.sequence + 1, "time_ms": last.time_ms + 1, "prev": last.block().cid}
        forged = Manifest(space=SPACE_KEY.did, drops=(bytes(16),), **fields).with_signature(bytes(64))  # type: ignore[arg-type]
        foreign = other.sign_manifest(Manifest(space=other.did, **fields))  # type: ignore[arg-type]
        for block in (forged.block(), foreign.block(), Block.of(0x71, b"\xa0")):
            await publish(space, block, last.sequence + 1)
        recovery = await space.recover()
        assert recovery.newest == last
        assert len(recovery.newer) == len(recovery.passed_over) == 3
        assert registry(space.path / "again") == registry(space.path / "data")

    run(talk)


def test_an_index_of_wrong_places_is_not_believed(run: Run) -> None:
    """Every index of which a signature says nothing: only the newest pack's is."""

    async def talk(space: Space) -> None:
        async with space.gateway() as client:
            await fill(client)
            content = await read_all(client)
        for cid in by_number(space).values():
            pack, real = pack_of(space, cid)
            wrong = dict.fromkeys(real, Slice(0, 10)) | {cid.digest: real[cid.digest]}
            index = Index(cid, {pack: wrong}).encode()
            async with space.client() as to:
                source = Source(Blob(sha256(index).digest(), len(index)), pieces_of(index))
                await to.upload([source], [PublishedIndex(cid, source.blob)])
        assert (await space.recover()).holes == ()
        async with space.gateway("again") as client:
            assert await read_all(client) == content

    run(talk)


def by_number(space: Space) -> dict[int, CID]:
    """The blocks of the newest manifest and those before it."""
    found: dict[int, CID] = {}
    at: Manifest | None = newest(space)
    known: dict[CID, bytes] = {}
    for data in space.node.blobs.values():
        known |= {block.cid: block.data for block in car.Reader().feed(data)}
    while at is not None:
        found[at.sequence] = at.block().cid
        at = None if at.prev is None else Manifest.decode(known[at.prev])
    return found


def pack_of(space: Space, cid: CID) -> tuple[bytes, dict[bytes, Slice]]:
    """The pack with a manifest, and where its blocks are."""
    for digest, data in space.node.blobs.items():
        reader = car.Reader()
        blocks = list(reader.feed(data))
        if reader.roots == (cid,):
            return digest, {block.cid.digest: Slice(data.index(block.data), len(block.data)) for block in blocks}
    raise AssertionError


def test_blocks_that_are_gone_are_told(run: Run) -> None:
    async def talk(space: Space) -> None:
        async with space.gateway() as client:
            await fill(client)
        bulk = next(digest for digest, data in space.node.blobs.items() if len(data) > 300_000)
        space.node.blobs[bulk] = bytes(len(space.node.blobs[bulk]))
        recovery = await space.recover()
        assert recovery.holes is not None
        assert {hole.bucket for hole in recovery.holes} == {"photos"}
        async with space.gateway("again") as client:
            entry = (await client.entries("photos"))[b"small"]
            assert await client.content(entry) == b"content"

    run(talk)


def test_a_bucket_whose_commit_is_gone(run: Run) -> None:
    async def talk(space: Space) -> None:
        async with space.gateway() as client:
            await fill(client)
            commit = client.store.bucket("photos").commit
            data = client.store.blocks.read(commit)
        for digest, blob in list(space.node.blobs.items()):
            if data in blob and digest != pack_of(space, by_number(space)[4])[0]:
                space.node.blobs[digest] = blob.replace(data, bytes(len(data)))
        with pytest.raises(SpaceDamaged, match="photos"):
            await space.recover()
        assert not list((space.path / "again").iterdir())

    run(talk)


def test_a_node_that_was_emptied(run: Run) -> None:
    async def talk(space: Space) -> None:
        async with space.gateway() as client:
            await fill(client)
        space.node.blobs = {digest: data for digest, data in space.node.blobs.items() if b"index/sharded" in data}
        with pytest.raises(NothingThere, match="4 manifests"):
            await space.recover()
        space.node.indexed.clear()
        with pytest.raises(NothingThere, match="nothing of"):
            await space.recover()
        assert not (space.path / "again").exists()

    run(talk)


def test_a_permission_that_has_ended_is_enough(run: Run) -> None:
    """To read; not to store."""

    async def talk(space: Space) -> None:
        async with space.gateway() as client:
            await fill(client)
        rights = [Capability(can, space.node.did) for can in (BlobAllocate.can, BlobAccept.can)]
        ended = archive.to_text(delegate(space.node.key, KeySigner(bytes(range(32))).did, rights, expires=NOW - 3600))
        space.node.grant = lambda agent: ended  # type: ignore[method-assign]
        assert (await space.recover()).holes == ()
        async with space.client() as to:
            with pytest.raises(NodeRefused):
                await to.allocate_and_put([Source(Blob(sha256(b"new").digest(), 3), pieces_of(b"new"))])

    run(talk)
