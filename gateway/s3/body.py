"""Request bodies: bytes from the connection, unframed, counted and verified against all that the request declares.

A body becomes visible only through a commit, and nothing is handed to a commit that has not passed here.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable, Mapping, Set
from dataclasses import dataclass
from typing import TypeVar

from gateway import incoming
from gateway.s3 import checksums, claims
from gateway.s3.call import Call
from gateway.s3.checksums import Algorithm, ChecksumType, Hasher
from gateway.s3.chunked import ChunkedDecoder, decoded_length
from gateway.s3.claims import Declared
from gateway.s3.errors import S3Error
from gateway.s3.ranges import ByteRange
from gateway.s3.sigv4 import PayloadMode
from gateway.s3.xml import XML_BYTES_MAX
from gateway.store.bodies import Body, BodyWriter
from mst.entry import Entry

OBJECT_BYTES_MAX = 5 * 1024**3
"""Largest body of one PutObject or UploadPart, in bytes."""

LOOP_PARSE_BYTES_MAX = 16 * 1024
"""Longest document parsed on the event loop itself; 10,000 parts take more than 100 ms."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Received:
    """A body that arrived whole and passed every check.

    Attributes:
        body: what the store made of it.
        algorithm: the kind of checksum the client sent, else the one that is computed for it.
        checksums: the body's checksums by kind, that one among them.
    """

    body: Body
    algorithm: Algorithm
    checksums: Mapping[Algorithm, bytes]

    @property
    def checksum(self) -> bytes:
        """The checksum of the kind `algorithm`."""
        return self.checksums[self.algorithm]

    def headers(self) -> dict[str, str]:
        """The checksum as headers of an answer about a whole object."""
        return self.part_headers() | {"x-amz-checksum-type": ChecksumType.FULL_OBJECT.value}

    def part_headers(self) -> dict[str, str]:
        """The checksum as headers of an answer about a part."""
        return {self.algorithm.header: checksums.format_checksum(self.checksum)}


async def receive(call: Call) -> Received:
    """Take the body of a PutObject.

    Raises:
        S3Error: whatever the body is not that the request says it is; nothing of it stays.
        StoreFull, StoreReadOnly: it cannot be stored.
    """
    declared = claims.declared(call.headers, call.verified.payload)
    shown = declared.algorithm if declared else checksums.DEFAULT
    return await _receive(call, declared, shown, {shown}, part=False)


async def receive_part(call: Call, algorithm: Algorithm | None, kind: ChecksumType) -> Received:
    """Take the body of an UploadPart.

    Args:
        call: the request.
        algorithm: the checksum that its upload asked for. An upload that asked for none is completed with the default
            one, whatever checksum the client may send with a part.
        kind: the type of that checksum.

    Raises:
        S3Error: as `receive`; ``InvalidRequest`` for a checksum that is not the upload's.
        StoreFull, StoreReadOnly: it cannot be stored.
    """
    declared = claims.declared(call.headers, call.verified.payload)
    if algorithm is not None:
        claims.check_part(declared, algorithm, kind)
    of_object = algorithm or checksums.DEFAULT
    shown = declared.algorithm if declared else of_object
    return await _receive(call, declared, shown, {shown} | checksums.of_a_part(of_object, kind), part=True)


async def _receive(
    call: Call, declared: Declared | None, shown: Algorithm, wanted: Set[Algorithm], *, part: bool
) -> Received:
    verified = call.verified
    md5 = claims.content_md5(call.headers)
    size = _declared_size(call)
    store = call.front.store
    store.require_room(size)
    # One digest serves three purposes: the payload's signature, the checksum, and a one-block body's CID.
    sha256 = verified.payload_sha256 is not None or Algorithm.SHA256 in wanted
    hashers: dict[Algorithm, Hasher] = {
        algorithm: checksums.new(algorithm) for algorithm in wanted if algorithm is not Algorithm.SHA256
    }
    writer = store.new_body(digests=tuple(hashers.values()), sha256=sha256, part=part)
    try:
        trailers = await _transfer(call, writer)
        if writer.size != size:
            raise S3Error("IncompleteBody")
        if declared is not None:
            declared = declared.settle(trailers)

        def verify(actual_md5: bytes, actual_sha256: bytes | None) -> None:
            _check_payload(call, actual_sha256)
            claims.check_md5(md5, actual_md5)
            if declared is not None:
                declared.check(_digests(hashers, wanted, actual_sha256)[declared.algorithm])

        body = await writer.finish(verify)
    except BaseException:
        await writer.abort()
        raise
    return Received(body, shown, _digests(hashers, wanted, body.sha256))


def _digests(
    hashers: Mapping[Algorithm, Hasher], wanted: Set[Algorithm], sha256: bytes | None
) -> dict[Algorithm, bytes]:
    """The checksums of a body whose bytes the hashers have seen."""
    digests = {algorithm: hasher.digest() for algorithm, hasher in hashers.items()}
    if Algorithm.SHA256 in wanted:
        assert sha256 is not None
        digests[Algorithm.SHA256] = sha256
    return digests


def _declared_size(call: Call) -> int:
    """The length of the content, which S3 wants to know beforehand."""
    if call.verified.payload.is_chunked:
        size = decoded_length(call.headers)
    else:
        length = call.request.content_length
        if length is None:
            raise S3Error("MissingContentLength")
        size = length
    if size > OBJECT_BYTES_MAX:
        raise S3Error("EntityTooLarge", ProposedSize=size, MaxSizeAllowed=OBJECT_BYTES_MAX)
    return size


async def _transfer(call: Call, writer: BodyWriter) -> dict[str, str]:
    """Move the content to ``writer``; returns the trailers."""
    if not call.verified.payload.is_chunked:
        async for piece in pieces(call):
            await writer.write(piece)
        return {}
    decoder = ChunkedDecoder(call.verified, call.headers)
    async for framed in pieces(call):
        for piece in decoder.feed(framed):
            await writer.write(piece)
    return decoder.finish()


def _check_payload(call: Call, actual_sha256: bytes | None) -> None:
    """Compare the content with the digest that the signature covers."""
    expected = call.verified.payload_sha256
    if expected is not None and not hmac.compare_digest(expected, actual_sha256 or b""):
        raise S3Error(
            "XAmzContentSHA256Mismatch",
            ClientComputedContentSHA256=expected.hex(),
            S3ComputedContentSHA256=(actual_sha256 or b"").hex(),
        )


async def pieces(call: Call) -> AsyncIterator[bytes]:
    """The bytes of the request's body as they arrive; a client that waits for it is told to go on first.

    Raises:
        S3Error: IncompleteBody, the client went away; RequestTimeout, it sent nothing for too long.
    """
    try:
        expect = call.headers.get("expect")
        async for piece in incoming.pieces(call.request, expect, call.front.body_idle_seconds):
            yield piece
    except incoming.CLIENT_GONE as error:
        raise S3Error("IncompleteBody") from error
    except TimeoutError as error:
        raise S3Error("RequestTimeout") from error


async def receive_copy(
    call: Call, source: Entry, chosen: ByteRange, algorithm: Algorithm, kind: ChecksumType
) -> Received:
    """Take a range of a stored object as the body of a part.

    Args:
        call: the request.
        source: the object.
        chosen: the range of it.
        algorithm: the checksum of the object that the part is for.
        kind: the type of that checksum.

    Raises:
        BlockMissing, BlockCorrupt: the source cannot be read; nothing of the part stays.
        StoreFull, StoreReadOnly: it cannot be stored.
    """
    store = call.front.store
    store.require_room(chosen.stop - chosen.start)
    hashers = {wanted: checksums.new(wanted) for wanted in checksums.of_a_part(algorithm, kind)}
    writer = store.new_body(digests=tuple(hashers.values()), part=True)
    try:
        async for piece in store.read_body(source, chosen.start, chosen.stop):
            await writer.write(piece)
        body = await writer.finish()
    except BaseException:
        await writer.abort()
        raise
    return Received(body, algorithm, {wanted: hasher.digest() for wanted, hasher in hashers.items()})


async def read_document(call: Call, *, checksum_of_object: bool = False) -> bytes:
    """The whole body of a request that carries XML, verified.

    Args:
        call: the request.
        checksum_of_object: whether checksum headers speak of an object instead (CompleteMultipartUpload).

    Raises:
        S3Error: it is too long, framed as aws-chunked, or not what the request declares.
    """
    if call.verified.payload.is_chunked:
        raise S3Error("InvalidRequest", "aws-chunked bodies are for PutObject and UploadPart only.")
    declared = None if checksum_of_object else claims.declared(call.headers, PayloadMode.SIGNED)
    md5 = claims.content_md5(call.headers)
    document = bytearray()
    async for piece in pieces(call):
        document += piece
        if len(document) > XML_BYTES_MAX:
            raise S3Error("MaxMessageLengthExceeded", MaxMessageLengthBytes=XML_BYTES_MAX)
    content = bytes(document)
    _check_payload(call, hashlib.sha256(content).digest())
    if md5 is not None:
        claims.check_md5(md5, hashlib.md5(content, usedforsecurity=False).digest())
    if declared is not None:
        hasher = checksums.new(declared.algorithm)
        hasher.update(content)
        declared.check(hasher.digest())
    return content


async def parse(document: bytes, parser: Callable[[bytes], T]) -> T:
    """What ``parser`` makes of a request's document; a large one is parsed in a thread.

    Raises:
        S3Error: the document is not what the parser takes.
    """
    if len(document) <= LOOP_PARSE_BYTES_MAX:
        return parser(document)
    return await asyncio.to_thread(parser, document)
