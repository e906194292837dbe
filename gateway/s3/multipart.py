"""Multipart uploads: parts are stored as they come; completing one lays their leaves out anew and moves no byte.

A part's blocks are durable in a bulk segment before its row is in the registry, so an upload survives a crash at any
point; the end of an upload is in the same registry transaction as the head that makes its object visible.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from aiohttp import web
from sqlalchemy import Connection

from gateway.s3 import checksums
from gateway.s3.body import Received, parse, read_document, receive, receive_copy
from gateway.s3.call import Call, state_headers
from gateway.s3.checksums import Algorithm, ChecksumType
from gateway.s3.copying import find_source
from gateway.s3.entries import make_entry
from gateway.s3.errors import S3Error
from gateway.s3.httpdate import format_iso
from gateway.s3.listing import page_limit
from gateway.s3.metadata import ObjectMetadata
from gateway.s3.page import after_prefix
from gateway.s3.preconditions import write_check
from gateway.s3.ranges import ByteRange, parse_copy_range
from gateway.s3.xml import PARTS_MAX, CompletedPart, parse_complete
from gateway.s3.xmltext import DECLARATION, NAMESPACE, escape, url_encode
from gateway.store.mutations import Put, Record
from mst import cbor
from mst.block import Block
from mst.cid import CID
from mst.entry import Entry
from mst.unixfs import FileBuilder
from registry import uploads
from registry.heads import Bucket
from registry.uploads import Leaf, Part, PartMissing, Upload

PART_BYTES_MIN = 5 * 1024**2
"""Smallest part of a completed upload but the last, in bytes."""
OBJECT_BYTES_MAX = 5 * 1024**4
"""Largest object, in bytes."""
_PART_DIGITS_MAX = 5


@dataclass(frozen=True, slots=True)
class _Plan:
    """What CreateMultipartUpload fixed for the upload: the object's metadata and its kind of checksum."""

    metadata: ObjectMetadata
    algorithm: Algorithm | None
    kind: ChecksumType

    def encode(self) -> bytes:
        """The plan as the registry keeps it."""
        algorithm = self.algorithm.value if self.algorithm else None
        return cbor.encode({"meta": self.metadata.stored, "algorithm": algorithm, "type": self.kind.value})

    @classmethod
    def decode(cls, encoded: bytes) -> _Plan:
        """The plan that `encode` wrote."""
        fields = cast("dict[str, cbor.Value]", cbor.decode(encoded))
        algorithm = Algorithm(fields["algorithm"]) if fields["algorithm"] else None
        metadata = ObjectMetadata(cast("Mapping[str, cbor.Value]", fields["meta"]))
        return cls(metadata, algorithm, ChecksumType(fields["type"]))


async def create_upload(call: Call) -> web.Response:
    """CreateMultipartUpload."""
    bucket = call.bucket
    asked = checksums.requested(call.headers)
    algorithm, kind = asked or (None, ChecksumType.FULL_OBJECT)
    plan = _Plan(ObjectMetadata.from_headers(call.headers), algorithm, kind).encode()
    owner, now_ms = call.owner.owner_id, call.front.clock_ms()

    def create(connection: Connection) -> Upload:
        return uploads.create(
            connection, instance=bucket.instance, key=call.key, owner=owner, meta=plan, now_ms=now_ms
        )

    done = await call.front.store.committer.submit(Record(create))
    upload = cast(Upload, done.value)
    headers = {}
    if algorithm is not None:
        headers = {"x-amz-checksum-algorithm": algorithm.value, "x-amz-checksum-type": kind.value}
    return call.xml(
        f'{DECLARATION}<InitiateMultipartUploadResult xmlns="{NAMESPACE}"><Bucket>{bucket.name}</Bucket>'
        f"<Key>{escape(call.key_text)}</Key><UploadId>{upload.upload_id}</UploadId></InitiateMultipartUploadResult>",
        headers,
    )


def _find_upload(call: Call) -> Upload:
    """The upload that the request names.

    Raises:
        S3Error: NoSuchUpload, there is none of that id for this bucket and key.
    """
    bucket = call.bucket
    upload_id = call.target.query["uploadId"]
    with call.front.store.database.read() as connection:
        upload = uploads.get(connection, upload_id)
    if upload is None or upload.instance != bucket.instance or upload.key != call.key:
        raise S3Error("NoSuchUpload", UploadId=upload_id)
    return upload


def _part_number(call: Call) -> int:
    text = call.target.query["partNumber"]
    if not (text.isascii() and text.isdigit() and len(text) <= _PART_DIGITS_MAX and 1 <= int(text) <= PARTS_MAX):
        raise S3Error(
            "InvalidArgument",
            f"Part number must be an integer between 1 and {PARTS_MAX}, inclusive",
            ArgumentName="partNumber",
            ArgumentValue=text,
        )
    return int(text)


async def upload_part(call: Call) -> web.Response:
    """UploadPart: replaces an earlier part of that number."""
    number = _part_number(call)
    upload = _find_upload(call)
    plan = _Plan.decode(upload.meta)
    received = await receive(call, part=True, algorithm=plan.algorithm)
    await _store_part(call, upload, number, received)
    headers = {"ETag": f'"{received.body.md5.hex()}"'} | received.headers()
    return call.answer(200, headers=headers)


async def _store_part(call: Call, upload: Upload, number: int, received: Received) -> int:
    """Note a part that has arrived; returns the time it was given, in milliseconds."""
    body = received.body
    sums = {received.algorithm.value: received.checksum} if received.algorithm else {}
    now_ms = call.front.clock_ms()
    part = Part(number, body.md5, body.size, sums, now_ms)
    leaves = [Leaf(*leaf) for leaf in body.leaves]
    await call.front.store.committer.submit(
        Record(lambda connection: uploads.put_part(connection, upload.upload_id, part, leaves))
    )
    return now_ms


async def copy_part(call: Call) -> web.Response:
    """UploadPartCopy: the source's bytes are read and hashed, for a part has an MD5 of its own."""
    number = _part_number(call)
    upload = _find_upload(call)
    plan = _Plan.decode(upload.meta)
    _, entry = await find_source(call)
    wanted = call.headers.get("x-amz-copy-source-range")
    chosen = ByteRange(0, entry.size) if wanted is None else parse_copy_range(wanted, entry.size)
    received = await receive_copy(call, entry, chosen, plan.algorithm)
    modified_ms = await _store_part(call, upload, number, received)
    return call.xml(
        f'{DECLARATION}<CopyPartResult xmlns="{NAMESPACE}"><LastModified>{format_iso(modified_ms)}</LastModified>'
        f"<ETag>&quot;{received.body.md5.hex()}&quot;</ETag>{_checksum_elements(received)}</CopyPartResult>"
    )


def _checksum_elements(received: Received) -> str:
    if received.algorithm is None:
        return ""
    name = f"Checksum{received.algorithm.value}"
    return f"<{name}>{checksums.format_checksum(received.checksum)}</{name}>"


async def abort_upload(call: Call) -> web.Response:
    """AbortMultipartUpload."""
    upload = _find_upload(call)
    await call.front.store.committer.submit(
        Record(lambda connection: uploads.delete(connection, upload.upload_id))
    )
    return call.answer(204)


async def complete_upload(call: Call) -> web.Response:
    """CompleteMultipartUpload: the parts named, in their order, become the object."""
    bucket = call.bucket
    check = write_check(call.headers)
    asked = await parse(await read_document(call, checksum_of_object=True), parse_complete)
    try:
        upload = _find_upload(call)
    except S3Error:
        if check is None and (done_before := await _completed_before(call, bucket, asked)):
            return done_before
        raise
    plan = _Plan.decode(upload.meta)
    claim = checksums.declared(call.headers, call.verified.payload, composite=True)
    store = call.front.store
    with store.database.read() as connection:
        parts = _chosen_parts(upload, asked, _all_parts(connection, upload.upload_id))
        try:
            leaves = [
                leaf for part in parts for leaf in uploads.read_leaves(connection, upload.upload_id, part.number)
            ]
        except PartMissing as error:  # replaced or aborted meanwhile
            raise S3Error("InvalidPart", UploadId=upload.upload_id, PartNumber=error.number) from error
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
    root, inner = _lay_out(leaves)
    etag = _etag_of([part.etag for part in parts])
    entry, blocks = make_entry(root, size, etag, call.front.clock_ms(), metadata)
    done = await store.committer.submit(
        Put(
            bucket.name,
            call.key,
            entry,
            (*inner, *blocks),
            check,
            record=lambda connection: uploads.delete(connection, upload.upload_id),
        )
    )
    assert done.bucket is not None
    return _completed(call, done.bucket, entry, metadata)


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


def _lay_out(leaves: Sequence[Leaf]) -> tuple[CID, list[Block]]:
    """The UnixFS file over leaves that are stored already: its root and its inner nodes."""
    builder = FileBuilder()
    inner: list[Block] = []
    for cid, size_bytes in leaves:
        inner += builder.add_leaf(cid, size_bytes)
    root, rest = builder.finish()
    return root, [*inner, *rest]


async def list_parts(call: Call) -> web.Response:
    """ListParts."""
    upload = _find_upload(call)
    limit = page_limit(call, "max-parts")
    after = page_limit(call, "part-number-marker", default=0, largest=PARTS_MAX)
    with call.front.store.database.read() as connection:
        page = uploads.list_parts(connection, upload.upload_id, after_number=after, limit=limit + 1)
    truncated = len(page) > limit
    page = page[:limit]
    plan = _Plan.decode(upload.meta)
    checksum = ""
    if plan.algorithm is not None:
        checksum = (
            f"<ChecksumAlgorithm>{plan.algorithm.value}</ChecksumAlgorithm>"
            f"<ChecksumType>{plan.kind.value}</ChecksumType>"
        )
    following = page[-1].number if page else after
    rows = "".join(
        f"<Part><PartNumber>{part.number}</PartNumber><LastModified>{format_iso(part.modified_ms)}</LastModified>"
        f"<ETag>&quot;{part.etag.hex()}&quot;</ETag><Size>{part.size_bytes}</Size>"
        + "".join(
            f"<Checksum{name}>{checksums.format_checksum(digest)}</Checksum{name}>"
            for name, digest in part.checksums.items()
        )
        + "</Part>"
        for part in page
    )
    return call.xml(
        f'{DECLARATION}<ListPartsResult xmlns="{NAMESPACE}"><Bucket>{call.bucket_name}</Bucket>'
        f"<Key>{escape(call.key_text)}</Key><UploadId>{upload.upload_id}</UploadId>"
        f"{_user('Initiator', call)}{_user('Owner', call)}<StorageClass>STANDARD</StorageClass>"
        f"<PartNumberMarker>{after}</PartNumberMarker><NextPartNumberMarker>{following}</NextPartNumberMarker>"
        f"<MaxParts>{limit}</MaxParts><IsTruncated>{str(truncated).lower()}</IsTruncated>{checksum}{rows}"
        "</ListPartsResult>"
    )


def _user(role: str, call: Call) -> str:
    owner = call.owner
    return f"<{role}><ID>{owner.owner_id}</ID><DisplayName>{escape(owner.display_name)}</DisplayName></{role}>"


async def list_uploads(call: Call) -> web.Response:
    """ListMultipartUploads: by key, then by age; keys that share a prefix up to the delimiter are one row."""
    bucket = call.bucket
    query = call.target.query
    prefix, delimiter = query.get("prefix", "").encode(), query.get("delimiter", "").encode()
    key_marker, id_marker = query.get("key-marker", ""), query.get("upload-id-marker", "")
    if query.get("encoding-type", "") not in ("", "url"):
        raise S3Error("InvalidArgument", ArgumentName="encoding-type", ArgumentValue=query["encoding-type"])
    show = url_encode if query.get("encoding-type") else escape
    limit = page_limit(call, "max-uploads")
    after_key = key_marker.encode() or None
    after_id = id_marker or None if after_key else None
    if after_key and delimiter and after_key.startswith(prefix):
        cut = after_key.find(delimiter, len(prefix))
        if cut >= 0 and cut + len(delimiter) == len(after_key):
            after_key, after_id = after_prefix(after_key), ""
    rows: list[Upload] = []
    groups: list[bytes] = []
    truncated = False
    with call.front.store.database.read() as connection:
        while limit:
            page = uploads.list_uploads(
                connection, bucket.instance, prefix=prefix, after_key=after_key, after_upload_id=after_id
            )
            for upload in page:
                cut = upload.key.find(delimiter, len(prefix)) if delimiter else -1
                group = upload.key[: cut + len(delimiter)] if cut >= 0 else None
                if group is not None and groups and groups[-1] == group:
                    continue
                if len(rows) + len(groups) >= limit:
                    truncated = True
                    break
                if group is None:
                    rows.append(upload)
                else:
                    groups.append(group)
            if truncated or len(page) < uploads.PAGE_MAX:
                break
            after_key, after_id = page[-1].key, page[-1].upload_id
    next_markers = ""
    if truncated:
        last_group = groups[-1] if groups else b""
        last_row = rows[-1].key if rows else b""
        last = max(last_group, last_row)
        next_markers = f"<NextKeyMarker>{show(last.decode())}</NextKeyMarker>"
        if last == last_row:
            next_markers += f"<NextUploadIdMarker>{rows[-1].upload_id}</NextUploadIdMarker>"
    uploads_shown = "".join(
        f"<Upload><Key>{show(upload.key.decode())}</Key><UploadId>{upload.upload_id}</UploadId>"
        f"{_user('Initiator', call)}{_user('Owner', call)}<StorageClass>STANDARD</StorageClass>"
        f"<Initiated>{format_iso(upload.created_ms)}</Initiated></Upload>"
        for upload in rows
    )
    prefixes = "".join(
        f"<CommonPrefixes><Prefix>{show(group.decode())}</Prefix></CommonPrefixes>" for group in groups
    )
    encoding = "<EncodingType>url</EncodingType>" if query.get("encoding-type") else ""
    return call.xml(
        f'{DECLARATION}<ListMultipartUploadsResult xmlns="{NAMESPACE}"><Bucket>{bucket.name}</Bucket>'
        f"<Prefix>{show(prefix.decode())}</Prefix><Delimiter>{show(delimiter.decode())}</Delimiter>{encoding}"
        f"<KeyMarker>{show(key_marker)}</KeyMarker><UploadIdMarker>{escape(id_marker)}</UploadIdMarker>"
        f"{next_markers}<MaxUploads>{limit}</MaxUploads><IsTruncated>{str(truncated).lower()}</IsTruncated>"
        f"{uploads_shown}{prefixes}</ListMultipartUploadsResult>"
    )
