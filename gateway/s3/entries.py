"""Between stored entries and S3: the entry that a request names, metadata into an entry, an entry into headers."""

from __future__ import annotations

from typing import NamedTuple

from gateway.s3.call import Call
from gateway.s3.errors import S3Error
from gateway.s3.httpdate import format_http
from gateway.s3.metadata import ObjectMetadata
from gateway.s3.versions import format_version, marker_headers, parse_version, read_headers
from mst import cbor
from mst.block import Block
from mst.cid import CID, DAG_CBOR
from mst.entry import Entry
from mst.limits import ENTRY_META_INLINE_BYTES_MAX
from mst.version import is_marker
from registry.heads import Bucket


class Found(NamedTuple):
    """An object that was read.

    Attributes:
        entry: its entry.
        headers: what tells which version it is, where versions are kept.
    """

    entry: Entry
    headers: dict[str, str]


async def find_object(call: Call) -> Found:
    """The object that the request names: the current one, or one version.

    Raises:
        S3Error: NoSuchKey; NoSuchVersion; MethodNotAllowed for a delete marker that is named by its version id.
    """
    number = parse_version(call.target.query.get("versionId"))
    bucket = call.bucket
    store = call.front.store
    if number is None:
        entry = await store.trees.get(bucket, call.key)
        if entry is None:
            raise await _no_such_key(call, bucket)
    else:
        entry = await store.trees.get_version(bucket, call.key, number)
        if entry is None:
            raise S3Error("NoSuchVersion", Key=call.key_text, VersionId=format_version(number))
        if is_marker(entry):
            modified = {"Last-Modified": format_http(entry.mtime_ms // 1000), "Allow": "DELETE"}
            refusal = S3Error("MethodNotAllowed", Method=call.request.method, ResourceType="DeleteMarker")
            raise refusal.with_headers(marker_headers(entry) | modified)
    return Found(entry, read_headers(bucket, entry))


async def _no_such_key(call: Call, bucket: Bucket) -> S3Error:
    """The refusal of a key without an object; it tells of the delete marker if there is one."""
    refusal = S3Error("NoSuchKey", Key=call.key_text)
    marker = await call.front.store.trees.newest_version(bucket, call.key)
    return refusal if marker is None else refusal.with_headers(marker_headers(marker))


def make_entry(
    body: CID, size: int, etag: bytes, mtime_ms: int, metadata: ObjectMetadata
) -> tuple[Entry, tuple[Block, ...]]:
    """The entry of a new object, and the block of its metadata if that is too large to be inline.

    Args:
        body: the body's CID.
        size: its length in bytes.
        etag: 16 bytes (MD5) or 18 (with the number of parts).
        mtime_ms: now, milliseconds.
        metadata: what is kept with it.
    """
    if not metadata.stored:
        return Entry(body, size, mtime_ms, etag, None), ()
    encoded = cbor.encode(metadata.stored)
    if len(encoded) <= ENTRY_META_INLINE_BYTES_MAX:
        return Entry(body, size, mtime_ms, etag, metadata.stored), ()
    block = Block.of(DAG_CBOR, encoded)
    return Entry(body, size, mtime_ms, etag, block.cid), (block,)


def quoted_etag(entry: Entry) -> str:
    """The ETag as headers carry it."""
    return f'"{entry.etag_text}"'


def identity_headers(entry: Entry) -> dict[str, str]:
    """What names an object's exact content and age."""
    return {
        "ETag": quoted_etag(entry),
        "Last-Modified": format_http(entry.mtime_ms // 1000),
        "Accept-Ranges": "bytes",
        "x-ms3t-cid": str(entry.body),
    }
