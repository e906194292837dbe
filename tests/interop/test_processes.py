"""Several processes that look like one server: all see what one has written, and any of them may be killed."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_until, wait_until_refused

MIB = 1 << 20
WORKERS = 3
END_SECONDS_MAX = 10.0
RECOVER_SECONDS_MAX = 20.0

Start = Callable[..., Any]


@pytest.fixture(scope="module")
def several(start_for_module: Start) -> Iterator[Any]:
    """A server of several workers, for tests that leave it whole."""
    server = start_for_module(config={"workers": WORKERS})
    assert server.request("PUT", "/bkt").status == 200
    yield server
    assert server.stop() == 0


@pytest.fixture
def connections(several: Any) -> Iterator[list[socket.socket]]:
    """Two connections to each of its workers, neighbours to different ones."""
    found = several.connections_to_all_workers(2)
    assert len(found) == WORKERS
    mixed = list(itertools.chain(*zip(*found.values(), strict=True)))
    yield mixed
    for connection in mixed:
        connection.close()


def wait_for_end(pids: list[int]) -> None:
    """Return when all these processes, not children of this one, have ended."""
    deadline = time.monotonic() + END_SECONDS_MAX
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            ended = os.pidfd_open(pid)
            try:
                assert select.select([ended], [], [], max(0.0, deadline - time.monotonic()))[0], f"{pid} lives on"
            finally:
                os.close(ended)


def wait_for_workers(server: Any, without: set[int]) -> list[int]:
    """The workers, when there are as many as there should be and none of ``without``, and all accept connections."""

    def whole() -> list[int]:
        workers: list[int] = server.workers()
        return [] if len(workers) < WORKERS or without & set(workers) else workers

    workers = wait_until(whole, log=lambda: server.log)
    for connections in server.connections_to_all_workers().values():
        for connection in connections:
            connection.close()
    return workers


def check_all(server: Any, stored: Mapping[str, bytes]) -> None:
    """Everything acknowledged is there, whole, through every worker."""
    for connections in server.connections_to_all_workers().values():
        for connection in connections:
            for key, content in stored.items():
                assert server.request_on(connection, "GET", f"/bkt/{key}").body == content
            connection.close()


# Seen from outside, they are one


def test_request_ids_are_of_one_request(several: Any, connections: list[socket.socket]) -> None:
    ids = [
        several.request_on(connection, "HEAD", "/bkt").headers["x-amz-request-id"]
        for _ in range(20)
        for connection in connections
    ]
    assert len(set(ids)) == len(ids)


def test_what_one_wrote_all_read(several: Any, connections: list[socket.socket]) -> None:
    for number in range(12):
        writer, key = connections[number % len(connections)], f"/bkt/seen-{number % 3}"
        content = b"%d" % number * (1 if number % 4 else 100_000)  # in the log, and in a bulk segment
        assert several.request_on(writer, "PUT", key, content).status == 200
        for reader in connections:
            assert several.request_on(reader, "GET", key).body == content
            assert key.removeprefix("/bkt/").encode() in several.request_on(reader, "GET", "/bkt?list-type=2").body
        if number % 3 == 2:
            assert several.request_on(writer, "DELETE", key).status == 204
            for reader in connections:
                assert several.request_on(reader, "HEAD", key).status == 404


def test_buckets_come_and_go_for_all(several: Any, connections: list[socket.socket]) -> None:
    for number, writer in enumerate(connections):
        assert several.request_on(writer, "PUT", "/passing").status == 200
        for reader in connections:
            assert several.request_on(reader, "HEAD", "/passing").status == 200
            assert b"<Name>passing</Name>" in several.request_on(reader, "GET", "/").body
        other = connections[(number + 1) % len(connections)]
        assert several.request_on(other, "PUT", "/passing/k", b"x").status == 200
        assert several.request_on(writer, "DELETE", "/passing").code == "BucketNotEmpty"
        assert several.request_on(writer, "DELETE", "/passing/k").status == 204
        assert several.request_on(other, "DELETE", "/passing").status == 204
        for reader in connections:
            assert several.request_on(reader, "HEAD", "/passing").status == 404
            assert several.request_on(reader, "GET", "/passing?list-type=2").code == "NoSuchBucket"


def test_one_of_many_creates(several: Any, connections: list[socket.socket]) -> None:
    for number in range(8):
        key = f"/bkt/created-{number}"

        def create(index: int, key: str = key) -> Any:
            return several.request_on(connections[index], "PUT", key, b"%d" % index, If_None_Match="*")

        with ThreadPoolExecutor(len(connections)) as pool:
            replies = list(pool.map(create, range(len(connections))))
        assert sorted({reply.status for reply in replies} - {200}) in ([412], [409, 412], [409])
        (winner,) = [index for index, reply in enumerate(replies) if reply.status == 200]
        assert several.request_on(connections[0], "GET", key).body == b"%d" % winner


def test_conditional_counters_lose_nothing(several: Any, connections: list[socket.socket]) -> None:
    steps = 6
    assert several.request_on(connections[0], "PUT", "/bkt/counter", b"0").status == 200

    def count(connection: socket.socket) -> None:
        done = 0
        while done < steps:
            seen = several.request_on(connection, "GET", "/bkt/counter")
            reply = several.request_on(
                connection, "PUT", "/bkt/counter", b"%d" % (int(seen.body) + 1), If_Match=seen.headers["etag"]
            )
            assert reply.status in (200, 412, 409)
            done += reply.status == 200

    with ThreadPoolExecutor(len(connections)) as pool:
        list(pool.map(count, connections))
    assert several.request_on(connections[0], "GET", "/bkt/counter").body == b"%d" % (steps * len(connections))


def test_a_multipart_upload_through_all_of_them(several: Any, connections: list[socket.socket]) -> None:
    initiated = several.request_on(connections[0], "POST", "/bkt/parts?uploads=")
    upload = initiated.element("UploadId")
    parts = [os.urandom(5 * MIB), os.urandom(5 * MIB + 1), b"end"]
    etags = []
    for number, part in enumerate(parts, 1):
        target = f"/bkt/parts?partNumber={number}&uploadId={upload}"
        etags.append(several.request_on(connections[number], "PUT", target, part).headers["etag"])
    for connection in connections:
        listed = several.request_on(connection, "GET", f"/bkt/parts?uploadId={upload}").body
        assert listed.count(b"<PartNumber>") == len(parts)
    rows = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>" for n, etag in enumerate(etags, 1))
    complete = f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>".encode()
    done = several.request_on(connections[-1], "POST", f"/bkt/parts?uploadId={upload}", complete)
    assert done.status == 200, done.body
    for connection in connections:
        assert several.request_on(connection, "GET", "/bkt/parts").body == b"".join(parts)
        gone = several.request_on(connection, "GET", f"/bkt/parts?uploadId={upload}")
        assert gone.code == "NoSuchUpload"


def test_workers_may_open_as_many_files_as_the_system_allows(several: Any) -> None:
    for worker in several.workers():
        found = re.search(r"Max open files +(\d+) +(\d+)", Path(f"/proc/{worker}/limits").read_text())
        assert found
        assert found[1] == found[2]


# Killed


def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost(start: Start) -> None:
    server = start(config={"workers": WORKERS})
    assert server.request("PUT", "/bkt").status == 200
    stored = {}
    killed: set[int] = set()
    for number in range(2):
        by_worker = server.connections_to_all_workers(2)
        for worker, (first, second) in by_worker.items():
            for size in (100, 3 * MIB):
                key, content = f"{number}-{worker}-{size}", os.urandom(size)
                assert server.request_on(first, "PUT", f"/bkt/{key}", content).status == 200
                stored[key] = content
            # An upload that is half way in, in a segment that the worker was lent.
            body = os.urandom(4 * MIB)
            headers = server.signed("PUT", "/bkt/half", {}, body)
            second.sendall(server.wire_form("PUT", "/bkt/half", headers, length=len(body)) + body[: 3 * MIB])
        victim = sorted(by_worker)[number]
        os.kill(victim, signal.SIGKILL)
        killed.add(victim)
        for worker, (first, second) in by_worker.items():
            second.close()
            if worker != victim:
                assert server.request_on(first, "GET", "/bkt").status == 200
            first.close()
        wait_for_workers(server, killed)
        check_all(server, stored)
        assert server.request("HEAD", "/bkt/half").status == 404
    assert server.log.count("a worker ended unasked") == 2
    server.kill()
    server.restart()
    check_all(server, stored)
    assert "damaged" not in server.log
    assert server.stop() == 0


def test_an_owner_that_is_killed_takes_its_workers_along(start: Start) -> None:
    server = start(config={"workers": WORKERS})
    assert server.request("PUT", "/bkt").status == 200
    for number in range(2):
        content = os.urandom(200_000)
        connections = server.connections_to_all_workers()
        assert server.request("PUT", "/bkt/k", body=content).status == 200
        others = server.processes()[1:]
        assert len(others) == 1 + WORKERS
        server.kill()
        if number:
            wait_for_end(others)
        server.restart()  # in the other case, while they are still ending
        check_all(server, {"k": content})
        for (connection,) in connections.values():
            connection.close()
    assert server.stop() == 0
    assert "in use" not in server.log


def test_without_a_nursery_the_workers_that_are_left_serve(start: Start) -> None:
    server = start(config={"workers": WORKERS})
    _, nursery, *workers = server.processes()
    os.kill(nursery, signal.SIGKILL)
    os.kill(workers[0], signal.SIGKILL)
    wait_until(lambda: "NO WORKER CAN BE STARTED" in server.log, log=lambda: server.log)
    for _ in range(20):
        assert server.request("GET", "/").status == 200
    assert server.stop() == 0
    wait_for_end(workers)


# Stopped


def begin_uploads(server: Any) -> dict[str, tuple[socket.socket, bytes]]:
    """An upload that is half way in at each worker: its connection and what it still lacks."""
    begun = {}
    for worker, (connection,) in server.connections_to_all_workers().items():
        body = os.urandom(MIB)
        headers = server.signed("PUT", f"/bkt/{worker}", {"Expect": "100-continue"}, body)
        connection.sendall(server.wire_form("PUT", f"/bkt/{worker}", headers, length=len(body)))
        assert b"100 Continue" in connection.recv(4096)
        connection.sendall(body[:300_000])
        begun[f"/bkt/{worker}"] = (connection, body)
    return begun


def interrupt(server: Any) -> None:
    """What a terminal does at Ctrl-C: a signal to every process of the group."""
    for pid in server.processes():
        os.kill(pid, signal.SIGINT)


def test_requests_in_progress_in_all_workers_are_finished(start: Start) -> None:
    server = start(config={"workers": WORKERS})
    assert server.request("PUT", "/bkt").status == 200
    stored = {}
    for by in ("SIGTERM", "Ctrl-C"):
        begun = begin_uploads(server)
        assert len(begun) == WORKERS
        others = server.processes()[1:]
        if by == "SIGTERM":
            server.process.send_signal(signal.SIGTERM)
        else:
            interrupt(server)
        wait_until_refused(server.host)
        for connection, body in begun.values():
            connection.sendall(body[300_000:])
            reply = server.read_reply(connection, "PUT")
            assert reply is not None
            assert (reply.status, reply.headers["connection"]) == (200, "close")
            connection.close()
        assert server.process.wait(RECOVER_SECONDS_MAX) == 0
        wait_for_end(others)
        assert not (server.data_dir / "shared").exists()
        stored |= {target.removeprefix("/bkt/"): body for target, (_, body) in begun.items()}
        assert server.log.count(" PutObject ") == len(stored)
        server.restart()
    assert "cut off" not in server.log
    assert "ended unasked" not in server.log
    check_all(server, stored)
    assert server.stop() == 0


def test_a_second_signal_waits_for_nobody(start: Start) -> None:
    server = start(config={"workers": WORKERS, "limits": {"shutdown_seconds": 600}})
    assert server.request("PUT", "/bkt").status == 200
    begun = begin_uploads(server)
    others = server.processes()[1:]
    server.process.send_signal(signal.SIGTERM)
    wait_until_refused(server.host)
    interrupt(server)
    assert server.process.wait(RECOVER_SECONDS_MAX) == 0
    wait_for_end(others)
    assert f"count={WORKERS}" in server.log, server.log
    for connection, _ in begun.values():
        connection.close()
    # The number of workers is nothing that the folder remembers.
    server.arguments = [*server.arguments, "--workers", "1"]
    server.restart()
    assert server.processes() == [server.process.pid]
    assert not (server.data_dir / "shared").exists()
    assert b"<KeyCount>0</KeyCount>" in server.request("GET", "/bkt?list-type=2").body
    assert server.stop() == 0


def test_lines_of_the_access_log_are_whole(several: Any, connections: list[socket.socket]) -> None:
    def ask(connection: socket.socket) -> None:
        for number in range(40):
            several.request_on(connection, "GET", f"/bkt/{'x' * 800}-{number}")

    with ThreadPoolExecutor(len(connections)) as pool:
        list(pool.map(ask, connections))
    whole = re.compile(r"^\S+Z 127\.0\.0\.1 \S+ GetObject /bkt/x{800}-\d+ 404 0 \d+ [\d.]+ [0-9A-F]{16}$", re.M)
    wait_until(lambda: len(whole.findall(several.log)) >= 40 * len(connections), log=lambda: several.log)
