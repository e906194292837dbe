"""Recovering put together: find the manifests, choose a chain of them, enter all that it names, read the buckets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

from gateway.node.client import NodeClient
from gateway.recovering.asking import Progress
from gateway.recovering.buckets import read_buckets
from gateway.recovering.errors import NothingThere
from gateway.recovering.finding import Finder, Found
from gateway.recovering.new_folder import NewFolder
from gateway.recovering.placing import SHARDS_AT_ONCE, Lost, Placed, Placer, wanted_by
from gateway.recovering.verifying import Hole, Verifier
from gateway.shipping.reading import NodeBlocks
from gateway.store.store import clock_ms
from mst.cid import CID
from mst.history import Chosen, choose, fold
from mst.manifest import Manifest
from registry.heads import Bucket
from registry.space import SpaceKey


class PassedOver(NamedTuple):
    """A manifest that was found, or something that was said to be one, and not used.

    Attributes:
        manifest: its block.
        sequence: its number, None where it could not be read.
        reason: why, for a person.
    """

    manifest: CID
    sequence: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was recovered, or would be.

    Attributes:
        newest: the manifest that says how the buckets stand.
        shards: how many shards it and those before it need.
        size_bytes: the length of all of them.
        buckets: every bucket.
        passed_over: what was found and not used.
        holes: what buckets need and the node does not give; None if that was not looked for.
    """

    newest: Manifest
    shards: int
    size_bytes: int
    buckets: tuple[Bucket, ...]
    passed_over: tuple[PassedOver, ...]
    holes: tuple[Hole, ...] | None

    @property
    def newer(self) -> tuple[PassedOver, ...]:
        """What was passed over and may be newer than what was used."""
        at = self.newest.sequence
        return tuple(one for one in self.passed_over if one.sequence is None or one.sequence > at)


class _Entered(NamedTuple):
    shards: int
    size_bytes: int


class Recoverer:
    """Recovers one space from one node.

    Args:
        client: speaks to the node and the indexer; open for as long as this is used.
        key: the space's key.
        begin: begins a folder, as `gateway.recovering.new_folder.begun` does; may be called several times.
        root_user: for whom an access key is made; empty for nobody.
        progress: is told how far it is.
    """

    def __init__(
        self,
        client: NodeClient,
        key: SpaceKey,
        begin: Callable[[], AbstractContextManager[NewFolder]],
        root_user: str,
        progress: Progress,
    ):
        self._client = client
        self._key = key
        self._begin = begin
        self._root_user = root_user
        self._progress = progress

    async def recover(self, *, verify: bool) -> Recovery:
        """Make the folder whole.

        Args:
            verify: read all that the buckets need.

        Raises:
            NotRecovered: see there.
            NodeError, RemoteUnavailable: the node cannot be asked.
            StoreError, RegistryError, OSError: the folder cannot be made.
        """
        found = await Finder(self._client, self._key.did, self._progress).find()
        lost: dict[CID, str] = {}
        while True:
            chosen = choose(found.manifests, lost)
            passed_over = _passed_over(chosen, found, lost)
            if not chosen.chain:
                raise NothingThere(_nothing(self._key.did, passed_over))
            try:
                return await self._make(found, chosen.chain, passed_over, verify)
            except Lost as error:
                lost[error.owner] = str(error)

    async def _make(
        self, found: Found, chain: tuple[CID, ...], passed_over: tuple[PassedOver, ...], verify: bool
    ) -> Recovery:
        """Make a folder of a chain of manifests.

        Raises:
            Lost: one of them cannot be used after all.
        """
        manifests = [found.manifests[cid] for cid in chain]
        heads = sorted(fold(manifests).values(), key=lambda head: head.name.encode())
        with self._begin() as folder:
            await asyncio.to_thread(folder.enter_history, [one.block() for one in manifests], heads)
            entered = await self._enter(folder, found, chain)
            blocks = NodeBlocks(self._client, folder.database, folder.places)
            buckets = await read_buckets(blocks, heads, self._key.did, self._progress)
            await asyncio.to_thread(folder.enter_buckets, buckets, self._root_user, clock_ms())
            holes: list[Hole] | None = None
            if verify:
                verifier = Verifier(blocks, folder.places, self._progress)
                holes = [hole for bucket, _ in buckets for hole in await verifier.holes(bucket)]
            await asyncio.to_thread(folder.finish, self._key)
        return Recovery(
            newest=manifests[-1],
            shards=entered.shards,
            size_bytes=entered.size_bytes,
            buckets=tuple(bucket for bucket, _ in buckets),
            passed_over=passed_over,
            holes=None if holes is None else tuple(holes),
        )

    async def _enter(self, folder: NewFolder, found: Found, chain: tuple[CID, ...]) -> _Entered:
        """Enter all shards of a chain: the newest first, for it is those that may be lost."""
        placer = Placer(self._client, found)
        named, unnamed = wanted_by(chain, found)
        count = size = 0

        async def enter(placed: list[Placed]) -> None:
            nonlocal count, size
            await asyncio.to_thread(folder.enter_shards, placed)
            count += len(placed)
            size += sum(one.shard.size_bytes for one in placed)
            self._progress("shards", count, len(named) + len(unnamed))

        for cid in unnamed:
            await enter([await placer.place_pack(cid)])
        for start in range(0, len(named), SHARDS_AT_ONCE):
            await enter(await placer.place(named[start : start + SHARDS_AT_ONCE]))
        return _Entered(count, size)


def _passed_over(chosen: Chosen, found: Found, lost: Mapping[CID, str]) -> tuple[PassedOver, ...]:
    """Everything that was found but for the chain, what is newest first."""
    unreadable = [PassedOver(cid, None, f"it cannot be used: {reason}") for cid, reason in found.unusable.items()]
    others = [
        PassedOver(cid, found.manifests[cid].sequence, lost.get(cid, f"it {why.value}"))
        for cid, why in chosen.passed_over
    ]
    return (*unreadable, *others)


def _nothing(space: str, passed_over: tuple[PassedOver, ...]) -> str:
    if not passed_over:
        return (
            f"the storage node has nothing of {space}: is it the right node, and the right space key?"
            " Nothing was recovered"
        )
    reasons = sorted({one.reason for one in passed_over})
    return (
        f"the storage node has {len(passed_over)} manifests of {space}, and none that can be used: {reasons[0]}."
        " Nothing was recovered"
    )
