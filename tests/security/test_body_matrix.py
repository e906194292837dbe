"""Every way to send a body x every way it can be wrong: refused with its code, and nothing of it becomes visible."""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.servers import Server

pytestmark = pytest.mark.usefixtures("kept")

DATA = b"a" * 60 + b"b" * 40
CHUNK_BYTES = 60
CRC32 = b64encode(zlib.crc32(DATA).to_bytes(4, "big"))
OTHER_CRC32 = b64encode(zlib.crc32(b"other").to_bytes(4, "big"))
TRAILER = ("x-amz-checksum-crc32", CRC32.decode())
STATUSES = {
    "BadDigest": 400,
    "IncompleteBody": 400,
    "MalformedTrailerError": 400,
    "SignatureDoesNotMatch": 403,
    "XAmzContentSHA256Mismatch": 400,
}
MISMATCH, INCOMPLETE, BAD_TRAILER = "SignatureDoesNotMatch", "IncompleteBody", "MalformedTrailerError"


@dataclass(frozen=True)
class Way:
    """A way to send a body.

    Attributes:
        chunked: whether it is framed as aws-chunked.
        signs: whether each chunk is signed.
        trailer: whether a checksum comes behind it.
    """

    chunked: bool
    signs: bool
    trailer: bool

    def send(self, server: Server, target: str) -> tuple[dict[str, str], bytes]:
        """The headers and the body of a good request."""
        if not self.chunked:
            declared, payload = ({}, None) if self.signs else (dict((TRAILER,)), "UNSIGNED-PAYLOAD")
            return server.signed("PUT", target, declared, DATA, payload=payload), DATA
        return server.chunked(
            target, DATA, chunk_bytes=CHUNK_BYTES, sign_chunks=self.signs, trailer=TRAILER if self.trailer else None
        )


WAYS = {
    "signed": Way(False, True, False),
    "unsigned": Way(False, False, False),
    "chunks, unsigned trailer": Way(True, False, True),
    "signed chunks": Way(True, True, False),
    "signed chunks, signed trailer": Way(True, True, True),
}


def chunks_of(body: bytes) -> tuple[bytes, bytes, bytes]:
    """The two chunks of a framed body, and the rest."""
    first = body.index(b"\r\n") + 2 + 60 + 2
    second = body.index(b"\r\n", first) + 2 + 40 + 2
    return body[:first], body[first:second], body[second:]


def last_line_of(rest: bytes) -> tuple[bytes, bytes]:
    """The last chunk's line, and the trailer."""
    end = rest.index(b"\r\n") + 2
    return rest[:end], rest[end:]


def without_signature(body: bytes) -> bytes:
    return body[: body.index(b"x-amz-trailer-signature")] + b"\r\n"


def twice(body: bytes) -> bytes:
    line = f"{TRAILER[0]}:{TRAILER[1]}\r\n".encode()
    return body.replace(line, line * 2)


DEFECTS: dict[str, Callable[[bytes], bytes]] = {
    "another byte": lambda body: body.replace(b"ab", b"bb").replace(b"a\r\n", b"b\r\n"),
    "a chunk left out": lambda body: b"".join(chunks_of(body)[1:]),
    "chunks in another order": lambda body: b"".join(chunks_of(body)[place] for place in (1, 0, 2)),
    "a chunk twice": lambda body: chunks_of(body)[0] + body,
    "a chunk longer than it says": lambda body: body.replace(b"a\r\n", b"az\r\n", 1),
    "no last chunk": lambda body: b"".join(chunks_of(body)[:2]),
    "only the last chunk": lambda body: chunks_of(body)[2],
    "bytes behind the end": lambda body: body + b"x",
    "no line end": lambda body: body[:-2],
    "a longer chunk signature": lambda body: body.replace(b"chunk-signature=", b"chunk-signature=0", 1),
    "a signature of zeros": lambda body: body[: body.index(b"=") + 1] + b"0" * 64 + body[body.index(b"\r\n") :],
    "another trailer value": lambda body: body.replace(CRC32, OTHER_CRC32),
    "another trailer": lambda body: body.replace(b"x-amz-checksum-crc32:", b"x-amz-checksum-sha1:"),
    "the trailer twice": twice,
    "no trailer": lambda body: b"".join(chunks_of(body)[:2]) + last_line_of(chunks_of(body)[2])[0] + b"\r\n",
    "no trailer signature": without_signature,
}
UNSIGNED_TRAILER, SIGNED, SIGNED_TRAILER = list(WAYS)[2:]
CELLS: dict[str, dict[str, str]] = {
    "signed": {"another byte": "XAmzContentSHA256Mismatch"},
    "unsigned": {"another byte": "BadDigest"},
    UNSIGNED_TRAILER: {
        "another byte": "BadDigest",
        "a chunk left out": INCOMPLETE,
        "chunks in another order": "BadDigest",
        "a chunk twice": INCOMPLETE,
        "a chunk longer than it says": INCOMPLETE,
        "no last chunk": INCOMPLETE,
        "only the last chunk": INCOMPLETE,
        "bytes behind the end": INCOMPLETE,
        "no line end": INCOMPLETE,
        "another trailer value": "BadDigest",
        "another trailer": BAD_TRAILER,
        "the trailer twice": BAD_TRAILER,
        "no trailer": BAD_TRAILER,
    },
    SIGNED: {
        "another byte": MISMATCH,
        "a chunk left out": MISMATCH,
        "chunks in another order": MISMATCH,
        "a chunk twice": INCOMPLETE,
        "a chunk longer than it says": INCOMPLETE,
        "no last chunk": INCOMPLETE,
        "only the last chunk": INCOMPLETE,
        "bytes behind the end": INCOMPLETE,
        "no line end": INCOMPLETE,
        "a longer chunk signature": INCOMPLETE,
        "a signature of zeros": MISMATCH,
    },
    SIGNED_TRAILER: {
        "another byte": MISMATCH,
        "a chunk left out": MISMATCH,
        "chunks in another order": MISMATCH,
        "a chunk twice": INCOMPLETE,
        "a chunk longer than it says": INCOMPLETE,
        "no last chunk": INCOMPLETE,
        "only the last chunk": INCOMPLETE,
        "bytes behind the end": INCOMPLETE,
        "no line end": INCOMPLETE,
        "a signature of zeros": MISMATCH,
        "another trailer value": MISMATCH,
        "another trailer": MISMATCH,
        "the trailer twice": BAD_TRAILER,
        "no trailer": MISMATCH,
        "no trailer signature": MISMATCH,
    },
}


@pytest.fixture(scope="module")
def part(server: Server) -> Iterator[str]:
    """The target of a part; there is none when the tests are over."""
    s3 = server.boto3()
    upload = s3.create_multipart_upload(Bucket="target", Key="parts")["UploadId"]
    yield f"/target/parts?partNumber=1&uploadId={upload}"
    assert "Parts" not in s3.list_parts(Bucket="target", Key="parts", UploadId=upload)


@pytest.mark.parametrize(
    ("way", "defect", "code"), [(way, defect, code) for way, cells in CELLS.items() for defect, code in cells.items()]
)
def test_a_damaged_body_is_refused(server: Server, part: str, way: str, defect: str, code: str) -> None:
    for target in ("/target/kept", part):
        headers, body = WAYS[way].send(server, target)
        damaged = DEFECTS[defect](body)
        assert damaged != body
        reply = server.send("PUT", target, headers, damaged)
        assert (reply.code, reply.status) == (code, STATUSES[code])


@pytest.mark.parametrize("way", [SIGNED, SIGNED_TRAILER])
def test_the_chunks_of_another_request_are_refused(server: Server, part: str, way: str) -> None:
    for target in ("/target/kept", part):
        headers, _ = WAYS[way].send(server, target)
        _, other = WAYS[way].send(server, "/target/other")
        assert server.send("PUT", target, headers, other).code == MISMATCH


@pytest.mark.parametrize("way", WAYS)
def test_a_good_body_is_accepted(server: Server, way: str) -> None:
    headers, body = WAYS[way].send(server, "/target/other")
    assert server.send("PUT", "/target/other", headers, body).status == 200
    assert server.request("GET", "/target/other").body == DATA
