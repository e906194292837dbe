"""Taking an address: one socket for each process at each address, and none that is somebody else's."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from gateway import sockets as sockets_module
from gateway.config import Listen
from gateway.sockets import CannotListen, open_sockets

Open = Callable[[Listen, int], list[list[socket.socket]]]


@pytest.fixture
def listen_at() -> Iterator[Open]:
    """`open_sockets`, whose sockets are closed with the test."""
    with ExitStack() as opened:

        def open_and_remember(listen: Listen, sets: int) -> list[list[socket.socket]]:
            made = open_sockets(listen, sets)
            for one in (one for each in made for one in each):
                opened.callback(one.close)
            return made

        yield open_and_remember


def _require(family: int, host: str) -> None:
    try:
        with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
            probe.bind((host, 0))
    except OSError as error:
        pytest.skip(f"{host} cannot be had here: {error}")


@pytest.mark.parametrize("sets", [1, 3])
@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_one_address(listen_at: Open, family: int, host: str, sets: int) -> None:
    _require(family, host)
    made = listen_at(Listen(host, 0), sets)
    assert [len(each) for each in made] == [1] * sets
    names = {each[0].getsockname()[:2] for each in made}
    ((address, port),) = names  # a free port was taken, the same for all
    assert (address, port > 0) == (host, True)
    for each in made:
        assert not each[0].getblocking()
    assert not each[0].get_inheritable()


@pytest.mark.parametrize("sets", [1, 2])
def test_a_name_that_stands_for_both(listen_at: Open, monkeypatch: pytest.MonkeyPatch, sets: int) -> None:
    _require(socket.AF_INET6, "::1")
    found = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),  # as some hosts files have it
    ]
    monkeypatch.setattr(sockets_module.socket, "getaddrinfo", lambda *_, **__: found)
    made = listen_at(Listen("localhost", 0), sets)
    assert [[one.family for one in each] for each in made] == [[socket.AF_INET6, socket.AF_INET]] * sets
    assert len({one.getsockname()[1] for each in made for one in each}) == 1


def test_the_kernel_spreads_connections(listen_at: Open) -> None:
    made = listen_at(Listen("127.0.0.1", 0), 2)
    address = made[0][0].getsockname()
    with ExitStack() as held:
        for _ in range(64):  # the chance that all go to one is 1 in 2 to the 63rd
            held.enter_context(socket.create_connection(address))
        for (listening,) in made:
            held.enter_context(listening.accept()[0])


@pytest.mark.parametrize("sets", [1, 2])
@pytest.mark.parametrize("shared", [False, True])
def test_an_address_in_use_is_refused(sets: int, shared: bool) -> None:
    """Also one whose owner would share it: its connections are not ours to take."""
    with closing(socket.socket()) as other:
        if shared:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        listen = Listen("127.0.0.1", other.getsockname()[1])
        with pytest.raises(CannotListen, match=f"cannot listen on {listen}: Address already in use; .*--listen"):
            open_sockets(listen, sets)


def test_of_several_addresses_all_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.2", "127.0.0.1")]
        with monkeypatch.context() as patch:
            patch.setattr(sockets_module.socket, "getaddrinfo", lambda *_, **__: found)
            with pytest.raises(CannotListen):
                open_sockets(Listen("some-name", port), 2)
        socket.create_server(("127.0.0.2", port)).close()  # given up again


def test_a_name_that_is_nowhere() -> None:
    with pytest.raises(CannotListen, match=r"cannot listen on no-such-host\.invalid:0: "):
        open_sockets(Listen("no-such-host.invalid", 0), 1)
