"""HTTP: advisories about aiohttp, each as a test with its id in the name, against the running server."""

from __future__ import annotations

import gzip
import re
from unittest import mock

import pytest

from gateway.s3 import server as s3_server
from gateway.s3.server import S3Server
from tests.servers import Server

pytestmark = pytest.mark.usefixtures("kept")


def statuses(server: Server, wire: bytes) -> list[int]:
    """The statuses of all answers to some bytes, until the server closes the connection.

    A last request asks it to.
    """
    last = server.wire_form("GET", "/", {"Host": server.host, "Connection": "close"})
    answers = b""
    with server.connect() as connection:
        try:
            connection.sendall(wire + last)
            while piece := connection.recv(1 << 16):
                answers += piece
        except (BrokenPipeError, ConnectionResetError):
            pass
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answers)]


def put_with(server: Server, framing: bytes, body: bytes) -> bytes:
    """A signed PUT of the kept object whose body is framed by those header lines."""
    headers = server.signed("PUT", "/target/kept", payload="UNSIGNED-PAYLOAD")
    head = server.wire_form("PUT", "/target/kept", headers, length=None)
    return head[:-2] + framing + b"\r\n" + body


def get_with(server: Server, lines: bytes) -> bytes:
    """A signed GET with more header lines."""
    return server.wire_form("GET", "/target/kept", server.signed("GET", "/target/kept"))[:-2] + lines + b"\r\n"


def hidden(server: Server) -> bytes:
    """A good request that does harm if it is found where it is hidden."""
    return server.wire_form("DELETE", "/target/kept", server.signed("DELETE", "/target/kept"))


def assert_refused(found: list[int]) -> None:
    assert found, "no answer"
    assert all(400 <= status < 500 for status in found), found


def test_cve_2023_37276_a_bare_cr_ends_no_header(server: Server) -> None:
    framing = b"Content-Length: 5\r\nX-Abc: \rxTransfer-Encoding: chunked\r\n"
    assert_refused(statuses(server, put_with(server, framing, b"0\r\n\r\n" + hidden(server))))


@pytest.mark.parametrize("length", [b"+5", b"-5", b"1_0", b"0x5", b"5 5", b"5,5", b"\xd9\xa5", b"", b"5\x0b"])
def test_cve_2023_47627_lengths_that_are_none(server: Server, length: bytes) -> None:
    assert_refused(statuses(server, put_with(server, b"Content-Length: " + length + b"\r\n", b"hello")))


@pytest.mark.parametrize("name", [b"X(Y", b"X Y", b"X\x0bY", b"", b'X"', b"X\xe9"])
def test_cve_2023_47627_names_that_are_none(server: Server, name: bytes) -> None:
    assert_refused(statuses(server, get_with(server, name + b": 1\r\n")))


@pytest.mark.parametrize("lines", [(b"Content-Length: 5", b"Transfer-Encoding: chunked")])
def test_cve_2023_47641_two_framings(server: Server, lines: tuple[bytes, bytes]) -> None:
    for one, other in (lines, lines[::-1]):
        framing = b"%b\r\n%b\r\n" % (one, other)
        assert_refused(statuses(server, put_with(server, framing, b"0\r\n\r\n" + hidden(server))))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\r\n", b"\n"), (b" HTTP/1.1", b"\tHTTP/1.1"), (b"HTTP/1.1", b"HTTP/1.\xd9\xa1"), (b"HTTP/1.1", b"HTTP/01.1"),
        (b"HTTP/1.1", b"HTTP/1.1 "), (b"\r\nHost: ", b"\r\nHost : "), (b"\r\nHost: ", b"\r\n\x0bHost: "), (b"GET ",
        b"GET\x0b"),
    ],
)  # fmt: skip
def test_cve_2024_23829_separators_that_are_none(server: Server, old: bytes, new: bytes) -> None:
    wire = get_with(server, b"")
    assert old in wire
    found = statuses(server, wire.replace(old, new))
    assert 200 not in found
    assert all(status < 500 for status in found)


@pytest.mark.parametrize("extension", [b"5;x\n", b"5;x\nhello\r\n0", b"5;\rx", b'5;x="\n"'])
def test_cve_2024_52304_chunk_extensions_hold_no_line(server: Server, extension: bytes) -> None:
    body = extension + b"\r\nhello\r\n0\r\n\r\n"
    assert_refused(statuses(server, put_with(server, b"Transfer-Encoding: chunked\r\n", body + hidden(server))))


def test_cve_2025_53643_a_request_in_the_trailers_is_none(server: Server) -> None:
    body = b"0\r\nX: " + hidden(server)
    assert_refused(statuses(server, put_with(server, b"Transfer-Encoding: chunked\r\n", body)))


@pytest.mark.parametrize("coding", ["chun\u212aed", "chunked\u2028", "\uff43hunked"])
def test_cve_2025_69224_letters_that_only_look_like_it(server: Server, coding: str) -> None:
    framing = f"Transfer-Encoding: {coding}\r\n".encode()
    assert_refused(statuses(server, put_with(server, framing, b"0\r\n\r\n" + hidden(server))))


def test_cve_2025_69223_a_compressed_body_is_stored_as_sent(server: Server) -> None:
    bomb = gzip.compress(bytes(64 * 1024**2), 9)
    stored = server.request("PUT", "/target/bomb", {"Content-Encoding": "gzip"}, bomb)
    assert stored.status == 200
    assert server.request("HEAD", "/target/bomb").headers["content-length"] == str(len(bomb))


def test_cve_2025_69228_a_form_is_not_gathered_in_memory(server: Server) -> None:
    """The verdict comes without the body, of which there is none to come."""
    headers = {"Host": server.host, "Content-Type": "multipart/form-data; boundary=b"}
    reply = server.send("POST", "/target", headers, length=10**12)
    assert (reply.status, reply.code) == (403, "AccessDenied")


def test_cve_2025_69230_odd_cookies_do_not_fill_the_log(server: Server) -> None:
    before = len(server.log)
    cookies = b"; ".join(b"\xff%d=\x80" % number for number in range(900))
    found = statuses(server, get_with(server, b"Cookie: " + cookies + b"\r\n"))
    assert found[0] in (200, 400)
    assert len(server.log) - before < 2000


def test_cve_2026_22815_trailers_have_an_end(server: Server) -> None:
    body = b"5\r\nhello\r\n0\r\n" + b"X-Trailer: x\r\n" * 200_000
    assert_refused(statuses(server, put_with(server, b"Transfer-Encoding: chunked\r\n", body + b"\r\n")))


@pytest.mark.parametrize("value", [b"a\0b", b"a\x01b", b"a\x0bb", b"a\x7fb", b"a\rb"])
def test_cve_2026_34520_control_characters_in_headers(server: Server, value: bytes) -> None:
    assert_refused(statuses(server, get_with(server, b"X-Any: " + value + b"\r\n")))


def test_cve_2026_34525_two_hosts(server: Server) -> None:
    assert_refused(statuses(server, get_with(server, b"Host: photos.s3.test\r\n")))


def test_cve_2026_54277_the_limit_of_a_line_holds_in_pieces(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nX-Long: ")
        with pytest.raises(OSError):  # the server has answered and closed long before
            for _ in range(20_000):
                connection.sendall(b"a" * 1000)


def test_cve_2026_111750_no_start_with_the_parser_in_python() -> None:
    with (
        mock.patch.object(s3_server, "HttpRequestParser", s3_server.HttpRequestParserPy),
        pytest.raises(RuntimeError, match="C parser"),
    ):
        S3Server(mock.sentinel.front, (), None, 8192)
