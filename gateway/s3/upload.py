"""A multipart upload from its creation to its abortion, and what was fixed for it at the start.

An upload and its parts live in the registry; a part's blocks are durable in a bulk segment before its row is there, so
an upload survives a crash at any point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

from aiohttp import web

from gateway.s3 import checksums, claims
from gateway.s3.call import Call
from gateway.s3.checksums import Algorithm, ChecksumType
from gateway.s3.errors import S3Error
from gateway.s3.metadata import ObjectMetadata
from gateway.s3.xmltext import DECLARATION, NAMESPACE, escape
from gateway.store.mutations import Record
from mst import cbor
from registry import uploads
from registry.uploads import Upload


@dataclass(frozen=True, slots=True)
class UploadPlan:
    """What CreateMultipartUpload fixed for the upload.

    Attributes:
        metadata: what is kept with the object.
        algorithm: the checksum that was asked for, or None.
        kind: how the object's checksum comes from those of its parts.
        owner_name: the display name of the user who began it.
    """

    metadata: ObjectMetadata
    algorithm: Algorithm | None
    kind: ChecksumType
    owner_name: str

    @property
    def object_algorithm(self) -> Algorithm:
        """The checksum that the object gets, and that every part has."""
        return self.algorithm or checksums.DEFAULT

    def encode(self) -> bytes:
        """The plan as the registry keeps it."""
        return cbor.encode(
            {
                "meta": self.metadata.stored,
                "algorithm": self.algorithm.value if self.algorithm else None,
                "type": self.kind.value,
                "owner": self.owner_name,
            }
        )

    @classmethod
    def decode(cls, encoded: bytes) -> UploadPlan:
        """The plan that `encode` wrote."""
        fields = cast("dict[str, cbor.Value]", cbor.decode(encoded))
        algorithm = Algorithm(fields["algorithm"]) if fields["algorithm"] else None
        metadata = ObjectMetadata(cast("Mapping[str, cbor.Value]", fields["meta"]))
        return cls(metadata, algorithm, ChecksumType(fields["type"]), cast("str", fields["owner"]))


async def create_upload(call: Call) -> web.Response:
    """CreateMultipartUpload."""
    bucket = call.bucket
    asked = claims.requested(call.headers)
    algorithm, kind = asked or (None, ChecksumType.FULL_OBJECT)
    owner = call.owner
    plan = UploadPlan(ObjectMetadata.from_headers(call.headers), algorithm, kind, owner.display_name)
    create = partial(
        uploads.create,
        instance=bucket.instance,
        key=call.key,
        owner=owner.owner_id,
        meta=plan.encode(),
        now_ms=call.front.clock_ms(),
    )
    done = await call.front.store.committer.submit(Record(create))
    upload = cast(Upload, done.value)
    headers = {}
    if algorithm is not None:
        headers = {"x-amz-checksum-algorithm": algorithm.value, "x-amz-checksum-type": kind.value}
    return call.xml(
        f'{DECLARATION}<InitiateMultipartUploadResult xmlns="{NAMESPACE}"><Bucket>{bucket.name}</Bucket>'
        f"<Key>{escape(call.key_text)}</Key><UploadId>{upload.upload_id}</UploadId></InitiateMultipartUploadResult>",
        headers,
    )


def open_upload(call: Call) -> Upload | None:
    """The upload that the request names; None if there is none of that id in progress for this bucket and key."""
    bucket = call.bucket
    with call.front.store.database.read() as connection:
        upload = uploads.get(connection, call.target.query["uploadId"])
    if upload is None or upload.instance != bucket.instance or upload.key != call.key:
        return None
    return upload


def find_upload(call: Call) -> Upload:
    """`open_upload`, which must be there.

    Raises:
        S3Error: NoSuchUpload.
    """
    upload = open_upload(call)
    if upload is None:
        raise no_such_upload(call)
    return upload


def no_such_upload(call: Call) -> S3Error:
    """The refusal of a request whose upload is not there."""
    return S3Error("NoSuchUpload", UploadId=call.target.query["uploadId"])


async def abort_upload(call: Call) -> web.Response:
    """AbortMultipartUpload; refused if a Complete, or another Abort, was first."""
    if "x-amz-if-match-initiated-time" in call.headers:
        raise S3Error("NotImplemented", "Aborts conditional on the time of initiation are not implemented.")
    upload = find_upload(call)
    await call.front.store.committer.submit(Record(partial(uploads.delete, upload_id=upload.upload_id)))
    return call.answer(204)
