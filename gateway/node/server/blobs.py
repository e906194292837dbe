"""Blobs as files: written beside, synced, and only then given their name, so that a file with a name is whole.

Everything here blocks; it is called from worker threads.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from io import FileIO
from pathlib import Path
from threading import Lock

from gateway.node.server.folder import NodeFolder
from gateway.store.folder import PRIVATE_DIRECTORY_MODE, PRIVATE_FILE_MODE, sync_directory

_FOLDER_DIGITS = 2


class Blobs:
    """The blobs of a node.

    Args:
        folder: the node's data folder, owned by this process.
    """

    def __init__(self, folder: NodeFolder) -> None:
        self._root = folder.blobs
        self._uploads = folder.uploads

    def path(self, digest: bytes) -> Path:
        """Where a blob is, or would be."""
        name = digest.hex()
        return self._root / name[:_FOLDER_DIGITS] / name[_FOLDER_DIGITS : 2 * _FOLDER_DIGITS] / name

    def size(self, digest: bytes) -> int | None:
        """How many bytes a blob has, or None if it is not here."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, digest: bytes) -> bytes:
        """A whole blob; for small ones.

        Raises:
            FileNotFoundError: it is not here.
        """
        return self.path(digest).read_bytes()

    def begin(self) -> Upload:
        """A place for what arrives.

        Raises:
            OSError: there is none.
        """
        return Upload(self._uploads / f"{secrets.token_hex(16)}.part")

    def keep(self, upload: Upload, digest: bytes) -> None:
        """Give what arrived its name; after this it is here, whatever happens to the machine.

        Args:
            upload: finished, and what `digest` names.
            digest: its digest.
        """
        path = self.path(digest)
        for directory in (path.parent.parent, path.parent):
            if not directory.exists():
                directory.mkdir(mode=PRIVATE_DIRECTORY_MODE)
                sync_directory(directory.parent)
        upload.path.rename(path)
        sync_directory(path.parent)

    def remove(self, digest: bytes) -> None:
        """Take a blob away; that it is gone need not be durable."""
        self.path(digest).unlink(missing_ok=True)

    def clear_uploads(self) -> int:
        """Remove what had not arrived whole when the node ended; returns how many files that were."""
        found = list(self._uploads.iterdir())
        for path in found:
            path.unlink()
        return len(found)

    def digests(self) -> Iterator[bytes]:
        """The digest of every blob that is here."""
        for path in self._root.glob("*/*/*"):
            with suppress(ValueError):
                yield bytes.fromhex(path.name)


class Upload:
    """A blob that is arriving.

    Args:
        path: a new file.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()  # a request that is cut off closes it while a thread may still write
        self._hasher = sha256()
        self._file = FileIO(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE_FILE_MODE), "wb")

    def write(self, piece: bytes) -> None:
        """Append.

        Raises:
            OSError: there is no room, or the disk failed.
        """
        with self._lock:
            view = memoryview(piece)
            while view:
                view = view[self._file.write(view) :]
            self._hasher.update(piece)

    def finish(self) -> bytes:
        """Sync the file; returns the digest of what arrived.

        Raises:
            OSError: the disk failed.
        """
        with self._lock:
            os.fsync(self._file.fileno())
            return self._hasher.digest()

    def close(self) -> None:
        """Close the file, and remove it unless it was given a name."""
        with self._lock:
            self._file.close()
        self.path.unlink(missing_ok=True)
