"""The client and the storage node of this project, over a real socket, folder and database."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from hashlib import sha256

import pytest
import uvloop

from gateway.node.client import (
    NodeClient,
    NodeRefused,
    NodeUnavailable,
    Observed,
    Piece,
    PublishedIndex,
    Remote,
    Service,
    Site,
)
from registry.ucan import archive, header
from registry.ucan.capability import BlobAccept, BlobAllocate
from registry.ucan.delegation import delegate
from registry.ucan.index import NO_CONTENT, Index, Slice
from registry.ucan.signing import KeySigner
from registry.ucan.token import Capability
from tests.unit.gateway.node.client.conftest import RETRIES, TIMEOUTS, round_trips, source
from tests.unit.gateway.node.conftest import Clock, RunningNode

DATAS = [random.Random(number).randbytes(size) for number, size in enumerate([1, 1000, 3_000_000])]
DIGESTS = [sha256(data).digest() for data in DATAS]
SHARDS = {digest: {digest: Slice(0, len(data))} for digest, data in zip(DIGESTS, DATAS, strict=True)}
ARCHIVE = Index(NO_CONTENT, SHARDS).encode()
INDEX = PublishedIndex(NO_CONTENT, source(ARCHIVE).blob)

SPACE, AGENT, OTHER = (KeySigner(bytes([number]) * 32) for number in (1, 2, 5))

Talk = Callable[[NodeClient], Awaitable[None]]


@pytest.fixture
def talk_to(clock: Clock) -> Callable[..., list[Observed]]:
    """Runs a talk with a node; gives the requests it took."""

    def run(
        node: RunningNode,
        talk: Talk,
        space: KeySigner = SPACE,
        agent: KeySigner | None = None,
        now: Callable[[], int] = clock,
    ) -> list[Observed]:
        rights = [Capability(can, node.node.did) for can in (BlobAllocate.can, BlobAccept.can)]
        remote = Remote(
            node=Service(node.url, node.node.did),
            grant=archive.to_text(delegate(node.node.key, (agent or space).did, rights, expires=None)),
            space=space,
            agent=agent,
            timeouts=TIMEOUTS,
            retries=RETRIES,
        )
        observed: list[Observed] = []

        async def main() -> None:
            async with NodeClient(remote, now=now, observer=observed.append) as client:
                await talk(client)

        uvloop.run(main())
        return observed

    return run


def _by_digest(sites: list[Site]) -> dict[bytes, list[Site]]:
    return {site.digest: [site] for site in sites}


@pytest.mark.parametrize("agent", [None, AGENT])
def test_the_whole_flow(node: RunningNode, talk_to: Callable[..., list[Observed]], agent: KeySigner | None) -> None:
    async def upload(client: NodeClient) -> None:
        sites = await client.upload([source(data) for data in [*DATAS, ARCHIVE]], [INDEX])
        assert [site.digest for site in sites] == [*DIGESTS, INDEX.blob.digest]

    assert round_trips(talk_to(node, upload, agent=agent)) == 3

    async def recover(client: NodeClient) -> None:
        located = await client.locate(DIGESTS)
        assert located.indexes[INDEX.blob.digest].shards.keys() == set(DIGESTS)
        pieces = [Piece(digest, 0, len(data), digest) for digest, data in zip(DIGESTS, DATAS, strict=True)]
        pieces += [Piece(DIGESTS[2], 2_000_000, 5), Piece(DIGESTS[2], 0, 0)]
        got = await client.retrieve(pieces, located.sites)
        assert got == [*DATAS, DATAS[2][2_000_000:2_000_005], b""]

    assert len(talk_to(node, recover, agent=agent)) == 1 + len(DATAS)


def test_every_step_may_be_repeated(node: RunningNode, talk_to: Callable[..., list[Observed]]) -> None:
    async def talk(client: NodeClient) -> None:
        first = await client.allocate_and_put([source(data) for data in DATAS])
        again = await client.allocate_and_put([source(data) for data in [*DATAS, ARCHIVE]])
        sites = await client.accept(again)
        assert await client.accept(first) == sites[:3]
        assert await client.upload([source(ARCHIVE)], [INDEX]) == sites[3:]
        await client.publish([INDEX])
        assert (await client.locate([DIGESTS[0]])).sites.keys() == {DIGESTS[0]}

    puts = [one for one in talk_to(node, talk) if one.method == "PUT"]
    assert len(puts) == len(DATAS) + 1


def test_a_node_that_forgot_what_was_not_accepted_gets_it_again(
    node: RunningNode, clock: Clock, talk_to: Callable[..., list[Observed]]
) -> None:
    async def talk(client: NodeClient) -> None:
        allocated = await client.allocate_and_put([source(DATAS[1])])
        clock.now_s += 25 * 3600
        node.node.sweep()
        with pytest.raises(NodeRefused):
            await client.accept(allocated)
        (site,) = await client.upload([source(DATAS[1])])
        assert await client.retrieve([Piece(DIGESTS[1], 0, 3)], {DIGESTS[1]: [site]}) == [DATAS[1][:3]]

    talk_to(node, talk)


def test_what_is_of_another_space_is_not_given_out(node: RunningNode, talk_to: Callable[..., list[Observed]]) -> None:
    kept: list[Site] = []

    async def upload(client: NodeClient) -> None:
        kept.extend(await client.upload([source(DATAS[1])]))

    async def steal(client: NodeClient) -> None:
        with pytest.raises(NodeRefused, match="NotFound"):
            await client.retrieve([Piece(DIGESTS[1], 0, 3)], _by_digest(kept))

    talk_to(node, upload)
    talk_to(node, steal, space=OTHER)


def test_proofs_that_are_too_long_are_shown_one_by_one(
    node: RunningNode, talk_to: Callable[..., list[Observed]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def talk(client: NodeClient) -> None:
        sites = await client.upload([source(DATAS[1])])
        monkeypatch.setattr(header, "HEADER_CHARS_MAX", 800)
        assert await client.retrieve([Piece(DIGESTS[1], 0, 3)], _by_digest(sites)) == [DATAS[1][:3]]

    observed = talk_to(node, talk, agent=AGENT)
    assert [one.status for one in observed if one.method == "GET"] == [510, 206]


def test_a_clock_that_is_an_hour_late_is_refused_by_receipt(
    node: RunningNode, clock: Clock, talk_to: Callable[..., list[Observed]]
) -> None:
    kept: list[Site] = []

    async def upload(client: NodeClient) -> None:
        kept.extend(await client.upload([source(DATAS[1])]))

    async def read(client: NodeClient) -> None:
        with pytest.raises(NodeRefused) as raised:
            await client.retrieve([Piece(DIGESTS[1], 0, 3)], _by_digest(kept))
        assert raised.value.name == "Unauthorized"

    talk_to(node, upload)
    talk_to(node, read, now=Clock(clock.now_s - 3600))


def test_a_node_that_was_stopped_is_unavailable(node: RunningNode, talk_to: Callable[..., list[Observed]]) -> None:
    async def talk(client: NodeClient) -> None:
        with pytest.raises(NodeUnavailable):
            await client.upload([source(DATAS[1])])

    node.stop()
    talk_to(node, talk)
