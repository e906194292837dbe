"""One page of a listing of uploads: by key and then by age, keys with a common prefix as one row.

Whatever lies below a common prefix is jumped over where it does not fit in what was read at once.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection

from gateway.s3.page import group_of
from registry import uploads
from registry.uploads import Upload


class Marker(NamedTuple):
    """A place between uploads.

    Attributes:
        key: everything up to this key is before it; None for the beginning.
        upload_id: only the uploads of that key up to this one are; None for all of them.
    """

    key: bytes | None
    upload_id: str | None


class UploadPage(NamedTuple):
    """What a page holds.

    Attributes:
        rows: the uploads, in order.
        groups: the common prefixes, in order.
        truncated: whether there are more.
        last: the place behind the last row or group; a group stands for all that is below it.
    """

    rows: list[Upload]
    groups: list[bytes]
    truncated: bool
    last: Marker


def marker_of(key: bytes, upload_id: str | None, prefix: bytes, delimiter: bytes) -> Marker:
    """Where a listing begins whose parameters name that key and upload.

    A key that is a common prefix, or below one, stands for the whole group, as in S3; an upload without a key means
    nothing.
    """
    if not key:
        return Marker(None, None)
    group = group_of(key, prefix, delimiter)
    return Marker(key, upload_id) if group is None else _behind(group)


def collect(
    connection: Connection, instance: bytes, start: Marker, prefix: bytes, delimiter: bytes, limit: int
) -> UploadPage:
    """Collect a page.  Blocking: a thousand groups take as many queries.

    Args:
        connection: any transaction.
        instance: the bucket's instance id.
        start: where to begin.
        prefix: what every key must start with.
        delimiter: keys that share everything up to its first occurrence behind ``prefix`` are one group; empty
            for none.
        limit: most uploads and groups together.
    """
    rows: list[Upload] = []
    groups: list[bytes] = []
    last = position = start
    while limit:
        found = uploads.list_uploads(
            connection, instance, prefix=prefix, after_key=position.key, after_upload_id=position.upload_id
        )
        for upload in found:
            if groups and upload.key.startswith(groups[-1]):
                continue
            if len(rows) + len(groups) == limit:
                return UploadPage(rows, groups, True, last)
            group = group_of(upload.key, prefix, delimiter)
            if group is None:
                rows.append(upload)
                last = position = Marker(upload.key, upload.upload_id)
            else:
                groups.append(group)
                last, position = Marker(group, None), _behind(group)
        if len(found) < uploads.PAGE_MAX:
            break
    return UploadPage(rows, groups, False, last)


def _behind(group: bytes) -> Marker:
    # No key has a byte FF.
    return Marker(group + b"\xff", None)
