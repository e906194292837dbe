"""What the invocations of `registry.ucan.capability` give back, as values that receipts carry.

Fields that are not known are not looked at, because a newer node may write more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from mst.cbor import Value
from mst.cid import CID
from registry.ucan.capability import Blob
from registry.ucan.errors import Malformed
from registry.ucan.limits import BLOBS_LISTED_MAX, URL_CHARS_MAX
from registry.ucan.wire import Fields

_HEADERS_MAX = 32
_HEADER_CHARS_MAX = 4096


@dataclass(frozen=True, slots=True)
class Address:
    """Where a blob is to be put.

    Attributes:
        url: the target of an HTTP PUT.
        headers: to be sent exactly so.
        expires: until when, seconds since 1970.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    expires: int = 0


@dataclass(frozen=True, slots=True)
class Allocation:
    """What `BlobAllocate` gives.

    Attributes:
        size: bytes newly set aside for the space; 0 where it had the blob already.
        address: where to put the bytes, or None where the node has them.
    """

    size: int
    address: Address | None

    def value(self) -> Value:
        """As a receipt has it."""
        ok: dict[str, Value] = {"size": self.size}
        if self.address is not None:
            address = self.address
            ok["address"] = {"url": address.url, "headers": dict(address.headers), "expires": address.expires}
        return ok

    @classmethod
    def read(cls, ok: Value) -> Self:
        """What a receipt says.

        Raises:
            Malformed: it is not what blob/allocate gives.
        """
        fields = Fields(ok, "blob/allocate")
        size = fields.take_size("size")
        address: dict[str, Value] | None = fields.take_nullable("address", dict) if fields.has("address") else None
        if address is None or address.get("url") == "":
            return cls(size, None)
        inner = Fields(address, "address")
        headers = inner.take("headers", dict)
        if len(headers) > _HEADERS_MAX or not all(map(_is_header, headers.items())):
            raise Malformed("address: headers that cannot be sent")
        return cls(size, Address(_url(inner.take("url", str)), headers, inner.take_size("expires")))


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What `BlobAccept` gives.

    Attributes:
        site: the location claim; its blocks are attached to the receipt.
    """

    site: CID

    def value(self) -> Value:
        """As a receipt has it."""
        return {"site": self.site}

    @classmethod
    def read(cls, ok: Value) -> Self:
        """What a receipt says.

        Raises:
            Malformed: it is not what blob/accept gives.
        """
        return cls(Fields(ok, "blob/accept").take("site", CID))


@dataclass(frozen=True, slots=True)
class BlobList:
    """What `SpaceBlobList` gives.

    Attributes:
        blobs: each with the time it was added, ISO 8601 in UTC.
        cursor: where to go on, or None at the end.
    """

    blobs: tuple[tuple[Blob, str], ...]
    cursor: str | None

    def value(self) -> Value:
        """As a receipt has it."""
        results: list[Value] = [{"blob": blob.map(), "insertedAt": added} for blob, added in self.blobs]
        end: dict[str, Value] = {} if self.cursor is None else {"cursor": self.cursor}
        return {"size": len(results), "results": results, **end}

    @classmethod
    def read(cls, ok: Value) -> Self:
        """What a receipt says.

        Raises:
            Malformed: it is not what space/blob/list gives.
        """
        fields = Fields(ok, "space/blob/list")
        results = [Fields(one, "result") for one in fields.take_list("results", dict, many=BLOBS_LISTED_MAX)]
        blobs = tuple((Blob.read(one, "blob"), one.take("insertedAt", str)) for one in results)
        return cls(blobs, fields.take_if("cursor", str))


def _url(text: str) -> str:
    if len(text) > URL_CHARS_MAX:
        raise Malformed("a URL is too long")
    return text


def _is_header(pair: tuple[object, object]) -> bool:
    name, value = pair
    return (
        isinstance(name, str)
        and isinstance(value, str)
        and len(name) + len(value) <= _HEADER_CHARS_MAX
        and (name + value).isascii()
        and (name + value).isprintable()
    )
