"""Bugs to plant, each of a kind that these tests exist to find: a test that cannot see its bug proves nothing.

The child of a crash test plants the one that ``SEEDED_BUG`` names; nothing else reads that variable.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from gateway.store import recovery, segment
from gateway.store.errors import StoreError, StoreReadOnly
from gateway.store.log import CommitLog
from gateway.store.preparing import Prepared
from gateway.store.registering import Registrar
from gateway.store.segment import Segment
from gateway.store.shared import SharedState
from registry.heads import Bucket


def head_moves_late() -> None:
    """Writes are answered before their head has moved: each batch's transaction runs when the next batch comes."""
    transact = Registrar._transact
    owed: dict[int, Any] = {}

    def late(self: Registrar, prepared: Prepared) -> None:
        if earlier := owed.pop(id(self), None):
            transact(self, earlier)
        if prepared.records or prepared.puts:
            transact(self, prepared)  # whose outcomes the registry has to say
        else:
            owed[id(self)] = prepared

    Registrar._transact = late  # type: ignore[method-assign]


def heads_are_shown_late() -> None:
    """Workers see a bucket's head when its next one is there."""
    publish = SharedState.publish
    newest: dict[str, Bucket] = {}

    def late(self: SharedState, changed: Sequence[Bucket], dropped: Sequence[str] = ()) -> None:
        publish(self, [newest.get(bucket.name, bucket) for bucket in changed], dropped)
        newest.update((bucket.name, bucket) for bucket in changed)

    SharedState.publish = late  # type: ignore[method-assign]


def no_sync() -> None:
    """Segments are written and never synced."""
    Segment.sync = lambda self: None  # type: ignore[method-assign]


def no_directory_sync() -> None:
    """A new segment's directory entry is never synced."""
    segment.sync_directory = lambda path: None  # type: ignore[attr-defined]


def head_before_sync() -> None:
    """A batch is synced only when the next one is appended, so its head moves first."""
    append = CommitLog.append
    sync = Segment.sync
    owed: dict[int, Segment] = {}

    def late(self: CommitLog, *args: Any) -> None:
        def put_off(segment: Segment) -> None:
            owed[id(self)] = segment

        if earlier := owed.pop(id(self), None):
            sync(earlier)
        Segment.sync = put_off  # type: ignore[method-assign]
        try:
            append(self, *args)
        finally:
            Segment.sync = sync  # type: ignore[method-assign]

    CommitLog.append = late  # type: ignore[method-assign]


def sync_is_retried() -> None:
    """A sync that failed is tried again, and believed."""
    sync = Segment.sync

    def stubborn(self: Segment) -> None:
        try:
            sync(self)
        except StoreReadOnly:
            self.poisoned = False
            sync(self)

    Segment.sync = stubborn  # type: ignore[method-assign]


def failed_write_is_ignored() -> None:
    """A write that failed counts as done."""
    append = Segment.append

    def careless(self: Segment, buffers: Any) -> None:
        try:
            append(self, buffers)
        except StoreError:
            self.poisoned = False
            self.size += sum(map(len, buffers))

    Segment.append = careless  # type: ignore[method-assign]


def refused_write_becomes_visible() -> None:
    """The head moves although the batch was not written; whoever asked is told that it failed."""
    append, transact = CommitLog.append, Registrar._transact
    held: list[StoreError] = []

    def quiet(self: CommitLog, *args: Any) -> None:
        try:
            append(self, *args)
        except StoreError as error:
            held.append(error)

    def loud(self: Registrar, prepared: Prepared) -> None:
        transact(self, prepared)
        if held:
            raise held.pop()

    CommitLog.append = quiet  # type: ignore[method-assign]
    Registrar._transact = loud  # type: ignore[method-assign]


def header_is_not_completed() -> None:
    """A segment that was created and got no header is appended to as it is."""
    recovery._complete_header = lambda segment: None


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        head_moves_late,
        heads_are_shown_late,
        no_sync,
        no_directory_sync,
        head_before_sync,
        sync_is_retried,
        failed_write_is_ignored,
        refused_write_becomes_visible,
        header_is_not_completed,
    )
}


def plant() -> None:
    """Plant the bug that the environment names, if it names one."""
    if name := os.environ.get("SEEDED_BUG"):
        BUGS[name]()
