"""A folder that shards are shipped to, and what somebody finds there who has nothing else: what the tests of shipping
speak to, and their judge.

`FolderRemote` keeps blobs durably, knows which of them it promised to keep, and answers for an index only what was
published.  `read` believes nothing: it begins with the beacon, verifies every signature and every digest, and follows
every link.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gateway.shipping.places import RemotePlaces
from gateway.shipping.remote import Blob, Index, NotAccepted, RemoteError
from gateway.store.errors import BlockMissing
from mst import car, closure
from mst.cid import CID
from mst.commit import Commit
from mst.manifest import Head, Manifest, beacon
from registry import shards
from registry.database import Database
from registry.space import verify_commit, verify_manifest
from registry.ucan import index


class FolderRemote:
    """Blobs in a folder.

    Args:
        path: the folder; made if it is not there.
        hook: called before and after every effect with its name; may raise `RemoteError`.
    """

    def __init__(self, path: Path, hook: Callable[[str], None] = lambda _: None) -> None:
        self.path = path
        self.hook = hook
        self.round_trips: list[str] = []
        self.put_bytes = 0
        for name in ("rooms", "blobs", "accepted", "published"):
            (path / name).mkdir(parents=True, exist_ok=True)

    async def upload(self, blobs: Sequence[Blob]) -> list[bytes]:
        self.round_trips.append("allocate")
        self.hook("allocate")
        for blob in blobs:
            (self.path / "rooms" / blob.digest.hex()).write_text(str(blob.size_bytes))
        self.hook("allocated")
        for blob in blobs:
            if not self._has(blob.digest):
                self._put(blob)
        return [b"room for " + blob.digest for blob in blobs]

    async def accept(self, uploaded: Sequence[tuple[Blob, bytes]], indexes: Sequence[Index]) -> list[bytes]:
        self.round_trips.append("accept")
        self.hook("accept")
        for blob, answer in uploaded:
            assert answer == b"room for " + blob.digest
            if not self._has(blob.digest):
                raise NotAccepted(f"there is no {blob.digest.hex()}")
        for blob, _ in uploaded:
            (self.path / "accepted" / blob.digest.hex()).touch()
        self.hook("accepted")
        for _, blob in indexes:
            assert (self.path / "accepted" / blob.digest.hex()).exists()
            with suppress(FileExistsError):
                os.link(self.path / "blobs" / blob.digest.hex(), self.path / "published" / blob.digest.hex())
        self.hook("published")
        return [b"claim of " + blob.digest for blob, _ in uploaded]

    def forget_unaccepted(self) -> None:
        """What nobody had accepted in time is removed."""
        for folder in ("rooms", "blobs"):
            for file in (self.path / folder).iterdir():
                if not (self.path / "accepted" / file.name).exists():
                    file.unlink()

    def accepted(self) -> dict[bytes, bytes]:
        """All blobs that it promised to keep, by digest."""
        names = [file.name for file in (self.path / "accepted").iterdir()]
        return {bytes.fromhex(name): (self.path / "blobs" / name).read_bytes() for name in names}

    def published(self) -> list[index.Index]:
        """All indexes that everybody can find."""
        return [index.decode(file.read_bytes()) for file in (self.path / "published").iterdir()]

    def _put(self, blob: Blob) -> None:
        self.round_trips.append("put")
        self.hook("put")
        data = b"".join(blob.pieces())
        if (len(data), hashlib.sha256(data).digest()) != (blob.size_bytes, blob.digest):
            raise RemoteError("other bytes than announced")
        self.put_bytes += len(data)
        (self.path / "unfinished").write_bytes(data)
        (self.path / "unfinished").rename(self.path / "blobs" / blob.digest.hex())
        self.hook("was put")

    def _has(self, digest: bytes) -> bool:
        return (self.path / "blobs" / digest.hex()).exists()


class FolderBlocks:
    """Blocks in the shards that a folder has; see `gateway.store.far.RemoteBlocks`.

    Args:
        remote: the folder.
        database: the registry, which knows the shards.
        places: where blocks lie in them.

    Attributes:
        fetched: how many blocks were asked for.
    """

    def __init__(self, remote: FolderRemote, database: Database, places: RemotePlaces) -> None:
        self._remote = remote
        self._database = database
        self._places = places
        self.fetched = 0

    def holds(self, digest: bytes) -> bool:
        return self._places.get(digest) is not None

    async def fetch(self, digests: Sequence[bytes]) -> list[bytes]:
        found = []
        for digest in digests:
            place = self._places.get(digest)
            if place is None:
                raise BlockMissing(digest.hex())
            with self._database.read() as connection:
                (shard,) = shards.get(connection, [place.segment])
            data = (self._remote.path / "blobs" / shard.digest.hex()).read_bytes()
            found.append(data[place.offset : place.offset + place.length])
        self.fetched += len(digests)
        return found


@dataclass
class Shipped:
    """What is on a remote.

    Attributes:
        manifests: all of them, oldest first.
        heads: the buckets, by name, as the manifests together say.
        blocks: all blocks in accepted shards that a manifest names or is in.
    """

    manifests: list[Manifest] = field(default_factory=list)
    heads: dict[str, Head] = field(default_factory=dict)
    blocks: dict[bytes, bytes] = field(default_factory=dict)

    def commit(self, name: str) -> Commit:
        """The newest commit of a bucket."""
        return Commit.decode(self.blocks[self.heads[name].commit.digest])


def read(remote: FolderRemote, space: str) -> Shipped:
    """Find everything of a space, and check that nothing of it lacks anything."""
    blobs = remote.accepted()
    for digest, data in blobs.items():
        assert hashlib.sha256(data).digest() == digest
    known = set(blobs)
    with_manifest: dict[CID, bytes] = {}
    for found in remote.published():
        ((shard, slices),) = found.shards.items()
        _check_index(blobs[shard], slices)
        if isinstance(found.content, CID):
            with_manifest[found.content] = shard
    shipped = Shipped()
    named: set[bytes] = set(with_manifest.values())
    decoded = []
    for cid, shard in with_manifest.items():
        roots, blocks = _read_car(blobs[shard])
        assert roots == (cid,)
        made = Manifest.decode(blocks[-1][1])
        assert blocks[-1][0] == cid
        verify_manifest(made)
        assert made.space == space
        assert beacon(space, made.sequence).cid == blocks[-2][0]
        decoded.append((made.sequence, cid, made))
    before = None
    for sequence, (found_sequence, cid, made) in enumerate(sorted(decoded, key=lambda one: one[0]), 1):
        assert (found_sequence, made.prev) == (sequence, before)
        named_before = {with_manifest[before]} if before else set()
        before = cid
        shipped.manifests.append(made)
        for drop in made.drops:
            shipped.heads = {name: head for name, head in shipped.heads.items() if head.instance != drop}
        shipped.heads.update((head.name, head) for head in made.heads)
        for shard_ref in made.shards:
            assert shard_ref.digest not in with_manifest.values() or shard_ref.digest in named_before
            assert {shard_ref.digest, shard_ref.index_digest} <= known
            assert len(blobs[shard_ref.digest]) == shard_ref.size_bytes
            assert len(blobs[shard_ref.index_digest]) == shard_ref.index_bytes
            named.add(shard_ref.digest)
        assert named_before <= {shard_ref.digest for shard_ref in made.shards}
    for shard in named:
        shipped.blocks.update((cid.digest, data) for cid, data in _read_car(blobs[shard])[1])
    for head in shipped.heads.values():
        commit = shipped.commit(head.name)
        verify_commit(commit)
        assert (commit.bucket, commit.instance) == (head.name, head.instance)
        for cid in reachable(head.commit, shipped.blocks):
            assert cid.digest in shipped.blocks
    return shipped


def reachable(commit: CID, blocks: dict[bytes, bytes]) -> Iterator[CID]:
    """All that a commit needs, found slowly."""
    seen: set[CID] = set()
    for cid in closure.of_commit(commit, lambda cid: blocks[cid.digest], seen.__contains__):
        seen.add(cid)
        yield cid


def check_places(places: RemotePlaces, remote: FolderRemote, shards: dict[int, bytes], shipped: Shipped) -> None:
    """Every place names the right bytes of an accepted shard, and everything shipped has one.

    Args:
        places: the places.
        remote: what they are places on.
        shards: the digests of shards by number.
        shipped: what is there.
    """
    blobs = remote.accepted()
    for digest in shipped.blocks:
        place = places.get(digest)
        assert place is not None
        data = blobs[shards[place.segment]][place.offset : place.offset + place.length]
        assert hashlib.sha256(data).digest() == digest


def _read_car(data: bytes) -> tuple[tuple[CID, ...], list[tuple[CID, bytes]]]:
    reader = car.Reader()
    blocks = [(block.cid, block.data) for block in reader.feed(data)]
    reader.finish()
    return reader.roots, blocks


def _check_index(shard: bytes, slices: object) -> None:
    _, blocks = _read_car(shard)
    assert isinstance(slices, dict)
    assert slices.keys() == {cid.digest for cid, _ in blocks}
    for digest, (offset, length) in slices.items():
        assert hashlib.sha256(shard[offset : offset + length]).digest() == digest
