"""The manifests of a space, found on a storage node from the space's DID alone.

Each number has a beacon that anybody can compute.  A few numbers tell how far they go, then all are asked for, many at
once; so are the ones that a manifest says there are before it.  What is found counts only if the space key signed it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gateway.node.client import Located, NodeClient, NodeError, NodeUnavailable, Piece, Site
from gateway.node.client.together import for_each
from gateway.recovering.asking import DIGESTS_AT_ONCE, Progress, answers
from mst.cid import CID
from mst.errors import FormatError
from mst.limits import INTEGER_MAX, MANIFEST_BYTES_MAX
from mst.manifest import Manifest, beacon
from registry.did_key import SignatureInvalid
from registry.space import verify_manifest
from registry.ucan.index import Slice

QUERIES_AT_ONCE: Final = 2
MANIFESTS_AT_ONCE: Final = 8
"""How many are read at once."""


class Copy(NamedTuple):
    """Where an index, which anybody may have written, says that a manifest is.

    Attributes:
        manifest: the manifest's block.
        pack: the SHA-256 of the shard that has it.
        slice: where in that.
        sites: where the shard is.
    """

    manifest: CID
    pack: bytes
    slice: Slice
    sites: tuple[Site, ...]


@dataclass(slots=True)
class Found:
    """What was found.

    Attributes:
        manifests: each signed by the space.
        copies: where each of them is.
        unusable: why others could not be used, for a person, by the block that they should be.
    """

    manifests: dict[CID, Manifest] = field(default_factory=dict)
    copies: dict[CID, dict[bytes, Copy]] = field(default_factory=dict)
    unusable: dict[CID, str] = field(default_factory=dict)

    @property
    def newest(self) -> int:
        """The highest number of a manifest, 0 if there is none."""
        return max((one.sequence for one in self.manifests.values()), default=0)


class Finder:
    """Finds the manifests of one space.

    Args:
        client: speaks to the node and the indexer; open for as long as this is used.
        space: the space's DID.
        progress: is told how many have been found.
    """

    def __init__(self, client: NodeClient, space: str, progress: Progress):
        self._client = client
        self._space = space
        self._progress = progress
        self._found = Found()
        self._asked: set[bytes] = set()

    async def find(self) -> Found:
        """All that can be found.

        Raises:
            NodeError: node or indexer cannot be asked; it is not known what there is.
        """
        await self._ask_numbers(1 << power for power in range(INTEGER_MAX.bit_length()))
        above = 2 * self._found.newest  # nothing was found there
        while above - self._found.newest > DIGESTS_AT_ONCE:
            step = (above - self._found.newest) // DIGESTS_AT_ONCE + 1
            tried = range(self._found.newest + step, above, step)
            await self._ask_numbers(tried)
            above = min((number for number in tried if number > self._found.newest), default=above)
        asked = -1
        while (newest := self._found.newest) > asked:
            await self._ask_numbers(range(1, newest + DIGESTS_AT_ONCE))
            asked = newest
        while missing := [prev.digest for prev in self._missing() if prev.digest not in self._asked]:
            await self._ask(missing)
        await self._read([copy for cid in self._found.unusable for copy in self._copies_of(cid)])
        return self._found

    def _missing(self) -> Iterator[CID]:
        """What other manifests follow and is not there."""
        for one in self._found.manifests.values():
            if one.prev is not None and one.prev not in self._found.manifests:
                yield one.prev

    async def _ask_numbers(self, numbers: Iterable[int]) -> None:
        known = {one.sequence for one in self._found.manifests.values()}
        await self._ask(beacon(self._space, number).cid.digest for number in numbers if number not in known)

    async def _ask(self, digests: Iterable[bytes]) -> None:
        wanted = [digest for digest in digests if digest not in self._asked]
        self._asked.update(wanted)
        batches = [wanted[start : start + DIGESTS_AT_ONCE] for start in range(0, len(wanted), DIGESTS_AT_ONCE)]
        await for_each(self._ask_some, batches, at_once=QUERIES_AT_ONCE)

    async def _ask_some(self, digests: Sequence[bytes]) -> None:
        async with aclosing(answers(self._client, digests, _is_in_an_index)) as found:
            async for located in found:
                copies = list(_copies(located))
                for copy in copies:
                    self._found.copies.setdefault(copy.manifest, {})[copy.pack] = copy
                await self._read(copies)
                self._progress("manifests", len(self._found.manifests), None)

    def _copies_of(self, cid: CID) -> Iterable[Copy]:
        return self._found.copies[cid].values()

    async def _read(self, copies: Sequence[Copy]) -> None:
        await for_each(self._read_one, copies, at_once=MANIFESTS_AT_ONCE)

    async def _read_one(self, copy: Copy) -> None:
        found, cid = self._found, copy.manifest
        if cid in found.manifests:
            return
        try:
            found.manifests[cid] = await self._load(copy)
            found.unusable.pop(cid, None)
        except NodeUnavailable:
            raise  # it may be there, and then it must not be passed over
        except (NodeError, FormatError, SignatureInvalid) as error:
            found.unusable[cid] = str(error)

    async def _load(self, copy: Copy) -> Manifest:
        if not copy.sites:
            raise FormatError("the node does not say that it has it")
        if copy.slice.length > MANIFEST_BYTES_MAX:
            raise FormatError(f"it has {copy.slice.length} bytes; {MANIFEST_BYTES_MAX} are allowed")
        piece = Piece(copy.pack, copy.slice.offset, copy.slice.length, copy.manifest.digest)
        [data] = await self._client.retrieve([piece], {copy.pack: copy.sites})
        one = Manifest.decode(data)
        verify_manifest(one)
        if one.space != self._space:
            raise SignatureInvalid(f"it is of space {one.space}")
        return one


def _copies(located: Located) -> Iterator[Copy]:
    for index in located.indexes.values():
        if not isinstance(index.content, CID):
            continue
        for shard, slices in index.shards.items():
            if (part := slices.get(index.content.digest)) is not None:
                yield Copy(index.content, shard, part, tuple(located.sites.get(shard, ())))


def _is_in_an_index(located: Located, digest: bytes) -> bool:
    return any(digest in slices for index in located.indexes.values() for slices in index.shards.values())
