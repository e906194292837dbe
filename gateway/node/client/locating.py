"""Where blobs and blocks are, asked of an indexer: for whoever has no tables of its own, or lost them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from gateway.node.client.authority import Authority
from gateway.node.client.claims import Site
from gateway.node.client.errors import NodeLied, NodeRefused
from gateway.node.client.settings import Service
from gateway.node.client.together import for_each
from gateway.node.client.transport import Request, Transport
from gateway.node.client.urls import http_url
from mst.cid import multihash
from registry import base58
from registry.ucan import header, message, query
from registry.ucan.capability import Location
from registry.ucan.errors import UcanError
from registry.ucan.index import Index, sha256_digest

DIGESTS_AT_ONCE = 64
"""Most digests of one query, so that its URL is not too long for any server."""
QUERIES_AT_ONCE = 2
"""Most queries at once for one call."""
ANSWER_BYTES_MAX = 80 * 1024 * 1024
"""Largest answer: one index as large as they may be, and claims."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Located:
    """What an indexer knows.

    Attributes:
        sites: where blobs are, by their digests; every claim is of the right node and still good.
        indexes: what is in blobs, by the digest of each index's archive. Anybody may publish an index, so that only
            the bytes themselves say whether it is right.
    """

    sites: Mapping[bytes, Sequence[Site]]
    indexes: Mapping[bytes, Index]


class Locator:
    """Asks an indexer.

    Args:
        transport: sends.
        authority: signs, and says whose claims are believed.
        indexer: who is asked.
        now: seconds since 1970.
    """

    def __init__(self, transport: Transport, authority: Authority, indexer: Service, now: Callable[[], float]) -> None:
        self._transport = transport
        self._authority = authority
        self._indexer = indexer
        self._now = now

    async def locate(self, digests: Sequence[bytes]) -> Located:
        """What is known of blobs or blocks.

        Args:
            digests: their sha2-256 digests, 32 bytes each.

        Raises:
            NodeUnavailable: the indexer does not answer.
            NodeRefused: it says no.
            NodeLied: its answer is none, or far too long. Single claims and indexes that do not hold are passed over.
        """
        asked = [digests[start : start + DIGESTS_AT_ONCE] for start in range(0, len(digests), DIGESTS_AT_ONCE)]
        sites: dict[bytes, dict[bytes, Site]] = {}
        indexes: dict[bytes, Index] = {}
        for found_sites, found_indexes in await for_each(self._ask, asked, at_once=QUERIES_AT_ONCE):
            for site in found_sites:
                sites.setdefault(site.digest, {})[site.claim.cid] = site
            indexes |= found_indexes
        return Located({digest: tuple(found.values()) for digest, found in sites.items()}, indexes)

    async def _ask(self, digests: Sequence[bytes]) -> tuple[list[Site], dict[bytes, Index]]:
        url = http_url(f"{self._indexer.url.rstrip('/')}/claims")
        multihashes = [("multihash", "z" + base58.encode(multihash(digest))) for digest in digests]
        reading = self._authority.reading(self._indexer.did)
        answer = await self._transport.send(
            Request(
                method="GET",
                url=url.with_query([*multihashes, ("spaces", self._authority.space)]),
                headers={"Accept-Encoding": "identity", header.NAME: header.encode(message.request([reading]))},
                moves_bytes=ANSWER_BYTES_MAX,
                answer_bytes_max=ANSWER_BYTES_MAX,
            )
        )
        if not answer.succeeded:
            raise NodeRefused(f"HTTP {answer.status}", answer.excerpt)
        # In a thread: an index may have so many slices that it takes seconds.
        return await asyncio.to_thread(self._read, answer.body)

    def _read(self, body: bytes) -> tuple[list[Site], dict[bytes, Index]]:
        try:
            result = query.decode(body)
        except UcanError as error:
            raise NodeLied(f"{self._indexer.did} answered a query with something else: {error}") from None
        return self._sites(result), _indexes(result)

    def _sites(self, result: query.QueryResult) -> list[Site]:
        sites = []
        for cid in result.claims:
            try:
                claim = result.claim(cid)
                if claim.capability.can != Location.can:
                    continue
                site = Site.of(claim, self._authority.node, self._authority.space)
            except (UcanError, NodeLied) as error:
                log.info("a claim is passed over", claim=str(cid), reason=str(error))
                continue
            if site.expires is None or site.expires > self._now():
                sites.append(site)
        return sites


def _indexes(result: query.QueryResult) -> dict[bytes, Index]:
    indexes = {}
    for context, link in result.indexes.items():
        try:
            indexes[sha256_digest(link.multihash, "index")] = result.index(context)
        except UcanError as error:
            log.info("an index is passed over", index=str(link), reason=str(error))
    return indexes
