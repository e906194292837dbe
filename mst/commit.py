"""The signed block that names a tree root: one per change of a bucket, linked to the one before.

A commit says whose bucket it is, what its tree and its totals are and how the tree is shaped, so
that a bucket is read and verified from its commit's CID alone.  Signing is done elsewhere: here
is the form, and which bytes are signed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

from mst import cbor
from mst.cid import CID
from mst.errors import FormatError
from mst.fields import is_count, is_document, is_instance, is_text
from mst.layer import TreeParams
from mst.limits import (
    BUCKET_NAME_BYTES_MAX,
    COMMIT_BYTES_MAX,
    INSTANCE_BYTES,
    SIGNATURE_BYTES,
    SPACE_DID_BYTES_MAX,
)

VERSION = 1
_SIGNATURE_KEY = "sig"


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One state of a bucket.

    Attributes:
        version: of this format.
        space: DID of the space whose key signs.
        bucket: the bucket's name.
        instance: random id of the bucket, which tells it from an earlier one of that name.
        sequence: number of the commit in its chain.
        time_ms: when it was made, milliseconds since 1970-01-01 UTC.
        tree: root of the tree of current objects.
        versions: root of the tree of older versions, or None.
        prev: the commit before it, or None for the first.
        bits: see `mst.layer.TreeParams`.
        salt: see `mst.layer.TreeParams`.
        objects: how many keys the tree has.
        size_bytes: sum of the objects' sizes.
        signature: ed25519 over `unsigned_bytes`, 64 bytes, or empty while there is none.

    Raises:
        FormatError: a field of another type or out of range.
    """

    version: int = VERSION
    space: str
    bucket: str
    instance: bytes
    sequence: int
    time_ms: int
    tree: CID
    versions: CID | None
    prev: CID | None
    bits: int
    salt: bytes | None
    objects: int
    size_bytes: int
    signature: bytes = b""

    def __post_init__(self) -> None:
        numbers = (
            self.version,
            self.sequence,
            self.time_ms,
            self.bits,
            self.objects,
            self.size_bytes,
        )
        if not all(map(is_count, numbers)):
            raise FormatError("a number of a commit is out of range")
        if self.version != VERSION:
            raise FormatError(f"commit of unknown version {self.version}")
        if not is_text(self.space, SPACE_DID_BYTES_MAX) or not self.space.startswith("did:"):
            raise FormatError("the space of a commit is not a DID")
        if not is_text(self.bucket, BUCKET_NAME_BYTES_MAX):
            raise FormatError(f"the bucket name of a commit must have 1 to {BUCKET_NAME_BYTES_MAX} bytes")
        if not is_instance(self.instance):
            raise FormatError(f"the instance of a commit must have {INSTANCE_BYTES} bytes")
        for link in (self.tree, self.versions, self.prev):
            if link is not None and not is_document(link):
                raise FormatError("a link of a commit does not name a DAG-CBOR block")
        if self.tree is None:
            raise FormatError("a commit without a tree")
        if self.salt is not None and type(self.salt) is not bytes:
            raise FormatError("the salt of a commit is not bytes")
        if type(self.signature) is not bytes or len(self.signature) not in (0, SIGNATURE_BYTES):
            raise FormatError(f"the signature of a commit must have {SIGNATURE_BYTES} bytes")
        TreeParams(self.bits, self.salt)

    def unsigned_bytes(self) -> bytes:
        """What is signed: the commit's DAG-CBOR map without its signature."""
        return cbor.encode(self._unsigned())

    def with_signature(self, signature: bytes) -> Self:
        """The same commit, signed.

        Raises:
            FormatError: ``signature`` is not 64 bytes.
        """
        if not signature:
            raise FormatError("empty signature")
        return replace(self, signature=signature)

    def encode(self) -> bytes:
        """The bytes of the commit's block.

        Raises:
            FormatError: the commit is not signed.
        """
        if not self.signature:
            raise FormatError("an unsigned commit has no block")
        return cbor.encode({**self._unsigned(), _SIGNATURE_KEY: self.signature})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The commit whose block is exactly ``data``; whether its signature is right is not asked.

        Raises:
            FormatError: not the block of a commit of a known version.
        """
        document = cbor.decode(data, limit_bytes=COMMIT_BYTES_MAX)
        if not isinstance(document, dict) or document.keys() != _KEYS:
            raise FormatError("not a commit")
        values: dict[str, Any] = dict(document)
        signature = values.pop(_SIGNATURE_KEY)
        if signature == b"":
            raise FormatError("commit without a signature")
        return cls(**values, signature=signature)

    def _unsigned(self) -> dict[str, cbor.Value]:
        return {name: getattr(self, name) for name in _UNSIGNED_NAMES}


# On the wire a field has its name here; only the signature is shorter.
_UNSIGNED_NAMES = tuple(f.name for f in fields(Commit) if f.name != "signature")
_KEYS = frozenset((*_UNSIGNED_NAMES, _SIGNATURE_KEY))
