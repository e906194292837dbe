"""The space key: the ed25519 key that signs every commit, by whose did:key anyone checks those signatures."""

from __future__ import annotations

from mst.commit import Commit
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


def verify_commit(commit: Commit) -> None:
    """Check that a commit was signed by the space it names; whether that is the right space is for the caller.

    Raises:
        SignatureInvalid: it was not.
    """
    verify(commit.space, commit.signature, commit.unsigned_bytes())
