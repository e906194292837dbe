"""Several things at once, all of which are let finish: a transfer that goes well is not given up for another's sake."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def for_each(work: Callable[[T], Awaitable[R]], items: Iterable[T], *, at_once: int) -> list[R]:
    """The results of ``work`` for every item, in their order.

    Args:
        work: what to do.
        items: with what.
        at_once: most that are under way at the same time.

    Raises:
        Exception: the first in order of the items, after all have ended.
    """
    slots = asyncio.Semaphore(at_once)

    async def one(item: T) -> tuple[R] | Exception:
        async with slots:
            try:
                return (await work(item),)
            except Exception as error:
                return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(item)) for item in items]
    results: list[R] = []
    for task in tasks:
        outcome = task.result()
        if isinstance(outcome, Exception):
            raise outcome
        results += outcome
    return results
