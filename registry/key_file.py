"""A private key in a file of its own, in PKCS 8 PEM so that other tools can read and keep it."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import ClassVar, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from registry.did_key import did_key
from registry.errors import RegistryError

KEY_FILE_MODE = 0o600
KEY_FILE_BYTES_MAX = 4096
"""A PKCS 8 ed25519 key is 119 bytes; anything beyond this is another file."""

_OTHERS_MAY = stat.S_IRWXG | stat.S_IRWXO


class KeyFileError(RegistryError):
    """The key file cannot be used as it is; the message says what to do about it."""


class FileKey:
    """An ed25519 key held in memory, whose home is a file.

    Args:
        private_key: the key.

    Attributes:
        did: its did:key.
    """

    __slots__ = ("_private_key", "did")

    what: ClassVar[str] = "key"
    """What messages call it."""

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key
        public = private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.did: str = did_key(public)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the key file.

        Raises:
            KeyFileError: it is missing, others than its owner may use it, or it holds no ed25519 key.
        """
        name = f"the {cls.what} {path}"
        try:
            with path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                pem = file.read(KEY_FILE_BYTES_MAX + 1)
        except OSError as error:
            raise KeyFileError(f"cannot read {name}: {error.strerror}") from error
        if mode & _OTHERS_MAY:
            raise KeyFileError(
                f"{name} has mode {mode:04o}, so others may have read it; if you are sure that nobody did:"
                f" chmod 600 {path}"
            )
        if len(pem) > KEY_FILE_BYTES_MAX:
            raise KeyFileError(f"{name} is no key: longer than {KEY_FILE_BYTES_MAX} bytes")
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyFileError(f"{name} is no unencrypted PKCS 8 key in PEM") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError(f"{name} is a key of another kind than ed25519")
        return cls(key)

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """Read the key file; make a new random key where there is none.

        A new key is on stable storage before this returns, and never takes the place of another file.

        Raises:
            KeyFileError: as for `load`, or the file cannot be written.
        """
        if not path.exists():
            cls(Ed25519PrivateKey.generate()).write(path)
        return cls.load(path)

    def write(self, path: Path) -> None:
        """Write the key file; it is on stable storage when this returns, and never takes the place of another file.

        Raises:
            KeyFileError: it cannot be written.
        """
        try:
            _write_new(path, self._private_key)
        except OSError as error:
            raise KeyFileError(f"cannot write the {self.what} {path}: {error.strerror}") from error

    def sign(self, message: bytes) -> bytes:
        """The signature over ``message``, 64 bytes."""
        return self._private_key.sign(message)


def _write_new(path: Path, key: Ed25519PrivateKey) -> None:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    try:
        _write_synced(unfinished, pem)
        try:
            # Not a rename, which would replace a key made in the meantime.
            os.link(unfinished, path)
        finally:
            unfinished.unlink()
        _sync_folder(path.parent)
    except FileExistsError:
        return


def _write_synced(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, KEY_FILE_MODE)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
