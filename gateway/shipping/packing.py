"""Packs: CAR files of the blocks that new heads need and no shard holds, written to the outbox of the data folder."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from gateway.shipping.contents import describe
from gateway.store.errors import StoreFull
from gateway.store.folder import PRIVATE_DIRECTORY_MODE, PRIVATE_FILE_MODE, sync_directory
from mst import car
from mst.block import Block
from mst.cid import CID
from mst.limits import CID_BYTES, KIB, MANIFEST_BYTES_MAX, PACK_BYTES_MAX, SHARD_BLOCKS_MAX
from registry.shards import Shard

_LAST_BLOCKS = 2
_LAST_BYTES = MANIFEST_BYTES_MAX + KIB
"""What is put into a pack that is full otherwise: beacon and manifest."""
_ANY = CID(bytes(CID_BYTES))


class Outbox:
    """The folder where packs wait for the storage node.

    Args:
        path: the folder; made if it is not there.
    """

    def __init__(self, path: Path):
        self._path = path

    def write(self, blocks: list[Block], manifest: Block | None = None) -> Shard:
        """Make a pack, durable when this returns.

        Args:
            blocks: what is in it, in order.
            manifest: its root and last block, if it is the last of a shipment.

        Raises:
            StoreFull: it could not be written; nothing is left of it.
        """
        header = car.HEADER if manifest is None else car.header(manifest.cid)
        whole = blocks if manifest is None else [*blocks, manifest]
        digest = hashlib.sha256(header)
        places: list[tuple[bytes, int, int]] = []
        size = len(header)
        unfinished = self._path / "unfinished"
        try:
            self._make()
            with open(unfinished, "wb", opener=_private) as file:
                file.write(header)
                for cid, data in whole:
                    section = car.section(cid, data)
                    digest.update(section)
                    file.write(section)
                    size += len(section)
                    places.append((cid.digest, size - len(data), len(data)))
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(self._path / f"{digest.hexdigest()}.car")
            sync_directory(self._path)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise StoreFull(f"cannot write a pack to {self._path}: {error.strerror}") from error
        return describe(digest.digest(), size, None if manifest is None else manifest.cid, places, None)

    def keep_only(self, packs: set[bytes]) -> None:
        """Remove every file but those of the packs with these SHA-256; folders in it are nobody's here."""
        if self._path.exists():
            kept = {f"{digest.hex()}.car" for digest in packs}
            for file in self._path.iterdir():
                if file.name not in kept and file.is_file():
                    file.unlink()

    def _make(self) -> None:
        if not self._path.exists():
            self._path.mkdir(mode=PRIVATE_DIRECTORY_MODE)
            sync_directory(self._path.parent)


class Packing:
    """A pack as it fills."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._size = len(car.header(_ANY))

    def has_room_for(self, size_bytes: int) -> bool:
        """Whether a block of ``size_bytes`` bytes fits."""
        needed = self._size + len(car.section_head(_ANY, size_bytes)) + size_bytes
        return needed + _LAST_BYTES <= PACK_BYTES_MAX and len(self.blocks) + _LAST_BLOCKS < SHARD_BLOCKS_MAX

    def add(self, block: Block) -> None:
        """Put a block into it."""
        self.blocks.append(block)
        self._size += len(car.section_head(block.cid, len(block.data))) + len(block.data)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE_FILE_MODE)
