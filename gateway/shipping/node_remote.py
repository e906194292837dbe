"""A storage node as the place that shards are shipped to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from gateway.node.client import Allocated, NodeClient, NodeError, NodeRefused, PublishedIndex, Source
from gateway.shipping.remote import Blob, Index, NotAccepted, RemoteError
from mst.cid import CID
from registry.ucan import capability


class NodeRemote:
    """Ships to a storage node; see `gateway.shipping.remote.Remote`.

    Args:
        client: speaks to the node; open for as long as this is used.
    """

    def __init__(self, client: NodeClient):
        self._client = client

    async def upload(self, blobs: Sequence[Blob]) -> list[bytes]:
        """See `Remote`; it answers with the allocations that acceptance refers to."""
        sources = [Source(_named(blob), partial(_stream, blob.pieces)) for blob in blobs]
        with _failures_named():
            return [bytes(one.allocation) for one in await self._client.allocate_and_put(sources)]

    async def accept(self, uploaded: Sequence[tuple[Blob, bytes]], indexes: Sequence[Index]) -> list[bytes]:
        """See `Remote`; it answers with location claims."""
        # Two shards may have the same bytes: to the node they are one blob.
        once = {blob.digest: Allocated(_named(blob), CID(allocation)) for blob, allocation in uploaded}
        published = {index.blob.digest: PublishedIndex(index.content, _named(index.blob)) for index in indexes}
        with _failures_named():
            try:
                sites = await self._client.accept(list(once.values()), list(published.values()))
            except NodeRefused as error:
                raise NotAccepted(str(error)) from error
            claims = {site.digest: site.archive() for site in sites}
        return [claims[blob.digest] for blob, _ in uploaded]


def _named(blob: Blob) -> capability.Blob:
    return capability.Blob(blob.digest, blob.size_bytes)


async def _stream(read: Callable[[], Iterator[bytes]]) -> AsyncIterator[bytes]:
    """What ``read`` yields, read in threads."""
    pieces = read()
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


@contextmanager
def _failures_named() -> Iterator[None]:
    try:
        yield
    except NodeError as error:
        raise RemoteError(str(error)) from error
