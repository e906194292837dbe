"""What can go wrong between the store and its disk, put in place of the functions of `os` that the store calls.

Only segments are reached this way; SQLite and LMDB write for themselves.
"""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

Fault: TypeAlias = Literal["kill", "torn", "eio", "enospc", "full"]
"""``kill``: the process ends before the call.  ``torn``: a write gets part of the way, then the process ends.
``eio``, ``enospc``: the call fails, once.  ``full``: every call from there on fails for want of room, until lifted.
A write that fails gets part of the way, too."""

KILLED = 9
_CALLS = ("pwritev", "pwrite", "fdatasync", "fsync", "ftruncate", "unlink", "open")
_NEED_ROOM = ("pwritev", "pwrite", "open", "fsync")


class Faults:
    """Counts the calls that reach the disk and spoils one, or all from one on.

    Args:
        fault: what happens.
        at: to which call, from 1; never, if there are fewer.
        seed: decides where a torn write ends.
    """

    def __init__(self, fault: Fault, at: int, seed: int = 0) -> None:
        self.calls = 0
        self._lock = threading.Lock()
        self._fault = fault
        self._at = at
        self._dice = random.Random(seed)
        self._lifted = False

    def install(self) -> None:
        """Stand between the store and `os`, for the rest of this process."""
        for name in _CALLS:
            setattr(os, name, self._wrap(name, getattr(os, name)))

    def lift(self) -> None:
        """From now on everything works."""
        self._lifted = True

    def _wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **keywords: Any) -> Any:
            if self._lifted or not _concerns_segments(name, args):
                return call(*args, **keywords)
            with self._lock:
                self.calls += 1
                number = self.calls
            if number == self._at or (self._fault == "full" and number > self._at):
                self._spoil(name, args)
            return call(*args, **keywords)

        return wrapped

    def _spoil(self, name: str, args: tuple[Any, ...]) -> None:
        if self._fault != "kill" and name in ("pwritev", "pwrite"):
            data = b"".join(args[1]) if name == "pwritev" else bytes(args[1])
            _PWRITE(args[0], data[: self._dice.randint(0, len(data))], args[2])
        if self._fault in ("kill", "torn"):
            os._exit(KILLED)
        if self._fault == "eio":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if name in _NEED_ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _concerns_segments(name: str, args: tuple[Any, ...]) -> bool:
    if name == "open" and not args[1] & os.O_CREAT:
        return False
    path = str(args[0]) if name in ("open", "unlink") else os.readlink(f"/proc/self/fd/{args[0]}")
    return path.endswith(".car") or (name == "fsync" and path.endswith("/segments"))


_PWRITE = os.pwrite
