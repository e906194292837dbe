"""Where workers come from: a process that was forked while this one had a single thread, and forks them on demand.

A process with threads cannot be forked safely, and one started anew would load every module again, a second and
80 MB each time; forked workers share most of that memory.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Self, TypeAlias

FDS_MAX = 64
"""Most file descriptors that a worker is given."""

Life: TypeAlias = Callable[[Sequence[int]], None]
"""What a worker does, with the file descriptors it is given."""


class Nursery:
    """The process that forks workers.  It ends with this one, however this one ends."""

    def __init__(self, end: socket.socket, pid: int):
        """Use `start` instead."""
        self._socket = end
        self._pid = pid

    @classmethod
    def start(cls, life: Life) -> Self:
        """Fork the nursery.

        Args:
            life: called in each worker; whatever it refers to is as it is now.
        """
        assert threading.active_count() == 1
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        gc.freeze()  # a collection would write to, and so copy, every page that holds an object
        pid = os.fork()
        if pid == 0:
            ours.close()
            _in_child(lambda: _tend(theirs, life))
        theirs.close()
        return cls(ours, pid)

    def fork(self, fds: Sequence[int]) -> None:
        """Start a worker with its own copies of ``fds``, at most ``FDS_MAX``; they are closed if it cannot be started.

        Raises:
            OSError: the nursery is gone.
        """
        socket.send_fds(self._socket, [b"w"], fds)

    def close(self) -> None:
        """End the nursery; workers live on."""
        self._socket.close()
        os.waitpid(self._pid, 0)


def _tend(end: socket.socket, life: Life) -> None:
    # Whoever stops the server from a terminal sends these to every process of it; only the owner decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended workers need nobody to wait for them
    while True:
        wish, fds, _, _ = socket.recv_fds(end, 1, FDS_MAX)
        if not wish:
            return
        try:
            if os.fork() == 0:
                end.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _in_child(partial(life, fds))
        except OSError:  # no memory, or too many processes, for now; closing its files says that there is no worker
            traceback.print_exc()
        for fd in fds:
            os.close(fd)


def _in_child(run: Callable[[], None]) -> None:
    """Run, and end the process without going back to what the parent was doing."""
    status = 1
    try:
        run()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
