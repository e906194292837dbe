"""What a shipment says of itself: which heads of buckets it brings, and which shards one needs besides its own.

Whoever has only the space's DID finds manifests by their *beacons*, blocks that anybody can compute, and with them
everything else: each names the manifest before it, so together they say of every bucket where it stands and of every
shard that there is one.  Signing is done elsewhere: here is the form, and which bytes are signed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Self, cast

from mst import cbor
from mst.block import Block
from mst.cid import CID, DAG_CBOR, RAW
from mst.errors import FormatError
from mst.fields import is_count, is_document, is_instance, is_text
from mst.limits import (
    BUCKET_NAME_BYTES_MAX,
    INSTANCE_BYTES,
    MANIFEST_BYTES_MAX,
    MANIFEST_SHARDS_MAX,
    SETTING_NAME_BYTES_MAX,
    SIGNATURE_BYTES,
    SPACE_DID_BYTES_MAX,
)

VERSION = 1
VERSIONINGS = frozenset({"unversioned", "enabled", "suspended"})
"""Whether a bucket keeps the versions of its objects."""

_SIGNATURE_KEY = "sig"
_DIGEST_BYTES = 32
_HEAD_FIELDS = 6
_SHARD_FIELDS = 4


class Head(NamedTuple):
    """A bucket as a shipment brings it.

    Attributes:
        name: the bucket's name.
        instance: its instance id.
        created_ms: when it was created, milliseconds since 1970-01-01 UTC.
        commit: its newest commit that the shipment brings.
        versioning: one of ``VERSIONINGS``.
        settings: the documents that are configured for it, by name.
    """

    name: str
    instance: bytes
    created_ms: int
    commit: CID
    versioning: str
    settings: Mapping[str, bytes]

    def encode(self) -> bytes:
        """Its form in a manifest."""
        return cbor.encode(list(self))


class ShardRef(NamedTuple):
    """A shard.

    Attributes:
        digest: its SHA-256.
        size_bytes: its length.
        index_digest: the SHA-256 of its index.
        index_bytes: the length of its index.
    """

    digest: bytes
    size_bytes: int
    index_digest: bytes
    index_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One shipment.

    Attributes:
        version: of this format.
        space: DID of the space whose key signs.
        sequence: number of the shipment, one more than in ``prev``.
        time_ms: when it was made, milliseconds since 1970-01-01 UTC.
        prev: the manifest before it, or None for the first.
        heads: the buckets that are new, or stand elsewhere than before.
        drops: instance ids of buckets that are gone.
        shards: shards that are first named here; among them the one that ``prev`` is in, for none can name its own.
        signature: ed25519 over `unsigned_bytes`, 64 bytes, or empty while there is none.

    Raises:
        FormatError: a field of another type or out of range.
    """

    version: int = VERSION
    space: str
    sequence: int
    time_ms: int
    prev: CID | None
    heads: tuple[Head, ...] = ()
    drops: tuple[bytes, ...] = ()
    shards: tuple[ShardRef, ...] = ()
    signature: bytes = b""

    def __post_init__(self) -> None:
        if not all(is_count(n) for n in (self.version, self.sequence, self.time_ms)):
            raise FormatError("a number of a manifest is out of range")
        if self.version != VERSION:
            raise FormatError(f"manifest of unknown version {self.version}")
        if not is_text(self.space, SPACE_DID_BYTES_MAX) or not self.space.startswith("did:"):
            raise FormatError("the space of a manifest is not a DID")
        if self.prev is not None and not is_document(self.prev):
            raise FormatError("the previous manifest is not named by a DAG-CBOR block")
        for head in self.heads:
            _check_head(head)
        if not all(is_instance(drop) for drop in self.drops):
            raise FormatError("a manifest drops what is no instance")
        if len(self.shards) > MANIFEST_SHARDS_MAX:
            raise FormatError(f"manifest of {len(self.shards)} shards; {MANIFEST_SHARDS_MAX} are allowed")
        for shard in self.shards:
            _check_shard(shard)
        if type(self.signature) is not bytes or len(self.signature) not in (0, SIGNATURE_BYTES):
            raise FormatError(f"the signature of a manifest must have {SIGNATURE_BYTES} bytes")

    def unsigned_bytes(self) -> bytes:
        """What is signed: the manifest's DAG-CBOR map without its signature."""
        return cbor.encode(self._unsigned())

    def with_signature(self, signature: bytes) -> Self:
        """The same manifest, signed.

        Raises:
            FormatError: ``signature`` is not 64 bytes.
        """
        if not signature:
            raise FormatError("empty signature")
        return replace(self, signature=signature)

    def block(self) -> Block:
        """The manifest as a block.

        Raises:
            FormatError: it is not signed, or longer than ``MANIFEST_BYTES_MAX``.
        """
        if not self.signature:
            raise FormatError("an unsigned manifest has no block")
        data = cbor.encode({**self._unsigned(), _SIGNATURE_KEY: self.signature})
        if len(data) > MANIFEST_BYTES_MAX:
            raise FormatError(f"manifest of {len(data)} bytes exceeds {MANIFEST_BYTES_MAX}")
        return Block.of(DAG_CBOR, data)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The manifest whose block is exactly ``data``; whether its signature is right is not asked.

        Raises:
            FormatError: not the block of a manifest of a known version.
        """
        document = cbor.decode(data, limit_bytes=MANIFEST_BYTES_MAX)
        if not isinstance(document, dict) or document.keys() != _KEYS:
            raise FormatError("not a manifest")
        values: dict[str, Any] = dict(document)
        signature = values.pop(_SIGNATURE_KEY)
        if signature == b"":
            raise FormatError("manifest without a signature")
        values["heads"] = tuple(Head(*row) for row in _rows(values["heads"], _HEAD_FIELDS))
        values["shards"] = tuple(ShardRef(*row) for row in _rows(values["shards"], _SHARD_FIELDS))
        values["drops"] = tuple(_list(values["drops"]))
        return cls(**values, signature=signature)

    def _unsigned(self) -> dict[str, cbor.Value]:
        document: dict[str, cbor.Value] = {name: getattr(self, name) for name in _PLAIN_NAMES}
        document["heads"] = [list(head) for head in self.heads]
        document["drops"] = list(self.drops)
        document["shards"] = [list(shard) for shard in self.shards]
        return document


def beacon(space: str, sequence: int) -> Block:
    """The block by which the manifest with that number, of the space with that DID, is found.

    Each has its own: no indexer has to tell of all of them at once, however many there are.
    """
    return Block.of(RAW, f"ms3t manifest {sequence} of {space}".encode())


def _check_head(head: Head) -> None:
    name, instance, created_ms, commit, versioning, settings = head
    if not is_text(name, BUCKET_NAME_BYTES_MAX):
        raise FormatError(f"a bucket's name in a manifest must have 1 to {BUCKET_NAME_BYTES_MAX} bytes")
    if not is_instance(instance):
        raise FormatError(f"a bucket's instance in a manifest must have {INSTANCE_BYTES} bytes")
    if not is_count(created_ms):
        raise FormatError("the time of a bucket in a manifest is out of range")
    if not is_document(commit):
        raise FormatError("a head of a manifest does not name a DAG-CBOR block")
    if type(versioning) is not str or versioning not in VERSIONINGS:
        raise FormatError("a bucket of a manifest is in no known state of versioning")
    if not isinstance(settings, dict):
        raise FormatError("the settings of a bucket in a manifest are no map")
    for setting, document in settings.items():
        if not is_text(setting, SETTING_NAME_BYTES_MAX) or type(document) is not bytes:
            raise FormatError("a setting of a bucket in a manifest is not bytes under a name")


def _check_shard(shard: ShardRef) -> None:
    digests = (shard.digest, shard.index_digest)
    if not all(type(digest) is bytes and len(digest) == _DIGEST_BYTES for digest in digests):
        raise FormatError("a shard of a manifest is not named by SHA-256")
    if not (is_count(shard.size_bytes) and is_count(shard.index_bytes)):
        raise FormatError("a length in a manifest is out of range")


def _rows(value: cbor.Value, fields_per_row: int) -> list[list[Any]]:
    rows = _list(value)
    if not all(isinstance(row, list) and len(row) == fields_per_row for row in rows):
        raise FormatError("a list of a manifest has rows of another length")
    return cast("list[list[Any]]", rows)


def _list(value: cbor.Value) -> list[Any]:
    if not isinstance(value, list):
        raise FormatError("a field of a manifest is no list")
    return value


# On the wire a field has its name here; only the signature is shorter.
_PLAIN_NAMES = ("version", "space", "sequence", "time_ms", "prev")
_KEYS = frozenset((*(f.name for f in fields(Manifest) if f.name != "signature"), _SIGNATURE_KEY))
