"""PutObjectTagging, GetObjectTagging, DeleteObjectTagging.

Tags lie in the object's entry, so changing them writes the entry anew: all else of it stays, its age and ETag too.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from aiohttp import web

from gateway.s3.body import parse, read_document
from gateway.s3.call import Call, state_headers
from gateway.s3.entries import find_object, make_entry
from gateway.s3.errors import S3Error
from gateway.s3.metadata import ObjectMetadata
from gateway.s3.tags import Tags, document_of, read_object_tags
from gateway.s3.versions import parse_version
from gateway.store.mutations import Amend
from mst import cbor, version
from mst.block import Block
from mst.cid import CID
from mst.entry import Entry, Meta

TRIES_MAX = 16
"""How often a change of tags begins anew because an object with much metadata was replaced meanwhile."""


class EntryChanged(Exception):
    """The object is no longer the one that was read."""


async def get_object_tagging(call: Call) -> web.Response:
    """GetObjectTagging: an empty set if the object has no tags."""
    found = await find_object(call)
    metadata = ObjectMetadata(await call.front.store.trees.meta(found.entry))
    return call.xml(document_of(metadata.tags), found.headers)


async def put_object_tagging(call: Call) -> web.Response:
    """PutObjectTagging: replaces all tags of the object."""
    tags = await parse(await read_document(call), read_object_tags)
    return call.answer(200, headers=await _retag(call, tags))


async def delete_object_tagging(call: Call) -> web.Response:
    """DeleteObjectTagging: a success too if there were none."""
    return call.answer(204, headers=await _retag(call, {}))


async def _retag(call: Call, tags: Tags) -> dict[str, str]:
    """Give the object these tags and no others; returns the headers that tell the state it led to.

    Raises:
        S3Error: what `find_object` raises; OperationAborted, the object was replaced again and again.
    """
    store = call.front.store
    number = parse_version(call.target.query.get("versionId"))
    for _ in range(TRIES_MAX):
        found = await find_object(call)
        read = _Read(version.object_meta(found.entry), await store.trees.meta(found.entry))
        try:
            done = await store.committer.submit(
                Amend(call.bucket_name, call.key, partial(_with_tags, tags, read), number)
            )
        except EntryChanged:
            continue
        return found.headers | state_headers(done.bucket)
    raise S3Error("OperationAborted")


class _Read(NamedTuple):
    """An object's metadata as it was read, and where it was kept."""

    kept: Meta
    metadata: Mapping[str, cbor.Value]


def _with_tags(tags: Tags, read: _Read, entry: Entry | None) -> tuple[Entry, tuple[Block, ...]]:
    """The entry that there is at the moment of commit, with ``tags``.

    Raises:
        EntryChanged: it is gone, or its metadata is in a block that was not read.
    """
    if entry is None:
        raise EntryChanged
    kept = version.object_meta(entry)
    if not isinstance(kept, CID):
        metadata = kept or {}
    elif kept == read.kept:
        metadata = read.metadata
    else:
        raise EntryChanged
    return make_entry(entry.body, entry.size, entry.etag, entry.mtime_ms, ObjectMetadata(metadata).with_tags(tags))
