"""The servers that are compared: how each is found, started on a fresh folder and made durable.

Each peer says in a few words what an acknowledged PUT means for it: no figure is fair without that.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.server import (
    REQUEST_TIMEOUT_SECONDS,
    ServerProcess,
    StartError,
    clean_environment,
    free_ports,
    request,
    wait_until_serving,
)
from bench.signing import Credentials

S3RVER_VERSION = "3.7.1"
NPM_TIMEOUT_SECONDS = 120.0
TOOL_TIMEOUT_SECONDS = 30.0
_OWN_KEYS = Credentials("benchaccesskey00", "benchsecretkey0000000000")
_SEAWEED_VOLUME_MB = 4096
_SEAWEED_MAX_VOLUMES = 100
"""SeaweedFS takes 7 volumes for each new bucket; out of volumes it answers PUT with 500."""
_RETRY_SECONDS = 0.2


@dataclass(slots=True)
class Running:
    """A started server and what a client needs to talk to it."""

    process: ServerProcess
    port: int
    credentials: Credentials
    buckets: set[str] = field(default_factory=set)

    def make_bucket(self, name: str) -> None:
        """Create a bucket unless this was done before; StartError when the server will not."""
        if name in self.buckets:
            return
        last = ""
        deadline = time.monotonic() + REQUEST_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            try:
                status, answer = request(self.port, self.credentials, "PUT", f"/{name}")
            except OSError as error:
                last = str(error)
            else:
                if status in (HTTPStatus.OK, HTTPStatus.NO_CONTENT):
                    self.buckets.add(name)
                    return
                last = f"HTTP {status} {answer[:200]!r}"
            time.sleep(_RETRY_SECONDS)
        raise StartError(f"cannot create bucket {name}: {last}")


@dataclass(frozen=True, slots=True)
class Peer:
    """One server that can be compared."""

    name: str
    durability: str
    """What is on stable storage when a PUT has been answered."""
    in_memory: bool
    """It keeps every body in memory: what is written to it is bounded."""
    start: Callable[[Path], Running]
    """Start it with its data in the given empty folder; StartError when it cannot be."""
    version: Callable[[], str]


def find_program(name: str) -> str:
    """The program beside this Python, else on PATH; StartError when there is none."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(name)
    if found is None:
        raise StartError(f"{name} is not installed")
    return found


def output(command: list[str], folder: Path | None = None, text_in: str = "") -> str:
    """A short tool's standard output; StartError when it fails."""
    try:
        done = subprocess.run(
            command,
            input=text_in,
            capture_output=True,
            text=True,
            timeout=TOOL_TIMEOUT_SECONDS,
            cwd=folder,
            env=clean_environment(folder) if folder else None,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StartError(f"{Path(command[0]).name}: {error}") from error
    if done.returncode != 0:
        raise StartError(f"{Path(command[0]).name}: {(done.stderr or done.stdout)[-300:]}")
    return done.stdout


def _serving(server: ServerProcess, port: int, credentials: Credentials) -> Running:
    """Wait for readiness; a server that does not get there is stopped."""
    try:
        wait_until_serving(server, port, credentials)
    except BaseException:
        server.stop()
        raise
    return Running(server, port, credentials)


# --- ms3t


def start_ms3t(folder: Path, config: Mapping[str, Any] | None = None) -> Running:
    """Start it in the folder, where it may have run before; StartError when it cannot be.

    Args:
        folder: where its data and its log are.
        config: what its configuration file says, or None for none.
    """
    ms3t = find_program("ms3t")
    data = folder / "data"
    (port,) = free_ports(1)
    command = [ms3t, "serve", "--data-dir", str(data), "--listen", f"127.0.0.1:{port}"]
    if config is not None:
        (folder / "config.yaml").write_text(json.dumps(config))
        command += ["--config", "config.yaml"]
    server = ServerProcess(command, folder)
    try:
        credentials = _ms3t_credentials(ms3t, data, folder)
    except BaseException:
        server.stop()
        raise
    return _serving(server, port, credentials)


def _ms3t_credentials(ms3t: str, data: Path, folder: Path) -> Credentials:
    """What `ms3t env` exports, asked until the server has made its credentials."""
    deadline = time.monotonic() + REQUEST_TIMEOUT_SECONDS
    while True:
        try:
            text = output([ms3t, "env", "--data-dir", str(data)], folder)
        except StartError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)
            continue
        return parse_exports(text)


def parse_exports(text: str) -> Credentials:
    """The credentials in `export NAME=value` lines; StartError when one is missing."""
    values = dict(
        word.split("=", 1) for line in text.splitlines() for word in shlex.split(line, comments=True) if "=" in word
    )
    try:
        return Credentials(
            values["AWS_ACCESS_KEY_ID"],
            values["AWS_SECRET_ACCESS_KEY"],
            values.get("AWS_DEFAULT_REGION") or values.get("AWS_REGION") or "us-east-1",
        )
    except KeyError as error:
        raise StartError(f"`ms3t env` does not export {error}") from error


# --- SeaweedFS


def _start_seaweedfs(folder: Path) -> Running:
    weed = find_program("weed")
    names = ("master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc", "s3", "grpc")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    (folder / "data").mkdir()
    (folder / "s3.json").write_text(_seaweedfs_identities())
    command = [
        *(weed, "-logtostderr", "server", "-dir=data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *(f"-master.port={ports['master']}", f"-master.port.grpc={ports['master.grpc']}"),
        *(f"-volume.port={ports['volume']}", f"-volume.port.grpc={ports['volume.grpc']}"),
        *("-filer", f"-filer.port={ports['filer']}", f"-filer.port.grpc={ports['filer.grpc']}"),
        *("-s3", f"-s3.port={ports['s3']}", f"-s3.port.grpc={ports['grpc']}"),
        *("-s3.config=s3.json", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-filer.localSocket=filer.sock", "-s3.localSocket=s3.sock"),
        *(f"-volume.max={_SEAWEED_MAX_VOLUMES}", "-volume.preStopSeconds=0"),
        *(f"-master.volumeSizeLimitMB={_SEAWEED_VOLUME_MB}", "-master.telemetry=false"),
    ]
    running = _serving(ServerProcess(command, folder), ports["s3"], _OWN_KEYS)
    try:
        _seaweedfs_switch_fsync_on(weed, folder, ports)
    except BaseException:
        running.process.stop()
        raise
    return running


def _seaweedfs_identities() -> str:
    return (
        '{"identities": [{"name": "bench", "actions": ["Admin", "Read", "Write", "List"],'
        f' "credentials": [{{"accessKey": "{_OWN_KEYS.access_key}",'
        f' "secretKey": "{_OWN_KEYS.secret_key}"}}]}}]}}'
    )


def _seaweedfs_switch_fsync_on(weed: str, folder: Path, ports: dict[str, int]) -> None:
    """Its shell sets the rule for all buckets; the filer's own listing then has to show it."""
    shell = [
        *(weed, "shell", f"-master=127.0.0.1:{ports['master']}.{ports['master.grpc']}"),
        f"-filer=127.0.0.1:{ports['filer']}.{ports['filer.grpc']}",
    ]
    output(shell, folder, "fs.configure -locationPrefix=/buckets/ -fsync -apply\n")
    shown = "".join(output(shell, folder, "fs.configure\n").split())
    if '"locationPrefix":"/buckets/"' not in shown or '"fsync":true' not in shown:
        raise StartError("fs.configure does not show fsync as switched on")


# --- the unsynced ones


def _start_rclone(folder: Path) -> Running:
    (folder / "data").mkdir()
    (port,) = free_ports(1)
    (folder / "rclone.conf").touch()
    command = [
        *(find_program("rclone"), "--config", "rclone.conf", "serve", "s3"),
        *("--addr", f"127.0.0.1:{port}"),
        *("--auth-key", f"{_OWN_KEYS.access_key},{_OWN_KEYS.secret_key}", "data"),
    ]
    return _serving(ServerProcess(command, folder), port, _OWN_KEYS)


def _s3rver_home() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "ms3t-bench" / f"s3rver-{S3RVER_VERSION}"


def _install_s3rver() -> Path:
    """The program, put into a cache folder by npm the first time."""
    home = _s3rver_home()
    program = home / "node_modules" / ".bin" / "s3rver"
    if program.exists():
        return program
    home.mkdir(parents=True, exist_ok=True)
    command = [
        *(find_program("npm"), "install", "--prefix", str(home), "--no-audit", "--no-fund"),
        *("--ignore-scripts", "--omit=dev", f"s3rver@{S3RVER_VERSION}"),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=NPM_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise StartError("npm could not install s3rver in time") from error
    except subprocess.CalledProcessError as error:
        raise StartError(f"npm could not install s3rver: {error.stderr[-300:]!r}") from error
    return program


def _start_s3rver(folder: Path) -> Running:
    program = _install_s3rver()
    (folder / "data").mkdir()
    (port,) = free_ports(1)
    command = [str(program), "-d", "data", "-a", "127.0.0.1", "-p", str(port), "--silent"]
    server = ServerProcess(command, folder)
    return _serving(server, port, Credentials("S3RVER", "S3RVER"))


def _start_moto(folder: Path) -> Running:
    (port,) = free_ports(1)
    command = [find_program("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    return _serving(ServerProcess(command, folder), port, _OWN_KEYS)


def _first_line_of(program: str, *arguments: str) -> Callable[[], str]:
    def version() -> str:
        return output([find_program(program), *arguments]).strip().splitlines()[0]

    return version


def _moto_version() -> str:
    try:
        return f"moto {metadata.version('moto')}"
    except metadata.PackageNotFoundError as error:
        raise StartError("moto is not installed") from error


PEERS: tuple[Peer, ...] = (
    Peer(
        "ms3t",
        "data, tree and commit synced",
        False,
        start_ms3t,
        _first_line_of("ms3t", "--version"),
    ),
    Peer(
        "seaweedfs",
        "data synced (fs.configure -fsync), names not",
        False,
        _start_seaweedfs,
        _first_line_of("weed", "version"),
    ),
    Peer("rclone", "not synced", False, _start_rclone, _first_line_of("rclone", "version")),
    Peer("s3rver", "not synced", False, _start_s3rver, lambda: f"s3rver {S3RVER_VERSION}"),
    Peer("moto", "memory only", True, _start_moto, _moto_version),
)
