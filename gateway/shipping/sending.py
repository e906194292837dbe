"""Brings shards to the remote: the bytes of all, then the promise to keep all; each of the two is noted.

An index goes with its shard.  What was done before is not done again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import cast

from gateway.shipping.contents import Contents, content_of
from gateway.shipping.ledger import Ledger
from gateway.shipping.places import RemotePlaces
from gateway.shipping.remote import Blob, Index, NotAccepted, Remote
from mst import cbor
from registry.shards import Shard, unreached


class Sender:
    """Sends shards.

    Args:
        remote: where to.
        contents: reads them.
        ledger: where each step is noted.
        places: where the blocks of accepted shards are entered.
    """

    def __init__(self, remote: Remote, contents: Contents, ledger: Ledger, places: RemotePlaces):
        self._remote = remote
        self._contents = contents
        self._ledger = ledger
        self._places = places
        self._under_way: dict[int, asyncio.Future[None]] = {}

    async def upload(self, wanted: Sequence[Shard]) -> None:
        """Return when the remote has the bytes of the shards and of their indexes.

        Raises:
            RemoteError, StoreError: it has not got all of them.
        """
        while others := {self._under_way[shard.number] for shard in wanted if shard.number in self._under_way}:
            await asyncio.wait(others)  # another task sends some of the same shards
            wanted = await asyncio.to_thread(self._ledger.fresh, wanted)
        waiting = unreached(wanted, "uploaded")
        if not waiting:
            return
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._under_way.update((shard.number, ended) for shard in waiting)
        try:
            answers = await self._remote.upload([blob for shard in waiting for blob in self._blobs(shard)])
            await self._ledger.note(waiting, "uploaded", _by_shard(waiting, answers))
        finally:
            for shard in waiting:
                del self._under_way[shard.number]
            ended.set_result(None)

    async def accept(self, wanted: Sequence[Shard]) -> None:
        """Return when the remote has promised to keep shards that were uploaded, and everybody can find their blocks.

        Raises:
            NotAccepted: they have to be uploaded again, which is noted.
            RemoteError, StoreError: something else failed.
        """
        waiting = unreached(wanted, "accepted")
        if not waiting:
            return
        uploaded = [pair for shard in waiting for pair in zip(self._blobs(shard), _answers(shard), strict=True)]
        indexes = [Index(content_of(shard), self._blobs(shard)[1]) for shard in waiting]
        try:
            promises = await self._remote.accept(uploaded, indexes)
        except NotAccepted:
            await self._ledger.send_back(waiting)
            raise
        await asyncio.to_thread(self._enter, waiting)
        await self._ledger.note(waiting, "accepted", _by_shard(waiting, promises))

    def _enter(self, accepted: Sequence[Shard]) -> None:
        for shard in accepted:
            self._places.add(shard.number, self._contents.places(shard))

    def _blobs(self, shard: Shard) -> tuple[Blob, Blob]:
        return (
            Blob(shard.digest, shard.size_bytes, partial(self._contents.pieces, shard)),
            Blob(shard.index_digest, shard.index_bytes, lambda: iter([self._contents.index(shard)])),
        )


def _by_shard(shards: Sequence[Shard], answers: Sequence[bytes]) -> dict[int, bytes]:
    """Answers about each shard and its index, as the registry keeps them."""
    pairs = zip(answers[::2], answers[1::2], strict=True)
    return {shard.number: cbor.encode(list(pair)) for shard, pair in zip(shards, pairs, strict=True)}


def _answers(shard: Shard) -> list[bytes]:
    assert shard.answers is not None
    return cast("list[bytes]", cbor.decode(shard.answers))
