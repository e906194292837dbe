"""The access log: a line per request, in either form, written so that several processes may share a pipe."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from io import BytesIO
from pathlib import Path
from select import PIPE_BUF
from typing import Literal

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gateway.s3.access_log import LINES_MAX, AccessLog
from mst.limits import KEY_BYTES_MAX


def _note(log: AccessLog, path: str = "/b/k?X-Amz-Signature=secret", count: int = 1) -> None:
    async def note() -> None:
        request = make_mocked_request("PUT", path, headers={"Content-Length": "12"})
        for number in range(count):
            log.note(
                request,
                web.Response(body=b"12345", status=200),
                operation="PutObject",
                access_key="AKIDEXAMPLE",
                request_id=f"{number:016X}",
                started=time.perf_counter(),
            )
        log.flush()

    asyncio.run(note())


def test_a_line_of_text() -> None:
    stream = BytesIO()
    _note(AccessLog(stream))
    when = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    line = rf"{when} \S+ AKIDEXAMPLE PutObject /b/k 200 12 5 \d+\.\d 0{{16}}\n"
    assert re.fullmatch(line, stream.getvalue().decode())


def test_an_object_of_json() -> None:
    stream = BytesIO()
    _note(AccessLog(stream, "json"))
    line = json.loads(stream.getvalue())
    assert line["path"] == "/b/k"
    assert line["operation"] == "PutObject"
    assert (line["status"], line["received_bytes"], line["sent_bytes"]) == (200, 12, 5)
    assert line["request_id"] == "0" * 16
    assert isinstance(line["ms"], float)


class _Writes(BytesIO):
    """Remembers what each write was."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[bytes] = []

    def write(self, data: object) -> int:
        self.made.append(bytes(data))  # type: ignore[call-overload]
        return len(self.made[-1])


LONGEST_KEY = "/" + "b" * 63 + "/" + "%00" * KEY_BYTES_MAX


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("path", ["/b/k", LONGEST_KEY, "/" + "\\" * 9000, '/"' + "ü" * 9000, "/\udcff\udc80" * 1500])
def test_every_write_is_of_whole_lines_and_fits_a_pipe(form: Literal["text", "json"], path: str) -> None:
    writes = _Writes()
    _note(AccessLog(writes, form), path, LINES_MAX + 3)
    assert all(len(write) <= PIPE_BUF and write.endswith(b"\n") for write in writes.made)
    lines = b"".join(writes.made).decode("ascii").splitlines()
    assert len(lines) == LINES_MAX + 3
    if path in ("/b/k", LONGEST_KEY):
        assert all(path in line for line in lines)
        assert len(writes.made) < len(lines) or path == LONGEST_KEY


def test_processes_that_share_a_pipe_do_not_mix_their_lines() -> None:
    reading, writing = os.pipe()
    children = []
    for mark in "abcd":
        child = os.fork()
        if child == 0:
            with open(writing, "wb") as stream:
                _note(AccessLog(stream), f"/{mark * 900}", 300)
            os._exit(0)
        children.append(child)
    os.close(writing)
    with open(reading, "rb") as stream:
        lines = stream.read().splitlines()
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    assert len(lines) == 4 * 300
    assert all(re.search(rb" /(a{900}|b{900}|c{900}|d{900}) 200 ", line) for line in lines)


def test_a_stream_that_fails_fails_no_request() -> None:
    stream = Path("/dev/full").open("wb")  # noqa: SIM115 - its closing is part of what fails
    _note(AccessLog(stream))
    with pytest.raises(OSError, match="No space"):
        stream.close()
