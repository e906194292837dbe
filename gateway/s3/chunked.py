"""The aws-chunked framing of an upload, taken off piece by piece.

Three of the five payload modes wrap the body in sized chunks, with a signature for each chunk, a
trailer behind the last one, or both. The decoder is fed whatever the network delivers, in any
split, keeps at most one line and the trailer, and spends time linear in what it is fed.

It can only be built for a :class:`~gateway.s3.sigv4.Verified` request: three servers have shipped a
decoder for an unsigned trailer that was reached before the request's own signature was checked
(CVE-2025-31489, CVE-2026-40344, CVE-2026-41145).

Pieces are handed out before the signature of their chunk has been seen, because a chunk may be as
large as the object. They must not become visible to anybody until :meth:`ChunkedDecoder.finish` has
returned.

Specification: "Signature calculations for the Authorization header: transferring payload in
multiple chunks", and the same "including trailing headers", Amazon S3 API Reference.
"""

from __future__ import annotations

import enum
import hmac
import re
from hashlib import sha256
from typing import Final

from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers
from gateway.s3.sigv4 import PayloadMode, Verified

CHUNK_LINE_BYTES_MAX: Final = 128  # 16 digits, ";chunk-signature=", 64 digits, CR LF make 99
TRAILER_BYTES_MAX: Final = 1024
_LENGTH_DIGITS_MAX: Final = 18

_UNSIGNED_LINE: Final = re.compile(rb"([0-9a-fA-F]{1,16})\r\n")
_SIGNED_LINE: Final = re.compile(rb"([0-9a-fA-F]{1,16});chunk-signature=([0-9a-f]{64})\r\n")
_EMPTY_SHA256: Final = sha256(b"").hexdigest()
_TRAILER_SIGNATURE: Final = "x-amz-trailer-signature"
_SIGNED_MODES: Final = frozenset({PayloadMode.CHUNKED_SIGNED, PayloadMode.CHUNKED_SIGNED_TRAILER})
_TRAILER_MODES: Final = frozenset({PayloadMode.CHUNKED_UNSIGNED_TRAILER, PayloadMode.CHUNKED_SIGNED_TRAILER})


class _Expect(enum.Enum):
    """What the next byte belongs to."""

    CHUNK_LINE = 1
    DATA = 2
    DATA_END = 3
    TRAILER = 4
    NOTHING = 5  # finished, or refused


def decoded_length(headers: Headers) -> int:
    """Return the length in bytes that the content of an aws-chunked body is declared to have.

    Raises:
        S3Error: ``MissingContentLength`` without ``x-amz-decoded-content-length``, and when it is
            no length.
    """
    text = headers.get("x-amz-decoded-content-length", "")
    if not (text.isascii() and text.isdigit() and len(text) <= _LENGTH_DIGITS_MAX):
        raise S3Error("MissingContentLength")
    return int(text)


def trailer_names(headers: Headers) -> frozenset[str]:
    """Return the lower-case names that ``x-amz-trailer`` announces."""
    names = headers.get("x-amz-trailer", "").lower().split(",")
    return frozenset(name.strip() for name in names) - {""}


class ChunkedDecoder:
    """Turns an aws-chunked body into content.

    Args:
        verified: the request, whose payload mode must be one of the chunked ones.
        headers: its headers.

    Raises:
        S3Error: when the headers do not fit the payload mode.
    """

    def __init__(self, verified: Verified, headers: Headers) -> None:
        if not isinstance(verified, Verified) or not verified.payload.is_chunked:
            raise TypeError("only a verified request with a chunked payload has chunks")
        self.decoded_length: Final = decoded_length(headers)
        self._announced = trailer_names(headers)
        if self._announced and verified.payload not in _TRAILER_MODES:
            raise S3Error("MalformedTrailerError")
        self._verified = verified
        self._signed = verified.payload in _SIGNED_MODES
        self._signature = verified.seed_signature  # the newest link of the chain
        self._given = b""  # the signature that the current chunk must turn out to have
        self._hash = sha256()
        self._line = b""
        self._trailer = bytearray()
        self._decoded = 0  # bytes of content announced by chunk lines so far
        self._remaining = 0  # bytes of the current chunk still to come
        self._expect = _Expect.CHUNK_LINE

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the body and return the content in them, in order.

        Raises:
            S3Error: ``IncompleteBody`` for broken framing or more content than was declared,
                ``SignatureDoesNotMatch``, ``MalformedTrailerError``. The decoder is then spent.
        """
        pieces: list[bytes] = []
        position = 0
        while position < len(data):
            if self._expect is _Expect.DATA:
                position = self._take_data(data, position, pieces)
            elif self._expect is _Expect.TRAILER:
                self._trailer += data[position:]
                if len(self._trailer) > TRAILER_BYTES_MAX:
                    raise self._refuse("MalformedTrailerError")
                break
            else:
                position = self._take_line(data, position)
        return pieces

    def finish(self) -> dict[str, str]:
        """Declare that the body has ended and return its trailers, by lower-case name.

        Raises:
            S3Error: ``IncompleteBody`` when something is missing, ``SignatureDoesNotMatch``,
                ``MalformedTrailerError`` when the trailers are not the announced ones.
        """
        if self._expect is not _Expect.TRAILER:
            raise self._refuse("IncompleteBody")
        raw = bytes(self._trailer)
        may_have_trailers = self._verified.payload in _TRAILER_MODES
        if raw != b"\r\n" and not (may_have_trailers and raw.endswith(b"\r\n\r\n")):
            raise self._refuse("IncompleteBody")
        trailers = self._parse_trailers(raw)
        if self._signed and may_have_trailers:
            self._check_trailer_signature(trailers)
        if trailers.keys() != self._announced:
            raise self._refuse("MalformedTrailerError")
        self._expect = _Expect.NOTHING
        return trailers

    def _refuse(self, code: str, message: str | None = None) -> S3Error:
        self._expect = _Expect.NOTHING
        return S3Error(code, message)

    def _take_data(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        end = min(position + self._remaining, len(data))
        piece = data[position:end]
        pieces.append(piece)
        if self._signed:
            self._hash.update(piece)
        self._remaining -= end - position
        if self._remaining == 0:
            if self._signed:
                self._check_chunk_signature()
            self._expect = _Expect.DATA_END
        return end

    def _take_line(self, data: bytes, position: int) -> int:
        room = CHUNK_LINE_BYTES_MAX - len(self._line)
        if room <= 0 or self._expect is _Expect.NOTHING:
            raise self._refuse("IncompleteBody", "The body's chunks are malformed.")
        found = data.find(b"\n", position, position + room)
        end = found + 1 if found >= 0 else min(position + room, len(data))
        self._line += data[position:end]
        if found >= 0:
            line, self._line = self._line, b""
            if self._expect is _Expect.CHUNK_LINE:
                self._start_chunk(line)
            elif line == b"\r\n":
                self._expect = _Expect.CHUNK_LINE
            else:
                raise self._refuse("IncompleteBody", "A chunk is longer than it says.")
        return end

    def _start_chunk(self, line: bytes) -> None:
        match = (_SIGNED_LINE if self._signed else _UNSIGNED_LINE).fullmatch(line)
        if match is None:
            raise self._refuse("IncompleteBody", "The body's chunks are malformed.")
        size = int(match[1], 16)
        self._decoded += size
        if self._decoded > self.decoded_length or (size == 0 and self._decoded != self.decoded_length):
            raise self._refuse(
                "IncompleteBody",
                "You did not provide the number of bytes specified by the x-amz-decoded-content-length HTTP header",
            )
        if self._signed:
            self._given = match[2]
        if size:
            self._remaining = size
            self._expect = _Expect.DATA
            return
        if self._signed:
            self._check_chunk_signature()
        self._expect = _Expect.TRAILER

    def _check_chunk_signature(self) -> None:
        digest = self._hash.hexdigest()
        self._hash = sha256()
        self._check("AWS4-HMAC-SHA256-PAYLOAD", f"{_EMPTY_SHA256}\n{digest}", self._given)

    def _check_trailer_signature(self, trailers: dict[str, str]) -> None:
        given = trailers.pop(_TRAILER_SIGNATURE, "")
        text = "".join(f"{name}:{value}\n" for name, value in trailers.items())
        digest = sha256(text.encode()).hexdigest()
        self._check("AWS4-HMAC-SHA256-TRAILER", digest, given.encode())

    def _check(self, kind: str, subject: str, given: bytes) -> None:
        """Continue the chain of signatures by one link."""
        verified = self._verified
        text = f"{kind}\n{verified.amz_date}\n{verified.scope}\n{self._signature}\n{subject}"
        self._signature = verified.signing_key.sign(text)
        if not hmac.compare_digest(self._signature.encode(), given):
            raise self._refuse("SignatureDoesNotMatch")

    def _parse_trailers(self, raw: bytes) -> dict[str, str]:
        # Blank lines are passed over: some clients end each line with LF CR LF.
        trailers: dict[str, str] = {}
        for line in raw.split(b"\n"):
            text = line.strip(b" \t\r")
            if not text:
                continue
            name, colon, value = text.partition(b":")
            if not colon or not text.isascii():
                raise self._refuse("MalformedTrailerError")
            key = name.strip().decode().lower()
            if key in trailers:
                raise self._refuse("MalformedTrailerError")
            trailers[key] = value.strip().decode()
        return trailers
