"""The closed loop against a small server in this process, honest and dishonest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from bench.batch import LIST_PAGE_KEYS
from bench.load import percentile, run_load
from bench.spec import LoadResult, LoadSpec


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.status = 200
        self.spoil = False
        self.drop_connections = False
        self.page_keys = LIST_PAGE_KEYS


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def _answer(self, body: bytes) -> None:
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        if self.server.drop_connections:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def do_PUT(self) -> None:
        self.server.objects[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b"")

    def do_GET(self) -> None:
        if "list-type" in self.path:
            self._answer(b"<Key>k</Key>" * self.server.page_keys)
            return
        body = self.server.objects.get(self.path, b"<Error><Code>NoSuchKey</Code></Error>")
        self._answer(b"?" + body[1:] if self.server.spoil else body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as running:
        thread = Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def _spec(server: _Server, operation: str, **changes: object) -> LoadSpec:
    spec = LoadSpec(
        port=server.server_address[1],
        access_key="AKID",
        secret_key="secret",
        region="us-east-1",
        bucket="bucket",
        operation=operation,
        size_bytes=1000,
        concurrency=2,
        duration_s=0.15,
        warmup_s=0.05,
        prefix="key-",
        first_index=0,
        keys=20,
        max_bytes=1 << 30,
        signed_payload=True,
        server_pid=0,
    )
    return replace(spec, **changes)  # type: ignore[arg-type]


def _fill(server: _Server, size_bytes: int = 1000) -> LoadResult:
    """All 20 keys, however slow the machine is at this moment."""
    return run_load(_spec(server, "fill", size_bytes=size_bytes, duration_s=30.0))


def test_fill_then_get_and_head(server: _Server) -> None:
    filled = _fill(server, 600_000)
    assert (filled.operations, filled.errors, filled.next_index) == (20, 0, 20)
    assert sorted(server.objects) == [f"/bucket/key-000000/{i:09d}" for i in range(20)]
    assert len(set(server.objects.values())) == 20
    assert {len(body) for body in server.objects.values()} == {600_000}
    got = run_load(_spec(server, "get", size_bytes=600_000))
    assert got.errors == 0
    assert got.body_bytes == got.operations * 600_000 > 0
    head = run_load(_spec(server, "head", size_bytes=600_000))
    assert (head.errors, head.body_bytes) == (0, 0)
    assert 0 < head.p50_ms <= head.p99_ms


def test_puts_never_write_a_key_twice_and_go_on_where_they_stopped(server: _Server) -> None:
    first = run_load(_spec(server, "put"))
    assert first.errors == 0
    assert first.body_bytes == first.operations * 1000
    written = len(server.objects)
    assert first.next_index >= written > first.operations > 0
    second = run_load(_spec(server, "put", first_index=first.next_index))
    assert len(server.objects) > written + second.operations
    numbers = [int(re.findall(r"\d+$", path)[0]) for path in server.objects]
    assert max(numbers) < second.next_index


def test_list_counts_the_keys_of_a_page(server: _Server) -> None:
    assert run_load(_spec(server, "list", keys=5000)).errors == 0
    server.page_keys -= 1
    wrong = run_load(_spec(server, "list", keys=5000))
    assert wrong.operations == 0
    assert wrong.first_error == "a page of 999 keys, not 1000"


def test_wrong_content_and_wrong_length_are_failures(server: _Server) -> None:
    _fill(server)
    server.spoil = True
    spoilt = run_load(_spec(server, "get"))
    assert (spoilt.operations, spoilt.first_error) == (0, "wrong content at byte 0")
    server.spoil = False
    short = run_load(_spec(server, "get", size_bytes=2000))
    assert (short.operations, short.errors > 0) == (0, True)


def test_an_error_status_is_a_failure_and_ends_the_run_early(server: _Server) -> None:
    server.status = 500
    result = run_load(_spec(server, "get", duration_s=30.0))
    assert result.operations == 0
    assert result.first_error == "HTTP 500 NoSuchKey"
    assert result.seconds < 10


def test_a_server_that_closes_after_each_answer_is_reconnected(server: _Server) -> None:
    server.drop_connections = True
    result = _fill(server)
    assert (result.operations, result.errors) == (20, 0)


def test_max_bytes_bounds_the_measured_phase(server: _Server) -> None:
    _fill(server)
    result = run_load(_spec(server, "get", max_bytes=7000, duration_s=30.0))
    assert result.operations == 7
    assert result.body_bytes == 7000


@pytest.mark.parametrize(
    ("values", "fraction", "expected"),
    [
        ([], 0.5, 0.0),
        ([3.0], 0.99, 3.0),
        ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0),
        ([float(i) for i in range(1, 101)], 0.99, 99.0),
        ([float(i) for i in range(1, 101)], 1.0, 100.0),
        ([float(i) for i in range(1, 101)], 0.0, 1.0),
    ],
)
def test_percentile_is_nearest_rank(values: list[float], fraction: float, expected: float) -> None:
    assert percentile(values, fraction) == expected
