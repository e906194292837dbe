"""The servers that a copy is read from, and the copies, in rounds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import process
from bench.cells import MEBIBYTE
from bench.cli_client import BUCKET, CliClient, Sources
from bench.peers import PEERS, Running
from bench.server import ServerProcess, clean_environment, free_ports, wait_for_port
from bench.signing import Credentials
from bench.spec import LoadResult

PART_BYTES = 8 * MEBIBYTE
"""How the command divides a file, and the ranges in which it reads one."""
COPY_LIMIT_SECONDS = 120.0
COMPARED = ("ms3t", "seaweedfs")
UNCHECKED = {"AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required"}
"""What makes the command leave checksums alone that an answer carries."""
_ROOT = Path(__file__).parent.parent.parent

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Way:
    """One kind of copy: from which server, and whether the command checks a checksum of every part."""

    server: str
    checked: bool

    def __str__(self) -> str:
        return f"{self.server}, {'each part checked' if self.checked else 'nothing checked'}"


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy down: seconds; CPU seconds of the command, of the server, and of what the hypervisor gave to others."""

    seconds: float
    command_cpu_s: float
    server_cpu_s: float
    stolen_s: float


Copies = dict[Way, list[Copy]]
"""The copies of each kind, one for each round."""


def copy_in_rounds(folder: Path, rounds: int, progress: Progress) -> Copies:
    """Copy 1 GiB from every server in every way, in alternation.

    Args:
        folder: where the servers' folders and the files go.
        rounds: how often.
        progress: told of each copy.

    Raises:
        StartError, CliError: a server cannot be started, a copy failed.
    """
    (folder / "sources").mkdir()
    sources = Sources.make(folder / "sources")
    found: Copies = {}
    with _clients(folder, sources) as clients:
        for number in range(rounds):
            for way, client in clients.items() if number % 2 == 0 else reversed(clients.items()):
                copy = _copy(client)
                found.setdefault(way, []).append(copy)
                progress(f"round {number + 1}: {way}: {copy.seconds:.2f} s")
    return found


def ratios(copies: Copies, ours: Way, theirs: Way) -> list[float]:
    """How many times as fast as theirs our copy was, round by round."""
    return [their.seconds / our.seconds for our, their in zip(copies[ours], copies[theirs], strict=True)]


def middle(copies: list[Copy]) -> Copy:
    """The median of every figure."""
    return Copy(
        median(copy.seconds for copy in copies),
        median(copy.command_cpu_s for copy in copies),
        median(copy.server_cpu_s for copy in copies),
        median(copy.stolen_s for copy in copies),
    )


@contextmanager
def _clients(folder: Path, sources: Sources) -> Iterator[dict[Way, CliClient]]:
    """A client for each way, of servers that hold the file."""
    with ExitStack() as stack:
        clients = {}

        def add(way: Way, running: Running, environment: dict[str, str]) -> CliClient:
            home = folder / f"{way.server}-{way.checked}"
            home.mkdir()
            clients[way] = CliClient(running, sources, home, COPY_LIMIT_SECONDS, environment)
            return clients[way]

        for peer in (peer for peer in PEERS if peer.name in COMPARED):
            (folder / peer.name).mkdir()
            running = peer.start(folder / peer.name)
            stack.callback(running.process.stop)
            add(Way(peer.name, False), running, UNCHECKED).run("cp-up-1g")
            if peer.name == "ms3t":  # of the two, the one whose answers carry checksums of parts
                add(Way(peer.name, True), running, {})
        for checked in (False, True):
            server, port = _start_bare(folder / f"bare-{checked}-server", sources.big, checked=checked)
            stack.callback(server.stop)
            wait_for_port(server, port)
            add(Way("bare", checked), Running(server, port, Credentials("any", "any"), {BUCKET}), {})
        yield clients


def _start_bare(folder: Path, file: Path, *, checked: bool) -> tuple[ServerProcess, int]:
    """The server, which may not listen yet, and its port."""
    folder.mkdir()
    (port,) = free_ports(1)
    kind = "checksums" if checked else "plain"
    command = [sys.executable, "-m", "bench.copies.bare", str(port), str(file), str(PART_BYTES), kind]
    return ServerProcess(command, folder, clean_environment(folder, PYTHONPATH=str(_ROOT))), port


def _copy(client: CliClient) -> Copy:
    stolen = process.stolen_seconds()
    result: LoadResult = client.run("cp-down-1g")
    return Copy(result.seconds, result.client_cpu_s, result.server_cpu_s, process.stolen_seconds() - stolen)
