"""Between stored entries and S3: the entry that a request names, metadata into an entry, an entry into headers."""

from __future__ import annotations

from gateway.s3.call import Call
from gateway.s3.errors import S3Error
from gateway.s3.httpdate import format_http
from gateway.s3.metadata import ObjectMetadata
from gateway.s3.versions import require_null_version
from mst import cbor
from mst.block import Block
from mst.cid import CID, DAG_CBOR
from mst.entry import Entry
from mst.limits import ENTRY_META_INLINE_BYTES_MAX


async def find_object(call: Call) -> Entry:
    """The entry of the object that the request names.

    Raises:
        S3Error: NoSuchKey, NoSuchVersion.
    """
    require_null_version(call.target.query.get("versionId"))
    entry = await call.front.store.get(call.bucket, call.key)
    if entry is None:
        raise S3Error("NoSuchKey", Key=call.key_text)
    return entry


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
