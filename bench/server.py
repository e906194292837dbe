"""Starts a server program, waits until it answers, and stops its whole process group again."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.signing import EMPTY_SHA256, Credentials, Signer

READY_TIMEOUT_SECONDS = 40.0
STOP_TIMEOUT_SECONDS = 5.0
REQUEST_TIMEOUT_SECONDS = 20.0
_POLL_SECONDS = 0.1
_LOG_TAIL_BYTES = 600
_FOREIGN_SETTINGS = ("AWS_", "RCLONE_", "WEED_", "S3_", "MS3T_", "HTTP_PROXY", "HTTPS_PROXY")


class StartError(Exception):
    """A server could not be started; the text says why, for the report."""


def clean_environment(home: Path, **extra: str) -> dict[str, str]:
    """Our environment without settings that would reach into a server or client under test."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(_FOREIGN_SETTINGS)}
    return {**kept, "HOME": str(home), "XDG_CONFIG_HOME": str(home), **extra}


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on at this moment, all different."""
    with ExitStack() as stack:
        ports = []
        for _ in range(count):
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            ports.append(listener.getsockname()[1])
        return ports


class ServerProcess:
    """One started program, in a process group of its own, with its output in a log file."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
        """Start it in `folder`; StartError when the program cannot be run at all."""
        self._log = folder / "server.log"
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env=dict(environment) if environment is not None else clean_environment(folder),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise StartError(f"cannot run {command[0]}: {error.strerror}") from error

    @property
    def pid(self) -> int:
        return self._process.pid

    def check_alive(self) -> None:
        """StartError with the end of the log when the program has ended."""
        if self._process.poll() is not None:
            raise StartError(f"ended with status {self._process.returncode}: {self.log_tail()}")

    def log_tail(self) -> str:
        text = self._log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
        return " ".join(text.split())

    def stop(self) -> None:
        """Ask the process group to end, then make it; returns when the program is gone."""
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._signal(signal.SIGKILL)  # also what outlived its parent
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return


def wait_for_port(server: ServerProcess, port: int) -> None:
    """Return once something accepts connections on the port; StartError after the timeout."""
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        server.check_alive()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(_POLL_SECONDS)
        else:
            return
    raise StartError(f"nothing listens after {READY_TIMEOUT_SECONDS:.0f} s: {server.log_tail()}")


def request(port: int, credentials: Credentials, method: str, path: str) -> tuple[int, bytes]:
    """One signed request without a body: (status, answer). OSError when nobody answers."""
    signer = Signer(credentials, f"127.0.0.1:{port}")
    lines = signer.head(method, path, payload_hash=EMPTY_SHA256, length_bytes=0).decode()
    headers = dict(line.split(": ", 1) for line in lines.split("\r\n")[1:] if line)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=REQUEST_TIMEOUT_SECONDS)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as error:
        raise OSError(f"bad answer: {error!r}") from error
    finally:
        connection.close()


def wait_until_serving(server: ServerProcess, port: int, credentials: Credentials) -> None:
    """Return once ListBuckets answers 200; StartError after the timeout."""
    wait_for_port(server, port)
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    last = "no answer"
    while time.monotonic() < deadline:
        server.check_alive()
        try:
            status, answer = request(port, credentials, "GET", "/")
        except OSError as error:
            last = str(error)
        else:
            if status == http.HTTPStatus.OK:
                return
            last = f"HTTP {status} {answer[:200]!r}"
        time.sleep(_POLL_SECONDS)
    raise StartError(f"not serving after {READY_TIMEOUT_SECONDS:.0f} s: {last}")
