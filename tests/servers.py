"""The real server as a child process: its life, its processes, and clients that reach it as strangers do.

What a test learns, it learns over the wire and from `ms3t env`.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from click.testing import CliRunner

from gateway.cli import main
from tests.proc import children, kibibytes, open_files
from tests.rawclient import RawClient
from tests.waiting import wait_for_server, wait_until

BIN = Path(sys.executable).parent
PROGRAM = (str(BIN / "ms3t"),)
SETTINGS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")
STOP_SECONDS_MAX = 40.0


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


@dataclass(kw_only=True)
class Server(RawClient):
    """One server over one data folder: its processes, and clients for it.

    Attributes:
        program: what is run with ``serve`` and the arguments.
    """

    program: Sequence[str]
    data_dir: Path
    log_path: Path
    arguments: list[str]
    process: subprocess.Popen[bytes]
    clients: list[Any] = field(default_factory=list)

    child_environment = staticmethod(child_environment)

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
        self.process = _spawn(self.program, self.arguments, self.log_path)
        self.environment = self.environment | {"AWS_ENDPOINT_URL": self.wait_for_start()["endpoint"]}

    def wait_for_start(self) -> dict[str, Any]:
        """Wait until it has said where it is; what it said."""
        return wait_for_server(self.data_dir, self.process, lambda: self.log)

    def settings(self) -> dict[str, str]:
        """What `ms3t env` says; asked in this process, because one of its own takes most of a second each time."""
        config_path = self.log_path.with_name("config.yaml")
        environment: dict[str, str | None] = {name: None for name in os.environ if name.startswith("MS3T_")}
        if config_path.exists():
            environment["MS3T_CONFIG"] = str(config_path)
        asked = CliRunner().invoke(main, ["env", "--data-dir", str(self.data_dir), "--json"], env=environment)
        assert asked.exit_code == 0, asked.output
        variables = json.loads(asked.stdout)
        trust = {} if self.ca_file is None else {"AWS_CA_BUNDLE": str(self.ca_file)}
        return {name: variables[name] for name in SETTINGS} | trust

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

        def found() -> int | None:
            for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
                local, remote, inode = (row.split()[column] for column in (1, 2, 9))
                if int(local.partition(":")[2], 16) == theirs and int(remote.partition(":")[2], 16) == ours:
                    for worker in self.workers():
                        if f"socket:[{inode}]" in open_files(worker):
                            return worker
            return None

        return wait_until(found)

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
        return max(kibibytes(f"/proc/{pid}/status", "VmHWM") for pid in self.processes()) * 1024

    def memory_bytes(self) -> int:
        """The memory all its processes have now, what several share counted once (the sum of their Pss)."""
        return sum(kibibytes(f"/proc/{pid}/smaps_rollup", "Pss") for pid in self.processes()) * 1024

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


def _spawn(program: Sequence[str], arguments: list[str], log_path: Path) -> subprocess.Popen[bytes]:
    with log_path.open("ab") as log:
        return subprocess.Popen(
            [*program, "serve", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=child_environment(),
        )


def start_server(
    folder: Path,
    *,
    config: Mapping[str, Any] | None = None,
    data_dir: Path | None = None,
    ca_file: Path | None = None,
    program: Sequence[str] = PROGRAM,
) -> Server:
    """Start a server.

    Args:
        folder: where its log and configuration go.
        config: the configuration file's content; JSON is YAML.
        data_dir: the data folder; one below ``folder`` by default.
        ca_file: the authority that vouches for it, where the configuration has it speak TLS.
        program: what is run with ``serve``, if it is not `ms3t` itself.
    """
    data_dir = data_dir or folder / "data"
    arguments = ["--data-dir", str(data_dir), "--listen", "127.0.0.1:0"]
    if config is not None:
        config_path = folder / "config.yaml"
        config_path.touch(mode=0o600)
        config_path.write_text(json.dumps(config))
        arguments += ["--config", str(config_path)]
    log_path = folder / "server.log"
    server = Server(
        program=program,
        data_dir=data_dir,
        log_path=log_path,
        arguments=arguments,
        process=_spawn(program, arguments, log_path),
        ca_file=ca_file,
    )
    try:
        server.wait_for_start()
        server.environment = server.settings()
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


@contextlib.contextmanager
def running(folder: Path, **options: Any) -> Iterator[Server]:
    """A server for as long as the context lasts, see `start_server`; it has to end well."""
    with kept_running(start_server(folder, **options)) as server:
        yield server


@contextlib.contextmanager
def kept_running(server: Server) -> Iterator[Server]:
    """A server that was started, for as long as the context lasts; it has to end well."""
    try:
        yield server
        end_server(server)
    finally:
        if server.process.poll() is None:
            server.kill()
        server.close_clients()
