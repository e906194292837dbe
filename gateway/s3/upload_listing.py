"""ListParts and ListMultipartUploads."""

from __future__ import annotations

import asyncio

from aiohttp import web

from gateway.s3 import checksums
from gateway.s3.call import Call
from gateway.s3.checksums import Algorithm
from gateway.s3.errors import S3Error
from gateway.s3.httpdate import format_iso
from gateway.s3.listing import Show, page_limit
from gateway.s3.upload import UploadPlan, find_upload
from gateway.s3.upload_page import UploadPage, collect, marker_of
from gateway.s3.xml import PARTS_MAX
from gateway.s3.xmltext import DECLARATION, NAMESPACE, escape, url_encode
from registry import uploads
from registry.uploads import Part, Upload, is_upload_id


async def list_parts(call: Call) -> web.Response:
    """ListParts."""
    upload = find_upload(call)
    limit = page_limit(call, "max-parts")
    after = page_limit(call, "part-number-marker", default=0, largest=PARTS_MAX)
    with call.front.store.database.read() as connection:
        page = uploads.list_parts(connection, upload.upload_id, after_number=after, limit=limit + 1)
    truncated = len(page) > limit > 0
    page = page[:limit]
    plan = UploadPlan.decode(upload.meta)
    following = page[-1].number if page else after
    rows = "".join(_part_row(part, plan.algorithm) for part in page)
    return call.xml(
        f'{DECLARATION}<ListPartsResult xmlns="{NAMESPACE}"><Bucket>{call.bucket_name}</Bucket>'
        f"<Key>{escape(call.key_text)}</Key><UploadId>{upload.upload_id}</UploadId>"
        f"{_users(upload, plan)}<StorageClass>{plan.metadata.storage_class}</StorageClass>"
        f"<PartNumberMarker>{after}</PartNumberMarker><NextPartNumberMarker>{following}</NextPartNumberMarker>"
        f"<MaxParts>{limit}</MaxParts><IsTruncated>{str(truncated).lower()}</IsTruncated>"
        f"{_checksum_asked(plan)}{rows}</ListPartsResult>"
    )


def _part_row(part: Part, algorithm: Algorithm | None) -> str:
    """One part; its checksum only if its upload asked for one."""
    checksum = checksums.element(algorithm, part.checksums[algorithm.value]) if algorithm else ""
    return (
        f"<Part><PartNumber>{part.number}</PartNumber><LastModified>{format_iso(part.modified_ms)}</LastModified>"
        f"<ETag>&quot;{part.etag.hex()}&quot;</ETag><Size>{part.size_bytes}</Size>{checksum}</Part>"
    )


def _checksum_asked(plan: UploadPlan) -> str:
    if plan.algorithm is None:
        return ""
    return (
        f"<ChecksumAlgorithm>{plan.algorithm.value}</ChecksumAlgorithm><ChecksumType>{plan.kind.value}</ChecksumType>"
    )


def _users(upload: Upload, plan: UploadPlan) -> str:
    """Who began the upload, and so will own its object."""
    user = f"<ID>{escape(upload.owner)}</ID><DisplayName>{escape(plan.owner_name)}</DisplayName>"
    return f"<Initiator>{user}</Initiator><Owner>{user}</Owner>"


async def list_uploads(call: Call) -> web.Response:
    """ListMultipartUploads: by key, then by age; keys that share a prefix up to the delimiter are one row."""
    bucket = call.bucket
    query = call.target.query
    prefix, delimiter = query.get("prefix", "").encode(), query.get("delimiter", "").encode()
    key_marker, id_marker = query.get("key-marker", ""), query.get("upload-id-marker", "")
    encoding = query.get("encoding-type", "")
    if encoding not in ("", "url"):
        raise S3Error(
            "InvalidArgument", "Invalid Encoding Method specified in Request",
            ArgumentName="encoding-type", ArgumentValue=encoding,
        )  # fmt: skip
    if key_marker and id_marker and not is_upload_id(id_marker):
        raise S3Error(
            "InvalidArgument", "Invalid uploadId marker", ArgumentName="upload-id-marker", ArgumentValue=id_marker
        )
    limit = page_limit(call, "max-uploads")
    start = marker_of(key_marker.encode(), id_marker or None, prefix, delimiter)
    show = url_encode if encoding else escape

    def document() -> str:
        with call.front.store.database.read() as connection:
            page = collect(connection, bucket.instance, start, prefix, delimiter, limit)
        head = f"<Prefix>{show(prefix.decode())}</Prefix>"
        if delimiter:
            head += f"<Delimiter>{show(delimiter.decode())}</Delimiter>"
        if encoding:
            head += f"<EncodingType>{encoding}</EncodingType>"
        return (
            f'{DECLARATION}<ListMultipartUploadsResult xmlns="{NAMESPACE}"><Bucket>{bucket.name}</Bucket>{head}'
            f"<KeyMarker>{show(key_marker)}</KeyMarker><UploadIdMarker>{escape(id_marker)}</UploadIdMarker>"
            f"{_next(page, show)}<MaxUploads>{limit}</MaxUploads>"
            f"<IsTruncated>{str(page.truncated).lower()}</IsTruncated>"
            f"{_rows(page, show)}</ListMultipartUploadsResult>"
        )

    return call.xml(await asyncio.to_thread(document))


def _next(page: UploadPage, show: Show) -> str:
    if not page.truncated or page.last.key is None:
        return ""
    return (
        f"<NextKeyMarker>{show(page.last.key.decode())}</NextKeyMarker>"
        f"<NextUploadIdMarker>{page.last.upload_id or ''}</NextUploadIdMarker>"
    )


def _rows(page: UploadPage, show: Show) -> str:
    rows = [_upload_row(upload, show) for upload in page.rows]
    rows += [f"<CommonPrefixes><Prefix>{show(group.decode())}</Prefix></CommonPrefixes>" for group in page.groups]
    return "".join(rows)


def _upload_row(upload: Upload, show: Show) -> str:
    plan = UploadPlan.decode(upload.meta)
    return (
        f"<Upload><Key>{show(upload.key.decode())}</Key><UploadId>{upload.upload_id}</UploadId>"
        f"{_users(upload, plan)}<StorageClass>{plan.metadata.storage_class}</StorageClass>"
        f"<Initiated>{format_iso(upload.created_ms)}</Initiated>{_checksum_asked(plan)}</Upload>"
    )
