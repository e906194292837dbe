"""Kills at every step of shipping: the process that `test_shipping` starts.

A step is before and after every call to the remote, every write to the registry, every pack and every table of places.
A child writes and ships, and ends at the n-th step as kill -9 would end it; the next ship of the folder must finish.
The last line that it prints is what it found, in JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from gateway.shipping import gathering, shipper, slicing
from gateway.shipping.ledger import Ledger
from gateway.shipping.packing import Outbox
from gateway.shipping.places import RemotePlaces
from gateway.shipping.shipper import ShipSettings
from gateway.shipping.shipping import Acknowledge, Shipping
from gateway.store.store import StoreSettings
from registry.shipments import Shipment
from tests.crash.faults import KILLED
from tests.crash.steps import Steps, sweep_options
from tests.shipped import FolderRemote, check_places, read
from tests.store_client import SPACE_KEY, StoreClient, content_of, open_client

SETTINGS = StoreSettings(segment_bytes=400_000, inline_body_bytes=2_000, reserve_free_bytes=0, threads=2)
STEPS = (
    (Outbox, ("write", "keep_only")),
    (RemotePlaces, ("add",)),
    (Ledger, ("begin", "note", "finish", "send_back", "insert")),
)


def heads_before_acceptance() -> None:
    """Heads are shipped heads before the node has promised anything."""
    bring = shipper.Shipper._bring

    async def early(self: shipper.Shipper, shipment: Shipment) -> None:
        await self._ledger.finish(shipment)
        await bring(self, shipment)

    shipper.Shipper._bring = early  # type: ignore[method-assign]


def left_over_is_gathered_anew() -> None:
    """A start forgets the packs of the shipment that was under way, and calls it finished."""

    async def forget(self: shipper.Shipper) -> bool:
        shipment = self._ledger.unfinished()
        if shipment is not None:
            await self._ledger.finish(shipment)
        return True

    shipper.Shipper._finish_left_over = forget  # type: ignore[method-assign]


BUGS = {bug.__name__: bug for bug in (heads_before_acceptance, left_over_is_gathered_anew)}
"""To be planted, so that this is seen to find what it is there to find."""


def limit() -> None:
    """Make everything small, so that a short run meets every kind of shipment; do not wait for anything."""
    for module, name, value in (
        (gathering, "PACKS_BYTES_MAX", 80_000), (gathering, "PACK_BYTES_MAX", 20_000), (slicing, "_ROOM", 100_000),
        (shipper, "BACKOFF_SECONDS", 0.001), (shipper, "AHEAD_SECONDS", 0.02), (shipper, "AHEAD_BYTES", 50_000),
    ):  # fmt: skip
        setattr(module, name, value)


async def ship(folder: Path, steps: Steps, work: Callable[[StoreClient], Awaitable[None]]) -> dict[str, Any]:
    """Open the folder, ship it, do ``work``, and look at what is shipped."""
    remote = FolderRemote(folder / "remote", steps)
    async with open_client(folder / "data", SETTINGS) as client:
        shipping = Shipping.start(client.store, SPACE_KEY, remote, ShipSettings(at_once=True), Acknowledge(30.0))
        await work(client)
        while any(bucket.shipped != bucket.commit for bucket in client.store.buckets()):
            await asyncio.sleep(0.001)
        heads = {bucket.name: str(bucket.commit) for bucket in client.store.buckets()}
        shipped = read(remote, SPACE_KEY.did)
        wrong = [name for name in heads | shipped.heads if str(shipped.heads[name].commit) != heads.get(name)]
        await shipping.stop()
        numbers = _digests(client)
        with closing(RemotePlaces.open(client.store.folder.remote, read_only=True)) as places:
            check_places(places, remote, numbers, shipped)
        left = [file.name for file in client.store.folder.outbox.glob("*")]
    return {"wrong": wrong, "heads": heads, "outbox": left, "steps": steps.count, "shipments": len(shipped.manifests)}


def _digests(client: StoreClient) -> dict[int, bytes]:
    import sqlalchemy as sa

    with client.store.database.read() as connection:
        return {row.number: row.digest for row in connection.execute(sa.text("SELECT number, digest FROM shards"))}


async def write(client: StoreClient) -> None:
    """Objects of all sizes, a part that is sent ahead, a bucket that goes away; what is answered is said."""
    present = {bucket.name for bucket in client.store.buckets()}
    for name in {"photos", "gone"} - present:
        await client.make(name)
    _say("made")
    await asyncio.gather(*(client.put("photos", b"%d" % n, content_of(n, 1_500)) for n in range(40)))
    await asyncio.gather(*(client.put("photos", b"large %d" % n, content_of(n, 60_000)) for n in range(4)))
    await client.put("photos", b"huge", content_of("huge", 2_200_000))
    await client.drop("gone")
    _say("done")


async def nothing(client: StoreClient) -> None:
    """Only what was left over is shipped; whoever waits for an answer makes sure that it is."""
    if client.store.buckets():
        await client.delete(client.store.buckets()[0].name, b"not there")


def _say(word: str) -> None:
    print(word, flush=True)


def run(folder: Path, last: int) -> int:
    """A child that may be killed; returns how it ended."""
    pid = os.fork()
    if pid == 0:
        steps = Steps(last)
        limit()
        steps.watch(STEPS)
        try:
            report = asyncio.run(ship(folder, steps, write))
            (folder / "report").write_text(json.dumps(report))
        except BaseException as error:
            (folder / "report").write_text(json.dumps({"wrong": [repr(error)]}))
            raise
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def finish(folder: Path) -> dict[str, Any]:
    """A child that is not killed finishes what is left over."""
    pid = os.fork()
    if pid == 0:
        limit()
        try:
            report = asyncio.run(ship(folder, Steps(0), nothing))
        except BaseException as error:
            report = {"wrong": [repr(error)]}
        (folder / "report").write_text(json.dumps(report))
        os._exit(0)
    os.waitpid(pid, 0)
    found: dict[str, Any] = json.loads((folder / "report").read_text())
    return found


def sweep(folder: Path, first: int, step: int) -> dict[str, Any]:
    """Kill at the ``first`` step, ``step`` later, and so on, until a run ends by itself."""
    points = 0
    for last in range(first, 10**6, step):
        path = folder / str(last)
        path.mkdir()
        killed = run(path, last) == KILLED
        if not killed and (report := json.loads((path / "report").read_text()))["wrong"]:
            return {"wrong": [f"in the run that was not killed: {report}"], "points": points}
        report = finish(path)
        points += 1
        if report["wrong"] or report["outbox"]:
            return {"wrong": [f"step {last}: {report}"], "points": points}
        if not killed:
            break
    return {"wrong": [], "points": points, "shipments": report["shipments"]}


if __name__ == "__main__":
    options = sweep_options(BUGS)
    if options.bug:
        BUGS[options.bug]()
    json.dump(sweep(options.folder, options.first, options.step), sys.stdout)
