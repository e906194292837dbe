"""CopyObject: a new key for the same blocks; no byte of the body moves."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from aiohttp import web

from gateway.s3 import checksums, claims
from gateway.s3.call import Call, state_headers
from gateway.s3.checksums import ChecksumType
from gateway.s3.entries import make_entry
from gateway.s3.errors import S3Error
from gateway.s3.httpdate import format_iso
from gateway.s3.metadata import ObjectMetadata
from gateway.s3.preconditions import check_copy_source, write_check
from gateway.s3.target import CopySource, parse_copy_source
from gateway.s3.versions import HEADER, format_version, parse_version, read_headers, refuse_version_id
from gateway.s3.xmltext import DECLARATION, NAMESPACE
from gateway.store.mutations import Put
from mst.entry import Entry
from mst.version import is_marker
from registry.heads import UNVERSIONED

OBJECT_BYTES_MAX = 5 * 1024**3
"""Largest object CopyObject takes, in bytes: clients copy larger ones part by part."""

_CHANGES = frozenset({"x-amz-storage-class", "x-amz-website-redirect-location"})
"""Headers that make a copy of an object to itself a change."""


class Source(NamedTuple):
    """The source of a copy.

    Attributes:
        named: what the request says of it.
        entry: the object.
        headers: what tells which version it is, where versions are kept.
    """

    named: CopySource
    entry: Entry
    headers: dict[str, str]


async def find_source(call: Call) -> Source:
    """The object that the copy-source header names, after its conditions.

    Raises:
        S3Error: it does not exist, or a condition on it does not hold.
    """
    named = parse_copy_source(call.headers["x-amz-copy-source"])
    number = parse_version(named.version_id, "x-amz-copy-source")
    store = call.front.store
    bucket = store.bucket(named.bucket)
    key = named.key.encode()
    entry = await (store.trees.get(bucket, key) if number is None else store.trees.get_version(bucket, key, number))
    if entry is None:
        raise S3Error("NoSuchKey" if number is None else "NoSuchVersion", Key=named.key)
    if is_marker(entry):
        raise S3Error(
            "InvalidRequest",
            "The source of a copy request may not specifically refer to a delete marker by version id.",
        )
    check_copy_source(call.headers, entry.etag_text, entry.mtime_ms, call.front.clock_ms())
    return Source(named, entry, read_headers(bucket, entry, "x-amz-copy-source-version-id"))


def _replaces(call: Call, directive: str) -> bool:
    value = call.headers.get(directive, "COPY").upper()
    if value not in ("COPY", "REPLACE"):
        raise S3Error("InvalidArgument", "Unknown directive.", ArgumentName=directive, ArgumentValue=value)
    return value == "REPLACE"


async def _with_requested_checksum(call: Call, entry: Entry, metadata: ObjectMetadata) -> ObjectMetadata:
    """The metadata with the checksum that the request asks for; the body is read only if it has no such one yet."""
    name = call.headers.get("x-amz-checksum-algorithm")
    if name is None:
        return metadata
    algorithm = claims.parse_algorithm(name)
    if algorithm in metadata.checksums and metadata.checksum_type is ChecksumType.FULL_OBJECT:
        return metadata
    hasher = checksums.new(algorithm)
    async for piece in call.front.store.read_body(entry, 0, entry.size):
        await asyncio.to_thread(hasher.update, piece)
    return metadata.with_checksum(algorithm, hasher.digest())


async def copy_object(call: Call) -> web.Response:
    """CopyObject: metadata comes along, or is replaced by the request's; tags likewise, by a directive of their own."""
    refuse_version_id(call)
    bucket = call.bucket
    replaces = _replaces(call, "x-amz-metadata-directive")
    replaces_tags = _replaces(call, "x-amz-tagging-directive")
    check = write_check(call.headers)
    source, entry, source_headers = await find_source(call)
    if entry.size > OBJECT_BYTES_MAX:
        raise S3Error("InvalidRequest", "The specified copy source is larger than the maximum allowable size.")
    brings_back = source.version_id is not None and bucket.versioning != UNVERSIONED
    if (source.bucket, source.key) == (bucket.name, call.key_text) and not (
        replaces or brings_back or not call.headers.keys().isdisjoint(_CHANGES)
    ):
        raise S3Error(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without changing the"
            " object's metadata, storage class, website redirect location or encryption attributes.",
        )
    stored = ObjectMetadata(await call.front.store.trees.meta(entry))
    asked = ObjectMetadata.from_headers(call.headers)
    metadata = stored.copied(asked, replaces=replaces, replaces_tags=replaces_tags)
    metadata = await _with_requested_checksum(call, entry, metadata)
    copy, blocks = make_entry(entry.body, entry.size, entry.etag, call.front.clock_ms(), metadata)
    done = await call.front.store.committer.submit(Put(bucket.name, call.key, copy, blocks, check))
    sums = "".join(
        f"<Checksum{algorithm.value}>{text}</Checksum{algorithm.value}>"
        for algorithm, text in metadata.checksums.items()
    )
    if sums:
        sums += f"<ChecksumType>{metadata.checksum_type.value}</ChecksumType>"
    # Unlike PutObject it names the null version too, as S3 does.
    made = {} if done.version is None else {HEADER: format_version(done.version)}
    return call.xml(
        f'{DECLARATION}<CopyObjectResult xmlns="{NAMESPACE}"><LastModified>{format_iso(copy.mtime_ms)}</LastModified>'
        f"<ETag>&quot;{copy.etag_text}&quot;</ETag>{sums}</CopyObjectResult>",
        {"x-ms3t-cid": str(copy.body)} | source_headers | made | state_headers(done.bucket),
    )
