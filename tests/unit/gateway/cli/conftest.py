"""A small data folder made through the store itself, and ways to run the command line on it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.store.folder import DataFolder
from gateway.store.mutations import Delete, MakeBucket, Put
from gateway.store.store import Store, StoreSettings
from mst.entry import Entry
from registry import credentials
from registry.heads import Bucket
from registry.space import SpaceKey
from tests.waiting import PATIENCE_SECONDS, wait_for_server

TIME_MS = 1_700_000_000_000
MS3T = Path(sys.executable).with_name("ms3t")

AWKWARD = "naïve \x1b[31m [red]\n.txt"
BIG = random.Random(0).randbytes(3_072_000)  # three leaves
CONTENTS = {
    "2026/a.jpg": b"first",
    "2026/b.jpg": b"second",
    "2026/06/c.jpg": b"third",
    "empty": b"",
    "big": BIG,
    AWKWARD: b"awkward",
}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("MS3T_"):
            monkeypatch.delenv(name)


async def _put(store: Store, bucket: str, key: str, content: bytes) -> Bucket:
    body_writer = store.new_body()
    await body_writer.write(content)
    body = await body_writer.finish()
    entry = Entry(body.cid, body.size, TIME_MS, body.md5, None)
    done = await store.committer.submit(Put(bucket, key.encode(), entry, body.blocks))
    assert done.bucket is not None
    return done.bucket


@dataclass
class Made:
    """A data folder and what is in it.

    Attributes:
        path: the folder.
        states: bucket "photos" after each of its changes, oldest first.
        many: the keys of bucket "many".
    """

    path: Path
    states: list[Bucket] = field(default_factory=list)
    many: list[str] = field(default_factory=list)

    @property
    def folder(self) -> DataFolder:
        return DataFolder(self.path)

    @property
    def head(self) -> Bucket:
        return self.states[-1]


async def _fill(store: Store, made: Made, many: int) -> None:
    for number, name in enumerate(("photos", "many", "void")):
        done = await store.committer.submit(MakeBucket(name, 4, None, bytes([number]) * 16))
        if name == "photos":
            assert done.bucket is not None
            made.states.append(done.bucket)
    for key, content in CONTENTS.items():
        made.states.append(await _put(store, "photos", key, content))
    made.states.append(await _put(store, "photos", "2026/a.jpg", b"first, changed"))
    done = await store.committer.submit(Delete("photos", b"2026/b.jpg"))
    assert done.bucket is not None
    made.states.append(done.bucket)
    made.many = sorted(f"{n % 7}/{n:05d}" for n in range(many))
    await asyncio.gather(*(_put(store, "many", key, key.encode()) for key in made.many))


def make_folder(path: Path, many: int) -> Made:
    """A data folder with an access key and the buckets photos, many and void."""
    made = Made(path)
    folder = DataFolder(path).create()
    key = SpaceKey.load_or_create(folder.key)
    with closing(Store.open_for_writing(folder, key, StoreSettings())) as store:
        with store.database.write() as connection:
            credentials.create(connection, display_name="root", now_ms=TIME_MS)
        asyncio.run(_fill(store, made, many))
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A folder for tests that only look."""
    return make_folder(tmp_path_factory.mktemp("cli") / "data", many=1200)


@pytest.fixture
def own(tmp_path: Path) -> Made:
    """A folder for one test to break."""
    return make_folder(tmp_path / "data", many=0)


@pytest.fixture
def ms3t() -> Callable[..., Result]:
    """Runs the command line in this process: ``ms3t("ls", "photos", data=path)``."""

    def run(*arguments: str, data: Path | None = None, env: Mapping[str, str] | None = None) -> Result:
        options = [] if data is None else ["--data-dir", str(data)]
        result = CliRunner().invoke(main, [*arguments, *options], env=env)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


@pytest.fixture
def ms3t_json(ms3t: Callable[..., Result]) -> Callable[..., Any]:
    """Runs a verb with ``--json`` and returns the document."""

    def run(*arguments: str, data: Path | None = None) -> Any:
        result = ms3t(*arguments, "--json", data=data)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return run


class ServerProcess:
    """`ms3t serve` as a process of its own."""

    def __init__(self, data: Path, log: Path, *options: str, env: Mapping[str, str] | None = None) -> None:
        self.data = data
        self.log = log
        self._file = log.open("ab")
        self.process = subprocess.Popen(
            [MS3T, "serve", "--data-dir", str(data), "--listen", "127.0.0.1:0", *options],
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
        )

    def wait_until_ready(self) -> dict[str, Any]:
        """What server.json says when the server has written it."""
        return wait_for_server(self.data, self.process, self.output)

    def output(self) -> str:
        return self.log.read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait for its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE_SECONDS)
        self._file.close()
        return code


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts servers: ``serve(data, "--log-level", "debug")``; whatever still runs at the end is killed."""
    started: list[ServerProcess] = []

    def start(data: Path, *options: str, env: Mapping[str, str] | None = None) -> ServerProcess:
        server = ServerProcess(data, tmp_path / f"server-{len(started)}.log", *options, env=env)
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop(signal.SIGKILL)
