"""The room on the disk: bodies get what is there besides the reserve, whoever else writes."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.store.errors import StoreFull
from gateway.store.room import DiskRoom

RESERVE = 100


class Disk:
    """A disk whose free space is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = 1000
        monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=self.free, f_frsize=1))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_the_reserve_is_not_given_away(disk: Disk, tmp_path: Path) -> None:
    room = DiskRoom(tmp_path, RESERVE)
    with pytest.raises(StoreFull, match="1000 bytes are free, of which 100 are in reserve"):
        room.require(901)
    room.require(900)
    disk.free = 99
    with pytest.raises(StoreFull):
        room.require(0)


def test_a_disk_that_cannot_be_looked_at_takes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreFull, match="cannot look how much of the disk is free: No such file or directory"):
        DiskRoom(tmp_path / "gone", 0).require(1)


def test_every_look_sees_what_others_have_written(disk: Disk, tmp_path: Path) -> None:
    room = DiskRoom(tmp_path, RESERVE)
    room.require(900)
    disk.free = 150
    room.require(50)
    with pytest.raises(StoreFull):
        room.require(51)
    disk.free = 1000
    room.require(900)
