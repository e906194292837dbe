"""A folder of segments and an index, bare, for the tests of the store's parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store.folder import DataFolder
from gateway.store.index import BlockIndex
from gateway.store.segments import Segments


@pytest.fixture
def segments(tmp_path: Path) -> Iterator[Segments]:
    (tmp_path / "segments").mkdir()
    opened = Segments(DataFolder(tmp_path), read_only=False)
    yield opened
    opened.close()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[BlockIndex]:
    (tmp_path / "index").mkdir()
    opened = BlockIndex(tmp_path / "index", read_only=False)
    yield opened
    opened.close()
