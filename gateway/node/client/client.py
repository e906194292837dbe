"""The gateway's side of a storage node, put together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from gateway.node.client.authority import Authority
from gateway.node.client.breaker import State
from gateway.node.client.claims import Site
from gateway.node.client.errors import Misconfigured, NodeLied
from gateway.node.client.locating import Located, Locator
from gateway.node.client.ranges import Piece
from gateway.node.client.retrieving import Retriever
from gateway.node.client.settings import Remote
from gateway.node.client.transport import Observer, Transport
from gateway.node.client.uploading import Allocated, PublishedIndex, Source, Uploader
from gateway.node.client.urls import http_url


class NodeClient:
    """Uses one storage node for one space; an asynchronous context manager, inside of which it may be used.

    Every method raises `gateway.node.client.errors.NodeError` and nothing else, but for what a source of bytes raises,
    and may be called again after it did.

    Args:
        remote: the node, the keys and the grant.
        now: seconds since 1970.
        observer: is told of every request when it has ended.

    Raises:
        Misconfigured: they do not fit together.
    """

    def __init__(
        self, remote: Remote, *, now: Callable[[], float] = time.time, observer: Observer | None = None
    ) -> None:
        indexer = remote.node if remote.indexer is None else remote.indexer
        for service in (remote.node, indexer):
            try:
                http_url(service.url)
            except NodeLied as error:
                raise Misconfigured(f"the address of a storage node or indexer: {error}") from None
            if not service.did.is_key:
                raise Misconfigured(f"{service.did} is no did:key, so that nothing it signs could be checked")
        self._node = remote.node
        self._authority = Authority(remote, now)
        self._transport = Transport(remote.timeouts, remote.retries, observer)
        self._uploader = Uploader(self._transport, self._authority, remote.node, indexer, now)
        self._retriever = Retriever(self._transport, self._authority, remote.node, now)
        self._locator = Locator(self._transport, self._authority, indexer, now)

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    @property
    def breakers(self) -> Mapping[str, State]:
        """The circuit breakers' states, by the servers that were asked."""
        return self._transport.breakers

    async def allocate_and_put(self, sources: Sequence[Source]) -> list[Allocated]:
        """See `Uploader.allocate_and_put`."""
        return await self._uploader.allocate_and_put(sources)

    async def accept(self, allocated: Sequence[Allocated], indexes: Sequence[PublishedIndex] = ()) -> list[Site]:
        """See `Uploader.accept`."""
        return await self._uploader.accept(allocated, indexes)

    async def publish(self, indexes: Sequence[PublishedIndex]) -> None:
        """See `Uploader.publish`."""
        await self._uploader.publish(indexes)

    async def upload(self, sources: Sequence[Source], indexes: Sequence[PublishedIndex] = ()) -> list[Site]:
        """See `Uploader.upload`."""
        return await self._uploader.upload(sources, indexes)

    async def retrieve(self, pieces: Sequence[Piece], sites: Mapping[bytes, Sequence[Site]]) -> list[bytes]:
        """See `Retriever.retrieve`."""
        return await self._retriever.retrieve(pieces, sites)

    async def locate(self, digests: Sequence[bytes]) -> Located:
        """See `Locator.locate`."""
        return await self._locator.locate(digests)

    def site(self, archive: bytes) -> Site:
        """The site whose `Site.archive` was kept.

        Raises:
            NodeLied: it is of another node or space, or damaged.
        """
        return Site.read(archive, self._authority.node, self._authority.space)
