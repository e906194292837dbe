"""The space key: the ed25519 key that signs every commit and manifest, by whose did:key anyone checks them."""

from __future__ import annotations

from mst.commit import Commit
from mst.manifest import Manifest
from registry.did_key import SignatureInvalid, verify
from registry.key_file import FileKey


class SpaceKey(FileKey):
    """The space's private key."""

    __slots__ = ()

    what = "space key"

    def sign_commit(self, commit: Commit) -> Commit:
        """The commit with this key's signature.

        Raises:
            SignatureInvalid: the commit names another space.
        """
        if commit.space != self.did:
            raise SignatureInvalid(f"the commit is of space {commit.space}, this key is of {self.did}")
        return commit.with_signature(self.sign(commit.unsigned_bytes()))

    def sign_manifest(self, manifest: Manifest) -> Manifest:
        """The manifest with this key's signature.

        Raises:
            SignatureInvalid: the manifest names another space.
        """
        if manifest.space != self.did:
            raise SignatureInvalid(f"the manifest is of space {manifest.space}, this key is of {self.did}")
        return manifest.with_signature(self.sign(manifest.unsigned_bytes()))


def verify_commit(commit: Commit) -> None:
    """Check that a commit was signed by the space it names; whether that is the right space is for the caller.

    Raises:
        SignatureInvalid: it was not.
    """
    verify(commit.space, commit.signature, commit.unsigned_bytes())


def verify_manifest(manifest: Manifest) -> None:
    """Check that a manifest was signed by the space it names; whether that is the right space is for the caller.

    Raises:
        SignatureInvalid: it was not.
    """
    verify(manifest.space, manifest.signature, manifest.unsigned_bytes())
