"""The steps of something that takes many, each of which may be the last, and how a sweep over them is called."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import structlog

from tests.crash.faults import KILLED


class Steps:
    """Counts steps, and ends the process at one of them.

    Args:
        last: which, from 1; 0 for none.
    """

    def __init__(self, last: int) -> None:
        self.count = 0
        self._last = last

    def __call__(self, _: str = "") -> None:
        self.count += 1
        if self.count == self._last:
            os._exit(KILLED)

    def watch(self, methods: Sequence[tuple[type, Sequence[str]]]) -> None:
        """Count a step before and after each call of methods that are listed by their classes."""
        for kind, names in methods:
            for name in names:
                setattr(kind, name, self._around(getattr(kind, name)))

    def _around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        if asyncio.iscoroutinefunction(call):

            @wraps(call)
            async def around_async(*args: Any, **kwargs: Any) -> Any:
                self()
                result = await call(*args, **kwargs)
                self()
                return result

            return around_async

        @wraps(call)
        def around(*args: Any, **kwargs: Any) -> Any:
            self()
            result = call(*args, **kwargs)
            self()
            return result

        return around


def sweep_options(bugs: Iterable[str]) -> argparse.Namespace:
    """What a sweep is told on its command line: folder, first, step, bug.  From then on only its report is printed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--bug", choices=tuple(bugs))
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    return options
