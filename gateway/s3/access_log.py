"""One line per request, written in batches: aiohttp's own access log costs more than the rest of aiohttp.

Several processes may write into one pipe: each write is of whole lines, and short enough for the kernel to keep it
in one piece.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from select import PIPE_BUF
from typing import BinaryIO, Literal, NamedTuple
from urllib.parse import quote

from aiohttp import web

from gateway.s3.httpdate import format_iso

FLUSH_SECONDS = 0.5
LINES_MAX = 512
"""Lines held back at most, in number and in seconds."""
PATH_CHARACTERS_MAX = 3200
"""What is noted of a path: the longest key with every byte percent-encoded, and its bucket."""

_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"\\')
"""What stands in a path as it was sent; all else is percent-encoded, so that a character is a byte in either form."""
_IS_PLAIN = re.compile(f"[{re.escape(_PLAIN)}]*").fullmatch


class Line(NamedTuple):
    """What is noted of a request; the names are those of the JSON form, the order is that of the text form."""

    time: str
    client: str
    access_key: str
    operation: str
    path: str
    status: int
    received_bytes: int
    sent_bytes: int
    ms: float
    request_id: str


class AccessLog:
    """Notes requests.

    Args:
        stream: where lines go.
        form: "text" for the fields of `Line` with spaces between, "json" for one object a line.
    """

    def __init__(self, stream: BinaryIO, form: Literal["text", "json"] = "text"):
        self._stream = stream
        self._encode = _json if form == "json" else _text
        self._lines: list[Line] = []
        self._timer: asyncio.TimerHandle | None = None

    def note(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        *,
        operation: str,
        access_key: str,
        request_id: str,
        started: float,
    ) -> None:
        """Note one request, ``started`` at that reading of ``time.perf_counter``."""
        now = time.time_ns() // 1_000_000
        self._lines.append(
            Line(
                time=f"{format_iso(now)[:-4]}{now % 1000:03d}Z",
                client=request.remote or "-",
                access_key=access_key,
                operation=operation,
                path=_shown(request.raw_path.partition("?")[0]),  # a presigned query is a credential
                status=response.status,
                received_bytes=request.content_length or 0,
                sent_bytes=response.content_length or 0,
                ms=round((time.perf_counter() - started) * 1000, 1),
                request_id=request_id,
            )
        )
        if len(self._lines) >= LINES_MAX:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what was noted."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        # A terminal that went away or a full disk must not fail the requests that are being noted.
        with suppress(OSError):
            for write in _joined([self._encode(line) for line in lines]):
                self._stream.write(write)
                self._stream.flush()


def _shown(path: str) -> str:
    if _IS_PLAIN(path) and len(path) <= PATH_CHARACTERS_MAX:  # as good as always
        return path
    return quote(path, safe=_PLAIN, errors="surrogateescape")[:PATH_CHARACTERS_MAX]


def _text(line: Line) -> bytes:
    return f"{' '.join(map(str, line))}\n".encode()


def _json(line: Line) -> bytes:
    return f"{json.dumps(line._asdict())}\n".encode()


def _joined(lines: Sequence[bytes]) -> Iterator[bytes]:
    """As few writes as may be, each of whole lines and at most ``PIPE_BUF`` bytes."""
    write = bytearray()
    for line in lines:
        if len(write) + len(line) > PIPE_BUF:
            yield bytes(write)
            write.clear()
        write += line
    if write:
        yield bytes(write)
