"""The data folder as it is made: nothing that a server would take for one, until the last step makes it whole.

The registry is made under another name, and as long as that is there the rest counts for nothing.  Giving it its own
name is the last step, after everything else is durable.  Whatever ends this before, the next recovery begins anew.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from gateway.recovering.errors import FolderInTheWay, NotRecovered
from gateway.recovering.placing import Placed
from gateway.shipping.places import RemotePlaces
from gateway.store.folder import DataFolder, sync_directory
from gateway.store.index import BlockIndex
from mst.block import Block
from mst.manifest import Head
from registry import credentials, heads, settings, shards, shipments
from registry.database import Database
from registry.heads import Bucket
from registry.space import SpaceKey


class NewFolder:
    """A data folder in the making.  Make it with `begun`.

    Attributes:
        database: its registry.
        places: where blocks lie on the node.
    """

    def __init__(self, folder: DataFolder, database: Database, places: RemotePlaces):
        self.database = database
        self.places = places
        self._folder = folder

    def enter_history(self, manifests: Sequence[Block], current: Sequence[Head]) -> None:
        """Enter the shipments that there were, and how the buckets stand after them."""
        with self.database.write() as connection:
            shipments.restore(connection, manifests, current)

    def enter_shards(self, placed: Sequence[Placed]) -> None:
        """Enter shards of those shipments, and where their blocks lie."""
        with self.database.write() as connection:
            entered = shards.insert(connection, [one.shard for one in placed])
        self.places.add_all({shard.number: one.blocks for shard, one in zip(entered, placed, strict=True)})

    def enter_buckets(self, buckets: Sequence[tuple[Bucket, Head]], root_user: str, now_ms: int) -> None:
        """Enter the buckets with what is configured for them, and an access key: none is on the node.

        Args:
            buckets: each, with what its manifest says.
            root_user: whose the access key is; empty for no access key.
            now_ms: the time in milliseconds since 1970.
        """
        with self.database.write() as connection:
            for bucket, head in buckets:
                heads.insert_bucket(connection, bucket)
                for name, document in head.settings.items():
                    settings.put(connection, instance=bucket.instance, name=name, document=document)
            if root_user:
                credentials.create(connection, display_name=root_user, now_ms=now_ms)

    def finish(self, key: SpaceKey) -> None:
        """Make it whole, durably; it cannot be used as a folder in the making any more.

        Args:
            key: the space's key, which is put in its place unless it is there.

        Raises:
            NotRecovered, KeyFileError, OSError: it could not be done, and the folder is not whole.
        """
        self.places.close()
        self.database.close()
        folder = self._folder
        if any(left.exists() for left in _beside(folder.recovering)):
            raise NotRecovered(f"SQLite left its log beside {folder.recovering}: is the disk full?")
        sync_directory(folder.remote)
        folder.create()
        BlockIndex(folder.index, read_only=False).close()  # so that it can be looked into before a server ran
        if not folder.key.exists():
            key.write(folder.key)
        folder.recovering.rename(folder.registry)
        sync_directory(folder.path)


@contextmanager
def begun(folder: DataFolder) -> Iterator[NewFolder]:
    """Begin to make a data folder; what was made is removed at the end, unless `NewFolder.finish` made it whole.

    Args:
        folder: which; this process owns it, and `require_new` found nothing in it.

    Raises:
        DatabaseError, IndexUnusable, OSError: it cannot be made.
    """
    _remove(folder)
    try:
        with ExitStack() as opened:
            database = opened.enter_context(closing(Database.open(folder.recovering)))
            places = opened.enter_context(closing(RemotePlaces.open(folder.remote, read_only=False)))
            yield NewFolder(folder, database, places)
    finally:
        if not folder.registry.exists():
            _remove(folder)


def require_new(folder: DataFolder) -> None:
    """Refuse a folder with anything in it but a space key and what an earlier recovery left.

    Raises:
        FolderInTheWay: see there.
    """
    if folder.registry.exists():
        raise FolderInTheWay(
            f"{folder.path} is a data folder already: `ms3t serve` uses it. To recover another copy from the storage"
            " node, name another folder with --data-dir"
        )
    ours = {folder.key.name, "lock"}
    if folder.recovering.exists():
        made = (folder.remote, folder.index, folder.recovering, *_beside(folder.recovering))
        ours |= {path.name for path in made}
    found = sorted(folder.path.iterdir()) if folder.path.exists() else []
    for path in found:
        if path.name not in ours and not _is_half_a_key(path, folder) and not _is_empty(path):
            raise FolderInTheWay(
                f"{path} is in the way: recovering needs a new folder, with nothing in it but {folder.key.name}. Move"
                " the rest away, and keep it: what was never shipped is only there"
            )


def _remove(folder: DataFolder) -> None:
    """Remove what recovering has made; the registry last, as long as it is there the rest counts for nothing."""
    for made in (folder.remote, folder.index):
        if made.exists():
            shutil.rmtree(made)
    sync_directory(folder.path)
    for file in (*_beside(folder.recovering), folder.recovering):
        file.unlink(missing_ok=True)
    sync_directory(folder.path)


def _beside(database: Path) -> list[Path]:
    """The files that SQLite has beside a database."""
    return [database.with_name(database.name + suffix) for suffix in ("-wal", "-shm")]


def _is_half_a_key(path: Path, folder: DataFolder) -> bool:
    return path.name.startswith(f"{folder.key.name}.") and path.suffix == ".new"


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not os.listdir(path)
