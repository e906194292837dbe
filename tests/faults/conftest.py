"""A front far from its bytes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.far_front import FarFront, far_front


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarFront]:
    """A front whose node does right until it is told otherwise."""
    with far_front(tmp_path_factory.mktemp("far") / "data") as opened:
        yield opened
