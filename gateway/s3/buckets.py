"""ListBuckets, CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation."""

from __future__ import annotations

import os
import re
import secrets

from aiohttp import web

from gateway.s3.body import parse, read_document
from gateway.s3.bucket_tagging import recorded
from gateway.s3.call import Call, state_headers
from gateway.s3.errors import S3Error
from gateway.s3.httpdate import format_iso
from gateway.s3.listing import decode_token, encode_token
from gateway.s3.owners import owner_element
from gateway.s3.page import after_key
from gateway.s3.tags import Tags, bucket_tags
from gateway.s3.target import check_bucket_name
from gateway.s3.xml import parse_create_bucket
from gateway.s3.xmltext import DECLARATION, NAMESPACE, escape
from gateway.store.errors import BucketExists
from gateway.store.mutations import DropBucket, MakeBucket
from mst.limits import INSTANCE_BYTES, SALT_BYTES

DEFAULT_REGION = "us-east-1"
"""The region whose buckets have no location constraint."""
PAGE_MAX = 10_000
"""Most buckets of one page."""

_CHOOSING = frozenset({"bucket-region", "continuation-token", "prefix"})
_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-[0-9]+")


async def list_buckets(call: Call) -> web.Response:
    """ListBuckets, in name order; all of them, unless a parameter asks for a page or a choice."""
    query = call.target.query
    limit = _page_limit(call)
    region = query.get("bucket-region", call.front.region)
    if region != call.front.region:
        raise S3Error(
            "InvalidArgument",
            "Requests with bucket-region specified must be made to the corresponding regional endpoint",
            ArgumentName="bucket-region",
            ArgumentValue=region,
        )
    prefix = query.get("prefix", "")
    token = query.get("continuation-token", "")
    start = decode_token(token, "continuation-token") if token else b""  # unlike that of ListObjectsV2, it may be empty
    found = [
        bucket
        for bucket in call.front.store.buckets()
        if bucket.name.startswith(prefix) and bucket.name.encode() >= start
    ]
    following = ""
    if limit is not None and len(found) > limit:
        found = found[:limit]
        resume = encode_token(after_key(found[-1].name.encode()))
        following = f"<ContinuationToken>{resume}</ContinuationToken>"
    rows = "".join(
        f"<Bucket><Name>{bucket.name}</Name><CreationDate>{format_iso(bucket.created_ms)}</CreationDate>"
        f"<BucketRegion>{call.front.region}</BucketRegion></Bucket>"
        for bucket in found
    )
    echo = f"<Prefix>{escape(prefix)}</Prefix>" if prefix else ""
    return call.xml(
        f'{DECLARATION}<ListAllMyBucketsResult xmlns="{NAMESPACE}">{owner_element(call)}'
        f"<Buckets>{rows}</Buckets>{following}{echo}</ListAllMyBucketsResult>"
    )


def _page_limit(call: Call) -> int | None:
    """The most buckets of one answer; None for all, which is what the oldest form of the request gets."""
    text = call.target.query.get("max-buckets")
    if text is None:
        return None if _CHOOSING.isdisjoint(call.target.query) else PAGE_MAX
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(PAGE_MAX)) and 1 <= int(text) <= PAGE_MAX):
        raise S3Error(
            "InvalidArgument",
            f"Argument max-buckets must be an integer between 1 and {PAGE_MAX}",
            ArgumentName="max-buckets",
            ArgumentValue=text,
        )
    return int(text)


async def create_bucket(call: Call) -> web.Response:
    """CreateBucket: creating one's own bucket again without tags is a success in us-east-1, and only there."""
    check_bucket_name(call.bucket_name)
    if call.headers.get("x-amz-bucket-object-lock-enabled", "false").lower() == "true":
        raise S3Error("NotImplemented", "Object Lock is not implemented.")
    tags: Tags = {}
    document = await read_document(call)
    if document:
        asked = await parse(document, parse_create_bucket)
        _check_location(asked.region, call.front.region)
        tags = bucket_tags(asked.tags)
    salt = os.urandom(SALT_BYTES) if call.front.tree_salted else None
    instance = secrets.token_bytes(INSTANCE_BYTES)
    record = recorded(instance, tags) if tags else None
    make = MakeBucket(call.bucket_name, call.front.tree_bits, salt, instance, record)
    headers = {"Location": f"/{call.bucket_name}"}
    try:
        done = await call.front.store.committer.submit(make)
    except BucketExists:
        if tags or call.front.region != DEFAULT_REGION:
            raise S3Error("BucketAlreadyOwnedByYou", BucketName=call.bucket_name) from None
        return call.answer(200, headers=headers)
    return call.answer(200, headers=headers | state_headers(done.bucket))


def _check_location(wanted: str | None, region: str) -> None:
    """Refuse another region than this one.

    Naming none is fine in every region, though Amazon's regional endpoints refuse it everywhere but in us-east-1:
    many clients name none to a server of one's own.

    Raises:
        S3Error: IllegalLocationConstraintException for another region; InvalidLocationConstraint for what cannot be
            one, and for us-east-1, which has no name here.
    """
    if wanted is None or (wanted == region and region != DEFAULT_REGION):
        return
    if wanted == region or _REGION.fullmatch(wanted) is None:
        raise S3Error("InvalidLocationConstraint", LocationConstraint=wanted)
    raise S3Error(
        "IllegalLocationConstraintException",
        f"The {wanted} location constraint is incompatible for the region specific endpoint this request was sent to.",
    )


async def head_bucket(call: Call) -> web.Response:
    """HeadBucket."""
    bucket = call.bucket
    return call.answer(200, headers={"x-amz-bucket-region": call.front.region} | state_headers(bucket))


async def delete_bucket(call: Call) -> web.Response:
    """DeleteBucket: only an empty one; uploads in progress go with it."""
    await call.front.store.committer.submit(DropBucket(call.bucket_name))
    return call.answer(204)


async def get_bucket_location(call: Call) -> web.Response:
    """GetBucketLocation: empty for us-east-1."""
    _ = call.bucket
    region = call.front.region
    location = "" if region == DEFAULT_REGION else region
    return call.xml(f'{DECLARATION}<LocationConstraint xmlns="{NAMESPACE}">{location}</LocationConstraint>')
