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
    if document is None:
        raise S3Error("NoSuchTagSet", BucketName=bucket.name)
    return call.xml(document_of(cast(Tags, cbor.decode(document))))


async def put_bucket_tagging(call: Call) -> web.Response:
    """PutBucketTagging: replaces all tags of the bucket."""
    instance = call.bucket.instance
    tags = await parse(await read_document(call), read_bucket_tags)
    await call.front.store.committer.submit(Record(recorded(instance, tags), instance))
    return call.answer(204)


async def delete_bucket_tagging(call: Call) -> web.Response:
    """DeleteBucketTagging: a success too if there were none."""
    instance = call.bucket.instance
    write = partial(settings.delete, instance=instance, name=SETTING)
    await call.front.store.committer.submit(Record(write, instance))
    return call.answer(204)


def recorded(instance: bytes, tags: Tags) -> RegistryWrite:
    """What makes these the tags of the bucket ``instance``, in place of any others."""
    return partial(settings.put, instance=instance, name=SETTING, document=cbor.encode(tags))
