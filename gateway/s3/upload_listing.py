"""ListParts and ListMultipartUploads."""

from __future__ import annotations

from aiohttp import web

from gateway.s3 import checksums
from gateway.s3.call import Call
from gateway.s3.checksums import Algorithm
from gateway.s3.errors import S3Error
from gateway.s3.httpdate import format_iso
from gateway.s3.listing import page_limit
from gateway.s3.page import after_prefix
from gateway.s3.upload import UploadPlan, find_upload
from gateway.s3.xml import PARTS_MAX
from gateway.s3.xmltext import DECLARATION, NAMESPACE, escape, url_encode
from registry import uploads
from registry.uploads import Part, Upload


async def list_parts(call: Call) -> web.Response:
    """ListParts."""
    upload = find_upload(call)
    limit = page_limit(call, "max-parts")
    after = page_limit(call, "part-number-marker", default=0, largest=PARTS_MAX)
    with call.front.store.database.read() as connection:
        page = uploads.list_parts(connection, upload.upload_id, after_number=after, limit=limit + 1)
    truncated = len(page) > limit
    page = page[:limit]
    plan = UploadPlan.decode(upload.meta)
    following = page[-1].number if page else after
    rows = "".join(_part_row(part, plan.algorithm) for part in page)
    return call.xml(
        f'{DECLARATION}<ListPartsResult xmlns="{NAMESPACE}"><Bucket>{call.bucket_name}</Bucket>'
        f"<Key>{escape(call.key_text)}</Key><UploadId>{upload.upload_id}</UploadId>"
        f"{_user('Initiator', call)}{_user('Owner', call)}<StorageClass>STANDARD</StorageClass>"
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
