"""Kills at every step of recovering a data folder: the process that `test_recovering` starts.

A step is before and after every write to the new registry, every table of places, every folder that is synced and the
renaming.  For each, a child recovers and ends there as kill -9 would end it; another looks at what is left, and
recovers.  The last line that is printed is what was found, in JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from gateway.app import FolderIncomplete, Gateway
from gateway.config import Config
from gateway.recovering import new_folder
from gateway.recovering.new_folder import NewFolder, require_new
from gateway.shipping.places import RemotePlaces
from gateway.store.folder import DataFolder
from registry.space import SpaceKey
from registry.ucan.signing import KeySigner
from tests.crash.faults import KILLED
from tests.crash.steps import Steps, sweep_options
from tests.recovering import Space, fill, registry
from tests.storage_node import StorageNode

NODE_KEY = KeySigner(b"\x03" * 32)
STEPS = (
    (NewFolder, ("enter_history", "enter_shards", "enter_buckets", "finish")),
    (RemotePlaces, ("add_all", "close")),
    (SpaceKey, ("write",)),
    (Path, ("rename",)),
    (new_folder, ("sync_directory",)),
)


def registry_first() -> None:
    """The registry has its own name from the beginning."""
    init = DataFolder.__init__

    def early(self: DataFolder, path: Path) -> None:
        init(self, path)
        self.recovering = self.registry

    DataFolder.__init__ = early  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {"registry_first": registry_first}
"""To be planted, so that this is seen to find what it is there to find."""


def forked(work: Callable[[], object]) -> int:
    """Do ``work`` in a process of its own; returns its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            status = 0 if work() is None else 1
        except BaseException as error:
            print(repr(error), flush=True)
            status = 2
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def serve_a_space(folder: Path, tell: int) -> None:
    """Run a node to which a gateway has shipped, for ever."""

    async def main() -> None:
        async with StorageNode(NODE_KEY).listening() as node:
            async with Space(node, folder).gateway("data") as client:
                await fill(client)
            os.write(tell, node.url.encode())
            await asyncio.Event().wait()

    asyncio.run(main())


def look_and_recover(space: Space, bug: str | None) -> str | None:
    """What is wrong with what a kill has left, or with what the next recovery makes of it."""
    folder = DataFolder(space.path / "again")
    expected = registry(space.path / "data")
    if folder.registry.exists():
        return None if registry(folder.path) == expected else "a folder that is not whole"
    if folder.recovering.exists() or folder.remote.exists():
        try:
            Gateway.open(Config(data_dir=folder.path, workers=1)).close()
        except FolderIncomplete:
            pass
        else:
            return "a server started on half a folder"
    require_new(folder)
    asyncio.run(space.recover())
    return None if registry(folder.path) == expected else "the second recovery made something else"


def sweep(folder: Path, first: int, step: int, bug: str | None) -> dict[str, object]:
    read, write = os.pipe()
    node_pid = os.fork()
    if node_pid == 0:
        serve_a_space(folder, write)
    try:
        node = StorageNode(NODE_KEY)
        node.url = os.read(read, 200).decode()
        space = Space(node, folder)
        if bug:
            BUGS[bug]()
        wrong = []
        points = 0
        last = first
        while True:
            shutil.rmtree(folder / "again", ignore_errors=True)

            def killed(last: int = last) -> None:
                Steps(last).watch(STEPS)
                asyncio.run(space.recover())

            if forked(killed) != KILLED:
                return {"wrong": wrong, "points": points}
            points += 1
            if forked(lambda: look_and_recover(space, bug)):
                wrong.append(last)
            last += step
    finally:
        os.kill(node_pid, signal.SIGKILL)
        os.waitpid(node_pid, 0)


def main() -> None:
    options = sweep_options(BUGS)
    print(json.dumps(sweep(options.folder, options.first, options.step, options.bug)))


if __name__ == "__main__":
    main()
