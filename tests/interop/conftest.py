"""The real server as a child process, reached as strangers reach it: by the aws CLI, by boto3, by bytes on a socket.

Nothing here imports the project: what a test learns, it learns over the wire and from `ms3t env`.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock
from xml.etree import ElementTree

import boto3
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.certificates import Authority

BIN = Path(sys.executable).parent
SETTINGS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")
START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 40.0
REPLY_SECONDS_MAX = 20.0


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "big: moves gigabytes or thousands of files; runs only when asked for with -m big"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the big tests out unless the marker expression names them."""
    if "big" in config.option.markexpr:
        return
    big = [item for item in items if item.get_closest_marker("big")]
    if big:
        config.hook.pytest_deselected(items=big)
        items[:] = [item for item in items if not item.get_closest_marker("big")]


@dataclass(frozen=True)
class Reply:
    """An answer as it stood on the wire; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def element(self, name: str) -> str | None:
        """The text of the first XML element of that name."""
        for found in ElementTree.fromstring(self.body).iter():
            if found.tag.rpartition("}")[2] == name:
                return found.text or ""
        return None

    @property
    def code(self) -> str | None:
        return self.element("Code") if self.body else None


def wire_form(
    method: str, target: str, headers: Mapping[str, str], body: bytes = b"", *, length: int | None = -1
) -> bytes:
    """A request as bytes; ``length`` None leaves Content-Length out, -1 counts the body."""
    headers = dict(headers)
    if length == -1 and (body or method in ("PUT", "POST")) and "Transfer-Encoding" not in headers:
        length = len(body)
    if length not in (None, -1):
        headers["Content-Length"] = str(length)
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def read_reply(connection: socket.socket, method: str = "GET") -> Reply | None:
    """The next answer on a connection, interim ones skipped; None if the other side closed it."""
    with contextlib.closing(http.client.HTTPResponse(connection, method=method)) as response:
        try:
            response.begin()
            body = response.read()
        except (http.client.RemoteDisconnected, ConnectionResetError):
            return None
        return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


class _Signer(S3SigV4Auth):
    """Botocore's signer, which can be told what to declare about the body."""

    declared: str | None = None

    def payload(self, request: AWSRequest) -> str:
        return self.declared or super().payload(request)


class ChunkSigner:
    """The chain of signatures over the chunks of a body, begun by the signature of the request."""

    def __init__(self, signed: Mapping[str, str], secret: str):
        terms = dict(part.strip().split("=", 1) for part in signed["Authorization"].partition(" ")[2].split(","))
        self._scope = terms["Credential"].partition("/")[2]
        self._at = signed["X-Amz-Date"]
        self._last = terms["Signature"]
        self._key = f"AWS4{secret}".encode()
        for step in self._scope.split("/"):
            self._key = hmac.digest(self._key, step.encode(), "sha256")

    def _sign(self, kind: str, subject: str) -> str:
        text = f"{kind}\n{self._at}\n{self._scope}\n{self._last}\n{subject}"
        self._last = hmac.new(self._key, text.encode(), "sha256").hexdigest()
        return self._last

    def extension(self, chunk: bytes) -> str:
        """What follows the length of a chunk."""
        digests = f"{hashlib.sha256(b'').hexdigest()}\n{hashlib.sha256(chunk).hexdigest()}"
        return f";chunk-signature={self._sign('AWS4-HMAC-SHA256-PAYLOAD', digests)}"

    def trailer(self, name: str, value: str) -> str:
        """The line that follows the trailing headers."""
        digest = hashlib.sha256(f"{name}:{value}\n".encode()).hexdigest()
        return f"x-amz-trailer-signature:{self._sign('AWS4-HMAC-SHA256-TRAILER', digest)}"


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment in which nothing of the person running the tests shows."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MS3T_"))}
    return {
        **kept,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_PAGER": "",
        "LC_ALL": "C.UTF-8",
        "PYTHONUTF8": "1",
        **(extra or {}),
    }


def children(pid: int) -> list[int]:
    """The processes that ``pid`` has started and that have not ended."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if int(parent) == pid and state != "Z":
                    found.append(int(entry.name))
    return found


def open_files(pid: int) -> set[str]:
    """What a process's file descriptors refer to, as the kernel puts it."""
    found = set()
    with contextlib.suppress(FileNotFoundError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.add(str(entry.readlink()))
    return found


def _kibibytes(path: str, name: str) -> int:
    """One line of a file about a process; 0 if that has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(path).read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
    return 0


@dataclass
class Server:
    """One server process over one data folder.

    Attributes:
        ca_file: the authority that vouches for it, None for plain HTTP.
    """

    data_dir: Path
    log_path: Path
    arguments: list[str]
    process: subprocess.Popen[bytes]
    environment: dict[str, str] = field(default_factory=dict)
    clients: list[Any] = field(default_factory=list)
    ca_file: Path | None = None

    child_environment = staticmethod(child_environment)
    wire_form = staticmethod(wire_form)
    read_reply = staticmethod(read_reply)

    @property
    def endpoint(self) -> str:
        return self.environment["AWS_ENDPOINT_URL"]

    @property
    def host(self) -> str:
        return self.endpoint.partition("://")[2]

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    # Life

    def stop(self) -> int:
        """End it as an init system does; the exit status."""
        self.close_clients()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS_MAX)

    def kill(self) -> None:
        """End it as a power cut does, as far as a process can tell."""
        self.process.kill()
        self.process.wait()
        self.close_clients()

    def kill_a_worker(self) -> None:
        """End one of the processes that answer requests, if there are any."""
        if workers := self.workers():
            os.kill(random.choice(workers), signal.SIGKILL)

    def restart(self) -> None:
        """Start it again over the same folder."""
        self.process = _spawn(self.arguments, self.log_path)
        self.environment = _await_start(self)

    def close_clients(self) -> None:
        while self.clients:
            self.clients.pop().close()

    # Its processes

    def workers(self) -> list[int]:
        """The processes that answer requests, oldest first; none if the server is one process."""
        return sorted(worker for nursery in children(self.process.pid) for worker in children(nursery))

    def processes(self) -> list[int]:
        """All of them."""
        return [self.process.pid, *children(self.process.pid), *self.workers()]

    def worker_of(self, connection: socket.socket) -> int:
        """Which worker has accepted ``connection``."""
        ours, theirs = connection.getsockname()[1], connection.getpeername()[1]
        deadline = time.monotonic() + REPLY_SECONDS_MAX
        while time.monotonic() < deadline:
            for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
                local, remote, inode = (row.split()[column] for column in (1, 2, 9))
                if int(local.partition(":")[2], 16) == theirs and int(remote.partition(":")[2], 16) == ours:
                    for worker in self.workers():
                        if f"socket:[{inode}]" in open_files(worker):
                            return worker
            time.sleep(0.01)
        raise AssertionError("no worker has the connection")

    def connections_to_all_workers(self, each: int = 1) -> dict[int, list[socket.socket]]:
        """New connections, ``each`` to every worker; the kernel chooses, so some are opened in vain."""
        found: dict[int, list[socket.socket]] = {worker: [] for worker in self.workers()}
        assert found
        while any(len(connections) < each for connections in found.values()):
            connection = self.connect()
            connections = found[self.worker_of(connection)]
            if len(connections) < each:
                connections.append(connection)
            else:
                connection.close()
        return found

    def peak_memory_bytes(self) -> int:
        """The most memory that any of its processes ever had resident."""
        return max(_kibibytes(f"/proc/{pid}/status", "VmHWM") for pid in self.processes()) * 1024

    def memory_bytes(self) -> int:
        """The memory all its processes have now, what several share counted once (the sum of their Pss)."""
        return sum(_kibibytes(f"/proc/{pid}/smaps_rollup", "Pss") for pid in self.processes()) * 1024

    # The SDK and the command line

    def boto3(self, endpoint: str | None = None, **config: Any) -> Any:
        """A client that does not retry, so that every error is seen."""
        config = {
            "retries": {"max_attempts": 1},
            "s3": {"addressing_style": "path"},
            "max_pool_connections": 64,
        } | config
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=endpoint or self.endpoint,
            region_name=self.environment["AWS_DEFAULT_REGION"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            verify=None if self.ca_file is None else str(self.ca_file),
            config=Config(**config),
        )
        self.clients.append(client)
        return client

    def aws_process(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """The aws CLI, started."""
        return subprocess.Popen([str(BIN / "aws"), *arguments], env=child_environment(self.environment), **options)

    def aws(self, *arguments: str, stdin: bytes | None = None, status: int = 0) -> bytes:
        """What the aws CLI printed; it has to exit with ``status``."""
        process = self.aws_process(*arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        output, errors = process.communicate(stdin, timeout=600)
        assert process.returncode == status, (arguments, process.returncode, output[-2000:], errors[-2000:])
        return output if status == 0 else output + errors

    # Bytes

    def signed(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        payload: str | None = None,
        skew_seconds: float = 0,
        access_key: str | None = None,
        secret: str | None = None,
        region: str | None = None,
        host: str | None = None,
    ) -> dict[str, str]:
        """The headers of a request as botocore signs it; ``payload`` replaces the digest of the body."""
        host = host or self.host
        request = AWSRequest(method, f"http://{host}{target}", headers=dict(headers or {}), data=body)
        signer = _Signer(self.credentials(access_key, secret), "s3", region or self.environment["AWS_DEFAULT_REGION"])
        signer.declared = payload
        at = datetime.fromtimestamp(time.time() + skew_seconds, UTC)
        with mock.patch("botocore.auth.get_current_datetime", lambda: at):
            signer.add_auth(request)
        return {"Host": host} | dict(request.headers.items())

    def presigned(
        self, method: str, target: str, seconds: int = 60, *, skew_seconds: float = 0, host: str | None = None
    ) -> str:
        """The request target with botocore's signature in its query."""
        host = host or self.host
        request = AWSRequest(method, f"http://{host}{target}")
        signer = S3SigV4QueryAuth(self.credentials(), "s3", self.environment["AWS_DEFAULT_REGION"], expires=seconds)
        at = datetime.fromtimestamp(time.time() + skew_seconds, UTC)
        with mock.patch("botocore.auth.get_current_datetime", lambda: at):
            signer.add_auth(request)
        return request.url.removeprefix(f"http://{host}")

    def chunked(
        self,
        target: str,
        data: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        chunk_bytes: int = 64 * 1024,
        sign_chunks: bool = False,
        trailer: tuple[str, str] | None = None,
        decoded_length: str | None = None,
        http_chunks: bool = False,
    ) -> tuple[dict[str, str], bytes]:
        """A PUT framed as aws-chunked: its signed headers and its body.

        Args:
            target: the request target.
            data: the content.
            headers: more headers.
            chunk_bytes: length of one aws-chunk.
            sign_chunks: whether each chunk carries a signature, as restic and Hadoop send it.
            trailer: name and value of a trailing header, as boto3 sends it over TLS.
            decoded_length: what to declare instead of the content's length.
            http_chunks: whether HTTP's own chunked encoding is around it, as boto3 has it over TLS.
        """
        mode = "AWS4-HMAC-SHA256-PAYLOAD" if sign_chunks else "UNSIGNED-PAYLOAD"
        announced = {"x-amz-trailer": trailer[0]} if trailer else {}
        signed = self.signed(
            "PUT",
            target,
            {
                "Content-Encoding": "aws-chunked",
                "x-amz-decoded-content-length": str(len(data)) if decoded_length is None else decoded_length,
                **announced,
                **(headers or {}),
            },
            payload=f"STREAMING-{mode}{'-TRAILER' if trailer or not sign_chunks else ''}",
        )
        chain = ChunkSigner(signed, self.environment["AWS_SECRET_ACCESS_KEY"]) if sign_chunks else None
        body = bytearray()
        for chunk in [*(data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)), b""]:
            body += f"{len(chunk):x}{chain.extension(chunk) if chain else ''}\r\n".encode() + chunk
            body += b"\r\n" if chunk else b""
        if trailer:
            body += f"{trailer[0]}:{trailer[1]}\r\n".encode()
            body += f"{chain.trailer(*trailer)}\r\n".encode() if chain else b""
        body += b"\r\n"
        if http_chunks:
            signed["Transfer-Encoding"] = "chunked"
            pieces = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
            body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])
        return signed, bytes(body)

    def credentials(self, access_key: str | None = None, secret: str | None = None) -> Credentials:
        return Credentials(
            access_key or self.environment["AWS_ACCESS_KEY_ID"], secret or self.environment["AWS_SECRET_ACCESS_KEY"]
        )

    def connect(self) -> socket.socket:
        """A new connection."""
        address, _, port = self.host.rpartition(":")
        connection = socket.create_connection((address, int(port)), timeout=REPLY_SECONDS_MAX)
        if self.ca_file is None:
            return connection
        return ssl.create_default_context(cafile=str(self.ca_file)).wrap_socket(connection, server_hostname=address)

    def exchange(self, wire: bytes, method: str = "GET") -> Reply | None:
        """Send bytes on a connection of their own and read one answer; None if it was closed without one."""
        with self.connect() as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(wire)
            return read_reply(connection, method)

    def send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        length: int | None = -1,
    ) -> Reply:
        """Send a request with exactly these headers; Content-Length is the body's unless ``length`` says otherwise."""
        reply = self.exchange(wire_form(method, target, headers, body, length=length), method)
        assert reply is not None, "the connection was closed without an answer"
        return reply

    def request_on(
        self, connection: socket.socket, method: str, target: str, body: bytes = b"", **headers: str
    ) -> Reply:
        """Sign a request, send it on a connection that stays open, and read the answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.sendall(wire_form(method, target, self.signed(method, target, named, body), body))
        reply = read_reply(connection, method)
        assert reply is not None, "the connection was closed without an answer"
        return reply

    def request(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"", **signing: Any
    ) -> Reply:
        """Sign a request and send it."""
        return self.send(method, target, self.signed(method, target, headers, body, **signing), body)


def _spawn(arguments: list[str], log_path: Path) -> subprocess.Popen[bytes]:
    with log_path.open("ab") as log:
        return subprocess.Popen(
            [str(BIN / "ms3t"), "serve", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=child_environment(),
        )


def _await_start(server: Server) -> dict[str, str]:
    """Wait until the server has said where it is, and read its settings as a user does."""
    deadline = time.monotonic() + START_SECONDS_MAX
    note = server.data_dir / "server.json"
    while True:
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            if json.loads(note.read_text())["pid"] == server.process.pid:
                break
        assert server.process.poll() is None, f"the server ended at once:\n{server.log}"
        assert time.monotonic() < deadline, f"the server did not start:\n{server.log}"
        time.sleep(0.02)
    shell = ["sh", "-c", 'settings=$("$0" env --data-dir "$1") && eval "$settings" && env -0']
    config_path = server.log_path.with_name("config.yaml")
    printed = subprocess.run(
        [*shell, str(BIN / "ms3t"), str(server.data_dir)],
        env=child_environment({"MS3T_CONFIG": str(config_path)} if config_path.exists() else None),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    variables = dict(item.split("=", 1) for item in printed.split("\0") if item)
    trust = {} if server.ca_file is None else {"AWS_CA_BUNDLE": str(server.ca_file)}
    return {name: variables[name] for name in SETTINGS} | trust


def start_server(
    folder: Path,
    *,
    config: Mapping[str, Any] | None = None,
    data_dir: Path | None = None,
    ca_file: Path | None = None,
) -> Server:
    """Start a server.

    Args:
        folder: where its log and configuration go.
        config: the configuration file's content; JSON is YAML.
        data_dir: the data folder; one below ``folder`` by default.
        ca_file: the authority that vouches for it, where the configuration has it speak TLS.
    """
    data_dir = data_dir or folder / "data"
    arguments = ["--data-dir", str(data_dir), "--listen", "127.0.0.1:0"]
    if config is not None:
        config_path = folder / "config.yaml"
        config_path.touch(mode=0o600)
        config_path.write_text(json.dumps(config))
        arguments += ["--config", str(config_path)]
    log_path = folder / "server.log"
    server = Server(data_dir, log_path, arguments, _spawn(arguments, log_path), ca_file=ca_file)
    try:
        server.environment = _await_start(server)
    except BaseException:
        server.kill()
        raise
    return server


def end_server(server: Server) -> None:
    """Stop a server that has nothing to be ashamed of: a clean exit, no traceback and no credential in its log."""
    assert server.process.poll() is None, f"the server died:\n{server.log[-4000:]}"
    assert server.stop() == 0, server.log[-4000:]
    assert "Traceback" not in server.log, server.log[-8000:]
    assert server.environment["AWS_SECRET_ACCESS_KEY"] not in server.log
    assert "X-Amz-Signature" not in server.log


StartServer = Callable[..., Server]


@contextlib.contextmanager
def _starter(parent: Path) -> Iterator[StartServer]:
    started: list[Server] = []

    def begin(**options: Any) -> Server:
        folder = parent / f"server-{len(started)}"
        folder.mkdir()
        started.append(start_server(folder, **options))
        return started[-1]

    yield begin
    for server in started:
        if server.process.poll() is None:
            server.stop()
        server.close_clients()
        assert "Traceback" not in server.log, server.log[-8000:]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers of a test's own: `start(config=..., data_dir=...)`. They are ended with the test."""
    with _starter(tmp_path) as begin:
        yield begin


@pytest.fixture(scope="module")
def start_for_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """`start` for servers that are ended with the module."""
    with _starter(tmp_path_factory.mktemp("servers")) as begin:
        yield begin


@contextlib.contextmanager
def _running(folder: Path, **options: Any) -> Iterator[Server]:
    running = start_server(folder, **options)
    try:
        yield running
        end_server(running)
    finally:
        if running.process.poll() is None:
            running.kill()
        running.close_clients()


@pytest.fixture(scope="session")
def http_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all tests that need none of their own, of this process: starting one is what costs most."""
    with _running(tmp_path_factory.mktemp("http")) as running:
        yield running


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that vouches for `https_server`."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def https_server(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Server]:
    """As `http_server`, spoken to over TLS."""
    issued = authority.issue()
    config = {"tls": {"cert": str(issued.cert), "key": str(issued.key)}}
    with _running(tmp_path_factory.mktemp("https"), config=config, ca_file=authority.ca_file) as running:
        assert running.endpoint.startswith("https://127.0.0.1:")
        yield running


@pytest.fixture(scope="session")
def server(http_server: Server) -> Server:
    """The server that tests talk to."""
    return http_server


@pytest.fixture(scope="session")
def s3(server: Server) -> Any:
    """A boto3 client of that server."""
    return server.boto3()


@contextlib.contextmanager
def _refused(code: str, status: int) -> Iterator[None]:
    with pytest.raises(ClientError) as caught:
        yield
    error = caught.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)


@pytest.fixture(scope="session")
def refused() -> Callable[[str, int], contextlib.AbstractContextManager[None]]:
    """`with refused(code, status):` expects boto3 to be refused; an answer to HEAD has only its status as code."""
    return _refused


_bucket_numbers = iter(range(10**9))


@pytest.fixture
def bucket(s3: Any) -> str:
    """A new, empty bucket."""
    name = f"bucket-{next(_bucket_numbers)}"
    s3.create_bucket(Bucket=name)
    return name
