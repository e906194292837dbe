"""ListObjectVersions: every version of every key, newest first, and the delete markers among them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from aiohttp import web

from gateway.s3.call import Call
from gateway.s3.errors import S3Error
from gateway.s3.httpdate import format_iso
from gateway.s3.listing import Wanted, facts_elements, prefix_elements, truncated_element
from gateway.s3.owners import owner_element
from gateway.s3.page import Page, after_key, after_prefix, collect, group_of, start_after
from gateway.s3.versions import format_version, parse_version
from gateway.s3.xmltext import DECLARATION, NAMESPACE
from mst import version
from mst.entry import Entry
from mst.limits import VERSION_SUFFIX_BYTES
from registry.heads import Bucket


class _Row(NamedTuple):
    """A version in a listing: its key, its encoded entry, and that decoded."""

    key: bytes
    value: bytes
    entry: Entry


async def list_object_versions(call: Call) -> web.Response:
    """ListObjectVersions; in an unversioned bucket every object is its own latest version, with the id ``null``."""
    query = call.target.query
    bucket = call.bucket
    wanted = Wanted.of(call)
    marker, id_marker = query.get("key-marker", ""), query.get("version-id-marker", "")
    if id_marker and not marker:
        raise S3Error(
            "InvalidArgument", "A version-id marker cannot be specified without a key marker.",
            ArgumentName="version-id-marker", ArgumentValue=id_marker,
        )  # fmt: skip
    after = parse_version(id_marker or None, "version-id-marker")
    order = None if after is None else await _order(call, bucket, marker.encode(), after)
    start = start_after_version(marker.encode(), order, wanted.prefix, wanted.delimiter)
    walk = call.front.store.trees.walk_versions(bucket)
    page = await collect(walk, start, wanted.prefix, wanted.delimiter, wanted.limit, VERSION_SUFFIX_BYTES)
    rows = [_Row(version.split_version_key(stored)[0], value, Entry.decode(value)) for stored, value in page.rows]
    first_is_latest = bool(rows) and await _is_latest(call, bucket, rows[0])
    owner = owner_element(call)
    shown = "".join(
        _element(row, wanted.show(row.key.decode()), owner, latest=latest)
        for row, latest in _with_latest(rows, first_is_latest)
    )
    return call.xml(
        f'{DECLARATION}<ListVersionsResult xmlns="{NAMESPACE}"><Name>{call.bucket_name}</Name>{wanted.head()}'
        f"<KeyMarker>{wanted.show(marker)}</KeyMarker><VersionIdMarker>{id_marker}</VersionIdMarker>"
        f"{_next_markers(page, rows, wanted)}<MaxKeys>{wanted.limit}</MaxKeys>{truncated_element(page)}"
        f"{shown}{prefix_elements(page, wanted.show)}</ListVersionsResult>"
    )


def start_after_version(marker: bytes, order: int | None, prefix: bytes, delimiter: bytes) -> bytes:
    """Where a listing of versions begins, as a version key.

    Args:
        marker: the key, or the common prefix, that it is to come after; empty for the beginning.
        order: the number that the version it is to come after is kept under; None for all versions of ``marker``.
        prefix: what every key must start with.
        delimiter: see `gateway.s3.page.collect`.
    """
    if order is not None and group_of(marker, prefix, delimiter) is None:
        return max(after_key(version.version_key(marker, order)), prefix)
    start = start_after(marker, prefix, delimiter)
    # What is just above a key are its versions, which all begin with it and a NUL.
    return after_prefix(start) if start.endswith(b"\0") else start


async def _order(call: Call, bucket: Bucket, key: bytes, number: int) -> int | None:
    """The number that a version is kept under, which for the null version only its entry tells.

    If the null version is gone, the listing goes on at the key's newest: better a version twice than one never.
    """
    if number != version.NULL:
        return number
    entry = await call.front.store.trees.get_version(bucket, key, version.NULL)
    return version.ABOVE_ALL if entry is None else version.order_of(entry)


async def _is_latest(call: Call, bucket: Bucket, row: _Row) -> bool:
    """Whether the first row of a page, which may begin anywhere in a key, is its key's newest version."""
    return await call.front.store.trees.newest_version(bucket, row.key) == row.entry


def _with_latest(rows: list[_Row], first_is_latest: bool) -> Iterator[tuple[_Row, bool]]:
    """Each row, and whether it is its key's newest version: the first of each key is."""
    previous = None
    for row in rows:
        yield row, first_is_latest if previous is None else row.key != previous
        previous = row.key


def _element(row: _Row, key: str, owner: str, *, latest: bool) -> str:
    head = (
        f"<Key>{key}</Key><VersionId>{format_version(version.version_of(row.entry))}</VersionId>"
        f"<IsLatest>{'true' if latest else 'false'}</IsLatest>"
    )
    if version.is_marker(row.entry):
        modified = f"<LastModified>{format_iso(row.entry.mtime_ms)}</LastModified>"
        return f"<DeleteMarker>{head}{modified}{owner}</DeleteMarker>"
    return f"<Version>{head}{facts_elements(row.value)}{owner}</Version>"


def _next_markers(page: Page, rows: list[_Row], wanted: Wanted) -> str:
    """Where the next page begins, if there is one; behind a common prefix there is no version id."""
    if page.resume is None:
        return ""
    if not rows or page.rows[-1][0] != page.last:
        return f"<NextKeyMarker>{wanted.show(page.last.decode())}</NextKeyMarker>"
    last = rows[-1]
    return (
        f"<NextKeyMarker>{wanted.show(last.key.decode())}</NextKeyMarker>"
        f"<NextVersionIdMarker>{format_version(version.version_of(last.entry))}</NextVersionIdMarker>"
    )
