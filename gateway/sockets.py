"""Taking the configured address: one set of listening sockets for each process that answers requests."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from typing import Any

from gateway.config import Listen

BACKLOG = 1024
"""Connections that the kernel keeps waiting, for each socket."""


class CannotListen(Exception):
    """The configured address cannot be had; the message says why and what to do."""


def open_sockets(listen: Listen, sets: int) -> list[list[socket.socket]]:
    """Listen at an address, which may be several (a name may stand for one of IPv4 and one of IPv6).

    Args:
        listen: where.
        sets: how many sockets to have at each address; the kernel spreads connections over them.

    Returns:
        ``sets`` lists, each with one socket for every address.

    Raises:
        CannotListen: the address cannot be had.
    """
    with ExitStack() as opened:
        try:
            by_address = []
            port = listen.port
            found = socket.getaddrinfo(listen.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
                sockets = _listen_at(family, (address[0], port, *address[2:]), sets, opened)
                port = sockets[0].getsockname()[1]  # a free one was taken for the first: the others take the same
                by_address.append(sockets)
        except OSError as error:
            # A name that is not found has an errno below zero.
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise CannotListen(
                f"cannot listen on {listen}: {reason}; stop what listens there, or choose another with --listen"
            ) from error
        opened.pop_all()
    return [list(one_each) for one_each in zip(*by_address, strict=True)]


def _listen_at(family: int, address: tuple[Any, ...], sets: int, opened: ExitStack) -> list[socket.socket]:
    # With SO_REUSEPORT the kernel would let us share the port with another server: first see that it is free.
    first = _bind(family, address, share=False)
    if sets == 1:
        sockets = [first]
    else:
        address = first.getsockname()
        first.close()
        sockets = [_bind(family, address, share=True) for _ in range(sets)]
    for bound in sockets:
        opened.callback(bound.close)
        bound.listen(BACKLOG)
    return sockets


def _bind(family: int, address: tuple[Any, ...], *, share: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    except BaseException:
        bound.close()
        raise
    return bound
