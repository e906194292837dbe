"""ListBuckets, CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation."""

from __future__ import annotations

import os
import secrets

from aiohttp import web

from gateway.s3.body import read_document
from gateway.s3.call import Call, state_headers
from gateway.s3.errors import S3Error
from gateway.s3.httpdate import format_iso
from gateway.s3.listing import decode_token, encode_token, page_limit
from gateway.s3.owners import owner_element
from gateway.s3.page import after_key
from gateway.s3.target import check_bucket_name
from gateway.s3.xml import parse_create_bucket
from gateway.s3.xmltext import DECLARATION, NAMESPACE, escape
from gateway.store.errors import BucketExists
from gateway.store.mutations import DropBucket, MakeBucket
from mst.limits import INSTANCE_BYTES, SALT_BYTES

DEFAULT_REGION = "us-east-1"
"""The region whose buckets have no location constraint."""


async def list_buckets(call: Call) -> web.Response:
    """ListBuckets, in name order; paged only if max-buckets or a token asks for pages."""
    query = call.target.query
    prefix = query.get("prefix", "")
    start = b""
    if "continuation-token" in query:
        start = decode_token(query["continuation-token"], "continuation-token")
    if query.get("bucket-region", call.front.region) != call.front.region:
        found = []
    else:
        found = [
            bucket
            for bucket in call.front.store.buckets()
            if bucket.name.startswith(prefix) and bucket.name.encode() >= start
        ]
    token = ""
    if "max-buckets" in query:
        limit = max(page_limit(call, "max-buckets"), 1)
        if len(found) > limit:
            found = found[:limit]
            resume = encode_token(after_key(found[-1].name.encode()))
            token = f"<ContinuationToken>{resume}</ContinuationToken>"
    rows = "".join(
        f"<Bucket><Name>{bucket.name}</Name><CreationDate>{format_iso(bucket.created_ms)}</CreationDate>"
        f"<BucketRegion>{call.front.region}</BucketRegion></Bucket>"
        for bucket in found
    )
    echo = f"<Prefix>{escape(prefix)}</Prefix>" if prefix else ""
    return call.xml(
        f'{DECLARATION}<ListAllMyBucketsResult xmlns="{NAMESPACE}">{owner_element(call)}'
        f"<Buckets>{rows}</Buckets>{token}{echo}</ListAllMyBucketsResult>"
    )


async def create_bucket(call: Call) -> web.Response:
    """CreateBucket: creating one's own bucket again is a success, as in us-east-1."""
    check_bucket_name(call.bucket_name)
    if call.headers.get("x-amz-bucket-object-lock-enabled", "false").lower() == "true":
        raise S3Error("NotImplemented", "Object Lock is not implemented.")
    document = await read_document(call)
    if document:
        region = parse_create_bucket(document)
        if region not in (None, call.front.region) or region == DEFAULT_REGION:
            raise S3Error("InvalidLocationConstraint", LocationConstraint=region or "")
    salt = os.urandom(SALT_BYTES) if call.front.tree_salted else None
    make = MakeBucket(
        call.bucket_name, call.front.tree_bits, salt, secrets.token_bytes(INSTANCE_BYTES)
    )
    headers = {"Location": f"/{call.bucket_name}"}
    try:
        done = await call.front.store.committer.submit(make)
    except BucketExists:
        return call.answer(200, headers=headers)
    return call.answer(200, headers=headers | state_headers(done.bucket))


async def head_bucket(call: Call) -> web.Response:
    """HeadBucket."""
    bucket = call.bucket
    return call.answer(
        200, headers={"x-amz-bucket-region": call.front.region} | state_headers(bucket)
    )


async def delete_bucket(call: Call) -> web.Response:
    """DeleteBucket: only an empty one; uploads in progress go with it."""
    await call.front.store.committer.submit(DropBucket(call.bucket_name))
    return call.answer(204)


async def get_bucket_location(call: Call) -> web.Response:
    """GetBucketLocation: empty for us-east-1."""
    _ = call.bucket
    region = call.front.region
    location = "" if region == DEFAULT_REGION else region
    return call.xml(
        f'{DECLARATION}<LocationConstraint xmlns="{NAMESPACE}">{location}</LocationConstraint>'
    )
