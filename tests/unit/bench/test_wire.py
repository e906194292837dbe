"""The response reader, fed in every possible split."""

from __future__ import annotations

import pytest

from bench.wire import MAX_HEAD_BYTES, ResponseReader, WireError

LENGTH = b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\nETag: x\r\n\r\nhello world"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nTrailer: y\r\n\r\n"
)


def _read(pieces: list[bytes], *, head_only: bool = False) -> tuple[ResponseReader, list[bool]]:
    """The reader, and after each piece whether the response was complete."""
    reader = ResponseReader()
    reader.begin(None, head_only=head_only)
    return reader, [reader.feed(memoryview(piece)) for piece in pieces]


@pytest.mark.parametrize("response", [LENGTH, CHUNKED], ids=["length", "chunked"])
def test_every_split_in_two_reads_the_same(response: bytes) -> None:
    for cut in range(len(response) + 1):
        reader, body = ResponseReader(), bytearray()
        reader.begin(body.extend)
        first = reader.feed(memoryview(response[:cut]))
        second = reader.feed(memoryview(response[cut:]))
        assert second
        assert first == (cut == len(response))
        assert (reader.status, bytes(body), reader.body_bytes) == (200, b"hello world", 11)


@pytest.mark.parametrize("response", [LENGTH, CHUNKED], ids=["length", "chunked"])
def test_byte_by_byte(response: bytes) -> None:
    _, done = _read([response[i : i + 1] for i in range(len(response))])
    assert done == [False] * (len(response) - 1) + [True]


def test_one_reader_reads_many_responses() -> None:
    reader = ResponseReader()
    for response in (LENGTH, CHUNKED, LENGTH):
        reader.begin(None)
        assert reader.feed(memoryview(response))
        assert reader.body_bytes == 11


def test_keep_alive() -> None:
    assert _read([LENGTH])[0].keep_alive
    assert not _read([CHUNKED])[0].keep_alive
    assert not _read([b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"])[0].keep_alive


@pytest.mark.parametrize(
    ("response", "head_only"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", False),
    ],
)
def test_answers_without_a_body_end_with_their_head(response: bytes, head_only: bool) -> None:
    reader, done = _read([response], head_only=head_only)
    assert done == [True]
    assert reader.body_bytes == 0


def test_a_body_may_end_with_the_connection() -> None:
    reader, done = _read([b"HTTP/1.0 200 OK\r\n\r\nsome", b" bytes"])
    assert done == [False, False]
    assert reader.feed_eof()
    assert reader.body_bytes == 10


def test_eof_in_mid_body_is_no_end() -> None:
    reader, _ = _read([LENGTH[:-3]])
    assert not reader.feed_eof()


@pytest.mark.parametrize(
    "response",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n",
        LENGTH + b"surplus",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * MAX_HEAD_BYTES,
    ],
)
def test_anything_else_is_refused(response: bytes) -> None:
    with pytest.raises(WireError):
        _read([response])
