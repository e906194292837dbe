"""A server that does nothing but send one file: what a copy takes when the server does next to nothing.

`python -m bench.copies.bare PORT FILE PART_BYTES checksums|plain` answers any HEAD and GET with the file, or with a
range of it; with checksums, each range that is a part carries its CRC64NVME, as ours do.
"""

from __future__ import annotations

import base64
import os
import re
import socketserver
import sys
from email.message import Message
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

from awscrt.checksums import crc64nvme

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class _Sender(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    headers: Message
    file: ClassVar[int]
    size: ClassVar[int]
    checksums: ClassVar[dict[tuple[int, int], str]]

    def do_HEAD(self) -> None:
        self._answer(200, 0, self.size, {})

    def do_GET(self) -> None:
        wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        stop = int(wanted[2]) + 1 if wanted and wanted[2] else self.size
        checksum = self.checksums.get((start, stop))
        extra = {} if checksum is None else {"x-amz-checksum-crc64nvme": checksum}
        extra["Content-Range"] = f"bytes {start}-{stop - 1}/{self.size}"
        self._answer(206, start, stop, extra)
        self.wfile.flush()
        while start < stop:
            start += os.sendfile(self.connection.fileno(), self.file, start, stop - start)

    def _answer(self, status: int, start: int, stop: int, extra: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("ETag", '"00000000000000000000000000000000-1"')
        self.send_header("Last-Modified", "Sun, 22 Nov 2026 00:00:00 GMT")
        self.send_header("Content-Type", "binary/octet-stream")
        self.send_header("Content-Length", str(stop - start))
        for name, value in extra.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: it would be measured too."""


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64


def main() -> None:
    """Serve until killed."""
    port, path, part_bytes, kind = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    with path.open("rb") as file:
        _Sender.file, _Sender.size = file.fileno(), path.stat().st_size
        _Sender.checksums = {}
        for start in range(0, _Sender.size, part_bytes) if kind == "checksums" else ():
            part = os.pread(file.fileno(), part_bytes, start)
            value = base64.b64encode(crc64nvme(part).to_bytes(8, "big")).decode()
            _Sender.checksums[start, start + len(part)] = value
        with _Server(("127.0.0.1", port), _Sender) as server:
            server.serve_forever()


if __name__ == "__main__":
    main()
