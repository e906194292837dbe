"""One page of a listing: seeking through the tree from group to group, never walking what a delimiter hides.

A page ends with the exact key to go on from, so that pages neither repeat nor skip anything, prefixes included.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

from gateway.store.walks import RowWalk


class Page(NamedTuple):
    """What a page holds.

    Attributes:
        rows: (key, encoded entry) in key order.
        prefixes: the common prefixes, in order.
        resume: the first key of the next page; None if this is the last.
        last: the last key or common prefix of this page, b"" for an empty one.
    """

    rows: list[tuple[bytes, bytes]]
    prefixes: list[bytes]
    resume: bytes | None
    last: bytes


def after_key(key: bytes) -> bytes:
    """The lowest possible key above ``key`` (no key has a NUL)."""
    return key + b"\0"


def after_prefix(prefix: bytes) -> bytes:
    """The lowest string above everything that starts with ``prefix`` (UTF-8 never has a byte FF)."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))


def group_of(key: bytes, prefix: bytes, delimiter: bytes) -> bytes | None:
    """The common prefix that ``key``, which starts with ``prefix``, is below or is; None if there is none."""
    cut = key.find(delimiter, len(prefix)) if delimiter and key.startswith(prefix) else -1
    return key[: cut + len(delimiter)] if cut >= 0 else None


def start_after(marker: bytes, prefix: bytes, delimiter: bytes) -> bytes:
    """Where a listing begins that is to come after ``marker``.

    A marker that is a common prefix, or a key below one, stands for the whole group, as in S3.
    """
    if not marker:
        return prefix
    if group := group_of(marker, prefix, delimiter):
        return after_prefix(group)
    return max(after_key(marker), prefix)


async def collect(walk: RowWalk, start: bytes, prefix: bytes, delimiter: bytes, limit: int, tail: int = 0) -> Page:
    """Collect a page.

    Args:
        walk: the bucket.
        start: the first key that may appear.
        prefix: what every key must start with.
        delimiter: keys that share everything up to its first occurrence behind ``prefix`` are one common prefix; empty
            for none.
        limit: most keys and common prefixes together.
        tail: how many bytes at the end of every key are no part of what is listed, so hold no delimiter.
    """
    rows: list[tuple[bytes, bytes]] = []
    prefixes: list[bytes] = []
    last = b""
    room = limit
    if room <= 0:
        return Page(rows, prefixes, None, last)
    end = after_prefix(prefix) if prefix else None
    await walk.seek(max(start, prefix), limit + 1, end)  # one more tells whether there is another page
    while (run := await walk.run()) is not None:
        keys, values = run
        stop = len(keys) if end is None or keys[-1] < end else bisect_left(keys, end)
        i = 0
        while i < stop:
            if room == 0:
                return Page(rows, prefixes, keys[i], last)
            cut = keys[i].find(delimiter, len(prefix), len(keys[i]) - tail) if delimiter else -1
            if cut < 0:
                # Without a delimiter everything that fits comes at once.
                upto = i + 1 if delimiter else min(stop, i + room)
                rows += zip(keys[i:upto], values[i:upto], strict=True)
                room -= upto - i
                last = keys[upto - 1]
                i = upto
                continue
            last = keys[i][: cut + len(delimiter)]
            prefixes.append(last)
            room -= 1
            behind = after_prefix(last)
            i = bisect_left(keys, behind, i)
            if i == len(keys):
                await walk.seek(behind)
        if stop < len(keys):
            break
    return Page(rows, prefixes, None, last)
