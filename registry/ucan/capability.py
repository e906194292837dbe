"""The capabilities of the storage network, each as a value with typed arguments.

Digests are sha2-256, 32 bytes here and multihashes on the wire.  Fields that are not known are not looked at, because a
newer node may write more.
Specs: https://github.com/storacha/specs (w3-blob, w3-index, w3-retrieval, content-claims)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self, TypeVar

from mst.cbor import Value
from mst.cid import CAR, CID, Link, multihash
from mst.limits import INTEGER_MAX
from registry.ucan.did import DID
from registry.ucan.errors import Malformed
from registry.ucan.index import sha256_digest
from registry.ucan.limits import URL_CHARS_MAX, URLS_MAX
from registry.ucan.token import Capability
from registry.ucan.wire import Fields

RETRIEVE = "space/content/retrieve"

_AWAIT = "ucan/await"


class Arguments(Protocol):
    """The arguments of one ability."""

    can: ClassVar[str]

    def nb(self) -> Mapping[str, Value]:
        """The arguments as a capability has them."""

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """The arguments in those fields.

        Raises:
            Malformed: they are others.
        """


A = TypeVar("A", bound=Arguments)


def capability(resource: str, arguments: Arguments) -> Capability:
    """The capability to do ``arguments`` with ``resource``."""
    return Capability(arguments.can, resource, arguments.nb())


def arguments(kind: type[A], of: Capability) -> A:
    """The arguments of a capability that must be of that kind.

    Raises:
        Malformed: it is another ability, or its arguments are not right.
    """
    if of.can != kind.can:
        raise Malformed(f"{of.can} instead of {kind.can}")
    return kind.read(Fields(of.nb if of.nb is not None else {}, kind.can))


@dataclass(frozen=True, slots=True)
class Blob:
    """Some bytes by their sha2-256 digest, and how many they are."""

    digest: bytes
    size: int

    def map(self) -> dict[str, Value]:
        """As capabilities have it."""
        return {"digest": multihash(self.digest), "size": self.size}

    @classmethod
    def read(cls, fields: Fields, name: str) -> Self:
        """The field ``name``."""
        inner = Fields(fields.take(name, dict), name)
        return cls(_digest(inner), inner.take_size("size"))


@dataclass(frozen=True, slots=True)
class SpaceBlobAdd:
    """``space/blob/add`` with a space: why a blob is allocated.  Never sent; its CID is the cause."""

    can: ClassVar[str] = "space/blob/add"
    blob: Blob

    def nb(self) -> Mapping[str, Value]:
        return {"blob": self.blob.map()}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(Blob.read(fields, "blob"))


@dataclass(frozen=True, slots=True)
class SpaceBlobRemove:
    """``space/blob/remove`` with a space: the node need not keep a blob for it any longer."""

    can: ClassVar[str] = "space/blob/remove"
    digest: bytes

    def nb(self) -> Mapping[str, Value]:
        return {"digest": multihash(self.digest)}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(_digest(fields))


@dataclass(frozen=True, slots=True)
class SpaceBlobList:
    """``space/blob/list`` with a space: which blobs are kept for it.  Gives a `registry.ucan.results.BlobList`.

    Attributes:
        cursor: where an earlier answer ended, or None to begin.
        size: at most so many, or None for as many as the other side likes.
    """

    can: ClassVar[str] = "space/blob/list"
    cursor: str | None = None
    size: int | None = None

    def nb(self) -> Mapping[str, Value]:
        given = {"cursor": self.cursor, "size": self.size}
        return {name: value for name, value in given.items() if value is not None}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(fields.take_if("cursor", str), fields.take_size("size") if fields.has("size") else None)


@dataclass(frozen=True, slots=True)
class BlobAllocate:
    """``blob/allocate`` with a node: take a blob for a space.  Gives an `registry.ucan.results.Allocation`."""

    can: ClassVar[str] = "blob/allocate"
    space: DID
    blob: Blob
    cause: CID

    def nb(self) -> Mapping[str, Value]:
        return {"space": self.space.binary, "blob": self.blob.map(), "cause": self.cause}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(DID.read(fields.take("space", bytes)), Blob.read(fields, "blob"), fields.take("cause", CID))


@dataclass(frozen=True, slots=True)
class BlobAccept:
    """``blob/accept`` with a node: vouch for a blob that was put.  Gives an `registry.ucan.results.Acceptance`.

    Attributes:
        space: for whom it was allocated.
        blob: which.
        put: the `HttpPut` that brought it.
    """

    can: ClassVar[str] = "blob/accept"
    space: DID
    blob: Blob
    put: CID

    def nb(self) -> Mapping[str, Value]:
        return {"space": self.space.binary, "blob": self.blob.map(), "_put": _await(".out.ok", self.put)}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        space, blob = DID.read(fields.take("space", bytes)), Blob.read(fields, "blob")
        return cls(space, blob, _awaited(fields, "_put", ".out.ok"))


@dataclass(frozen=True, slots=True)
class HttpPut:
    """``http/put`` with the key whose seed is the blob's digest.  Never sent; its CID stands for the PUT.

    Attributes:
        blob: which.
        allocation: the `BlobAllocate` invocation whose receipt says where to.
    """

    can: ClassVar[str] = "http/put"
    blob: Blob
    allocation: CID

    def nb(self) -> Mapping[str, Value]:
        return {
            "url": _await(".out.ok.address.url", self.allocation),
            "headers": _await(".out.ok.address.headers", self.allocation),
            "body": self.blob.map(),
        }

    @classmethod
    def read(cls, fields: Fields) -> Self:
        allocation = _awaited(fields, "url", ".out.ok.address.url")
        if _awaited(fields, "headers", ".out.ok.address.headers") != allocation:
            raise Malformed("http/put awaits two allocations")
        return cls(Blob.read(fields, "body"), allocation)


@dataclass(frozen=True, slots=True)
class Location:
    """``assert/location`` with a node: a claim that a blob can be read at some URLs.

    Attributes:
        digest: which blob.
        urls: where.
        space: for whom it is kept, or None.
        offset: where in what the URLs give it begins.
        length: its size in bytes, or None for all of it.
    """

    can: ClassVar[str] = "assert/location"
    digest: bytes
    urls: tuple[str, ...]
    space: DID | None = None
    offset: int | None = None
    length: int | None = None

    def nb(self) -> Mapping[str, Value]:
        nb: dict[str, Value] = {"content": {"digest": multihash(self.digest)}, "location": list(self.urls)}
        if self.space is not None:
            nb["space"] = self.space.binary
        if self.offset is not None:
            nb["range"] = {"offset": self.offset, **({} if self.length is None else {"length": self.length})}
        return nb

    @classmethod
    def read(cls, fields: Fields) -> Self:
        digest = _content(fields)
        urls = fields.take_list("location", str, many=URLS_MAX)
        if not urls or any(len(url) > URL_CHARS_MAX for url in urls):
            raise Malformed("assert/location: no URL, or one that is too long")
        space = fields.take_if("space", bytes)
        within: dict[str, Value] | None = fields.take_if("range", dict)
        offset = length = None
        if within is not None:
            inner = Fields(within, "range")
            offset = inner.take_size("offset")
            length = inner.take_size("length") if inner.has("length") else None
        return cls(digest, urls, None if space is None else DID.read(space), offset, length)


@dataclass(frozen=True, slots=True)
class ClaimCache:
    """``claim/cache`` with a node: an indexer may answer with this claim.

    Attributes:
        claim: the claim; its blocks are attached.
        addresses: multiaddrs where the node answers, in binary.
    """

    can: ClassVar[str] = "claim/cache"
    claim: CID
    addresses: tuple[bytes, ...] = ()

    def nb(self) -> Mapping[str, Value]:
        return {"claim": self.claim, "provider": {"addresses": list(self.addresses)}}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        provider = Fields(fields.take("provider", dict), "provider")
        return cls(fields.take("claim", CID), provider.take_list("addresses", bytes, many=URLS_MAX))


@dataclass(frozen=True, slots=True)
class AssertIndex:
    """``assert/index`` with the claimant: a blob is the index of some content.

    Attributes:
        content: root of the DAG that is indexed, or `registry.ucan.index.NO_CONTENT`.
        digest: the archive of the index, a blob.
    """

    can: ClassVar[str] = "assert/index"
    content: Link
    digest: bytes

    def nb(self) -> Mapping[str, Value]:
        return {"content": self.content, "index": Link.of_multihash(CAR, multihash(self.digest))}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        index = fields.take("index", Link)
        if index.codec != CAR:
            raise Malformed("assert/index: the index is no CAR file")
        return cls(fields.take("content", Link), sha256_digest(index.multihash, "assert/index"))


@dataclass(frozen=True, slots=True)
class Retrieve:
    """``space/content/retrieve`` with a space: read bytes of one of its blobs.

    Attributes:
        digest: which blob.
        start: the first byte.
        end: the last byte, inclusive.
    """

    can: ClassVar[str] = RETRIEVE
    digest: bytes
    start: int
    end: int

    def nb(self) -> Mapping[str, Value]:
        return {"blob": {"digest": multihash(self.digest)}, "range": [self.start, self.end]}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        digest = _digest(Fields(fields.take("blob", dict), "blob"))
        start, end = byte_range(fields.take("range", list))
        return cls(digest, start, end)


def byte_range(value: Value) -> tuple[int, int]:
    """First and last byte of a range.

    Raises:
        Malformed: it is none.
    """
    match value:
        case [int() as start, int() as end] if type(start) is int and type(end) is int:
            if 0 <= start <= end <= INTEGER_MAX:
                return start, end
    raise Malformed("not a range of bytes")


def _digest(fields: Fields) -> bytes:
    return sha256_digest(fields.take("digest", bytes), "digest")


def _content(fields: Fields) -> bytes:
    """A blob named by its digest or by a link."""
    if (link := fields.take_link("content")) is not None:
        return sha256_digest(link.multihash, "content")
    return _digest(Fields(fields.take("content", dict), "content"))


def _await(selector: str, task: CID) -> Value:
    return {_AWAIT: [selector, task]}


def _awaited(fields: Fields, name: str, selector: str) -> CID:
    match Fields(fields.take(name, dict), name).take(_AWAIT, list):
        case [str() as said, CID() as task] if said == selector:
            return task
    raise Malformed(f"{name} does not await {selector}")
