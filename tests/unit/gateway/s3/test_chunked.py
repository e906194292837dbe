"""The aws-chunked decoder: any split, every defect."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.chunked import (
    CHUNK_LINE_BYTES_MAX,
    TRAILER_BYTES_MAX,
    ChunkedDecoder,
    decoded_length,
    trailer_names,
)
from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers
from gateway.s3.sigv4 import PayloadMode, Verified
from gateway.s3.sigv4.verified import SigningKey

KEY = SigningKey(b"k" * 32)
SEED = "5" * 64
DATE = "20260921T141320Z"
SCOPE = "20260921/us-east-1/s3/aws4_request"
EMPTY = sha256(b"").hexdigest()
UNSIGNED = PayloadMode.CHUNKED_UNSIGNED_TRAILER
SIGNED = PayloadMode.CHUNKED_SIGNED
SIGNED_TRAILER = PayloadMode.CHUNKED_SIGNED_TRAILER
CRC = "x-amz-checksum-crc32"


def verified(mode: PayloadMode) -> Verified:
    return Verified("AKIDEXAMPLE", mode, None, False, DATE, SCOPE, SEED, KEY, ("host",))


def encode(
    mode: PayloadMode,
    chunks: Iterable[bytes],
    trailers: dict[str, str] | None = None,
    line_end: str = "\r\n",
) -> bytes:
    """An independent encoder, written from the specification's grammar."""
    body = b""
    previous = SEED
    for chunk in [*chunks, b""]:
        line = f"{len(chunk):x}"
        if mode is not UNSIGNED:
            previous = KEY.sign(
                "\n".join(
                    [
                        "AWS4-HMAC-SHA256-PAYLOAD",
                        DATE,
                        SCOPE,
                        previous,
                        EMPTY,
                        sha256(chunk).hexdigest(),
                    ]
                )
            )
            line += f";chunk-signature={previous}"
        body += f"{line}\r\n".encode() + chunk + (b"\r\n" if chunk else b"")
    text = "".join(f"{name}:{value}\n" for name, value in (trailers or {}).items())
    body += "".join(f"{name}:{value}{line_end}" for name, value in (trailers or {}).items()).encode()
    if mode is SIGNED_TRAILER:
        signature = KEY.sign(
            "\n".join(
                [
                    "AWS4-HMAC-SHA256-TRAILER",
                    DATE,
                    SCOPE,
                    previous,
                    sha256(text.encode()).hexdigest(),
                ]
            )
        )
        body += f"x-amz-trailer-signature:{signature}\r\n".encode()
    return body + b"\r\n"


def decoder(mode: PayloadMode, size: int, *announced: str) -> ChunkedDecoder:
    headers = {"x-amz-decoded-content-length": str(size)}
    if announced:
        headers["x-amz-trailer"] = ",".join(announced)
    return ChunkedDecoder(verified(mode), Headers(headers))


def refusal(act: Callable[[], Any]) -> str:
    with pytest.raises(S3Error) as refused:
        act()
    return refused.value.code


def decode(target: ChunkedDecoder, pieces: Iterable[bytes]) -> tuple[bytes, dict[str, str]]:
    content = b"".join(b"".join(target.feed(piece)) for piece in pieces)
    return content, target.finish()


@given(
    st.sampled_from([UNSIGNED, SIGNED, SIGNED_TRAILER]),
    st.lists(st.binary(min_size=1, max_size=40), max_size=5),
    st.booleans(),
    st.sampled_from(["\r\n", "\n\r\n", "\n"]),
    st.data(),
)
def test_any_split_gives_the_content(
    mode: PayloadMode, chunks: list[bytes], trailer: bool, line_end: str, data: st.DataObject
) -> None:
    content = b"".join(chunks)
    trailers = {}
    if trailer and mode is not SIGNED:
        trailers[CRC] = base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()
    if mode is UNSIGNED:
        line_end = "\r\n"
    body = encode(mode, chunks, trailers, line_end)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert decode(decoder(mode, len(content), *trailers), pieces) == (content, trailers)


@pytest.mark.parametrize("mode", [UNSIGNED, SIGNED, SIGNED_TRAILER])
def test_byte_by_byte(mode: PayloadMode) -> None:
    body = encode(mode, [b"hello ", b"world"])
    assert decode(decoder(mode, 11), [bytes([byte]) for byte in body]) == (b"hello world", {})


def test_large_pieces_are_not_copied_needlessly() -> None:
    target = decoder(UNSIGNED, 1 << 20)
    target.feed(b"100000\r\n")
    piece = bytes(65536)
    assert target.feed(piece)[0] is piece


def test_trailer_as_minio_clients_end_it() -> None:
    body = encode(UNSIGNED, [b"abc"])[:-2] + f"{CRC}:NSRBwg==\n\r\n\r\n".encode()
    assert decode(decoder(UNSIGNED, 3, CRC), [body]) == (b"abc", {CRC: "NSRBwg=="})


def test_trailer_names_ignore_case_and_blanks() -> None:
    body = encode(UNSIGNED, [b"abc"])[:-2] + b"X-Amz-Checksum-CRC32 : NSRBwg== \r\n\r\n"
    assert decode(decoder(UNSIGNED, 3, "X-Amz-Checksum-Crc32"), [body])[1] == {CRC: "NSRBwg=="}
    assert trailer_names(Headers({"x-amz-trailer": " A , b,"})) == {"a", "b"}


@pytest.mark.parametrize("mode", [UNSIGNED, SIGNED, SIGNED_TRAILER])
def test_every_truncation_is_refused(mode: PayloadMode) -> None:
    trailers = {} if mode is SIGNED else {CRC: "NSRBwg=="}
    body = encode(mode, [b"a", b"bc"], trailers)
    for length in range(len(body)):
        assert refusal(lambda n=length: decode(decoder(mode, 3, *trailers), [body[:n]])) in (
            "IncompleteBody",
            "SignatureDoesNotMatch",
            "MalformedTrailerError",
        )


@pytest.mark.parametrize("mode", [SIGNED, SIGNED_TRAILER])
def test_every_flipped_bit_of_a_signed_body_is_refused(mode: PayloadMode) -> None:
    trailers = {} if mode is SIGNED else {CRC: "NSRBwg=="}
    body = encode(mode, [b"a", b"bc"], trailers)
    for index in range(len(body)):
        for bit in range(8):
            broken = bytearray(body)
            broken[index] ^= 1 << bit
            try:
                result = decode(decoder(mode, 3, *trailers), [bytes(broken)])
            except S3Error:
                continue
            # Letters of the trailer names in another case, or blanks between the trailers.
            assert result == (b"abc", trailers)
            assert index >= body.index(b"x-amz-") - 2


def test_swapped_chunks_are_refused() -> None:
    body = encode(SIGNED, [b"aa", b"bb"])
    size = len(f"2;chunk-signature={SEED}\r\naa\r\n")
    first, second, rest = body[:size], body[size : 2 * size], body[2 * size :]
    assert decode(decoder(SIGNED, 4), [first, second, rest])[0] == b"aabb"
    assert refusal(lambda: decoder(SIGNED, 4).feed(second + first + rest)) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    "body",
    [
        b"3\nabc\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n0\r\n\r\n",
        b"3;ext=1\r\nabc\r\n0\r\n\r\n",
        b"3;chunk-signature=" + b"0" * 64 + b"\r\nabc\r\n0\r\n\r\n",
        b"00000000000000003\r\nabc\r\n0\r\n\r\n",
        b"2\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"4\r\nabc\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\nabc",
        b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
        b"2\r\nab\r\n0\r\n\r\n",
        b"3\r\nabc\r\n0\r\n\r\nx",
        b"3\r\nabc\r\n0\r\nx\r\n",
        b"\xff" * 10,
    ],
)
def test_broken_framing(body: bytes) -> None:
    assert refusal(lambda: decode(decoder(UNSIGNED, 3), [body])) == "IncompleteBody"
    assert refusal(lambda: decode(decoder(UNSIGNED, 3), [bytes([b]) for b in body])) == "IncompleteBody"


def test_leading_zeros_and_capitals_in_sizes() -> None:
    assert decode(decoder(UNSIGNED, 10), [b"000A\r\n0123456789\r\n00\r\n\r\n"])[0] == b"0123456789"


@pytest.mark.parametrize(
    ("trailer", "announced", "code"),
    [
        (b"\r\n", [CRC], "MalformedTrailerError"),
        (b"x-amz-checksum-sha1:x\r\n\r\n", [CRC], "MalformedTrailerError"),
        (b"x-amz-checksum-crc32:x\r\n\r\n", [], "MalformedTrailerError"),
        (
            b"x-amz-checksum-crc32:x\r\nx-amz-acl:public-read\r\n\r\n",
            [CRC],
            "MalformedTrailerError",
        ),
        (
            b"x-amz-checksum-crc32:x\r\nX-Amz-Checksum-Crc32:y\r\n\r\n",
            [CRC],
            "MalformedTrailerError",
        ),
        (b"x-amz-checksum-crc32\r\n\r\n", [CRC], "MalformedTrailerError"),
        (b"x-amz-checksum-crc32:\xff\r\n\r\n", [CRC], "MalformedTrailerError"),
        (b"x-amz-checksum-crc32:x\r\n", [CRC], "IncompleteBody"),
        (b"x-amz-checksum-crc32:x\r\n\r\ny", [CRC], "IncompleteBody"),
        (b"x" * (TRAILER_BYTES_MAX + 1), [CRC], "MalformedTrailerError"),
    ],
)
def test_bad_trailers(trailer: bytes, announced: list[str], code: str) -> None:
    assert refusal(lambda: decode(decoder(UNSIGNED, 3, *announced), [b"3\r\nabc\r\n0\r\n" + trailer])) == code


def test_missing_trailer_signature() -> None:
    body = encode(SIGNED_TRAILER, [b"abc"], {CRC: "NSRBwg=="})
    cut = body[: body.index(b"x-amz-trailer-signature")] + b"\r\n"
    assert refusal(lambda: decode(decoder(SIGNED_TRAILER, 3, CRC), [cut])) == "SignatureDoesNotMatch"


def test_a_chunk_line_is_bounded() -> None:
    target = decoder(UNSIGNED, 3)
    assert target.feed(b"0" * (CHUNK_LINE_BYTES_MAX - 1)) == []
    assert refusal(lambda: target.feed(b"00")) == "IncompleteBody"


def test_a_refused_decoder_stays_refused() -> None:
    target = decoder(UNSIGNED, 3)
    assert refusal(lambda: target.feed(b"zz\r\n")) == "IncompleteBody"
    assert refusal(lambda: target.feed(b"3\r\nabc\r\n0\r\n\r\n")) == "IncompleteBody"
    assert refusal(target.finish) == "IncompleteBody"


def test_nothing_after_the_end() -> None:
    target = decoder(UNSIGNED, 0)
    assert decode(target, [b"0\r\n\r\n"]) == (b"", {})
    assert refusal(lambda: target.feed(b"x")) == "IncompleteBody"
    assert refusal(target.finish) == "IncompleteBody"


@pytest.mark.parametrize("more", [b"\r\n", b"\r\n\r\n", b"x", b"a:b\r\n\r\n", b"0\r\n\r\n"])
def test_nothing_after_the_end_of_a_body_without_trailers(more: bytes) -> None:
    body = encode(SIGNED, [b"abc"])
    assert decode(decoder(SIGNED, 3), [body]) == (b"abc", {})
    assert refusal(lambda: decode(decoder(SIGNED, 3), [body + more])) == "IncompleteBody"


@pytest.mark.parametrize("text", [None, "", "-1", "1e3", "9" * 5000, "٣"])
def test_declared_lengths(text: str | None) -> None:
    headers = Headers({} if text is None else {"x-amz-decoded-content-length": text})
    assert refusal(lambda: decoded_length(headers)) == "MissingContentLength"
    assert decoded_length(Headers({"x-amz-decoded-content-length": "0012"})) == 12


def test_a_trailer_is_announced_only_where_one_can_come() -> None:
    assert refusal(lambda: decoder(SIGNED, 3, CRC)) == "MalformedTrailerError"


@pytest.mark.parametrize("mode", [PayloadMode.SIGNED, PayloadMode.UNSIGNED])
def test_only_for_chunked_payloads(mode: PayloadMode) -> None:
    with pytest.raises(TypeError):
        decoder(mode, 3)


@given(
    st.sampled_from([UNSIGNED, SIGNED, SIGNED_TRAILER]),
    st.lists(
        st.binary(max_size=60)
        | st.sampled_from([b"3\r\n", b"abc", b"\r\n", b"0\r\n", b"0;chunk-signature=" + b"a" * 64 + b"\r\n"])
    ),
)
def test_only_s3_errors_are_raised(mode: PayloadMode, pieces: list[bytes]) -> None:
    try:
        decode(decoder(mode, 3), pieces)
    except S3Error as refused:
        assert refused.code in ("IncompleteBody", "SignatureDoesNotMatch", "MalformedTrailerError")
