"""A minimal HTTP/1.1 response reader, without sockets, so that any split of bytes can be tested.

Only what S3 servers send is understood: a status line, Content-Length or chunked framing, or a body
that ends with the connection. Anything else is a WireError, counted as a failed request.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum

MAX_HEAD_BYTES = 64 * 1024
MAX_CHUNK_LINE_BYTES = 1024
_HEAD_END = b"\r\n\r\n"
_NO_BODY_STATUSES = (204, 304)
_FRAMING_HEADERS = re.compile(rb"\r\n(content-length|transfer-encoding|connection):[ \t]*([^\r\n]*)", re.IGNORECASE)
_CONTENT_LENGTH = len(b"content-length")
_TRANSFER_ENCODING = len(b"transfer-encoding")

BodySink = Callable[[memoryview], None]


class WireError(Exception):
    """The peer's bytes are not a response that this reader understands."""


class _State(Enum):
    HEAD = 0
    LENGTH = 1
    TO_CLOSE = 2
    CHUNK_SIZE = 3
    CHUNK_DATA = 4
    CHUNK_END = 5
    TRAILER = 6
    DONE = 7


class ResponseReader:
    """Reads one response after another from bytes fed in any pieces."""

    __slots__ = (
        "_head_only",
        "_left",
        "_line",
        "_sink",
        "_state",
        "body_bytes",
        "keep_alive",
        "status",
    )

    def __init__(self) -> None:
        self.status = 0
        self.body_bytes = 0
        self.keep_alive = True
        self._state = _State.DONE
        self._line = bytearray()
        self._left = 0
        self._head_only = False
        self._sink: BodySink | None = None

    def begin(self, sink: BodySink | None, *, head_only: bool = False) -> None:
        """Expect a response; `sink` is given each piece of its body, which it must not keep."""
        self._sink = sink
        self._head_only = head_only
        self._state = _State.HEAD
        self._line.clear()
        self.status = 0
        self.body_bytes = 0
        self.keep_alive = True

    def feed(self, data: memoryview) -> bool:
        """Consume bytes; True when the response is complete. WireError for anything odd."""
        while len(data):
            state = self._state
            if state is _State.LENGTH:
                data = self._take_body(data)
                if not self._left:
                    self._state = _State.DONE
            elif state is _State.HEAD:
                data = self._take_head(data)
            elif state is _State.CHUNK_DATA:
                data = self._take_body(data)
                if not self._left:
                    self._state = _State.CHUNK_END
            elif state is _State.TO_CLOSE:
                self._left = len(data)
                data = self._take_body(data)
            elif state is _State.DONE:
                raise WireError(f"{len(data)} bytes after the end of the response")
            else:
                data = self._take_chunk_line(data)
        return self._state is _State.DONE

    def feed_eof(self) -> bool:
        """The connection ended; True when that completes the response."""
        return self._state is _State.TO_CLOSE

    def _take_body(self, data: memoryview) -> memoryview:
        piece = data[: self._left]
        self._left -= len(piece)
        self.body_bytes += len(piece)
        if self._sink is not None:
            self._sink(piece)
        return data[len(piece) :]

    def _take_head(self, data: memoryview) -> memoryview:
        """The head, most often whole in one piece: then nothing is copied twice."""
        before = len(self._line)
        if before:
            self._line += data
            text = bytes(self._line)
        else:
            text = bytes(data)
        end = text.find(_HEAD_END)
        if end < 0:
            if len(text) > MAX_HEAD_BYTES:
                raise WireError("response head is too long")
            self._line[:] = text
            return data[len(data) :]
        self._line.clear()
        self._parse_head(text[:end])
        return data[end + len(_HEAD_END) - before :]

    def _parse_head(self, head: bytes) -> None:
        status = head[9:12]
        if not head.startswith(b"HTTP/1.") or not status.isdigit():
            raise WireError(f"not an HTTP/1.x status line: {head[:40]!r}")
        self.status = int(status)
        self.keep_alive = not head.startswith(b"HTTP/1.0")
        length, chunked = -1, False
        for name, value in _FRAMING_HEADERS.findall(head):
            if len(name) == _CONTENT_LENGTH:
                if not value.isdigit():
                    raise WireError(f"bad Content-Length: {value!r}")
                length = int(value)
            elif len(name) == _TRANSFER_ENCODING:
                chunked = value.lower() == b"chunked"
            else:
                self.keep_alive = value.lower() == b"keep-alive"
        if self._head_only or self.status in _NO_BODY_STATUSES or (length == 0 and not chunked):
            self._state = _State.DONE
        elif chunked:
            self._state = _State.CHUNK_SIZE
        elif length < 0:
            self._state = _State.TO_CLOSE
            self.keep_alive = False
        else:
            self._left = length
            self._state = _State.LENGTH

    def _take_chunk_line(self, data: memoryview) -> memoryview:
        """One line of the chunk framing: a size, the end of a chunk, or a trailer field."""
        line = self._line
        before = len(line)
        line += data[:MAX_CHUNK_LINE_BYTES]
        end = line.find(b"\n", before)
        if end < 0:
            if len(line) > MAX_CHUNK_LINE_BYTES:
                raise WireError("chunk line is too long")
            return data[len(line) - before :]
        text = bytes(line[:end]).rstrip(b"\r")
        line.clear()
        if self._state is _State.CHUNK_SIZE:
            self._start_chunk(text)
        elif self._state is _State.CHUNK_END:
            if text:
                raise WireError("chunk is longer than its size line says")
            self._state = _State.CHUNK_SIZE
        elif not text:
            self._state = _State.DONE
        return data[end + 1 - before :]

    def _start_chunk(self, text: bytes) -> None:
        try:
            size = int(text.split(b";", 1)[0], 16)
        except ValueError as error:
            raise WireError(f"bad chunk size: {text[:20]!r}") from error
        if size < 0:
            raise WireError("negative chunk size")
        self._left = size
        self._state = _State.CHUNK_DATA if size else _State.TRAILER
