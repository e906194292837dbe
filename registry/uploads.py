"""Multipart uploads in progress and the parts they have so far.

A part's blocks are in the store before its row is here, and a completed upload's rows go in the transaction that moves
the head.  A function that raises has written nothing, so the caller's transaction can go on.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from mst import cbor
from mst.cid import CID
from mst.errors import FormatError
from registry.errors import RegistryError
from registry.heads import require_bucket
from registry.schema import parts, uploads

UPLOAD_ID_RANDOM_BYTES = 16
_TIME_DIGITS = 12
PAGE_MAX = 1000
"""Most rows of one page, S3's own limit."""
LEAVES_BYTES_MAX = 16 * 1024 * 1024
"""Longest encoded list of a part's leaves: over 300,000 leaves, where 5 GiB of 1 MiB leaves are 5,120."""


class UploadMissing(RegistryError):
    """There is no such upload: it was never made, or was completed or aborted."""

    def __init__(self, upload_id: str) -> None:
        super().__init__(f"there is no upload {upload_id}")
        self.upload_id = upload_id


class UploadDamaged(RegistryError):
    """A part's row is not what this code could have written."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload in progress.

    Args:
        upload_id: lower-case hexadecimal; ids sort by the time of creation.
        instance: the bucket's instance id.
        key: the object's key, as UTF-8.
        created_ms: when it was begun, in milliseconds since 1970.
        owner: the canonical id of the user who began it.
        meta: what the front end will need at the end (metadata, checksum algorithm); opaque here.
    """

    upload_id: str
    instance: bytes
    key: bytes
    created_ms: int
    owner: str
    meta: bytes


@dataclass(frozen=True, slots=True)
class Part:
    """An uploaded part, without its leaves.

    Args:
        number: 1 to 10,000.
        etag: the md5 of its bytes.
        size_bytes: its length.
        checksums: digests by algorithm, as the front end names them.
        modified_ms: when it was stored, in milliseconds since 1970.
    """

    number: int
    etag: bytes
    size_bytes: int
    checksums: Mapping[str, bytes]
    modified_ms: int


class Leaf(NamedTuple):
    """A raw block of a part's bytes."""

    cid: CID
    size_bytes: int


_UPLOAD_FIELDS = (
    uploads.c.upload_id,
    uploads.c.instance,
    uploads.c.key,
    uploads.c.created_ms,
    uploads.c.owner,
    uploads.c.meta,
)
_PART_FIELDS = (
    parts.c.number,
    parts.c.etag,
    parts.c.size_bytes,
    parts.c.checksums,
    parts.c.modified_ms,
)
_OF_UPLOAD = parts.c.upload_id == sa.bindparam("of_upload")
_THE_PART = sa.and_(_OF_UPLOAD, parts.c.number == sa.bindparam("of_number"))

_GET = sa.select(*_UPLOAD_FIELDS).where(uploads.c.upload_id == sa.bindparam("wanted"))
_EXISTS = sa.select(sa.literal(1)).where(uploads.c.upload_id == sa.bindparam("wanted"))
_INSERT = sa.insert(uploads)
_DELETE = sa.delete(uploads).where(uploads.c.upload_id == sa.bindparam("wanted"))
_LIST = (
    sa.select(*_UPLOAD_FIELDS)
    .where(
        uploads.c.instance == sa.bindparam("of_instance"),
        uploads.c.key >= sa.bindparam("first_key"),
        sa.tuple_(uploads.c.key, uploads.c.upload_id) > sa.tuple_(sa.bindparam("after_key"), sa.bindparam("after_id")),
    )
    .order_by(uploads.c.key, uploads.c.upload_id)
    .limit(sa.bindparam("row_count"))
)
_LIST_BELOW = _LIST.where(uploads.c.key < sa.bindparam("end_key"))
_PART_UPDATE = (
    sa.update(parts)
    .where(_THE_PART)
    .values(
        {field: sa.bindparam(f"new_{field}") for field in ("etag", "size_bytes", "checksums", "modified_ms", "leaves")}
    )
)
_PART_INSERT = sa.insert(parts)
_PART_LIST = (
    sa.select(*_PART_FIELDS)
    .where(_OF_UPLOAD, parts.c.number > sa.bindparam("after_number"))
    .order_by(parts.c.number)
    .limit(sa.bindparam("row_count"))
)
_PART_LEAVES = sa.select(parts.c.number, parts.c.leaves).where(_OF_UPLOAD).order_by(parts.c.number)

_UPLOAD_ID = re.compile(rf"[0-9a-f]{{{_TIME_DIGITS + 2 * UPLOAD_ID_RANDOM_BYTES}}}")
# Above every upload id, which are hexadecimal: a key marker without an id marker skips all uploads of that key.
_AFTER_EVERY_ID = "g"


def create(connection: sa.Connection, *, instance: bytes, key: bytes, owner: str, meta: bytes, now_ms: int) -> Upload:
    """Begin an upload.

    Args:
        connection: a write transaction.
        instance: the bucket's instance id.
        key: the object's key, as UTF-8.
        owner: the canonical id of the user.
        meta: opaque bytes to find again.
        now_ms: the time, in milliseconds since 1970.

    Raises:
        BucketMissing: the bucket is gone.
    """
    upload_id = f"{now_ms:0{_TIME_DIGITS}x}{secrets.token_hex(UPLOAD_ID_RANDOM_BYTES)}"
    row = {
        "upload_id": upload_id,
        "instance": instance,
        "key": key,
        "created_ms": now_ms,
        "owner": owner,
        "meta": meta,
    }
    require_bucket(connection, instance)
    connection.execute(_INSERT, row)
    return Upload(upload_id, instance, key, now_ms, owner, meta)


def is_upload_id(text: str) -> bool:
    """Whether ``text`` could be the id of an upload, in progress or not."""
    return _UPLOAD_ID.fullmatch(text) is not None


def get(connection: sa.Connection, upload_id: str) -> Upload | None:
    """The upload of that id; the caller compares bucket and key."""
    row = connection.execute(_GET, {"wanted": upload_id}).first()
    return None if row is None else Upload(*row)


def require(connection: sa.Connection, upload_id: str) -> None:
    """Look whether an upload is in progress.

    Raises:
        UploadMissing: it is not.
    """
    if connection.execute(_EXISTS, {"wanted": upload_id}).first() is None:
        raise UploadMissing(upload_id)


def delete(connection: sa.Connection, upload_id: str) -> None:
    """Remove an upload and its parts.

    Raises:
        UploadMissing: it was gone already.
    """
    if connection.execute(_DELETE, {"wanted": upload_id}).rowcount != 1:
        raise UploadMissing(upload_id)


def list_uploads(
    connection: sa.Connection,
    instance: bytes,
    *,
    prefix: bytes = b"",
    after_key: bytes | None = None,
    after_upload_id: str | None = None,
    limit: int = PAGE_MAX,
) -> list[Upload]:
    """A page of a bucket's uploads, by key and then by age.

    Args:
        connection: any transaction.
        instance: the bucket's instance id.
        prefix: only keys that start with it.
        after_key: only keys greater than it; with ``after_upload_id`` also later uploads of that key itself.  As no
            key holds the byte FF, ``common_prefix + b"\\xff"`` skips everything below a common prefix.
        after_upload_id: see ``after_key``; without that it means nothing.
        limit: most uploads to return.
    """
    if after_key is None:
        # Greater than this is every key, as none is empty.
        after_key, after_upload_id = b"", None
    values = {
        "of_instance": instance,
        "first_key": prefix,
        "after_key": after_key,
        "after_id": _AFTER_EVERY_ID if after_upload_id is None else after_upload_id,
        "row_count": limit,
    }
    end_key = _after_prefix(prefix)
    if end_key is None:
        rows = connection.execute(_LIST, values)
    else:
        rows = connection.execute(_LIST_BELOW, {**values, "end_key": end_key})
    return [Upload(*row) for row in rows]


def put_part(connection: sa.Connection, upload_id: str, part: Part, leaves: Sequence[Leaf]) -> None:
    """Add a part, in place of an earlier one of the same number.

    Args:
        connection: a write transaction.
        upload_id: the upload.
        part: the part.
        leaves: its raw blocks in order, already in the store.

    Raises:
        UploadMissing: the upload is gone.
    """
    flat: list[cbor.Value] = [value for leaf in leaves for value in leaf]
    row = {
        "etag": part.etag,
        "size_bytes": part.size_bytes,
        "checksums": cbor.encode(part.checksums),
        "modified_ms": part.modified_ms,
        "leaves": cbor.encode(flat),
    }
    values = {f"new_{field}": value for field, value in row.items()}
    values |= {"of_upload": upload_id, "of_number": part.number}
    if connection.execute(_PART_UPDATE, values).rowcount == 1:
        return
    require(connection, upload_id)
    connection.execute(_PART_INSERT, {**row, "upload_id": upload_id, "number": part.number})


def list_parts(
    connection: sa.Connection, upload_id: str, *, after_number: int = 0, limit: int = PAGE_MAX
) -> list[Part]:
    """A page of an upload's parts, by number; empty too when there is no such upload.

    Raises:
        UploadDamaged: a row is not what this code could have written.
    """
    values = {"of_upload": upload_id, "after_number": after_number, "row_count": limit}
    return [_part(upload_id, row) for row in connection.execute(_PART_LIST, values)]


def read_leaves(
    connection: sa.Connection, upload_id: str, numbers: Collection[int]
) -> Iterator[tuple[int, list[Leaf]]]:
    """The raw blocks of those parts, in order, with each part's number; what is not there is left out.

    One query for all: ten thousand take longer than everything else that completes an upload.

    Raises:
        UploadDamaged: a row is not what this code could have written.
    """
    for number, encoded in connection.execute(_PART_LEAVES, {"of_upload": upload_id}):
        if number in numbers:
            yield number, _decode_leaves(upload_id, number, encoded)


def _decode_leaves(upload_id: str, number: int, encoded: bytes) -> list[Leaf]:
    try:
        flat = cbor.decode(encoded, limit_bytes=LEAVES_BYTES_MAX)
    except FormatError as error:
        raise UploadDamaged(f"part {number} of upload {upload_id} is damaged: {error}") from error
    if not isinstance(flat, list) or len(flat) % 2:
        raise UploadDamaged(f"part {number} of upload {upload_id} has no list of leaves")
    leaves: list[Leaf] = []
    for cid, size_bytes in zip(flat[::2], flat[1::2], strict=True):
        if not isinstance(cid, CID) or type(size_bytes) is not int or size_bytes < 0:
            raise UploadDamaged(f"part {number} of upload {upload_id} has a leaf that is none")
        leaves.append(Leaf(cid, size_bytes))
    return leaves


def _part(upload_id: str, row: sa.Row[*tuple[Any, ...]]) -> Part:
    try:
        decoded = cbor.decode(row.checksums)
    except FormatError as error:
        raise UploadDamaged(f"part {row.number} of upload {upload_id} is damaged: {error}") from error
    if not isinstance(decoded, dict):
        raise UploadDamaged(f"part {row.number} of upload {upload_id} has no map of checksums")
    checksums: dict[str, bytes] = {}
    for name, digest in decoded.items():
        if type(digest) is not bytes:
            raise UploadDamaged(f"part {row.number} of upload {upload_id} has a checksum that is none")
        checksums[name] = digest
    return Part(row.number, row.etag, row.size_bytes, checksums, row.modified_ms)


def _after_prefix(prefix: bytes) -> bytes | None:
    """The least key greater than every key with the prefix, None when there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None
