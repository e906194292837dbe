"""Text in XML answers: what a parser reads back is what was written."""

from __future__ import annotations

from urllib.parse import unquote, unquote_plus
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.xmltext import escape, url_encode

XML_TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff") | st.sampled_from("\t\n\r&<>\"'")
)


@given(XML_TEXT)
def test_a_parser_reads_back_what_was_escaped(text: str) -> None:
    attribute = escape(text).replace("\n", "&#10;").replace("\t", "&#9;")
    root = ElementTree.fromstring(f'<a b="{attribute}">{escape(text)}</a>')
    assert (root.text or "") == text
    assert root.get("b") == text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain", "plain"),
        ('"a" & <b>', "&quot;a&quot; &amp; &lt;b&gt;"),
        ("\x01\r\x1f", "&#x1;&#xd;&#x1f;"),
        ("\uffff", "&#xffff;"),
    ],
)
def test_characters_that_need_a_reference(text: str, escaped: str) -> None:
    assert escape(text) == escaped


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("foo/bar", "foo/bar"),
        ("a b", "a%20b"),
        ("a+b", "a%2Bb"),
        ("é\x01~", "%C3%A9%01~"),
        ("%", "%25"),
    ],
)
def test_url_encoding_of_listings(text: str, encoded: str) -> None:
    assert url_encode(text) == encoded


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_both_kinds_of_decoder_get_the_key_back(text: str) -> None:
    assert unquote(url_encode(text)) == text
    assert unquote_plus(url_encode(text)) == text
