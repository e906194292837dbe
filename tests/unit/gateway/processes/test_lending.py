"""Bulk segments on loan: what the owner has of one when a worker is done with it, cannot open it, or ends."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway.processes.crew import _Member
from gateway.processes.link import Lend
from gateway.processes.worker import _LentBulk, _Owner
from gateway.store.bulk import BulkPool, OwnedBulk
from gateway.store.errors import StoreError, StoreFull, StoreReadOnly
from gateway.store.room import DiskRoom
from gateway.store.segment import Segment
from gateway.store.store import Owned, Store, StoreSettings
from mst.block import Block
from mst.cid import RAW
from tests.store_client import open_client
from tests.waiting import wait_until

SEGMENT_BYTES = 10_000
SECONDS_MAX = 5.0


class Loan(NamedTuple):
    """An owner and one worker of it, at the two ends of a link in one process."""

    store: Store
    bulk: OwnedBulk
    member: _Member
    worker: _Owner
    pool: BulkPool

    async def upload(self, size: int) -> int:
        """Store a block as the worker does; returns the number of the segment it was to go to."""
        return await asyncio.to_thread(_upload, self.pool, size)

    async def end_worker(self) -> None:
        self.worker.close()
        await self.member.ended


@asynccontextmanager
async def _lending(path: Path) -> AsyncIterator[Loan]:
    async with open_client(path, StoreSettings(segment_bytes=SEGMENT_BYTES, threads=2)) as client:
        store = client.store
        assert store._own_bulk is not None
        shared: Any = None  # whoever lends needs none
        member = _Member(Owned(store.own_committer, store._own_bulk, shared))
        ours, theirs = socket.socketpair()
        await asyncio.get_running_loop().create_connection(lambda: member.link, sock=ours)
        worker = await _Owner.connect(theirs)
        pool = BulkPool(_LentBulk(worker, store.folder), SEGMENT_BYTES, DiskRoom(store.folder.path, 0), keep=False)
        loan = Loan(store, store._own_bulk, member, worker, pool)
        yield loan
        await loan.end_worker()


def _upload(pool: BulkPool, size: int) -> int:
    writer = pool.borrow()
    try:
        writer.append(*Block.of(RAW, bytes(size)))
        writer.finish()
    except StoreError:
        writer.abort()
    return writer._segment.number


def _bulk_numbers(store: Store) -> list[int]:
    return [segment.number for segment in store.segments.of_kind("bulk")]


def _failing(error: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise OSError(error, os.strerror(error))

    return fail


async def _assert_nobody_has(store: Store, number: int) -> None:
    """It may be dropped, and then takes no room on the disk any more."""
    await asyncio.to_thread(wait_until, lambda: store.retire_bulk(number), SECONDS_MAX)
    segment = weakref.ref(store.segments.get(number))
    store.segments.remove(number)
    assert segment() is None


@pytest.mark.parametrize(
    ("size", "failing"),
    [(SEGMENT_BYTES, None), (100, "pwritev"), (100, "fdatasync")],
    ids=["full", "a failed write", "a failed sync"],
)
def test_what_a_worker_never_writes_to_again_may_be_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, failing: str | None
) -> None:
    async def run() -> None:
        async with _lending(tmp_path) as loan:
            number = await loan.upload(100)
            with monkeypatch.context() as patch:
                if failing:
                    patch.setattr(os, failing, _failing(errno.ENOSPC))
                assert await loan.upload(size) == number
            assert await loan.upload(100) != number
            await _assert_nobody_has(loan.store, number)

    asyncio.run(run())


def test_what_a_worker_is_writing_to_may_not_be_dropped(tmp_path: Path) -> None:
    async def run() -> None:
        async with _lending(tmp_path) as loan:
            writer = await asyncio.to_thread(loan.pool.borrow)
            (number,) = _bulk_numbers(loan.store)
            assert not loan.store.retire_bulk(number)
            await asyncio.to_thread(writer.abort)
            await asyncio.to_thread(wait_until, lambda: loan.store.retire_bulk(number), SECONDS_MAX)

    asyncio.run(run())


def test_a_worker_without_file_descriptors_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with _lending(tmp_path) as loan:
            with monkeypatch.context() as patch:
                patch.setattr(Segment, "open", _failing(errno.EMFILE))
                for _ in range(3):
                    with pytest.raises(StoreFull, match=r"cannot open bulk-\d+.car: Too many open files"):
                        await loan.upload(100)
            assert [await loan.upload(100)] == _bulk_numbers(loan.store)

    asyncio.run(run())


def test_a_segment_that_a_worker_cannot_open_is_not_lent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with _lending(tmp_path) as loan:
            with monkeypatch.context() as patch:
                patch.setattr(Segment, "open", _failing(errno.EIO))
                with pytest.raises(StoreReadOnly, match=r"cannot open bulk-\d+.car: Input/output error"):
                    await loan.upload(100)
            (number,) = _bulk_numbers(loan.store)
            assert await loan.upload(100) != number
            await _assert_nobody_has(loan.store, number)

    asyncio.run(run())


def test_what_a_worker_leaves_half_written_is_not_lent_again_and_may_be_dropped(tmp_path: Path) -> None:
    async def run() -> None:
        async with _lending(tmp_path) as loan:
            writer = await asyncio.to_thread(loan.pool.borrow)
            writer.append(*Block.of(RAW, bytes(100)))
            (number,) = _bulk_numbers(loan.store)
            await loan.end_worker()
            lent = loan.bulk.lend()
            assert lent.number != number
            await _assert_nobody_has(loan.store, number)

    asyncio.run(run())


def test_what_a_worker_did_not_live_to_get_is_lent_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with _lending(tmp_path) as loan:
            asked, ended = threading.Event(), threading.Event()
            lend = loan.bulk.lend

            def slow() -> Segment:
                asked.set()
                assert ended.wait(SECONDS_MAX)
                return lend()

            with monkeypatch.context() as patch:
                patch.setattr(loan.bulk, "lend", slow)
                loan.worker.link.send(Lend(0))
                assert await asyncio.to_thread(asked.wait, SECONDS_MAX)
                await loan.end_worker()
            ended.set()
            await asyncio.to_thread(wait_until, lambda: loan.bulk._idle, SECONDS_MAX)
            assert [loan.bulk.lend().number] == _bulk_numbers(loan.store)

    asyncio.run(run())
