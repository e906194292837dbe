"""The room on the disk: what is promised to one upload is not promised to another, and the reserve to none."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.store.errors import StoreFull
from gateway.store.room import ROOM_CHECK_SECONDS, DiskRoom

RESERVE = 100


class Disk:
    """A disk whose free space, and a clock, are set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = 1000
        self.now = 1000.0
        monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=self.free, f_frsize=1))
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_uploads_between_two_looks_share_what_is_free(disk: Disk, tmp_path: Path) -> None:
    room = DiskRoom(tmp_path, RESERVE)
    room.require(500)
    room.require(400)
    with pytest.raises(StoreFull, match="100 bytes are free, of which 100 are in reserve"):
        room.require(1)


def test_a_refusal_takes_nothing(disk: Disk, tmp_path: Path) -> None:
    room = DiskRoom(tmp_path, RESERVE)
    with pytest.raises(StoreFull):
        room.require(901)
    room.require(900)


def test_the_disk_is_looked_at_again(disk: Disk, tmp_path: Path) -> None:
    room = DiskRoom(tmp_path, RESERVE)
    room.require(900)
    disk.now += ROOM_CHECK_SECONDS * 1.1
    room.require(900)  # what was promised was not written
    disk.free = 150
    disk.now += ROOM_CHECK_SECONDS * 1.1
    with pytest.raises(StoreFull):
        room.require(51)
