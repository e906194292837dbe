"""What the crash tests run: concurrent writers who say what they begin and what was answered, and the check of what is
found afterwards.

The child that may die at any moment *begins* an operation, awaits the store's answer and says *done*, or *failed*.
Afterwards, whatever happened in between, every key must be in the state of its last answered operation, or of the one
that was still in the air.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from gateway.store import index
from gateway.store.errors import StoreError
from gateway.store.store import StoreSettings
from mst.cid import CID
from mst.commit import Commit
from registry.space import verify_commit
from tests.store_client import StoreClient, content_of, open_client

SETTINGS = StoreSettings(segment_bytes=64_000, inline_body_bytes=2_000, reserve_free_bytes=0, threads=2)
"""Small, so that a short run meets every file there is: full log segments, bulk segments, moves of the index."""
RECENT_BLOCKS_MAX = 60
SIZES = [0, 30, 30, 30, 1_500, 1_500, 30_000, 70_000]
SIZE_OF_SEVERAL_LEAVES = (1 << 20) + 5
BUCKETS = ("a", "b")
EXERCISED = "exercised"

EMPTY = "empty"

State: TypeAlias = "str | None"
"""What a place is: the name of an object's content, "bucket", or None for nothing."""
Say: TypeAlias = Callable[[list[Any]], None]


@dataclass
class Journal:
    """What a child said: the answered state of each place, and what was begun without an answer.

    A place is ``bucket/key`` for an object and ``bucket/`` for a bucket that comes and goes.  ``unsure``: the registry
    may have failed while it committed, so that nobody knows whether a refused operation took effect.
    """

    settled: dict[str, State] = field(default_factory=dict)
    pending: dict[int, tuple[str, State]] = field(default_factory=dict)
    answered: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    unsure: bool = False

    def hear(self, line: list[Any]) -> None:
        """Take note of what the child said."""
        match line:
            case ["begin", number, place, state]:
                self.pending[number] = (place, state)
            case ["done", number]:
                place, state = self.pending.pop(number)
                self.settled[place] = state
                self.answered += 1
            case ["failed", number, error]:
                if not (self.unsure and error == "StoreReadOnly"):
                    self.pending.pop(number)
                self.refused[error] = self.refused.get(error, 0) + 1

    def check(self, found: dict[str, State]) -> list[str]:
        """What of ``found`` cannot be; settles what was in the air as it was found."""
        possible: dict[str, set[State]] = {place: {state} for place, state in self.settled.items()}
        for place, state in self.pending.values():
            possible.setdefault(place, {None}).add(state)
        wrong = [
            f"{place}: found {found.get(place)}, answered {self.settled.get(place)}"
            for place, states in possible.items()
            if found.get(place) not in states
        ]
        wrong += [f"{place}: found {state}, never begun" for place, state in found.items() if place not in possible]
        self.settled = found
        self.pending = {}
        return wrong


def limit_index() -> None:
    """Make the index move to disk every few batches."""
    index.RECENT_BLOCKS_MAX = RECENT_BLOCKS_MAX


async def run(path: Path, say: Say, *, seed: int, writers: int, operations: int) -> None:
    """Write to the store in ``path``.

    Args:
        path: the data folder.
        say: takes note of every line, durably for whoever survives this process.
        seed: decides what the writers do.
        writers: how many at a time, each with keys of its own.
        operations: how many each of them does.
    """
    limit_index()
    numbers = iter(range(10**9))
    async with open_client(path, SETTINGS) as client:
        say(["ready"])
        for bucket in BUCKETS:
            if bucket not in {held.name for held in client.store.buckets()}:
                await _attempt(say, next(numbers), f"{bucket}/", "bucket", client.make(bucket))
        large = new_state(random.Random(seed), max(SIZES))  # what any dice then do, a bulk segment is written to
        await _attempt(say, next(numbers), "a/large", large, client.put("a", b"large", content_for(large)))
        await asyncio.gather(
            *(_write(client, say, numbers, random.Random(seed * 1000 + n), n, operations) for n in range(writers)),
            _churn(client, say, numbers, operations),
        )
        say(["through"])
        say(["found", await states(client)])
        failure = client.store.committer.failure
        if failure is None:
            await _exercise(client)
        say(["end", failure])


async def _attempt(say: Say, number: int, place: str, state: State, operation: Any) -> None:
    say(["begin", number, place, state])
    try:
        await operation
    except StoreError as error:
        say(["failed", number, type(error).__name__])
    else:
        say(["done", number])


async def _write(
    client: StoreClient, say: Say, numbers: Iterator[int], dice: random.Random, writer: int, operations: int
) -> None:
    for _, number in zip(range(operations), numbers, strict=False):
        bucket = dice.choice(BUCKETS)
        key = f"{writer}/{dice.randrange(6)}"
        if dice.random() < 0.2:
            await _attempt(say, number, f"{bucket}/{key}", None, client.delete(bucket, key.encode()))
            continue
        state = new_state(dice, dice.choice(SIZES) if dice.random() < 0.98 else SIZE_OF_SEVERAL_LEAVES)
        put = client.put(bucket, key.encode(), content_for(state))
        await _attempt(say, number, f"{bucket}/{key}", state, put)


async def _churn(client: StoreClient, say: Say, numbers: Iterator[int], operations: int) -> None:
    """A bucket that is made, filled, emptied and dropped."""
    if "c" in {held.name for held in client.store.buckets()}:
        await _attempt(say, next(numbers), "c/k", None, client.delete("c", b"k"))
        await _attempt(say, next(numbers), "c/", None, client.drop("c"))
    for _, number in zip(range(operations // 4), numbers, strict=False):
        await _attempt(say, number, "c/", "bucket", client.make("c"))
        state = new_state(random.Random(), number % 50)
        await _attempt(say, next(numbers), "c/k", state, client.put("c", b"k", content_for(state)))
        await _attempt(say, next(numbers), "c/k", None, client.delete("c", b"k"))
        await _attempt(say, next(numbers), "c/", None, client.drop("c"))


def new_state(dice: random.Random, size: int) -> str:
    """A name that no other content has, so that an older one never passes for a newer one."""
    return f"{dice.getrandbits(48)}:{size}" if size else EMPTY


async def states(client: StoreClient) -> dict[str, State]:
    """What is there: every object read whole and checked against its entry, every head's commit checked."""
    found: dict[str, State] = {}
    for bucket in client.store.buckets():
        if bucket.name == EXERCISED:
            continue
        found[f"{bucket.name}/"] = "bucket"
        for key, content in (await client.contents(bucket.name)).items():
            found[f"{bucket.name}/{key.decode()}"] = state_of(content)
    return found


def content_for(state: str) -> bytes:
    """The content that ``state`` stands for: it begins with its own name."""
    seed, _, size = state.rpartition(":")
    return b"" if state == EMPTY else f"{state}|".encode() + content_of(seed, int(size))


def state_of(content: bytes) -> str:
    """The name of ``content``, if it is wholly what the name says."""
    if not content:
        return EMPTY
    state = content.partition(b"|")[0].decode(errors="replace")
    right = re.fullmatch(r"[0-9-]+:[0-9]+", state) is not None and content_for(state) == content
    return state if right else f"unknown content of {len(content)} bytes"


async def inspect(path: Path, *, tidy: bool) -> dict[str, Any]:
    """Start again on what a crash left, read everything, write something.

    Args:
        path: the data folder.
        tidy: end as a server ends; otherwise the index stays as it is, as after another kill.

    Returns:
        The states found, and what recovery found damaged.
    """
    limit_index()
    async with open_client(path, SETTINGS) as client:
        damaged = [finding.segment for finding in client.store.findings if finding.damaged_at is not None]
        found = await states(client)
        for bucket in client.store.buckets():
            _check_history(client, bucket.commit)
        await _exercise(client)
        if not tidy:
            client.store._index._read_only = True  # what keeps `close` from moving it to disk
    return {"found": found, "damaged": damaged}


async def _exercise(client: StoreClient) -> None:
    """Writes work, whatever an earlier exercise left that was cut short."""
    if EXERCISED not in {held.name for held in client.store.buckets()}:
        await client.make(EXERCISED)
    await client.put(EXERCISED, b"k", b"content")
    assert await client.contents(EXERCISED) == {b"k": b"content"}
    await client.delete(EXERCISED, b"k")
    await client.drop(EXERCISED)


def _check_history(client: StoreClient, newest: CID) -> None:
    cid: CID | None = newest
    sequence = None
    while cid is not None:
        commit = Commit.decode(client.store.blocks.read(cid))
        verify_commit(commit)
        assert sequence in (None, commit.sequence + 1)
        sequence, cid = commit.sequence, commit.prev
    assert sequence == 1
