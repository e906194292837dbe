"""A front far from its bytes, and most of its faults kept out of the ordinary runs: `make faults` runs them all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.far_front import FarFront, far_front

ALL = "all_faults"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{ALL}: one of very many faults; only with -m, as `make faults` has it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if ALL in config.option.markexpr:
        return
    many = [item for item in items if item.get_closest_marker(ALL)]
    if many:
        config.hook.pytest_deselected(items=many)
        items[:] = [item for item in items if item not in many]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarFront]:
    """A front whose node does right until it is told otherwise."""
    with far_front(tmp_path_factory.mktemp("far") / "data") as opened:
        yield opened
