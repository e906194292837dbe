"""Power cuts: every write of a run is recorded, and any moment of it is put back together as a disk might have it.

Until a file is synced a disk may keep none, some or all of what was written to it, and until a directory is synced it
may not know a new file.  For segments every call is recorded.  SQLite and LMDB sync for themselves, so of the registry
and the index the states after their commits are kept: what they promise is durable from there on.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from gateway.store.index import BlockIndex
from registry.database import Database

Loss: TypeAlias = Literal["all", "none", "torn", "zeros", "sectors"]
"""What becomes of writes that were not synced: lost, kept, the last one cut off somewhere, holes of zeros in their
place, or any of their sectors kept and the others zeros."""
LOSSES: tuple[Loss, ...] = ("all", "none", "torn", "zeros", "sectors")
SECTOR_BYTES = 512


class Event(NamedTuple):
    """Something that happened.

    Attributes:
        what: ``create``, ``write``, ``truncate``, ``unlink``, ``sync``, ``lost``, ``syncdir``, ``registry``,
            ``index`` or ``said``.
        file: the segment's name, or the snapshot's.
        offset: of a write; a truncation's new length; for a sync, how many events had happened when it began.
        data: what was written, or said.
    """

    what: str
    file: str = ""
    offset: int = 0
    data: Any = b""


class Recorder:
    """Keeps every event of a run in this process.

    Args:
        path: the data folder.
        snapshots: where copies of the registry and the index are put.
        failing_sync: the sync of a segment that fails, from 1; what it should have made durable is then lost for
            good, as Linux drops the pages of a failed sync and calls the next one a success.
    """

    def __init__(self, path: Path, snapshots: Path, failing_sync: int = 0) -> None:
        self.events: list[Event] = []
        self._path = path
        self._snapshots = snapshots
        self._failing_sync = failing_sync
        self._syncs = 0
        self._lock = threading.Lock()

    def say(self, line: list[Any]) -> None:
        """Note what the workload says in its place among the writes."""
        self._note(Event("said", data=line))

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Record what happens meanwhile."""
        kept = {
            name: getattr(os, name)
            for name in ("open", "pwritev", "pwrite", "ftruncate", "fdatasync", "fsync", "unlink")
        }
        index_write, database_write = BlockIndex._write, Database.write
        os.open = self._open(kept["open"])  # type: ignore[assignment]
        os.pwritev = self._after(kept["pwritev"], lambda a, n: ("write", a[2], b"".join(a[1])[:n]))  # type: ignore[assignment]
        os.pwrite = self._after(kept["pwrite"], lambda a, n: ("write", a[2], bytes(a[1])[:n]))  # type: ignore[assignment]
        os.ftruncate = self._after(kept["ftruncate"], lambda a, _: ("truncate", a[1], b""))  # type: ignore[assignment]
        os.fdatasync = self._sync(kept["fdatasync"])  # type: ignore[assignment]
        os.fsync = self._sync(kept["fsync"])  # type: ignore[assignment]
        os.unlink = self._unlink(kept["unlink"])  # type: ignore[assignment]
        BlockIndex._write = self._index(index_write)  # type: ignore[method-assign]
        Database.write = self._database(database_write)  # type: ignore[method-assign]
        self._snapshot("registry", self._path, "registry.db*")
        try:
            yield
        finally:
            BlockIndex._write, Database.write = index_write, database_write  # type: ignore[method-assign]
            for name, call in kept.items():
                setattr(os, name, call)

    def _note(self, event: Event) -> None:
        with self._lock:
            self.events.append(event)

    def _segment_of(self, fd: int) -> str | None:
        name = os.readlink(f"/proc/self/fd/{fd}")
        return Path(name).name if name.endswith(".car") else None

    def _open(self, call: Callable[..., int]) -> Callable[..., int]:
        def wrapped(path: Any, flags: int, *args: Any, **keywords: Any) -> int:
            fd = call(path, flags, *args, **keywords)
            if flags & os.O_CREAT and str(path).endswith(".car"):
                self._note(Event("create", Path(path).name))
            return fd

        return wrapped

    def _after(
        self, call: Callable[..., Any], describe: Callable[[Any, Any], tuple[str, int, bytes]]
    ) -> Callable[..., Any]:
        def wrapped(*args: Any) -> Any:
            result = call(*args)
            file = self._segment_of(args[0])
            if file is not None:
                what, offset, data = describe(args, result)
                self._note(Event(what, file, offset, data))
            return result

        return wrapped

    def _sync(self, call: Callable[[int], None]) -> Callable[[int], None]:
        def wrapped(fd: int) -> None:
            file = self._segment_of(fd)
            before = len(self.events)
            if file is not None:
                self._syncs += 1
                if self._syncs == self._failing_sync:
                    self._note(Event("lost", file, before))
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                self._note(Event("sync", file, before))
            else:
                self._note(Event("syncdir", "", before))

        return wrapped

    def _unlink(self, call: Callable[..., None]) -> Callable[..., None]:
        def wrapped(path: Any, *args: Any, **keywords: Any) -> None:
            call(path, *args, **keywords)
            if str(path).endswith(".car"):
                self._note(Event("unlink", Path(path).name))

        return wrapped

    def _index(self, call: Callable[..., None]) -> Callable[..., None]:
        def wrapped(index: BlockIndex, *args: Any) -> None:
            call(index, *args)
            self._snapshot("index", self._path / "index", "data.mdb")

        return wrapped

    def _database(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @contextmanager
        def wrapped(database: Database) -> Iterator[Any]:
            with call(database) as connection:
                yield connection
            self._snapshot("registry", self._path, "registry.db*")

        return wrapped

    def _snapshot(self, what: str, folder: Path, pattern: str) -> None:
        name = f"{what}-{len(self.events)}"
        copy = self._snapshots / name
        copy.mkdir()
        for file in folder.glob(pattern):
            if not file.name.endswith("-shm"):
                shutil.copyfile(file, copy / file.name)
        self._note(Event(what, name))


def moments(events: list[Event]) -> Iterator[int]:
    """Where the disk is about to change: as many events as had happened.  What was said before is then known."""
    yield from (number for number, event in enumerate(events) if number and event.what != "said")
    yield len(events)


def rebuild(
    events: list[Event], snapshots: Path, target: Path, loss: Loss, dice: random.Random, *, with_index: bool
) -> None:
    """Make ``target`` the data folder that a power cut after ``events`` may have left."""
    for directory in (target, target / "segments", target / "index"):
        directory.mkdir(mode=0o700)
    newest = {event.what: event.file for event in events if event.what in ("registry", "index")}
    for file in (snapshots / newest["registry"]).iterdir():
        shutil.copyfile(file, target / file.name)
    if with_index and "index" in newest:
        shutil.copyfile(snapshots / newest["index"] / "data.mdb", target / "index" / "data.mdb")
    created = {event.file: number for number, event in enumerate(events) if event.what == "create"}
    known = max((event.offset for event in events if event.what == "syncdir"), default=0)
    for file, number in created.items():
        gone = any(event.what == "unlink" and event.file == file for event in events[number:])
        if gone or (number >= known and loss == "all"):
            continue
        (target / "segments" / file).write_bytes(_content(events, number, file, loss, dice))


def _content(events: list[Event], created: int, file: str, loss: Loss, dice: random.Random) -> bytes:
    durable, lost = 0, set()
    for event in events[created:]:
        if event.file == file and event.what == "lost":
            lost |= set(range(durable, event.offset))
        elif event.file == file and event.what == "sync":
            durable = max(durable, event.offset)
    content = bytearray()
    changes = [
        (number, event)
        for number, event in enumerate(events)
        if number >= created and event.file == file and event.what in ("write", "truncate")
    ]
    unsynced = [number for number, _ in changes if number >= durable or number in lost]
    for number, event in changes:
        safe = number not in unsynced or loss == "none"
        if event.what == "truncate":
            if safe or dice.random() < 0.5:
                del content[event.offset :]
            continue
        data = event.data if safe else _damaged(event.data, loss, dice, last=number == unsynced[-1])
        if data:
            content.extend(bytes(max(0, event.offset - len(content))))
            content[event.offset : event.offset + len(data)] = data
    return bytes(content)


def _damaged(data: bytes, loss: Loss, dice: random.Random, *, last: bool) -> bytes:
    if loss == "all":
        return b""
    if loss == "torn":
        return data[: dice.randint(0, len(data))] if last else data
    if loss == "zeros":
        return bytes(len(data))
    kept = bytearray(len(data))
    for at in range(0, len(data), SECTOR_BYTES):
        if dice.random() < 0.5:
            kept[at : at + SECTOR_BYTES] = data[at : at + SECTOR_BYTES]
    return bytes(kept)
