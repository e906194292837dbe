"""The data folder: private, and one process's at a time."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.store import folder as folder_module
from gateway.store.errors import FolderLocked
from gateway.store.folder import DataFolder

HOLDER = """
import sys
from pathlib import Path
from gateway.store.folder import DataFolder
DataFolder(Path(sys.argv[1])).own()
print("owned", flush=True)
sys.stdin.read()
"""


OWNER_WITH_A_WORKER = """
import os, sys
from pathlib import Path
from gateway.store.folder import DataFolder
folder = DataFolder(Path(sys.argv[1]))
folder.own()
ended, owner = os.pipe()
if os.fork() == 0:
    os.close(owner)
    os.read(ended, 1)  # until the owner has ended
    sys.stdin.read()  # and somebody says so
    os._exit(0)
print("owned", flush=True)
os.read(ended, 1)
"""


def test_the_folder_is_its_owner_s_alone(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "deep" / "data").create()
    for path in (folder.path, folder.segments, folder.index):
        assert path.stat().st_mode & 0o777 == 0o700
    folder.own()
    assert (folder.path / "lock").stat().st_mode & 0o777 == 0o600
    folder.release()


def test_an_existing_folder_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    DataFolder(tmp_path / "data").create()
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o755


def test_a_second_owner_is_told_who_the_first_is(tmp_path: Path) -> None:
    first, second = DataFolder(tmp_path).create(), DataFolder(tmp_path)
    first.own()
    with pytest.raises(FolderLocked, match=rf"process {os.getpid()}\b.*--data-dir"):
        second.own()
    first.release()
    second.own()
    with pytest.raises(FolderLocked):
        first.own()
    second.release()
    second.release()


def test_the_lock_goes_with_the_process_that_had_it(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path).create()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"owned\n"
        with pytest.raises(FolderLocked, match=str(holder.pid)):
            folder.own()
        holder.kill()
        holder.wait()
    folder.own()
    folder.release()


def test_a_new_owner_waits_for_what_a_killed_one_has_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = DataFolder(tmp_path).create()
    looks: list[float] = []
    with subprocess.Popen(
        [sys.executable, "-c", OWNER_WITH_A_WORKER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdin is not None
        assert owner.stdout.readline() == b"owned\n"
        monkeypatch.setattr(folder_module.time, "sleep", lambda _: pytest.fail("waited for an owner that lives"))
        with pytest.raises(FolderLocked, match=f"process {owner.pid}"):
            folder.own()
        owner.kill()
        owner.wait()
        stdin = owner.stdin

        def look(seconds: float) -> None:
            looks.append(seconds)
            if len(looks) == 3 and not stdin.closed:
                stdin.close()  # the worker ends
            select.select([], [], [], seconds)

        monkeypatch.setattr(folder_module.time, "sleep", look)
        folder.own()
    assert len(looks) >= 3
    folder.release()


def test_a_new_owner_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "ORPHANS_SECONDS", 0.1)
    folder = DataFolder(tmp_path).create()
    with subprocess.Popen(
        [sys.executable, "-c", OWNER_WITH_A_WORKER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"owned\n"
        owner.kill()
        owner.wait()
        with pytest.raises(FolderLocked, match=f"process {owner.pid}"):
            folder.own()
