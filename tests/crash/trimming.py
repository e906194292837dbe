"""Kills at every step of dropping segments: the process that `test_trimming` starts.

A step is before and after every survey, every segment that is forgotten, cleaned out of the index or deleted, every
block that is put into the cache, and every trim of it.  A child writes, ships, drops and reads, and ends at the n-th
step as kill -9 would end it; the next one must find all that was answered and no damage, and drop what is left.  The
last line that is printed is what was found, in JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from gateway.checks.heads import check_heads, check_segments
from gateway.checks.result import Result
from gateway.shipping import shipper
from gateway.shipping.shipper import ShipSettings
from gateway.shipping.shipping import Shipping
from gateway.shipping.trimming import Trimmer
from gateway.store.cache import BlockCache
from gateway.store.index import BlockIndex
from gateway.store.log import CommitLog
from gateway.store.preparing import Preparer
from gateway.store.segment import Segment
from gateway.store.segments import Segments
from gateway.store.store import Store, StoreSettings
from mst import car
from mst.cid import CID, RAW
from tests.crash.faults import KILLED
from tests.crash.steps import Steps, sweep_options
from tests.memory_remote import forget_nodes
from tests.shipped import FolderBlocks, FolderRemote
from tests.store_client import SPACE_KEY, StoreClient, content_of, open_client

SETTINGS = StoreSettings(segment_bytes=120_000, inline_body_bytes=2_000, reserve_free_bytes=0, threads=2)
STEPS = (
    (Preparer, ("prepare",)),
    (CommitLog, ("forget",)),
    (BlockIndex, ("forget", "clean")),
    (Segments, ("remove",)),
    (BlockCache, ("put", "trim")),
)
BYTES_MAX = 1_000
"""Nearly nothing, so that whatever may go goes."""
SIZES = (50, 1_500, 20_000)
ROUNDS = 3
CHOOSE_SECONDS = 0.01
SECONDS_MAX = 15.0
ANSWERED = "answered"

Work = Callable[[StoreClient, Trimmer], Awaitable[None]]


def forgotten_in_memory_alone() -> None:
    """What the index forgets it knows again after a start, when the file is gone."""

    def forget(self: BlockIndex, segments: Any) -> None:
        self._forgotten |= set(segments)
        for segment in segments:
            self._ends.pop(segment, None)

    BlockIndex.forget = forget  # type: ignore[method-assign]


def what_is_needed_goes() -> None:
    """Segments are dropped without asking whether the node has what is in them."""
    Trimmer._needed = lambda self, buckets: set()  # type: ignore[method-assign]


def what_came_since_goes() -> None:
    """What was written since the survey is dropped with the rest."""
    drop = Preparer._drop_segments

    def careless(self: Preparer, mutation: Any) -> Any:
        self._needed_since.clear()
        return drop(self, mutation)

    Preparer._drop_segments = careless  # type: ignore[method-assign]


BUGS = {bug.__name__: bug for bug in (forgotten_in_memory_alone, what_is_needed_goes, what_came_since_goes)}
"""To be planted, so that this is seen to find what it is there to find."""


def slow_down() -> None:
    """Let others write between a survey and the drop that follows; do not wait for anything else."""
    choose = Trimmer._choose

    def slow(self: Trimmer, *what: Any) -> list[int]:
        chosen = choose(self, *what)
        time.sleep(CHOOSE_SECONDS)
        return chosen

    Trimmer._choose = slow  # type: ignore[method-assign]
    shipper.LOOK_SECONDS = 0.01  # type: ignore[misc]


def contents_of(round_: int) -> dict[bytes, bytes]:
    return {
        b"%d %d" % (round_, number): content_of((round_, number), SIZES[number % len(SIZES)]) for number in range(12)
    }


async def use(folder: Path, work: Work) -> None:
    """Open the folder, ship it to the folder beside it, and do ``work``."""
    remote = FolderRemote(folder / "remote")
    async with open_client(folder / "data", SETTINGS) as client:
        store = client.store
        assert not [finding for finding in store.findings if finding.damaged_at is not None], store.findings
        shipping = Shipping.start(store, SPACE_KEY, remote, ShipSettings(interval_seconds=0.01), None)
        cache = BlockCache(store.folder.cache)
        far = store.read_from_afar(FolderBlocks(remote, store.database, shipping.places), cache)
        try:
            await work(client, Trimmer(store, shipping.places, cache, BYTES_MAX))
        finally:
            await far.close()
            await shipping.stop()


async def write(folder: Path, client: StoreClient, trimmer: Trimmer) -> None:
    """Write, some of it while segments are dropped; what was answered is said in a file."""
    if "b" not in {bucket.name for bucket in client.store.buckets()}:
        await client.make("b")
    with (folder / ANSWERED).open("a") as answered:

        async def put(key: bytes, content: bytes) -> None:
            await client.put("b", key, content)
            answered.write(f"{key.decode()}\n")
            answered.flush()

        for round_ in range(ROUNDS):
            dropping = asyncio.ensure_future(drop_again_and_again(trimmer))
            for number, (key, content) in enumerate(contents_of(round_).items()):
                await put(key, content)
                if number % 3 == 2:  # the next write finds somebody at work who has seen all there is
                    await shipped(client)
                    await asyncio.sleep(number * 0.002)
            dropping.cancel()
            await asyncio.gather(dropping, return_exceptions=True)
            await shipped(client)
            client.store.index.flush()
            await trimmer.trim()
            forget_nodes(client.store)
            for key, content in contents_of(round_).items():
                assert await client.read("b", key) == content


async def drop_again_and_again(trimmer: Trimmer) -> None:
    while True:
        await trimmer.trim()
        await asyncio.sleep(0.005)


async def shipped(client: StoreClient) -> None:
    while any(bucket.shipped != bucket.commit for bucket in client.store.buckets()):
        await asyncio.sleep(0.002)


async def look(folder: Path, client: StoreClient, trimmer: Trimmer) -> None:
    """All that was answered is there; what can be dropped is, and then it still is."""
    said = (folder / ANSWERED).read_text().splitlines() if (folder / ANSWERED).exists() else []
    found: dict[bytes, bytes] = {}
    expected = {key: content for round_ in range(ROUNDS) for key, content in contents_of(round_).items()}
    for _ in range(2):
        forget_nodes(client.store)
        if client.store.buckets():
            found = await client.contents("b")
            assert {key.encode() for key in said} <= set(found)
            assert all(expected[key] == content for key, content in found.items())
            results = await asyncio.to_thread(check, client.store)
            assert {result.status for result in results} == {"ok"}, results
        await shipped(client)
        await trimmer.trim()
    assert not client.store.index.forgotten & client.store.segments.numbers
    logs, bulk = (client.store.segments.of_kind(kind) for kind in ("log", "bulk"))
    assert sum(one.file_bytes for one in logs) <= BYTES_MAX
    # The bytes of an upload that was not answered stay, in their segment: nothing says that nobody needs them.
    needed = {CID.of(RAW, content) for content in found.values()}
    assert all(bodies_in(one) - needed for one in bulk if one.file_bytes > len(car.HEADER))
    left = {file.name for file in client.store.folder.segments.iterdir()}
    assert left == {one.path.name for one in (*logs, *bulk)}


def bodies_in(segment: Segment) -> set[CID]:
    """The bodies in a bulk segment, which are of one block each."""
    blocks = car.Reader().feed(segment.path.read_bytes())
    return {block.cid for block in blocks if block.cid.codec == RAW}


def check(store: Store) -> list[Result]:
    """What doctor says of it."""
    return [*check_segments(store), *check_heads(store, SPACE_KEY.did)]


def child(folder: Path, work: Callable[[Path, StoreClient, Trimmer], Awaitable[None]], last: int) -> tuple[int, str]:
    """Do ``work`` in a process that ends at the ``last`` step; how it ended, and what was wrong."""
    pid = os.fork()
    if pid == 0:
        wrong = ""
        try:
            steps = Steps(last)
            if last:
                steps.watch(STEPS)
            asyncio.run(asyncio.wait_for(use(folder, lambda *what: work(folder, *what)), SECONDS_MAX))
        except BaseException as error:
            wrong = "".join(traceback.format_exception(error))
        (folder / "wrong").write_text(wrong)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, "" if code == KILLED else (folder / "wrong").read_text()


def sweep(folder: Path, first: int, step: int) -> dict[str, Any]:
    """Kill at the ``first`` step, ``step`` later, and so on, until a run ends by itself."""
    points = 0
    for last in range(first, 10**6, step):
        path = folder / str(last)
        path.mkdir()
        code, wrong = child(path, write, last)
        if wrong:
            return {"wrong": [f"in the run that was not killed: {wrong}"], "points": points}
        _, wrong = child(path, look, 0)
        points += 1
        if wrong:
            return {"wrong": [f"step {last}: {wrong}"], "points": points}
        if code != KILLED:
            break
    return {"wrong": [], "points": points}


if __name__ == "__main__":
    options = sweep_options(BUGS)
    if options.bug:
        BUGS[options.bug]()
    slow_down()
    json.dump(sweep(options.folder, options.first, options.step), sys.stdout)
