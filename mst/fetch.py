"""How sans-IO algorithms ask for blocks, and the two drivers that answer them.

An algorithm is a generator: it yields the CIDs it needs next (a whole tree level at once where it can), is sent what
they name in the same order, and returns its result.  It never knows whether memory, disk or a network answered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import TypeAlias, TypeVar

from mst.cid import CID

Loaded = TypeVar("Loaded")
Result = TypeVar("Result")

Fetch: TypeAlias = Generator[Sequence[CID], Sequence[Loaded], Result]
"""Yields wanted CIDs, is sent what they name, returns ``Result``."""


def drive(fetch: Fetch[Loaded, Result], load: Callable[[Sequence[CID]], Sequence[Loaded]]) -> Result:
    """Run ``fetch`` to its result, answering every request with ``load``."""
    try:
        wanted = next(fetch)
        while True:
            wanted = fetch.send(load(wanted))
    except StopIteration as stop:
        result: Result = stop.value
        return result


async def drive_async(
    fetch: Fetch[Loaded, Result], load: Callable[[Sequence[CID]], Awaitable[Sequence[Loaded]]]
) -> Result:
    """Run ``fetch`` to its result, awaiting ``load`` for every request."""
    try:
        wanted = next(fetch)
        while True:
            wanted = fetch.send(await load(wanted))
    except StopIteration as stop:
        result: Result = stop.value
        return result
