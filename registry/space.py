"""The space key: the ed25519 key that signs every commit, by whose did:key anyone checks those signatures.

The key is a file of its own beside the database, in PKCS 8 PEM so that other tools can read and keep it.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from mst.commit import Commit
from registry.did_key import SignatureInvalid, did_key, verify
from registry.errors import RegistryError

KEY_FILE_MODE = 0o600
KEY_FILE_BYTES_MAX = 4096
"""A PKCS 8 ed25519 key is 119 bytes; anything beyond this is another file."""

_OTHERS_MAY = stat.S_IRWXG | stat.S_IRWXO


class SpaceKeyError(RegistryError):
    """The key file cannot be used as it is; the message says what to do about it."""


class SpaceKey:
    """A private key held in memory.

    Args:
        private_key: the key.
    """

    __slots__ = ("_private_key", "did")

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key
        public = private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.did: str = did_key(public)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the key file.

        Raises:
            SpaceKeyError: it is missing, others than its owner may use it, or it holds no ed25519 key.
        """
        try:
            with path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                pem = file.read(KEY_FILE_BYTES_MAX + 1)
        except OSError as error:
            raise SpaceKeyError(f"cannot read the space key {path}: {error.strerror}") from error
        if mode & _OTHERS_MAY:
            raise SpaceKeyError(
                f"the space key {path} has mode {mode:04o}, so others may have read it; if you are sure that nobody"
                f" did: chmod 600 {path}"
            )
        if len(pem) > KEY_FILE_BYTES_MAX:
            raise SpaceKeyError(f"the space key {path} is no key: longer than {KEY_FILE_BYTES_MAX} bytes")
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise SpaceKeyError(f"the space key {path} is no unencrypted PKCS 8 key in PEM") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise SpaceKeyError(f"the space key {path} is a key of another kind than ed25519")
        return cls(key)

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """Read the key file; make a new random key where there is none.

        A new key is on stable storage before this returns, and never takes the place of another file.

        Raises:
            SpaceKeyError: as for `load`, or the file cannot be written.
        """
        if not path.exists():
            _write_new(path)
        return cls.load(path)

    def sign(self, message: bytes) -> bytes:
        """The signature over ``message``, 64 bytes."""
        return self._private_key.sign(message)

    def sign_commit(self, commit: Commit) -> Commit:
        """The commit with this key's signature.

        Raises:
            SignatureInvalid: the commit names another space.
        """
        if commit.space != self.did:
            raise SignatureInvalid(f"the commit is of space {commit.space}, this key is of {self.did}")
        return commit.with_signature(self.sign(commit.unsigned_bytes()))


def verify_commit(commit: Commit) -> None:
    """Check that a commit was signed by the space it names; whether that is the right space is for the caller.

    Raises:
        SignatureInvalid: it was not.
    """
    verify(commit.space, commit.signature, commit.unsigned_bytes())


def _write_new(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
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
    except OSError as error:
        raise SpaceKeyError(f"cannot write the space key {path}: {error.strerror}") from error


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
