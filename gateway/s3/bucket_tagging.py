"""PutBucketTagging, GetBucketTagging, DeleteBucketTagging: one setting of the bucket, a CBOR map."""

from __future__ import annotations

from functools import partial
from typing import cast

from aiohttp import web

from gateway.s3.body import parse, read_document
from gateway.s3.call import Call
from gateway.s3.errors import S3Error
from gateway.s3.tags import Tags, document_of, read_bucket_tags
from gateway.store.mutations import Record, RegistryWrite
from mst import cbor
from registry import settings

SETTING = "tagging"


async def get_bucket_tagging(call: Call) -> web.Response:
    """GetBucketTagging: NoSuchTagSet if there are no tags."""
    bucket = call.bucket
    with call.front.store.database.read() as connection:
        document = settings.get(connection, bucket.instance, SETTING)
    tags = cast(Tags, cbor.decode(document)) if document is not None else {}
    if not tags:  # earlier releases kept an empty map
        raise S3Error("NoSuchTagSet", BucketName=bucket.name)
    return call.xml(document_of(tags))


async def put_bucket_tagging(call: Call) -> web.Response:
    """PutBucketTagging: replaces all tags of the bucket; none at all take them away."""
    instance = call.bucket.instance
    tags = await parse(await read_document(call), read_bucket_tags)
    await call.front.store.committer.submit(Record(recorded(instance, tags) if tags else _removed(instance), instance))
    return call.answer(204)


async def delete_bucket_tagging(call: Call) -> web.Response:
    """DeleteBucketTagging: a success too if there were none."""
    instance = call.bucket.instance
    await call.front.store.committer.submit(Record(_removed(instance), instance))
    return call.answer(204)


def recorded(instance: bytes, tags: Tags) -> RegistryWrite:
    """What makes these the tags of the bucket ``instance``, in place of any others."""
    return partial(settings.put, instance=instance, name=SETTING, document=cbor.encode(tags))


def _removed(instance: bytes) -> RegistryWrite:
    return partial(settings.delete, instance=instance, name=SETTING)
