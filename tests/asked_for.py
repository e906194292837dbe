"""Tests that run only when they are asked for by their marker."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pytest

MARKERS: Final = {
    "big": "moves gigabytes, or has very many objects",
    "crash_long": "crashes for as long as CRASH_SECONDS says",
    "over_tls": "drives a client over TLS as well",
    "all_faults": "one of very many faults, of which the ordinary tests have the usual ones",
}
"""Each with what such a test does; ``-m`` with its name runs it, as targets of the Makefile do."""


def leave_out(markers: Iterable[str], config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take the tests with one of those markers out of ``items``."""
    unwanted = list(markers)
    left_out = [item for item in items if any(map(item.get_closest_marker, unwanted))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]
