"""UploadPart and UploadPartCopy: a body becomes a part of an upload, in place of an earlier one of its number."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from gateway.s3 import checksums
from gateway.s3.body import OBJECT_BYTES_MAX, Received, receive_copy, receive_part
from gateway.s3.call import Call
from gateway.s3.copying import Source, find_source
from gateway.s3.errors import S3Error
from gateway.s3.httpdate import format_iso
from gateway.s3.parts import parse_part_number
from gateway.s3.patience import answer_in_time
from gateway.s3.ranges import ByteRange, parse_copy_range
from gateway.s3.upload import UploadPlan, find_upload
from gateway.s3.xmltext import DECLARATION, NAMESPACE
from gateway.store.mutations import Record
from registry import uploads
from registry.uploads import Leaf, Part, Upload


async def upload_part(call: Call) -> web.Response:
    """UploadPart: replaces an earlier part of that number."""
    number = parse_part_number(call.target.query["partNumber"])
    upload = find_upload(call)
    plan = UploadPlan.decode(upload.meta)
    received = await receive_part(call, plan.algorithm, plan.kind)
    await _store_part(call, upload, number, received)
    headers = {"ETag": f'"{received.body.md5.hex()}"'} | received.part_headers()
    return call.answer(200, headers=headers)


async def _store_part(call: Call, upload: Upload, number: int, received: Received) -> int:
    """Note a part that has arrived; returns the time it was given, in milliseconds."""
    body = received.body
    sums = {algorithm.value: digest for algorithm, digest in received.checksums.items()}
    now_ms = call.front.clock_ms()
    part = Part(number, body.md5, body.size, sums, now_ms)
    leaves = [Leaf(*leaf) for leaf in body.leaves]
    put_part = partial(uploads.put_part, upload_id=upload.upload_id, part=part, leaves=leaves)
    await call.front.store.committer.submit(Record(put_part))
    return now_ms


async def copy_part(call: Call) -> web.StreamResponse:
    """UploadPartCopy: the source's bytes are read and hashed, for a part has an MD5 of its own."""
    number = parse_part_number(call.target.query["partNumber"])
    upload = find_upload(call)
    source = await find_source(call)
    entry = source.entry
    wanted = call.headers.get("x-amz-copy-source-range")
    chosen = ByteRange(0, entry.size) if wanted is None else parse_copy_range(wanted, entry.size)
    if chosen.stop - chosen.start > OBJECT_BYTES_MAX:
        raise S3Error(
            "InvalidRequest",
            "The specified copy source is larger than the maximum allowable size for a copy source:"
            f" {OBJECT_BYTES_MAX}",
        )
    return await answer_in_time(call, _copy(call, upload, number, source, chosen))


async def _copy(call: Call, upload: Upload, number: int, source: Source, chosen: ByteRange) -> web.Response:
    plan = UploadPlan.decode(upload.meta)
    received = await receive_copy(call, source.entry, chosen, plan.object_algorithm, plan.kind)
    modified_ms = await _store_part(call, upload, number, received)
    checksum = checksums.element(received.algorithm, received.checksum) if plan.algorithm else ""
    return call.xml(
        f'{DECLARATION}<CopyPartResult xmlns="{NAMESPACE}"><LastModified>{format_iso(modified_ms)}</LastModified>'
        f"<ETag>&quot;{received.body.md5.hex()}&quot;</ETag>{checksum}</CopyPartResult>",
        source.headers,
    )
