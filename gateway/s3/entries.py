"""Between stored entries and S3: an object's metadata into its entry, its entry into response headers."""

from __future__ import annotations

from gateway.s3.httpdate import format_http
from gateway.s3.metadata import ObjectMetadata
from mst import cbor
from mst.block import Block
from mst.cid import CID, DAG_CBOR
from mst.entry import Entry
from mst.limits import ENTRY_META_INLINE_BYTES_MAX


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
