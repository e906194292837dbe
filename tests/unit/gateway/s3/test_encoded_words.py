"""Encoded words in headers, against the standard library's reader of mail headers."""

from __future__ import annotations

from email.header import decode_header, make_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.encoded_words import decode, encode

PRINTABLE = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=?UTF-8?B?w6k=?=", "é"),
        ("=?utf-8?Q?=C3=A9_x?=", "é x"),
        ("=?ISO-8859-1?q?caf=e9?=", "café"),
        ("=?UTF-8?B?w6k=?= =?UTF-8?B?w6k=?=", "éé"),
        ("=?UTF-8?B?ww==?= =?UTF-8?B?qQ==?=", "é"),
        ("=?UTF-8?Q?=C3=A9?= =?ISO-8859-1?Q?=E9?=", "éé"),
        ("=?UTF-8?Q?100%25?=", "100%25"),
        ("=?us-ascii?q?abc?=", "abc"),
    ],
)
def test_encoded_words_are_read(value: str, text: str) -> None:
    assert decode(value) == text


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        "=?",
        "=?x",
        "=?UTF-8?B?w6k=",
        "=?UTF-8?B?*?=",
        "=?UTF-8?X?a?=",
        "=?klingon?q?a?=",
        "=?UTF-8?B?/w==?=",
        "=?UTF-8?Q?=zz?=",
        "=?us-ascii?q?=e9?=",
        "=?UTF-8?B?w6k=?= tail",
        "é",
        "a =?UTF-8?B?w6k=?=",
    ],
)
def test_what_is_no_encoded_word_stays(value: str) -> None:
    assert decode(value) == value


@given(PRINTABLE)
def test_words_round_trip_and_email_reads_them(text: str) -> None:
    encoded = encode(text)
    assert encoded.isascii()
    if not text.isascii():
        assert decode(encoded) == text
        assert str(make_header(decode_header(encoded))) == text
        assert all(len(word) <= 75 for word in encoded.split(" "))


@pytest.mark.parametrize("text", ["=?utf-8?Q?a?=", "=?UTF-8?B?w6k=?=", " a", "a\t", " "])
def test_text_that_would_be_read_otherwise_is_sent_as_words(text: str) -> None:
    assert decode(encode(text).strip(" \t")) == text


@given(st.text(st.characters(max_codepoint=127)) | st.text())
def test_words_never_raise(value: str) -> None:
    decode(value)
    decode(f"=?UTF-8?B?{value}?=")
    decode(f"=?UTF-8?Q?{value}?=")
