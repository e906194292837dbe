"""CompleteMultipartUpload: exactly one request ends an upload, and whoever asks again gets its answer.

The end of the upload is in the same registry transaction as the head that makes its object visible.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

from aiohttp import web

from gateway.s3 import claims
from gateway.s3.assembling import Asked, Assembled, assemble
from gateway.s3.body import parse, read_document
from gateway.s3.call import Call, state_headers
from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers
from gateway.s3.patience import answer_in_time
from gateway.s3.preconditions import write_check
from gateway.s3.upload import no_such_upload, open_upload
from gateway.s3.versions import write_headers
from gateway.s3.xml import CompletedPart, parse_complete
from gateway.s3.xmltext import DECLARATION, NAMESPACE, escape
from gateway.store.mutations import Check, Put
from mst import cbor
from mst.cid import CID
from registry import completions, uploads
from registry.completions import Completion
from registry.heads import Bucket
from registry.uploads import Upload, UploadMissing

_SIZE_DIGITS_MAX = 18


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the answer says of the object.

    Attributes:
        cid: its body.
        etag: its ETag, without quotes.
        checksums: its checksums as S3 writes them, by algorithm.
        checksum_type: their type.
    """

    cid: CID
    etag: str
    checksums: Mapping[str, str]
    checksum_type: str

    @classmethod
    def of(cls, made: Assembled) -> _Facts:
        """The facts of an object."""
        sums = {algorithm.value: text for algorithm, text in made.metadata.checksums.items()}
        return cls(made.entry.body, made.entry.etag_text, sums, made.metadata.checksum_type.value)

    def encode(self) -> bytes:
        """The facts as the registry keeps them."""
        return cbor.encode(
            {"cid": self.cid, "etag": self.etag, "checksums": self.checksums, "type": self.checksum_type}
        )

    @classmethod
    def decode(cls, encoded: bytes) -> _Facts:
        """The facts that `encode` wrote."""
        fields = cast("dict[str, cbor.Value]", cbor.decode(encoded))
        return cls(
            cast(CID, fields["cid"]),
            cast(str, fields["etag"]),
            cast("Mapping[str, str]", fields["checksums"]),
            cast(str, fields["type"]),
        )


async def complete_upload(call: Call) -> web.StreamResponse:
    """CompleteMultipartUpload: the parts named, in their order, become the object."""
    bucket = call.bucket
    check = write_check(call.headers)
    asked = await _asked(call)
    return await answer_in_time(call, _complete(call, bucket, check, asked))


async def _asked(call: Call) -> Asked:
    """Read the request.

    Raises:
        S3Error: it is not what a CompleteMultipartUpload looks like.
    """
    headers = call.headers
    claim = claims.declared(headers, call.verified.payload, composite=True)
    type_name = headers.get("x-amz-checksum-type")
    kind = None if type_name is None else claims.parse_type(type_name)
    size_bytes = _object_size(headers)
    parts = await parse(await read_document(call, checksum_of_object=True), parse_complete)
    return Asked(parts, claim, kind, size_bytes)


def _object_size(headers: Headers) -> int | None:
    text = headers.get("x-amz-mp-object-size")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _SIZE_DIGITS_MAX):
        raise S3Error("InvalidRequest", f"Value for x-amz-mp-object-size header is invalid: '{text}'")
    return int(text)


async def _complete(call: Call, bucket: Bucket, check: Check | None, asked: Asked) -> web.Response:
    digest = await asyncio.to_thread(_digest_of, asked.parts)
    upload = open_upload(call)
    if upload is not None:
        try:
            return await _end(call, bucket, check, asked, upload, digest)
        except UploadMissing:
            pass  # somebody else ended it meanwhile
    return _completed_before(call, bucket, digest)


def _digest_of(parts: Sequence[CompletedPart]) -> bytes:
    """What tells one list of parts from another."""
    digest = hashlib.sha256()
    for number, etag, checksum in parts:
        shown = f"{checksum.algorithm.value} {(checksum.digest or b'').hex()}" if checksum else ""
        digest.update(f"{number} {etag.lower()} {shown}\n".encode())
    return digest.digest()


async def _end(
    call: Call, bucket: Bucket, check: Check | None, asked: Asked, upload: Upload, digest: bytes
) -> web.Response:
    """Make the object and end the upload.

    Raises:
        UploadMissing: it has ended already.
        S3Error: the parts make no object, or a condition does not hold.
    """
    store = call.front.store
    now_ms = call.front.clock_ms()
    made = await asyncio.to_thread(assemble, store.database, upload, asked, now_ms)
    facts = _Facts.of(made)
    upload_id = upload.upload_id
    record = partial(
        completions.complete, upload_id=upload_id, parts_digest=digest, answer=facts.encode(), now_ms=now_ms
    )
    guard = partial(uploads.require, upload_id=upload_id)
    put = Put(bucket.name, call.key, made.entry, made.blocks, check, record=record, guard=guard)
    done = await store.committer.submit(put)
    return _answer(call, facts, done.bucket, done.version)


def _completed_before(call: Call, bucket: Bucket, digest: bytes) -> web.Response:
    """The answer for a client that did not get the first one, whatever has become of the object.

    Raises:
        S3Error: NoSuchUpload, no such upload of this key was completed with these parts.
    """
    with call.front.store.database.read() as connection:
        found = completions.get(connection, call.target.query["uploadId"])
    if found is None or (found.instance, found.key, found.parts_digest) != (bucket.instance, call.key, digest):
        raise no_such_upload(call)
    return _answer(call, _Facts.decode(found.answer), found, found.version)


def _answer(call: Call, facts: _Facts, state: Bucket | Completion | None, version: int | None) -> web.Response:
    sums = "".join(f"<Checksum{name}>{text}</Checksum{name}>" for name, text in facts.checksums.items())
    location = escape(f"{call.request.scheme}://{call.headers.get('host', '')}{call.target.raw_path}")
    return call.xml(
        f'{DECLARATION}<CompleteMultipartUploadResult xmlns="{NAMESPACE}"><Location>{location}</Location>'
        f"<Bucket>{call.bucket_name}</Bucket><Key>{escape(call.key_text)}</Key>"
        f"<ETag>&quot;{facts.etag}&quot;</ETag>{sums}<ChecksumType>{facts.checksum_type}</ChecksumType>"
        "</CompleteMultipartUploadResult>",
        {"x-ms3t-cid": str(facts.cid)} | write_headers(version) | state_headers(state),
    )
