"""What the parts that a CompleteMultipartUpload names make: each is as the client says, together they are an object.

The leaves of the parts are laid out anew as one file; no byte moves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection

from gateway.s3 import checksums, claims
from gateway.s3.checksums import BESIDE, ChecksumType
from gateway.s3.claims import Declared
from gateway.s3.entries import make_entry
from gateway.s3.errors import S3Error
from gateway.s3.metadata import ObjectMetadata
from gateway.s3.upload import UploadPlan
from gateway.s3.xml import CompletedPart
from mst.block import Block
from mst.entry import Entry
from mst.unixfs import FileBuilder
from registry import uploads
from registry.database import Database
from registry.uploads import Part, Upload

PART_BYTES_MIN = 5 * 1024**2
"""Smallest part of a completed upload but the last, in bytes."""
OBJECT_BYTES_MAX = 5 * 1024**4
"""Largest object, in bytes."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the client says the object is to be.

    Attributes:
        parts: the parts named, in ascending order.
        claim: the object's checksum, if it is given.
        kind: the type of the object's checksum, if it is given.
        size_bytes: the object's length, if it is given.
    """

    parts: Sequence[CompletedPart]
    claim: Declared | None
    kind: ChecksumType | None
    size_bytes: int | None


class Assembled(NamedTuple):
    """An object made of parts.

    Attributes:
        entry: its entry.
        metadata: what is kept with it.
        blocks: the blocks it needs besides its leaves.
    """

    entry: Entry
    metadata: ObjectMetadata
    blocks: tuple[Block, ...]


def assemble(database: Database, upload: Upload, asked: Asked, now_ms: int) -> Assembled:
    """Make the object.  Blocking: 10,000 parts take a second.

    Args:
        database: where the parts are.
        upload: the upload.
        asked: what the object is to be.
        now_ms: its modification time, in milliseconds since 1970.

    Raises:
        UploadMissing: the upload was completed or aborted meanwhile.
        S3Error: the parts are not what the client says, or make no object.
    """
    plan = UploadPlan.decode(upload.meta)
    with database.read() as connection:
        uploads.require(connection, upload.upload_id)
        parts = _chosen_parts(upload, plan, asked.parts, _all_parts(connection, upload.upload_id))
        size = sum(part.size_bytes for part in parts)
        _check_size(asked, size)
        digest = _check_checksum(plan, asked, parts)
        builder = FileBuilder()
        inner: list[Block] = []
        for _, leaves in uploads.read_leaves(connection, upload.upload_id, {part.number for part in parts}):
            for leaf in leaves:
                inner += builder.add_leaf(leaf.cid, leaf.size_bytes)
    root, rest = builder.finish()
    metadata = plan.metadata.with_parts([part.number for part in parts], [part.size_bytes for part in parts])
    metadata = metadata.with_checksum(plan.object_algorithm, digest, *_kept_of_parts(plan, parts))
    entry, blocks = make_entry(root, size, _etag_of([part.etag for part in parts]), now_ms, metadata)
    return Assembled(entry, metadata, (*inner, *rest, *blocks))


def _etag_of(parts: Sequence[bytes]) -> bytes:
    """The ETag of an object, as its entry has it, from those of its parts."""
    return hashlib.md5(b"".join(parts), usedforsecurity=False).digest() + len(parts).to_bytes(2, "big")


def _all_parts(connection: Connection, upload_id: str) -> dict[int, Part]:
    found: dict[int, Part] = {}
    after = 0
    while page := uploads.list_parts(connection, upload_id, after_number=after):
        found.update((part.number, part) for part in page)
        after = page[-1].number
    return found


def _chosen_parts(
    upload: Upload, plan: UploadPlan, asked: Sequence[CompletedPart], stored: Mapping[int, Part]
) -> list[Part]:
    """The stored parts that the client names, each as the client says it is.

    Raises:
        S3Error: InvalidPart, EntityTooSmall; InvalidRequest, BadDigest for checksums that lack or do not belong.
    """
    chosen = []
    for place, wanted in enumerate(asked):
        part = stored.get(wanted.number)
        if part is None or part.etag.hex() != wanted.etag.lower():
            raise _invalid_part(upload, wanted)
        _check_part_checksum(upload, plan, wanted, part)
        if part.size_bytes < PART_BYTES_MIN and place + 1 < len(asked):
            raise S3Error(
                "EntityTooSmall",
                ProposedSize=part.size_bytes,
                MinSizeAllowed=PART_BYTES_MIN,
                PartNumber=part.number,
                ETag=wanted.etag,
            )
        chosen.append(part)
    return chosen


def _invalid_part(upload: Upload, wanted: CompletedPart) -> S3Error:
    return S3Error("InvalidPart", UploadId=upload.upload_id, PartNumber=wanted.number, ETag=wanted.etag)


def _check_part_checksum(upload: Upload, plan: UploadPlan, wanted: CompletedPart, part: Part) -> None:
    if wanted.checksum is None:
        if plan.kind is ChecksumType.COMPOSITE:
            raise S3Error(
                "InvalidRequest",
                f"The upload was created using a {plan.object_algorithm.value.lower()} checksum. The complete request"
                f" must include the checksum for each part. It was missing for part {wanted.number} in the request.",
            )
        return
    algorithm = wanted.checksum.algorithm
    name = algorithm.value
    # What the parts of a COMPOSITE one have beside was never told to the client.
    untold = plan.kind is ChecksumType.COMPOSITE and algorithm is not plan.object_algorithm
    if untold or name not in part.checksums:
        raise S3Error(
            "BadDigest", f"The {name.lower()} you specified for part {wanted.number} did not match what we received."
        )
    if part.checksums[name] != wanted.checksum.digest:
        raise _invalid_part(upload, wanted)


def _check_size(asked: Asked, size: int) -> None:
    if size > OBJECT_BYTES_MAX:
        raise S3Error("EntityTooLarge", ProposedSize=size, MaxSizeAllowed=OBJECT_BYTES_MAX)
    if asked.size_bytes not in (None, size):
        raise S3Error(
            "InvalidRequest",
            f"The provided 'x-amz-mp-object-size' header value {asked.size_bytes} does not match what was computed:"
            f" {size}",
        )


def _check_checksum(plan: UploadPlan, asked: Asked, parts: Sequence[Part]) -> bytes:
    """The object's checksum, which is what the client says it is.

    Raises:
        S3Error: InvalidRequest, another kind of checksum than the upload was begun with; BadDigest.
    """
    if asked.kind not in (None, plan.kind):
        raise S3Error(
            "InvalidRequest",
            f"The upload was created using the {plan.kind.value} checksum mode. The complete request must use the same"
            " checksum mode.",
        )
    algorithm = plan.object_algorithm
    pairs = [(part.checksums[algorithm.value], part.size_bytes) for part in parts]
    digest = checksums.of_parts(algorithm, plan.kind, pairs)
    if asked.claim is not None:
        claims.check_whole(asked.claim, algorithm, plan.kind, digest, len(parts))
    return digest


def _kept_of_parts(plan: UploadPlan, parts: Sequence[Part]) -> tuple[list[bytes], list[bytes]]:
    """The checksums of the parts that are kept with an object whose own is made of them, and those beside."""
    if plan.kind is not ChecksumType.COMPOSITE:
        return [], []
    beside = [part.checksums[BESIDE.value] for part in parts if BESIDE.value in part.checksums]
    # A part that came before an update lacks it; what would not be there of every part is of no use.
    complete = beside if len(beside) == len(parts) else []
    return [part.checksums[plan.object_algorithm.value] for part in parts], complete
