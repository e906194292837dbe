"""A client of the store, as small as the S3 front would be if it only stored: what the tests of the store speak."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from hashlib import md5
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.store.folder import DataFolder
from gateway.store.mutations import Check, Committed, CommitWrite, Delete, DropBucket, MakeBucket, Put
from gateway.store.store import Store, StoreSettings
from mst.commit import Commit
from mst.entry import Entry
from registry.space import SpaceKey, verify_commit

CLOCK_MS = 1_790_000_000_000
SPACE_KEY = SpaceKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
INSTANCE = b"instance of a bu"


class StoreClient:
    """Writes and reads objects; every read checks the content against its ETag and its size.

    Args:
        store: what it speaks to.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    async def make(self, bucket: str, *, bits: int = 4, salt: bytes | None = None) -> Committed:
        instance = md5(bucket.encode()).digest()
        return await self.store.committer.submit(MakeBucket(bucket, bits, salt, instance))

    async def drop(self, bucket: str) -> Committed:
        return await self.store.committer.submit(DropBucket(bucket))

    async def entry(self, content: bytes, pieces: list[int] | None = None) -> Put:
        """A put of ``content`` that still lacks its bucket and key; large content is durable by now.

        Args:
            content: the object's bytes.
            pieces: how long the pieces are in which it arrives, the rest in one.
        """
        writer = self.store.new_body()
        try:
            at = 0
            for length in pieces or []:
                await writer.write(content[at : at + length])
                at += length
            await writer.write(content[at:])
            body = await writer.finish()
        except BaseException:
            await writer.abort()
            raise
        return Put("", b"", Entry(body.cid, body.size, CLOCK_MS, body.md5, None), body.blocks)

    async def put(
        self,
        bucket: str,
        key: bytes,
        content: bytes,
        *,
        check: Check | None = None,
        record: CommitWrite | None = None,
    ) -> Committed:
        put = await self.entry(content)
        return await self.store.committer.submit(Put(bucket, key, put.entry, put.blocks, check, record))

    async def delete(self, bucket: str, key: bytes, *, check: Check | None = None) -> Committed:
        return await self.store.committer.submit(Delete(bucket, key, check))

    async def read(self, bucket: str, key: bytes) -> bytes | None:
        """The object's content, None if there is none."""
        entry = await self.store.trees.get(self.store.bucket(bucket), key)
        return None if entry is None else await self.content(entry)

    async def content(self, entry: Entry) -> bytes:
        async with aclosing(self.store.read_body(entry, 0, entry.size)) as leaves:
            content = b"".join([leaf async for leaf in leaves])
        assert len(content) == entry.size
        assert md5(content).digest() == entry.etag
        return content

    async def entries(self, bucket: str) -> dict[bytes, Entry]:
        """Everything a walk over the bucket meets."""
        walk = self.store.trees.walk(self.store.bucket(bucket))
        await walk.seek(b"")
        found: dict[bytes, Entry] = {}
        while run := await walk.run():
            keys, values = run
            found.update(zip(keys, map(Entry.decode, values), strict=True))
        return found

    async def contents(self, bucket: str) -> dict[bytes, bytes]:
        """Every object's content; also checks that the bucket's totals and commit say the same as its tree."""
        entries = await self.entries(bucket)
        head = self.store.bucket(bucket)
        commit = Commit.decode(await self.store.blocks.read_async(head.commit))
        verify_commit(commit)
        assert (commit.bucket, commit.instance) == (head.name, head.instance)
        assert (commit.tree, commit.versions) == (head.tree, head.versions)
        assert (commit.sequence, commit.bits, commit.salt) == (head.sequence, head.bits, head.salt)
        assert commit.objects == head.objects == len(entries)
        assert commit.size_bytes == head.size_bytes == sum(entry.size for entry in entries.values())
        return {key: await self.content(entry) for key, entry in entries.items()}


@asynccontextmanager
async def open_client(
    path: Path, settings: StoreSettings | None = None, clock: Callable[[], int] = lambda: CLOCK_MS
) -> AsyncIterator[StoreClient]:
    """Own the folder, open the store in it and close both."""
    folder = DataFolder(path).create()
    folder.own()
    try:
        store = Store.open_for_writing(folder, SPACE_KEY, settings or StoreSettings(threads=4), clock)
        try:
            yield StoreClient(store)
        finally:
            store.close()
    finally:
        folder.release()


def content_of(seed: object, size: int) -> bytes:
    """``size`` bytes that only ``seed`` gives."""
    return random.Random(repr(seed)).randbytes(size)
