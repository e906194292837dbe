"""What targets of the wire share: how their inputs are written, and what holds of every refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers, fold
from tests.fuzz.target import Target

DOMAINS = ("s3.test",)
TEXT_TOKENS = (
    b"%", b"%00", b"%2F", b"%2e%2e", b"%FF", b"%C3%A9", b"%0D%0A", b"..", b"/", b"//", b"?", b"&", b"=", b"+", b" ",
    b"\t", b"#", b"\\", b";", b",", b":", b"\r\n", b"\0", b"\x7f", b"\xc3\xa9", b"\xff", b"\xed\xa0\x80",
    b"\xe2\x80\xa8", b"*", b'"', b"-", b"0", b"9" * 30, b"a" * 1100,
)  # fmt: skip


def check_refusal(error: Exception) -> None:
    """A refusal blames the client, and any client can read it."""
    assert isinstance(error, S3Error)
    assert error.status < 500 or error.code == "NotImplemented"
    if error.status != 304:
        assert ElementTree.fromstring(error.document(resource="/", request_id="0")).findtext("Code") == error.code


def wire_target(
    parse: Callable[[bytes], Any], check: Callable[[bytes, Any], None], *seeds: bytes, tokens: tuple[bytes, ...] = ()
) -> Target:
    """A target whose declared exception is `S3Error`."""
    return Target(parse, S3Error, check, seeds, (*tokens, *TEXT_TOKENS), check_refusal)


def value_of(data: bytes) -> str:
    """An input that is the value of one header."""
    return fold([(b"value", data)])["value"]


def headers_of(data: bytes) -> Headers:
    """An input that is headers, one a line."""
    found = [line.partition(b":") for line in data.split(b"\n") if line]
    return fold((name, value) for name, _, value in found)
