"""Where blobs and blocks are, and whose word is taken for it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256

import pytest
from aiohttp import web

from gateway.node.client import Located, Misconfigured, NodeClient, NodeLied, Piece, PublishedIndex, Service, locating
from registry.ucan import query
from registry.ucan.capability import AssertIndex, Location, capability
from registry.ucan.delegation import Delegation, delegate
from registry.ucan.did import DID
from registry.ucan.index import NO_CONTENT, Index, Slice
from registry.ucan.signing import KeySigner
from tests.storage_node import NOW, Handler, StorageNode
from tests.unit.gateway.node.client.conftest import Runner, World, source

BLOCKS = [random.Random(number).randbytes(100) for number in range(5)]
SHARD = b"".join(BLOCKS)
DIGEST = sha256(SHARD).digest()
SLICES = {sha256(block).digest(): Slice(100 * number, 100) for number, block in enumerate(BLOCKS)}
INDEX = Index(NO_CONTENT, {DIGEST: SLICES})
ARCHIVE = INDEX.encode()
INDEX_DIGEST = sha256(ARCHIVE).digest()

SPACE, NODE, STRANGER = (KeySigner(bytes([number]) * 32) for number in (1, 3, 9))


@pytest.mark.parametrize("own_agent", [False, True])
def test_a_block_is_found_by_whoever_has_only_the_space_key(run: Runner, own_agent: bool) -> None:
    async def talk(world: World) -> None:
        await world.client.upload([source(SHARD), source(ARCHIVE)], [PublishedIndex(NO_CONTENT, source(ARCHIVE).blob)])
        wanted = sha256(BLOCKS[3]).digest()
        located = await world.client.locate([wanted])
        assert located.indexes == {INDEX_DIGEST: INDEX}
        assert set(located.sites) == {DIGEST, INDEX_DIGEST}
        place = located.indexes[INDEX_DIGEST].shards[DIGEST][wanted]
        assert await world.client.retrieve([Piece(DIGEST, *place, wanted)], located.sites) == [BLOCKS[3]]

    run(talk, agent=run.agent if own_agent else None)


def test_nothing_is_known_of_what_nobody_published(run: Runner) -> None:
    async def talk(world: World) -> None:
        assert await world.client.locate([b"\x00" * 32]) == Located({}, {})
        assert await world.client.locate([]) == Located({}, {})

    run(talk)


def test_many_digests_are_asked_for_with_several_queries(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locating, "DIGESTS_AT_ONCE", 4)
    datas = [b"%d" % number for number in range(9)]

    async def talk(world: World) -> None:
        sites = await world.stored(*datas)
        before = len(world.node.requests)
        located = await world.client.locate(list(sites))
        assert {digest: list(found) for digest, found in located.sites.items()} == sites
        assert [path for _, path in world.node.requests[before:]] == ["/claims"] * 3

    run(talk)


def test_another_indexer_is_asked_where_there_is_one(run: Runner) -> None:
    indexer = StorageNode(KeySigner(b"\x04" * 32))

    async def talk(world: World) -> None:
        (site,) = await world.client.upload([source(SHARD)])
        indexer.accepted[DIGEST] = site.claim
        located = await world.client.locate([DIGEST])
        assert located.sites == {DIGEST: (site,)}
        assert ("GET", "/claims") not in world.node.requests

    run(talk, indexer=indexer)


URLS = ("http://n/",)


def _location(
    key: KeySigner = NODE, space: DID | None = SPACE.did, urls: tuple[str, ...] = URLS, expires: int | None = None
) -> Delegation:
    said = capability(key.did, Location(DIGEST, urls, space, 0, len(SHARD)))
    return delegate(key, SPACE.did if space is None else space, [said], expires=expires)


def _answered_with(claims: Sequence[Delegation], indexes: dict[bytes, bytes] | None = None) -> Callable[..., object]:
    async def fault(request: web.BaseRequest, answer: Handler) -> web.StreamResponse:
        return web.Response(body=query.encode(claims, indexes or {}))

    return fault


def test_claims_that_do_not_hold_are_passed_over(run: Runner) -> None:
    good = [_location(), _location(space=None), _location(urls=("http://n/2", "https://n/3"), expires=NOW + 1)]
    bad = [
        _location(STRANGER),
        _location(space=STRANGER.did),
        _location(urls=("ftp://n/",)),
        _location(urls=("http://n/", "file:///etc/passwd")),
        _location(expires=NOW),
        delegate(STRANGER, SPACE.did, [capability(NODE.did, Location(DIGEST, URLS, SPACE.did))], expires=None),
        delegate(NODE, SPACE.did, [capability(NODE.did, AssertIndex(NO_CONTENT, DIGEST))], expires=None),
        replace(_location(), token=replace(_location().token, signature=bytes(68))),
    ]

    async def talk(world: World) -> None:
        world.node.always["GET"] = _answered_with([*bad, *good], {b"odd \xff": b"no index"})  # type: ignore[assignment]
        located = await world.client.locate([DIGEST])
        assert [site.claim for site in located.sites[DIGEST]] == good
        assert located.indexes == {}

    run(talk)


def test_an_answer_with_one_wrong_byte_is_a_lie(run: Runner) -> None:
    async def talk(world: World) -> None:
        async def flipped(request: web.BaseRequest, answer: Handler) -> web.StreamResponse:
            body = bytearray(query.encode([_location()], {}))
            body[-200] ^= 1
            return web.Response(body=bytes(body))

        world.node.always["GET"] = flipped
        with pytest.raises(NodeLied):
            await world.client.locate([DIGEST])

    run(talk)


def test_a_site_that_was_kept_is_read_again(run: Runner) -> None:
    async def talk(world: World) -> None:
        (site,) = await world.client.upload([source(SHARD)])
        kept = site.archive()
        assert world.client.site(kept) == site
        for damaged in (b"", kept[:-1], kept + b"x", kept.replace(b"/piece/", b"/peace/")):
            with pytest.raises(NodeLied):
                world.client.site(damaged)

    run(talk)


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"grant": "mAYIEA"}, "cannot be used"),
        ({"grant": "something else"}, "cannot be used"),
        ({"grant": StorageNode(NODE).grant(STRANGER.did)}, "is for did:key"),
        ({"grant": StorageNode(STRANGER).grant(SPACE.did)}, "does not allow blob/allocate"),
        ({"node": Service("ftp://n/", NODE.did)}, "no URL of HTTP"),
        ({"node": Service("http://user:secret@n/", NODE.did)}, "without user"),
        ({"node": Service("http://n/", DID("did:web:n"))}, "no did:key"),
        ({"indexer": Service("n:80", NODE.did)}, "no URL of HTTP"),
        ({"indexer": Service("http://n/", DID("did:web:n"))}, "no did:key"),
    ],
)
def test_what_does_not_fit_together_is_noticed_before_anything_is_sent(
    run: Runner, change: dict[str, object], reason: str
) -> None:
    async def talk(world: World) -> None:
        with pytest.raises(Misconfigured, match=reason):
            NodeClient(replace(world.remote, **change))  # type: ignore[arg-type]

    run(talk)


def test_a_grant_may_allow_more_and_come_from_afar(run: Runner) -> None:
    async def talk(world: World) -> None:
        from registry.ucan import archive
        from registry.ucan.token import Capability

        middle = KeySigner(b"\x08" * 32)
        first = delegate(NODE, middle.did, [Capability("blob/*", NODE.did)], expires=None)
        second = delegate(middle, SPACE.did, [Capability("*", NODE.did)], expires=None, proofs=[first])
        async with NodeClient(replace(world.remote, grant=archive.to_text(second)), now=lambda: NOW) as client:
            assert len(await client.upload([source(SHARD)])) == 1

    run(talk)
