"""CompleteMultipartUpload: the leaves of the parts are laid out anew as one file; no byte moves.

The end of the upload is in the same registry transaction as the head that makes its object visible.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from aiohttp import web
from sqlalchemy import Connection

from gateway.s3 import checksums
from gateway.s3.body import parse, read_document
from gateway.s3.call import Call, state_headers
from gateway.s3.checksums import ChecksumType, Declared
from gateway.s3.entries import make_entry
from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers
from gateway.s3.metadata import ObjectMetadata
from gateway.s3.preconditions import write_check
from gateway.s3.upload import UploadPlan, find_upload
from gateway.s3.xml import CompletedPart, parse_complete
from gateway.s3.xmltext import DECLARATION, NAMESPACE, escape
from gateway.store.mutations import Put
from mst.block import Block
from mst.entry import Entry
from mst.unixfs import FileBuilder
from registry import uploads
from registry.database import Database
from registry.heads import Bucket
from registry.uploads import Part, Upload

PART_BYTES_MIN = 5 * 1024**2
"""Smallest part of a completed upload but the last, in bytes."""
OBJECT_BYTES_MAX = 5 * 1024**4
"""Largest object, in bytes."""
_SIZE_DIGITS_MAX = 18


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the client says the object is to be.

    Attributes:
        parts: the parts named, in ascending order.
        claim: the object's checksum, if it is given.
        kind: the type of the object's checksum, if it is given.
        size_bytes: the object's length, if it is given.
    """

    parts: Sequence[CompletedPart]
    claim: Declared | None
    kind: ChecksumType | None
    size_bytes: int | None


async def complete_upload(call: Call) -> web.Response:
    """CompleteMultipartUpload: the parts named, in their order, become the object."""
    bucket = call.bucket
    check = write_check(call.headers)
    asked = await _asked(call)
    try:
        upload = find_upload(call)
    except S3Error:
        if check is None and (done_before := await _completed_before(call, bucket, asked.parts)):
            return done_before
        raise
    store = call.front.store
    entry, metadata, blocks = await asyncio.to_thread(_assemble, store.database, upload, asked, call.front.clock_ms())
    done = await store.committer.submit(
        Put(
            bucket.name,
            call.key,
            entry,
            blocks,
            check,
            record=partial(uploads.delete, upload_id=upload.upload_id),
        )
    )
    assert done.bucket is not None
    return _completed(call, done.bucket, entry, metadata)


async def _asked(call: Call) -> _Asked:
    """Read the request.

    Raises:
        S3Error: it is not what a CompleteMultipartUpload looks like.
    """
    headers = call.headers
    claim = checksums.declared(headers, call.verified.payload, composite=True)
    type_name = headers.get("x-amz-checksum-type")
    kind = None if type_name is None else checksums.parse_type(type_name)
    size_bytes = _object_size(headers)
    parts = await parse(await read_document(call, checksum_of_object=True), parse_complete)
    return _Asked(parts, claim, kind, size_bytes)


def _object_size(headers: Headers) -> int | None:
    text = headers.get("x-amz-mp-object-size")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _SIZE_DIGITS_MAX):
        raise S3Error("InvalidRequest", f"Value for x-amz-mp-object-size header is invalid: '{text}'")
    return int(text)


def _assemble(
    database: Database, upload: Upload, asked: _Asked, now_ms: int
) -> tuple[Entry, ObjectMetadata, tuple[Block, ...]]:
    """The object's entry and metadata, and the blocks it needs besides its leaves.

    Blocking: 10,000 parts take a second.

    Raises:
        S3Error: the parts are not what the client says, or make no object.
    """
    plan = UploadPlan.decode(upload.meta)
    with database.read() as connection:
        parts = _chosen_parts(upload, plan, asked.parts, _all_parts(connection, upload.upload_id))
        size = sum(part.size_bytes for part in parts)
        _check_size(asked, size)
        digest = _check_checksum(plan, asked, parts)
        builder = FileBuilder()
        inner: list[Block] = []
        for part in parts:
            for leaf in uploads.read_leaves(connection, upload.upload_id, part.number):
                inner += builder.add_leaf(leaf.cid, leaf.size_bytes)
    root, rest = builder.finish()
    metadata = plan.metadata.with_parts([part.number for part in parts], [part.size_bytes for part in parts])
    metadata = metadata.with_checksum(plan.object_algorithm, digest, plan.kind)
    entry, blocks = make_entry(root, size, _etag_of([part.etag for part in parts]), now_ms, metadata)
    return entry, metadata, (*inner, *rest, *blocks)


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


def _chosen_parts(
    upload: Upload, plan: UploadPlan, asked: Sequence[CompletedPart], stored: Mapping[int, Part]
) -> list[Part]:
    """The stored parts that the client names, each as the client says it is.

    Raises:
        S3Error: InvalidPart, EntityTooSmall; InvalidRequest, BadDigest for checksums that lack or do not belong.
    """
    chosen = []
    for place, wanted in enumerate(asked):
        part = stored.get(wanted.number)
        if part is None or part.etag.hex() != wanted.etag.lower():
            raise _invalid_part(upload, wanted)
        _check_part_checksum(upload, plan, wanted, part)
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


def _invalid_part(upload: Upload, wanted: CompletedPart) -> S3Error:
    return S3Error("InvalidPart", UploadId=upload.upload_id, PartNumber=wanted.number, ETag=wanted.etag)


def _check_part_checksum(upload: Upload, plan: UploadPlan, wanted: CompletedPart, part: Part) -> None:
    if wanted.checksum is None:
        if plan.kind is ChecksumType.COMPOSITE:
            raise S3Error(
                "InvalidRequest",
                f"The upload was created using a {plan.object_algorithm.value.lower()} checksum. The complete request"
                f" must include the checksum for each part. It was missing for part {wanted.number} in the request.",
            )
        return
    name = wanted.checksum.algorithm.value
    if name not in part.checksums:
        raise S3Error(
            "BadDigest", f"The {name.lower()} you specified for part {wanted.number} did not match what we received."
        )
    if part.checksums[name] != wanted.checksum.digest:
        raise _invalid_part(upload, wanted)


def _check_size(asked: _Asked, size: int) -> None:
    if size > OBJECT_BYTES_MAX:
        raise S3Error("EntityTooLarge", ProposedSize=size, MaxSizeAllowed=OBJECT_BYTES_MAX)
    if asked.size_bytes not in (None, size):
        raise S3Error(
            "InvalidRequest",
            f"The provided 'x-amz-mp-object-size' header value {asked.size_bytes} does not match what was computed:"
            f" {size}",
        )


def _check_checksum(plan: UploadPlan, asked: _Asked, parts: Sequence[Part]) -> bytes:
    """The object's checksum, which is what the client says it is.

    Raises:
        S3Error: InvalidRequest, another kind of checksum than the upload was begun with; BadDigest.
    """
    if asked.kind not in (None, plan.kind):
        raise S3Error(
            "InvalidRequest",
            f"The upload was created using the {plan.kind.value} checksum mode. The complete request must use the same"
            " checksum mode.",
        )
    algorithm = plan.object_algorithm
    pairs = [(part.checksums[algorithm.value], part.size_bytes) for part in parts]
    digest = checksums.of_parts(algorithm, plan.kind, pairs)
    if asked.claim is not None:
        checksums.check_whole(asked.claim, algorithm, plan.kind, digest, len(parts))
    return digest
