"""One line per request, written in batches: aiohttp's own access log costs more than the rest of aiohttp."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TextIO

from aiohttp import web

from gateway.s3.httpdate import format_iso

FLUSH_SECONDS = 0.5
LINES_MAX = 512
"""Lines held back at most, in number and in seconds."""


class AccessLog:
    """Notes requests.

    Args:
        stream: where lines go: time, client, access key, operation, path, status, bytes received and sent,
            milliseconds, request id.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._lines: list[str] = []
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
        elapsed_ms = (time.perf_counter() - started) * 1000
        path = request.raw_path.partition("?")[0]  # a presigned query is a credential
        self._lines.append(
            f"{format_iso(now)[:-4]}{now % 1000:03d}Z {request.remote or '-'} {access_key} {operation} {path} "
            f"{response.status} {request.content_length or 0} {response.content_length or 0} "
            f"{elapsed_ms:.1f} {request_id}\n"
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
        if lines:
            # A terminal that went away or a full disk must not fail the requests that are being noted.
            with suppress(OSError):
                self._stream.write("".join(lines))
                self._stream.flush()
