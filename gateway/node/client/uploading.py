"""Blobs to the node: allocate, put, accept, and the indexes that say what is in them.

Each step may be repeated at any time, also after a crash or a lost answer: a node that has a blob already says so.
However many the blobs are, they take three round trips one after the other.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from gateway.node.client.authority import Authority
from gateway.node.client.claims import Site
from gateway.node.client.errors import NodeLied, NodeRefused, SourceDamaged
from gateway.node.client.invoking import Done, Outcome, done, invoke
from gateway.node.client.settings import Service
from gateway.node.client.together import for_each
from gateway.node.client.transport import Request, Transport
from gateway.node.client.urls import http_url
from mst.cid import CID, Link
from registry.ucan.capability import Blob
from registry.ucan.delegation import Delegation, gather
from registry.ucan.errors import UcanError
from registry.ucan.results import Acceptance, Address, Allocation

PUTS_MAX = 8
"""Most blobs that are sent at once."""
ALLOCATIONS_MAX = 3
"""How often a blob is allocated anew when the node does not take what it has just allocated."""

_EXPIRED = frozenset((401, 403))
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_TO_BE_GIVEN = frozenset(("connection", "expect", "te", "trailer", "transfer-encoding", "upgrade"))


@dataclass(frozen=True, slots=True)
class Source:
    """A blob and where its bytes come from.

    Attributes:
        blob: its digest and size.
        open: begins to yield the bytes; called anew for each attempt.
    """

    blob: Blob
    open: Callable[[], AsyncIterable[bytes]]


@dataclass(frozen=True, slots=True)
class Allocated:
    """A blob that the node has, but does not vouch for yet; it drops it after a while.

    Attributes:
        blob: which.
        allocation: the invocation that it was allocated by, which acceptance refers to.
    """

    blob: Blob
    allocation: CID


@dataclass(frozen=True, slots=True)
class PublishedIndex:
    """The index of a blob, to be told to the indexer.

    Attributes:
        content: root of the DAG that is indexed, or `registry.ucan.index.NO_CONTENT`.
        blob: the archive of the index, which the node has accepted.
    """

    content: Link
    blob: Blob


class Uploader:
    """Puts blobs on a node.

    Args:
        transport: sends.
        authority: signs.
        node: who keeps the blobs.
        indexer: who is told of indexes.
        now: seconds since 1970.
    """

    def __init__(
        self, transport: Transport, authority: Authority, node: Service, indexer: Service, now: Callable[[], float]
    ) -> None:
        self._transport = transport
        self._authority = authority
        self._node = node
        self._indexer = node if indexer == node else Service(f"{indexer.url.rstrip('/')}/claims", indexer.did)
        self._now = now

    async def allocate_and_put(self, sources: Sequence[Source]) -> list[Allocated]:
        """Give the node those blobs that it does not have.

        Returns:
            The blobs in the order of ``sources``.

        Raises:
            NodeUnavailable, NodeRefused, NodeLied: for one of them; the others were put.
            SourceDamaged: a source does not yield its blob.
        """
        waiting = {source.blob.digest: source for source in sources}
        allocated: dict[bytes, Allocated] = {}
        for _ in range(ALLOCATIONS_MAX):
            asked = [self._authority.allocation(source.blob) for source in waiting.values()]
            outcomes = await invoke(self._transport, self._node, asked)
            put = await for_each(self._put, zip(waiting.values(), asked, outcomes, strict=True), at_once=PUTS_MAX)
            allocated |= {one.blob.digest: one for one in put if one is not None}
            waiting = {digest: source for digest, source in waiting.items() if digest not in allocated}
            if not waiting:
                return [allocated[source.blob.digest] for source in sources]
        raise NodeRefused("HTTP 403", f"{self._node.did} does not take what it has just allocated")

    async def accept(self, allocated: Sequence[Allocated], indexes: Sequence[PublishedIndex] = ()) -> list[Site]:
        """Have the node vouch for blobs, and publish indexes that may be among them.

        Args:
            allocated: what the node has.
            indexes: what to tell the indexer; with the same message, where the node is the indexer.

        Returns:
            Where each blob is now, verified, in the order of ``allocated``.

        Raises:
            NodeUnavailable, NodeRefused, NodeLied: for one of them.
        """
        asked = [self._authority.acceptance(one.blob, one.allocation) for one in allocated]
        told = self._indexings(indexes) if self._indexer == self._node else []
        outcomes = await invoke(self._transport, self._node, [*asked, *told])
        sites = [self._site(one.blob, done(outcome)) for one, outcome in zip(allocated, outcomes, strict=False)]
        if told:
            # A node may execute a message's invocations in any order: an index that came too early is told again.
            heard = zip(indexes, outcomes[len(asked) :], strict=True)
            indexes = [index for index, outcome in heard if not isinstance(outcome, Done)]
        await self.publish(indexes)
        return sites

    async def publish(self, indexes: Sequence[PublishedIndex]) -> None:
        """Tell the indexer of indexes whose blobs are accepted.

        Raises:
            NodeUnavailable, NodeRefused, NodeLied: for one of them.
        """
        if indexes:
            for outcome in await invoke(self._transport, self._indexer, self._indexings(indexes)):
                done(outcome)

    async def upload(self, sources: Sequence[Source], indexes: Sequence[PublishedIndex] = ()) -> list[Site]:
        """`allocate_and_put`, then `accept`."""
        return await self.accept(await self.allocate_and_put(sources), indexes)

    async def _put(self, task: tuple[Source, Delegation, Outcome]) -> Allocated | None:
        """Put one blob; None if it has to be allocated anew."""
        source, asked, outcome = task
        try:
            allocation = Allocation.read(done(outcome).value)
        except UcanError as error:
            raise NodeLied(f"{self._node.did} allocated in a way nobody knows: {error}") from None
        address = allocation.address
        if address is not None:
            if 0 < address.expires <= self._now():
                return None
            answer = await self._transport.send(_request(source, address))
            if answer.status in _EXPIRED:
                return None
            if not answer.succeeded:
                raise NodeRefused(f"HTTP {answer.status}", answer.excerpt)
        return Allocated(source.blob, asked.cid)

    def _site(self, blob: Blob, accepted: Done) -> Site:
        try:
            claim = gather(Acceptance.read(accepted.value).site, accepted.blocks)
        except UcanError as error:
            raise NodeLied(f"{self._node.did} accepted without a location claim: {error}") from None
        site = Site.of(claim, self._authority.node, self._authority.space)
        site.require(blob)
        return site

    def _indexings(self, indexes: Sequence[PublishedIndex]) -> list[Delegation]:
        return [self._authority.indexing(self._indexer.did, index.content, index.blob) for index in indexes]


def _request(source: Source, address: Address) -> Request:
    size = source.blob.size
    headers = {"Content-Length": str(size)}
    for name, value in address.headers.items():
        if _HEADER_NAME.fullmatch(name) is None or name.lower() in _NOT_TO_BE_GIVEN:
            raise NodeLied(f"a header that no PUT should have: {name[:100]!r}")
        if name.lower() == "content-length":
            if value != str(size):
                raise NodeLied(f"a PUT of {size} bytes should say that it has {value[:100]!r}")
            continue
        headers[name] = value
    return Request(
        method="PUT", url=http_url(address.url), headers=headers, body=lambda: _checked(source), moves_bytes=size
    )


async def _checked(source: Source) -> AsyncIterator[bytes]:
    """The bytes of a source, the last only once all are checked, so that wrong ones never arrive whole."""
    blob = source.blob
    hasher = sha256()
    size = 0
    held = b""
    async for chunk in source.open():
        if held:
            yield held
        hasher.update(chunk)
        size += len(chunk)
        held = chunk
        if size > blob.size:
            break
    if size != blob.size or hasher.digest() != blob.digest:
        raise SourceDamaged(f"the bytes of blob {blob.digest.hex()} are not those of its digest")
    yield held
