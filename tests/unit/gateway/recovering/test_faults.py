"""Every way in which a node can fail while a folder is recovered from it: what is made is right, or nothing is."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from gateway.node.client import NodeError
from gateway.recovering.errors import NotRecovered
from gateway.store.errors import RemoteUnavailable
from registry.ucan.signing import KeySigner
from tests.node_faults import FAULTS
from tests.recovering import Space, fill
from tests.storage_node import Fault, Handler, resigned

Run = Callable[[Callable[[Space], Awaitable[None]]], None]

FAILURES = (NodeError, NotRecovered, RemoteUnavailable)
SECONDS_MAX = 60.0


def of_kind(kind: str, fault: Fault, times: int) -> Fault:
    """``fault`` for the first requests of a kind, and the right answer for all others."""
    left = [True] * times

    async def maybe(request: web.BaseRequest, handler: Handler) -> web.StreamResponse:
        is_query = request.path == "/claims"
        if is_query == (kind == "query") and left:
            left.pop()
            return await fault(request, handler)
        return await handler(request)

    return maybe


FOR_EVER = 1_000_000


@pytest.mark.parametrize(("kind", "times"), [("read", 3), ("query", FOR_EVER), ("read", FOR_EVER)])
def test_each_fault(run: Run, kind: str, times: int) -> None:
    """Of questions or of reads; more often than the client tries by itself, or for ever."""

    async def talk(space: Space) -> None:
        async with space.gateway() as client:
            await fill(client)
            roots = {bucket.name: bucket.tree for bucket in client.store.buckets()}
        for name, fault in FAULTS.items():
            space.node.always["GET"] = of_kind(kind, fault, times)
            try:
                recovery = await asyncio.wait_for(space.recover(verify=False), SECONDS_MAX)
            except FAILURES as error:
                assert str(error), name
                assert nothing_but_a_folder(space) == [], name
            else:
                assert times < FOR_EVER, name
                assert {bucket.name: bucket.tree for bucket in recovery.buckets} == roots or recovery.newer, name
            shutil.rmtree(space.path / "again", ignore_errors=True)
        del space.node.always["GET"]
        recovery = await space.recover()
        assert {bucket.name: bucket.tree for bucket in recovery.buckets} == roots
        assert (recovery.passed_over, recovery.holes) == ((), ())

    run(talk)


def nothing_but_a_folder(space: Space) -> list[str]:
    """What is in the folder that was to be made."""
    path = space.path / "again"
    return [file.name for file in path.iterdir()] if path.exists() else []


def test_receipts_of_somebody_else(run: Run) -> None:
    async def talk(space: Space) -> None:
        async with space.gateway() as client:
            await fill(client)
        space.node.alter = lambda one: resigned(one, KeySigner(b"\x09" * 32))
        with pytest.raises(NotRecovered):
            await space.recover()
        assert nothing_but_a_folder(space) == []

    run(talk)
