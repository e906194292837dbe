"""Upload bodies: public advisories about S3 servers, each as a test with its id in the name."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway.s3.chunked import ChunkedDecoder
from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers
from gateway.s3.sigv4 import PayloadMode, Verified
from gateway.s3.sigv4.verified import SigningKey


def refusal(act: Callable[[], Any]) -> S3Error:
    with pytest.raises(S3Error) as refused:
        act()
    return refused.value


def chunked_verified(mode: PayloadMode = PayloadMode.CHUNKED_UNSIGNED_TRAILER) -> Verified:
    key = SigningKey(b"k")
    return Verified("AK", mode, None, False, "20260921T141320Z", "s", "5" * 64, key, ("host",))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\r\n",
        b"0",
        b";",
        b"0;chunk-signature=",
        b"1\r\n",
        b"-1\r\n\r\n",
        b"7fffffffffffffff\r\n",
        b"\x00" * 500,
        b"0\r\n" + b"x:" * 5000,
    ],
)
def test_ghsa_v2ch_c8v8_fgr7_hostile_chunks_are_client_errors(body: bytes) -> None:
    for mode in (
        PayloadMode.CHUNKED_UNSIGNED_TRAILER,
        PayloadMode.CHUNKED_SIGNED,
        PayloadMode.CHUNKED_SIGNED_TRAILER,
    ):
        decoder = ChunkedDecoder(chunked_verified(mode), Headers({"x-amz-decoded-content-length": "5"}))

        def act(target: ChunkedDecoder = decoder) -> None:
            target.feed(body)
            target.finish()

        assert refusal(act).status < 500


def test_versitygw_1660_trailing_garbage_is_refused() -> None:
    for garbage in (b"x", b"GET / HTTP/1.1\r\n\r\n", b"\r\n", b"x-amz-acl:public-read\r\n\r\n"):
        decoder = ChunkedDecoder(chunked_verified(), Headers({"x-amz-decoded-content-length": "1"}))
        decoder.feed(b"1\r\na\r\n0\r\n\r\n" + garbage)
        if garbage != b"\r\n":
            assert refusal(decoder.finish).status == 400


def test_cve_2025_69229_tiny_chunks_cost_linear_time() -> None:
    def seconds(chunks: int) -> float:
        decoder = ChunkedDecoder(chunked_verified(), Headers({"x-amz-decoded-content-length": str(chunks)}))
        body = b"1\r\na\r\n" * chunks + b"0\r\n\r\n"
        started = time.process_time()
        for byte in range(0, len(body), 7):
            decoder.feed(body[byte : byte + 7])
        decoder.finish()
        return time.process_time() - started

    small = min(seconds(4_000) for _ in range(3))
    assert min(seconds(40_000) for _ in range(2)) < 40 * small


def test_cve_2026_39414_unbounded_lines_are_refused() -> None:
    decoder = ChunkedDecoder(chunked_verified(), Headers({"x-amz-decoded-content-length": "1"}))
    assert refusal(lambda: [decoder.feed(b"0" * 64) for _ in range(3)]).status == 400
    decoder = ChunkedDecoder(chunked_verified(), Headers({"x-amz-decoded-content-length": "0"}))
    decoder.feed(b"0\r\n")
    assert refusal(lambda: [decoder.feed(b"x" * 64) for _ in range(17)]).status == 400
