"""The cache on the disk: what is in it is right or not there, whatever ends who writes it, and it stays small."""

from __future__ import annotations

import multiprocessing
import os
import time
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.store.cache import TOUCH_SECONDS, UNFINISHED_SECONDS, BlockCache


def _block(seed: int, size: int = 5_000) -> tuple[bytes, bytes]:
    data = sha256(b"%d" % seed).digest() * (size // 32)
    return sha256(data).digest(), data


def _files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()]


def test_what_is_put_is_there_and_nothing_else(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path / "cache")
    digest, data = _block(1)
    assert cache.get(digest) is None
    assert not cache.holds(digest)
    assert cache.size_bytes() == 0
    cache.put(digest, data)
    assert cache.holds(digest)
    assert cache.get(digest) == BlockCache(tmp_path / "cache").get(digest) == data
    assert cache.get(_block(2)[0]) is None
    empty = sha256(b"").digest()
    cache.put(empty, b"")
    assert cache.get(empty) == b""


@pytest.mark.parametrize("damage", [b"", b"other bytes"])
def test_a_damaged_file_is_not_there(tmp_path: Path, damage: bytes) -> None:
    cache = BlockCache(tmp_path)
    digest, data = _block(1)
    cache.put(digest, data)
    (file,) = _files(tmp_path)
    file.write_bytes(damage)
    assert cache.get(digest) is None
    assert _files(tmp_path) == []
    cache.put(digest, data)
    assert cache.get(digest) == data


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path / "cache")
    cache.put(*_block(1))
    modes = {path.stat().st_mode & 0o777 for path in [tmp_path / "cache", *(tmp_path / "cache").rglob("*")]}
    assert modes == {0o700, 0o600}


def test_what_cannot_be_written_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file")
    cache = BlockCache(tmp_path / "cache")
    cache.put(*_block(1))
    assert cache.get(_block(1)[0]) is None
    cache.trim(0)


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path)
    now = time.time()
    for n in range(20):
        cache.put(*_block(n))
    for age, n in enumerate(reversed(range(20))):
        used = now - 2 * TOUCH_SECONDS - age
        digest = _block(n)[0]
        (file,) = (file for file in _files(tmp_path) if file.name == digest.hex())
        os.utime(file, (used, used))
    size = cache.size_bytes()
    assert cache.get(_block(0)[0]) is not None  # used now, so no longer the oldest
    cache.trim(size)
    assert cache.size_bytes() == size
    cache.trim(size // 2)
    kept = [n for n in range(20) if cache.holds(_block(n)[0])]
    assert kept == [0, *range(20 - len(kept) + 1, 20)]
    assert size // 2 * 0.7 <= cache.size_bytes() <= size // 2
    cache.trim(0)
    assert _files(tmp_path) == []


def test_a_use_is_noted_once_an_hour(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path)
    digest, data = _block(1)
    cache.put(digest, data)
    (file,) = _files(tmp_path)
    recent = time.time() - TOUCH_SECONDS / 2
    os.utime(file, (recent, recent))
    assert cache.get(digest) == data
    assert file.stat().st_mtime == pytest.approx(recent)


def test_what_a_process_left_unfinished_goes(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path)
    digest, data = _block(1)
    cache.put(digest, data)
    (file,) = _files(tmp_path)
    left, writing = file.with_name(file.name + ".1-1-1.new"), file.with_name(file.name + ".1-1-2.new")
    left.write_bytes(b"half")
    writing.write_bytes(b"half")
    os.utime(left, (0, time.time() - UNFINISHED_SECONDS - 1))
    cache.trim(1 << 30)
    assert not left.exists()
    assert writing.exists()
    assert cache.get(digest) == data


def _work(path: Path) -> None:
    cache = BlockCache(path)
    for _ in range(30):
        for n in range(10):
            digest, data = _block(n, 50_000)
            cache.put(digest, data)
            assert cache.get(digest) in (data, None)


def test_several_processes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_work, args=(tmp_path,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        BlockCache(tmp_path).trim(100_000)
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert {file.suffix for file in _files(tmp_path)} <= {""}
