"""ListObjects and ListObjectsV2: parameters in, one page of the tree, XML out; and what all listings share."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from aiohttp import web

from gateway.s3.call import Call
from gateway.s3.errors import S3Error
from gateway.s3.httpdate import format_iso
from gateway.s3.owners import owner_element
from gateway.s3.page import Page, collect, start_after
from gateway.s3.xmltext import DECLARATION, NAMESPACE, escape, url_encode
from mst.entry import etag_text, facts

KEYS_MAX = 1000
"""Most keys and common prefixes of one page, whatever is asked for."""
_NUMBER_MAX = 2**31 - 1
_DIGITS_MAX = 10
_TOKEN_VERSION = b"\x01"
_OPTIONAL = "x-amz-optional-object-attributes"

Show: TypeAlias = Callable[[str], str]
"""How keys and prefixes appear in the XML: escaped, or percent-encoded with encoding-type=url."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The parameters that all listings share.

    Attributes:
        prefix: what every key must start with.
        delimiter: see `gateway.s3.page.collect`.
        limit: most rows of the page.
        show: how keys appear in the answer.
        encoding: the encoding that was asked for, if any.
    """

    prefix: bytes
    delimiter: bytes
    limit: int
    show: Show
    encoding: str

    @classmethod
    def of(cls, call: Call) -> Wanted:
        """The parameters of a request.

        Raises:
            S3Error: InvalidArgument, one of them is none.
        """
        query = call.target.query
        encoding = query.get("encoding-type", "")
        if encoding not in ("", "url"):
            raise S3Error(
                "InvalidArgument", "Invalid Encoding Method specified in Request",
                ArgumentName="encoding-type", ArgumentValue=encoding,
            )  # fmt: skip
        optional = call.headers.get(_OPTIONAL, "")
        if optional not in ("", "RestoreStatus"):  # which no object has here: none is ever archived
            raise S3Error(
                "InvalidArgument", "Invalid attribute name specified.",
                ArgumentName=_OPTIONAL, ArgumentValue=optional,
            )  # fmt: skip
        return cls(
            query.get("prefix", "").encode(),
            query.get("delimiter", "").encode(),
            page_limit(call, "max-keys"),
            url_encode if encoding else escape,
            encoding,
        )

    def head(self) -> str:
        """The elements that repeat the parameters."""
        parts = [f"<Prefix>{self.show(self.prefix.decode())}</Prefix>"]
        if self.delimiter:
            parts.append(f"<Delimiter>{self.show(self.delimiter.decode())}</Delimiter>")
        if self.encoding:
            parts.append(f"<EncodingType>{self.encoding}</EncodingType>")
        return "".join(parts)


def page_limit(call: Call, name: str, default: int = KEYS_MAX, largest: int = KEYS_MAX) -> int:
    """The number that the parameter ``name`` gives, ``default`` without it, at most ``largest``.

    Raises:
        S3Error: InvalidArgument, not a number from 0 to 2**31 - 1.
    """
    text = call.target.query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX and int(text) <= _NUMBER_MAX):
        raise S3Error(
            "InvalidArgument",
            f"Argument {name} must be an integer between 0 and {_NUMBER_MAX}",
            ArgumentName=name,
            ArgumentValue=text,
        )
    return min(int(text), largest)


async def list_objects(call: Call) -> web.Response:
    """ListObjects (version 1): NextMarker only with a delimiter, as S3 has it."""
    wanted = Wanted.of(call)
    marker = call.target.query.get("marker", "")
    start = start_after(marker.encode(), wanted.prefix, wanted.delimiter)
    page = await _page(call, wanted, start)
    next_marker = ""
    if page.resume is not None and wanted.delimiter:
        next_marker = f"<NextMarker>{wanted.show(page.last.decode())}</NextMarker>"
    return call.xml(
        f'{DECLARATION}<ListBucketResult xmlns="{NAMESPACE}"><Name>{call.bucket_name}</Name>'
        f"{wanted.head()}<Marker>{wanted.show(marker)}</Marker>{next_marker}"
        f"<MaxKeys>{wanted.limit}</MaxKeys>{truncated_element(page)}"
        f"{_contents(page, wanted.show, owner_element(call))}{prefix_elements(page, wanted.show)}</ListBucketResult>"
    )


async def list_objects_v2(call: Call) -> web.Response:
    """ListObjectsV2: an opaque token that names the exact key to go on from; it beats start-after."""
    query = call.target.query
    if query["list-type"] != "2":
        raise S3Error("InvalidArgument", ArgumentName="list-type", ArgumentValue=query["list-type"])
    wanted = Wanted.of(call)
    token = query.get("continuation-token")
    after = query.get("start-after", "")
    start = (
        start_after(after.encode(), wanted.prefix, wanted.delimiter)
        if token is None
        else decode_token(token, "continuation-token")
    )
    page = await _page(call, wanted, start)
    echo = "" if token is None else f"<ContinuationToken>{escape(token)}</ContinuationToken>"
    if page.resume is not None:
        echo += f"<NextContinuationToken>{encode_token(page.resume)}</NextContinuationToken>"
    if after:
        echo += f"<StartAfter>{wanted.show(after)}</StartAfter>"
    owner = owner_element(call) if query.get("fetch-owner") == "true" else ""
    return call.xml(
        f'{DECLARATION}<ListBucketResult xmlns="{NAMESPACE}"><Name>{call.bucket_name}</Name>'
        f"{wanted.head()}{echo}<KeyCount>{len(page.rows) + len(page.prefixes)}</KeyCount>"
        f"<MaxKeys>{wanted.limit}</MaxKeys>{truncated_element(page)}"
        f"{_contents(page, wanted.show, owner)}{prefix_elements(page, wanted.show)}</ListBucketResult>"
    )


async def _page(call: Call, wanted: Wanted, start: bytes) -> Page:
    walk = call.front.store.trees.walk(call.bucket)
    return await collect(walk, start, wanted.prefix, wanted.delimiter, wanted.limit)


def _contents(page: Page, show: Show, owner: str) -> str:
    return "".join(
        [
            f"<Contents><Key>{show(key.decode())}</Key>{facts_elements(value)}{owner}</Contents>"
            for key, value in page.rows
        ]
    )


def facts_elements(value: bytes) -> str:
    """What a listing says of an encoded entry."""
    size, mtime_ms, etag = facts(value)
    return (
        f"<LastModified>{format_iso(mtime_ms)}</LastModified><ETag>&quot;{etag_text(etag)}&quot;</ETag>"
        f"<Size>{size}</Size><StorageClass>STANDARD</StorageClass>"
    )


def prefix_elements(page: Page, show: Show) -> str:
    """The common prefixes of a page."""
    return "".join(
        [f"<CommonPrefixes><Prefix>{show(prefix.decode())}</Prefix></CommonPrefixes>" for prefix in page.prefixes]
    )


def truncated_element(page: Page) -> str:
    """Whether there is a next page."""
    return f"<IsTruncated>{'false' if page.resume is None else 'true'}</IsTruncated>"


def encode_token(resume: bytes) -> str:
    """The opaque continuation token for a page that begins at ``resume``."""
    return base64.urlsafe_b64encode(_TOKEN_VERSION + resume).decode()


def decode_token(token: str, name: str) -> bytes:
    """Where the page of ``token`` begins.

    Raises:
        S3Error: InvalidArgument, the token (the parameter ``name``) is none of ours.
    """
    try:
        decoded = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        decoded = b""
    if decoded[:1] != _TOKEN_VERSION:
        raise S3Error(
            "InvalidArgument", f"The {name.replace('-', ' ')} provided is incorrect",
            ArgumentName=name, ArgumentValue=token,
        )  # fmt: skip
    return decoded[1:]
