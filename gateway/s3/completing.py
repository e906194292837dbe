"""CompleteMultipartUpload: the leaves of the parts are laid out anew as one file; no byte moves.

The end of the upload is in the same registry transaction as the head that makes its object visible.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from functools import partial

from aiohttp import web
from sqlalchemy import Connection

from gateway.s3 import checksums
from gateway.s3.body import parse, read_document
from gateway.s3.call import Call, state_headers
from gateway.s3.entries import make_entry
from gateway.s3.errors import S3Error
from gateway.s3.metadata import ObjectMetadata
from gateway.s3.preconditions import write_check
from gateway.s3.upload import UploadPlan, find_upload
from gateway.s3.xml import CompletedPart, parse_complete
from gateway.s3.xmltext import DECLARATION, NAMESPACE, escape
from gateway.store.mutations import Put
from mst.block import Block
from mst.cid import CID
from mst.entry import Entry
from mst.unixfs import FileBuilder
from registry import uploads
from registry.database import Database
from registry.heads import Bucket
from registry.uploads import Part, PartMissing, Upload

PART_BYTES_MIN = 5 * 1024**2
"""Smallest part of a completed upload but the last, in bytes."""
OBJECT_BYTES_MAX = 5 * 1024**4
"""Largest object, in bytes."""


async def complete_upload(call: Call) -> web.Response:
    """CompleteMultipartUpload: the parts named, in their order, become the object."""
    bucket = call.bucket
    check = write_check(call.headers)
    asked = await parse(await read_document(call, checksum_of_object=True), parse_complete)
    try:
        upload = find_upload(call)
    except S3Error:
        if check is None and (done_before := await _completed_before(call, bucket, asked)):
            return done_before
        raise
    plan = UploadPlan.decode(upload.meta)
    claim = checksums.declared(call.headers, call.verified.payload, composite=True)
    store = call.front.store
    parts, root, inner = await asyncio.to_thread(_assemble, store.database, upload, asked)
    size = sum(part.size_bytes for part in parts)
    _check_size(call, size)
    metadata = plan.metadata.with_parts([part.number for part in parts], [part.size_bytes for part in parts])
    if plan.algorithm is not None:
        digest = checksums.of_parts(
            plan.algorithm,
            plan.kind,
            [(part.checksums[plan.algorithm.value], part.size_bytes) for part in parts],
        )
        if claim is not None and claim.algorithm is plan.algorithm:
            claim.check(digest)
        metadata = metadata.with_checksum(plan.algorithm, digest, plan.kind)
    etag = _etag_of([part.etag for part in parts])
    entry, blocks = make_entry(root, size, etag, call.front.clock_ms(), metadata)
    done = await store.committer.submit(
        Put(
            bucket.name,
            call.key,
            entry,
            (*inner, *blocks),
            check,
            record=partial(uploads.delete, upload_id=upload.upload_id),
        )
    )
    assert done.bucket is not None
    return _completed(call, done.bucket, entry, metadata)


def _assemble(
    database: Database, upload: Upload, asked: Sequence[CompletedPart]
) -> tuple[list[Part], CID, list[Block]]:
    """The parts named, the root of the file they make, and its inner nodes.  Blocking: 10,000 parts take a second.

    Raises:
        S3Error: InvalidPart, EntityTooSmall.
    """
    with database.read() as connection:
        parts = _chosen_parts(upload, asked, _all_parts(connection, upload.upload_id))
        builder = FileBuilder()
        inner: list[Block] = []
        try:
            for part in parts:
                for leaf in uploads.read_leaves(connection, upload.upload_id, part.number):
                    inner += builder.add_leaf(leaf.cid, leaf.size_bytes)
        except PartMissing as error:  # replaced or aborted meanwhile
            raise S3Error("InvalidPart", UploadId=upload.upload_id, PartNumber=error.number) from error
    root, rest = builder.finish()
    return parts, root, [*inner, *rest]


async def _completed_before(call: Call, bucket: Bucket, asked: Sequence[CompletedPart]) -> web.Response | None:
    """The answer to a client that did not get the first one: the object is there, made of exactly these parts.

    The upload itself is gone by then, but the ETag of an object is a digest of the ETags of its parts.
    """
    store = call.front.store
    entry = await store.get(bucket, call.key)
    try:
        etag = _etag_of([bytes.fromhex(part.etag) for part in asked])
    except ValueError:
        return None
    if entry is None or entry.etag != etag:
        return None
    return _completed(call, bucket, entry, ObjectMetadata(await store.meta(entry)))


def _etag_of(parts: Sequence[bytes]) -> bytes:
    """The ETag of an object, as its entry has it, from those of its parts."""
    return hashlib.md5(b"".join(parts), usedforsecurity=False).digest() + len(parts).to_bytes(2, "big")


def _completed(call: Call, bucket: Bucket, entry: Entry, metadata: ObjectMetadata) -> web.Response:
    sums = "".join(f"<Checksum{a.value}>{text}</Checksum{a.value}>" for a, text in metadata.checksums.items())
    if sums:
        sums += f"<ChecksumType>{metadata.checksum_type.value}</ChecksumType>"
    location = escape(f"http://{call.headers.get('host', '')}{call.target.raw_path}")
    return call.xml(
        f'{DECLARATION}<CompleteMultipartUploadResult xmlns="{NAMESPACE}"><Location>{location}</Location>'
        f"<Bucket>{bucket.name}</Bucket><Key>{escape(call.key_text)}</Key>"
        f"<ETag>&quot;{entry.etag_text}&quot;</ETag>{sums}</CompleteMultipartUploadResult>",
        {"x-ms3t-cid": str(entry.body)} | state_headers(bucket),
    )


def _all_parts(connection: Connection, upload_id: str) -> dict[int, Part]:
    found: dict[int, Part] = {}
    after = 0
    while page := uploads.list_parts(connection, upload_id, after_number=after):
        found.update((part.number, part) for part in page)
        after = page[-1].number
    return found


def _chosen_parts(upload: Upload, asked: Sequence[CompletedPart], stored: dict[int, Part]) -> list[Part]:
    """The stored parts that the client names, each as the client says it is.

    Raises:
        S3Error: InvalidPart, EntityTooSmall.
    """
    chosen = []
    for place, wanted in enumerate(asked):
        part = stored.get(wanted.number)
        agreed = part is not None and part.etag.hex() == wanted.etag.lower()
        if part is None or not agreed or not _checksums_agree(wanted, part):
            raise S3Error(
                "InvalidPart", UploadId=upload.upload_id, PartNumber=wanted.number, ETag=wanted.etag
            )
        if part.size_bytes < PART_BYTES_MIN and place + 1 < len(asked):
            raise S3Error(
                "EntityTooSmall",
                ProposedSize=part.size_bytes,
                MinSizeAllowed=PART_BYTES_MIN,
                PartNumber=part.number,
                ETag=wanted.etag,
            )
        chosen.append(part)
    return chosen


def _checksums_agree(wanted: CompletedPart, part: Part) -> bool:
    return all(
        part.checksums.get(claim.algorithm.value, claim.digest) == claim.digest for claim in wanted.checksums
    )


def _check_size(call: Call, size: int) -> None:
    if size > OBJECT_BYTES_MAX:
        raise S3Error("EntityTooLarge", ProposedSize=size, MaxSizeAllowed=OBJECT_BYTES_MAX)
    expected = call.headers.get("x-amz-mp-object-size")
    if expected is not None and expected != str(size):
        raise S3Error(
            "InvalidRequest",
            f"The provided 'x-amz-mp-object-size' header value {expected} does not match what was computed: {size}",
        )
