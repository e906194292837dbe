"""`ms3t serve` as a process: first start, ownership, reading beside it, stopping, being killed."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from click.testing import Result

from tests.certificates import Authority
from tests.waiting import wait_until, wait_until_refused

MS3T = Path(sys.executable).with_name("ms3t")


class Client:
    """Signs and sends single requests with the settings `ms3t env` gives."""

    def __init__(self, env: dict[str, str]) -> None:
        self._key = Credentials(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"])
        self._region = env["AWS_DEFAULT_REGION"]
        self.host = env["AWS_ENDPOINT_URL"].removeprefix("http://")

    def headers(self, method: str, path: str, body: bytes = b"") -> dict[str, str]:
        request = AWSRequest(method, f"http://{self.host}{path}", data=body)
        S3SigV4Auth(self._key, "s3", self._region).add_auth(request)
        return dict(request.headers.items())

    def send(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.host, timeout=20)
        connection.request(method, path, body, self.headers(method, path, body))
        answer = connection.getresponse()
        got = answer.status, answer.read()
        connection.close()
        return got


@pytest.fixture
def client_of(ms3t: Callable[..., Result]) -> Callable[[Path], Client]:
    def make(data: Path) -> Client:
        return Client(json.loads(ms3t("env", "--json", data=data).stdout))

    return make


def test_the_first_start_makes_everything_private_and_says_how_to_go_on(
    tmp_path: Path, serve: Callable[..., Any], ms3t: Callable[..., Result]
) -> None:
    data = tmp_path / "a folder" / "data"
    server = serve(data)
    written = server.wait_until_ready()
    assert written == {
        "pid": server.process.pid,
        "endpoint": written["endpoint"],
        "region": "us-east-1",
    }
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", written["endpoint"])
    for path in (data, *data.rglob("*")):
        if path.name != "lock.mdb" and path.suffix != ".new":
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    out = wait_until(lambda: "roots --data-dir" in server.output() and server.output(), log=server.output)
    assert written["endpoint"] in out
    assert "aws s3 mb" in out
    (pasted,) = re.findall(r"eval .*", out)
    script = f"{pasted}; echo $AWS_ENDPOINT_URL"
    done = subprocess.run(["sh", "-c", script], cwd="/", check=True, capture_output=True, text=True)
    assert done.stdout.strip() == written["endpoint"]
    assert server.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_with_0_and_a_complete_log(
    own: Any, serve: Callable[..., Any], client_of: Callable[[Path], Client], number: signal.Signals
) -> None:
    server = serve(own.path)
    server.wait_until_ready()
    assert client_of(own.path).send("GET", "/")[0] == 200
    assert server.stop(number) == 0
    assert "ListBuckets" in server.output()
    assert "stopped" in server.output()
    assert not own.folder.server.exists()
    assert "Traceback" not in server.output()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sighup_without_a_certificate_changes_nothing(
    own: Any, serve: Callable[..., Any], client_of: Callable[[Path], Client], workers: str
) -> None:
    server = serve(own.path, "--workers", workers)
    server.wait_until_ready()
    client = client_of(own.path)
    kept = http.client.HTTPConnection(client.host, timeout=20)
    kept.request("GET", "/", headers=client.headers("GET", "/"))
    assert kept.getresponse().read()
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "SIGHUP changes nothing" in server.output(), log=server.output)
    assert server.process.poll() is None
    kept.request("GET", "/", headers=client.headers("GET", "/"))
    assert kept.getresponse().status == 200
    kept.close()
    assert client.send("PUT", "/void/after", b"still here")[0] == 200
    assert server.stop() == 0


def test_a_second_server_is_told_who_has_the_folder(
    own: Any, serve: Callable[..., Any], ms3t: Callable[..., Result]
) -> None:
    first = serve(own.path)
    first.wait_until_ready()
    second = serve(own.path)
    assert second.process.wait(30) == 4
    (line,) = second.output().splitlines()
    assert line.startswith("Error: data folder")
    assert f"process {first.process.pid}" in line
    assert "--data-dir" in line
    assert first.stop() == 0
    third = serve(own.path)
    third.wait_until_ready()


def test_an_address_that_is_taken(tmp_path: Path, serve: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        server = serve(tmp_path / "data", "--listen", listen)
        assert server.process.wait(30) == 1
    assert f"Error: cannot listen on {listen}: Address already in use" in server.output()
    assert "Traceback" not in server.output()
    elsewhere = serve(tmp_path / "data", "--listen", "no-such-host.invalid:0")
    assert elsewhere.process.wait(60) == 1
    assert "Error: cannot listen on no-such-host.invalid:0" in elsewhere.output()


def test_verbs_beside_a_server_see_what_it_answered(
    tmp_path: Path,
    serve: Callable[..., Any],
    client_of: Callable[[Path], Client],
    ms3t: Callable[..., Result],
    ms3t_json: Callable[..., Any],
) -> None:
    data = tmp_path / "data"
    server = serve(data)
    server.wait_until_ready()
    client = client_of(data)
    assert client.send("PUT", "/photos")[0] == 200
    for number in range(5):
        content = b"%d" % number * 300_000  # bulk segments and the commit log
        assert client.send("PUT", f"/photos/{number}", content)[0] == 200
        assert client.send("PUT", f"/photos/small/{number}", b"small")[0] == 200
        (root,) = ms3t_json("roots", data=data)
        assert root["objects"] == 2 * number + 2
        assert ms3t("cat", f"photos/{number}", data=data).stdout_bytes == content
        keys = [row["key"] for row in ms3t_json("ls", "photos", "-r", data=data)]
        assert keys == [*map(str, range(number + 1)), *(f"small/{n}" for n in range(number + 1))]
        assert ms3t_json("tree", "photos", "--key", f"small/{number}", data=data)["found"]
        assert all(row["verified"] for row in ms3t_json("log", "photos", data=data))
    before = ms3t_json("roots", data=data)
    assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    assert (data / "server.json").exists()
    assert ms3t_json("roots", data=data) == before
    again = serve(data)
    again.wait_until_ready()
    assert ms3t_json("roots", data=data) == before
    assert client_of(data).send("GET", "/photos/small/4") == (200, b"small")
    assert again.stop() == 0


def test_a_request_in_progress_is_finished(
    own: Any, serve: Callable[..., Any], client_of: Callable[[Path], Client], ms3t: Callable[..., Result]
) -> None:
    server = serve(own.path)
    server.wait_until_ready()
    client = client_of(own.path)
    body = os.urandom(600_000)
    connection = http.client.HTTPConnection(client.host, timeout=20)
    connection.putrequest("PUT", "/void/late", skip_host=True, skip_accept_encoding=True)
    for name, value in {"Host": client.host, **client.headers("PUT", "/void/late", body)}.items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    connection.send(body[:100_000])
    time.sleep(0.3)
    server.process.send_signal(signal.SIGTERM)
    wait_until_refused(client.host)
    assert server.process.poll() is None
    connection.send(body[100_000:])
    with connection.getresponse() as answer:
        assert answer.status == 200
        assert answer.getheader("Connection") == "close"
    connection.close()
    assert server.stop() == 0
    assert ms3t("cat", "void/late", data=own.path).stdout_bytes == body


@pytest.mark.parametrize("twice", [False, True])
def test_a_request_that_does_not_end_is_cut_off(
    own: Any,
    serve: Callable[..., Any],
    client_of: Callable[[Path], Client],
    ms3t: Callable[..., Result],
    twice: bool,
) -> None:
    server = serve(own.path, env={"MS3T_LIMITS_SHUTDOWN_SECONDS": "60" if twice else "0.5"})
    server.wait_until_ready()
    client = client_of(own.path)
    connection = http.client.HTTPConnection(client.host, timeout=20)
    headers = client.headers("PUT", "/void/never", b"x" * 500_000)
    connection.putrequest("PUT", "/void/never", skip_host=True)
    for name, value in {"Host": client.host, "Content-Length": "500000", **headers}.items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(b"x" * 200_000)
    time.sleep(0.3)
    started = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    if twice:
        wait_until_refused(client.host)
        assert server.process.poll() is None
    assert server.stop() == 0
    assert time.monotonic() - started < 20
    connection.close()
    assert "requests were cut off" in server.output()
    assert ms3t("cat", "void/never", data=own.path).exit_code == 3


def test_connections_beyond_the_limit_are_told_to_slow_down(
    own: Any, serve: Callable[..., Any], client_of: Callable[[Path], Client]
) -> None:
    # Several workers share the limit, and the kernel chooses whom a connection goes to.
    server = serve(own.path, env={"MS3T_LIMITS_CONNECTIONS_MAX": "2", "MS3T_WORKERS": "1"})
    server.wait_until_ready()
    client = client_of(own.path)
    host, port = client.host.split(":")
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(socket.create_connection((host, int(port))))
        # One that comes with the first two may still be let in.
        refused = wait_until(lambda: _said_unasked(host, int(port)))
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"<Code>SlowDown</Code>" in refused
    wait_until(lambda: client.send("GET", "/")[0] == 200)


def _said_unasked(host: str, port: int) -> bytes:
    """What a server says to a new connection before it is asked anything; nothing if it waits."""
    said = b""
    with socket.create_connection((host, port), timeout=1) as connection, suppress(TimeoutError):
        while piece := connection.recv(65536):
            said += piece
    return said


def test_a_folder_that_lost_its_key_or_registry_is_refused(own: Any, serve: Callable[..., Any]) -> None:
    key = own.folder.key.read_bytes()
    own.folder.key.unlink()
    server = serve(own.path)
    assert server.process.wait(30) == 1
    assert "space.key is gone" in server.output()
    assert not own.folder.key.exists()
    own.folder.key.write_bytes(key)
    own.folder.key.chmod(0o600)
    own.folder.registry.unlink()
    server = serve(own.path)
    assert server.process.wait(30) == 1
    assert "registry.db is gone" in server.output()
    assert not own.folder.registry.exists()


def test_a_lost_index_is_made_anew(own: Any, serve: Callable[..., Any], ms3t: Callable[..., Result]) -> None:
    for file in own.folder.index.iterdir():
        file.unlink()
    server = serve(own.path)
    server.wait_until_ready()
    assert "looking through a segment" in server.output()
    assert "indexed a segment anew" in server.output()
    assert ms3t("cat", "photos/2026/a.jpg", data=own.path).stdout_bytes == b"first, changed"


def test_a_torn_end_is_cut_and_reported(own: Any, serve: Callable[..., Any], ms3t: Callable[..., Result]) -> None:
    (segment,) = own.folder.segments.glob("log-*")
    whole = segment.stat().st_size
    with segment.open("ab") as file:
        file.write(b"torn")
    assert ms3t("roots", data=own.path).exit_code == 0
    assert segment.stat().st_size == whole + 4
    server = serve(own.path)
    server.wait_until_ready()
    assert "cut the torn end off a segment" in server.output()
    assert segment.stat().st_size == whole


def test_json_logs_and_no_access_log(own: Any, serve: Callable[..., Any], client_of: Callable[[Path], Client]) -> None:
    server = serve(own.path, "--log-format", "json", "--no-log-access", "--s3-region", "eu-west-1")
    assert server.wait_until_ready()["region"] == "eu-west-1"
    assert client_of(own.path).send("GET", "/")[0] == 200
    assert server.stop() == 0
    logged = [json.loads(line) for line in server.output().splitlines() if line.startswith("{")]
    assert [message["event"] for message in logged if message["level"] == "info"][:1] == ["serving"]
    assert "ListBuckets" not in server.output()


def test_what_is_no_http_is_one_line_of_log(own: Any, serve: Callable[..., Any]) -> None:
    server = serve(own.path)
    host, port = server.wait_until_ready()["endpoint"].removeprefix("http://").split(":")
    for junk in (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(junk)
            while connection.recv(65536):
                pass
    assert server.stop() == 0
    assert "Traceback" not in server.output()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--listen", "9000"], "--listen"),
        (["--log-level", "loud"], "--log-level"),
        (["--config", "/nowhere.yaml"], "/nowhere.yaml"),
    ],
)
def test_bad_settings_are_named(tmp_path: Path, ms3t: Callable[..., Result], arguments: list[str], told: str) -> None:
    result = ms3t("serve", *arguments, data=tmp_path / "data")
    assert result.exit_code == 2
    assert told in result.stderr
    assert not (tmp_path / "data").exists()


def test_reading_while_it_writes(
    own: Any, serve: Callable[..., Any], client_of: Callable[[Path], Client], ms3t_json: Callable[..., Any]
) -> None:
    server = serve(own.path)
    server.wait_until_ready()
    client = client_of(own.path)
    begun, ended = threading.Event(), threading.Event()
    failures: list[object] = []

    def write() -> None:
        number = 0
        while not ended.is_set():
            size = 400_000 if number % 5 == 0 else 500
            answer = client.send("PUT", f"/void/{number:06d}", b"x" * size + b"%d" % number)
            if answer[0] != 200:
                failures.append(answer)
            number += 1
            begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert begun.wait(60)  # on a busy machine all the reading takes less time than the first write
    try:
        seen = 0
        for _ in range(6):
            keys = [row["key"] for row in ms3t_json("ls", "void", data=own.path)]
            assert keys == [f"{n:06d}" for n in range(len(keys))]
            assert len(keys) >= seen
            seen = len(keys)
            assert ms3t_json("tree", "void", data=own.path)["bucket"] == "void"
    finally:
        ended.set()
        writer.join()
    assert not failures
    assert seen > 0


def _shown(endpoint: str, ca_file: Path) -> bytes:
    """The certificate a new connection meets, in DER."""
    host, port = endpoint.removeprefix("https://").split(":")
    trusting = ssl.create_default_context(cafile=str(ca_file))
    with (
        socket.create_connection((host, int(port)), timeout=20) as plain,
        trusting.wrap_socket(plain, server_hostname=host) as connection,
    ):
        encoded = connection.getpeercert(binary_form=True)
    assert encoded is not None
    return encoded


def _der(pem: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem.read_text())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sighup_replaces_the_certificate_and_drops_no_connection(
    own: Any, serve: Callable[..., Any], tmp_path: Path, workers: str
) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue()
    env = {"MS3T_TLS_CERT": str(issued.cert), "MS3T_TLS_KEY": str(issued.key)}
    server = serve(own.path, "--workers", workers, env=env)
    endpoint = server.wait_until_ready()["endpoint"]
    old = _der(issued.cert)
    assert _shown(endpoint, authority.ca_file) == old
    trusting = ssl.create_default_context(cafile=str(authority.ca_file))
    kept = http.client.HTTPSConnection(endpoint.removeprefix("https://"), timeout=20, context=trusting)
    kept.request("GET", "/")
    assert kept.getresponse().read()
    authority.issue()
    new = _der(issued.cert)
    server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 20
    in_a_row = 0
    while in_a_row < 12:  # connections are spread over the workers, and each reads for itself
        assert time.monotonic() < deadline
        in_a_row = in_a_row + 1 if _shown(endpoint, authority.ca_file) == new else 0
    kept.request("GET", "/")
    assert b"AccessDenied" in kept.getresponse().read()
    kept.close()
    issued.key.write_text("gone")
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "the certificate was not replaced" in server.output(), log=server.output)
    assert f"tls.key: {issued.key} has no PEM private key" in server.output()
    assert _shown(endpoint, authority.ca_file) == new
    assert server.stop() == 0
    assert "Traceback" not in server.output()


def test_a_certificate_that_cannot_be_used_is_refused_before_anything_is_made(
    tmp_path: Path, ms3t: Callable[..., Result]
) -> None:
    env = {"MS3T_TLS_CERT": str(tmp_path / "cert.pem"), "MS3T_TLS_KEY": str(tmp_path / "key.pem")}
    result = ms3t("serve", "--workers", "1", data=tmp_path / "data", env=env)
    assert result.exit_code == 2
    told = f"Error: tls.cert: cannot read {tmp_path / 'cert.pem'}: No such file or directory"
    assert result.stderr.splitlines()[-1] == told
    assert not (tmp_path / "data").exists()


def test_an_expired_certificate_is_a_warning(own: Any, serve: Callable[..., Any], tmp_path: Path) -> None:
    issued = Authority(tmp_path).issue(days=(-9, -2))
    server = serve(own.path, env={"MS3T_TLS_CERT": str(issued.cert), "MS3T_TLS_KEY": str(issued.key)})
    assert server.wait_until_ready()["endpoint"].startswith("https://")
    assert "clients will refuse the certificate" in server.output()
    assert server.stop() == 0
