"""Folding of raw header lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers, fold, with_hoisted


def test_names_fold_and_values_are_trimmed() -> None:
    assert fold([(b"HOST", b"a:9000"), (b"X-Amz-Meta-A", b" \tx y ")]) == {
        "host": "a:9000",
        "x-amz-meta-a": "x y",
    }


@pytest.mark.parametrize(("raw", "text"), [("é".encode(), "é"), (b"caf\xe9", "café"), (b"", "")])
def test_values_are_utf8_or_latin1(raw: bytes, text: str) -> None:
    assert fold([(b"x-amz-meta-a", raw)]) == {"x-amz-meta-a": text}


def test_long_names_are_read_too() -> None:
    name = "x-amz-meta-" + "n" * 200
    for _ in range(2):
        assert fold([(name.title().encode(), b"v")]) == {name: "v"}


@pytest.mark.parametrize("name", [b"", b"a b", b"a\n", b"caf\xe9", b"a:", b"(a)"])
def test_malformed_names_are_refused(name: bytes) -> None:
    with pytest.raises(S3Error):
        fold([(name, b"v")])


def test_headers_without_meaning_to_s3_are_joined() -> None:
    assert fold([(b"Accept", b"a"), (b"accept", b"b"), (b"Via", b"c")]) == {
        "accept": "a,b",
        "via": "c",
    }


def test_lists_may_come_line_by_line() -> None:
    name = "x-amz-object-attributes"
    assert fold([(name.encode(), b"ETag"), (name.title().encode(), b"ObjectSize")]) == {name: "ETag,ObjectSize"}


@pytest.mark.parametrize(
    "name",
    ["Host", "Range", "Content-MD5", "x-amz-acl", "X-Amz-Meta-A", "Authorization", "If-Match"],
)
def test_a_second_value_for_a_header_with_meaning_is_refused(name: str) -> None:
    with pytest.raises(S3Error) as refused:
        fold([(name.encode(), b"a"), (name.lower().encode(), b"a")])
    assert refused.value.code == "InvalidArgument"
    assert refused.value.fields["ArgumentName"] == name.lower()


@pytest.mark.parametrize("value", [b"a\nb", b"a\rb", b"a\0b", b"\x7f", b"\x1b[0m"])
def test_control_characters_are_refused(value: bytes) -> None:
    with pytest.raises(S3Error):
        fold([(b"x-amz-meta-a", value)])


def test_a_tab_inside_a_value_is_allowed() -> None:
    assert fold([(b"x-amz-meta-a", b"a\tb")]) == {"x-amz-meta-a": "a\tb"}


@given(st.lists(st.tuples(st.binary(), st.binary())))
def test_only_s3_errors_are_raised(raw: list[tuple[bytes, bytes]]) -> None:
    try:
        headers = fold(raw)
    except S3Error:
        return
    assert all(name == name.lower() for name in headers)
    assert not any(control in value for value in headers.values() for control in "\r\n\0")


def test_codings_in_lines_of_their_own() -> None:
    """As the Go and Java SDKs send them; they sign them joined."""
    assert fold([(b"Content-Encoding", b"gzip"), (b"Content-Encoding", b"aws-chunked")]) == {
        "content-encoding": "gzip,aws-chunked"
    }


def test_presigned_query_headers_count_as_headers() -> None:
    query = {
        "X-Amz-Signature": "s",
        "X-Amz-Meta-Colour": "red",
        "x-amz-acl": "private",
        "x-id": "PutObject",
    }
    merged = with_hoisted(Headers({"host": "h"}), query)
    assert merged == {"host": "h", "x-amz-meta-colour": "red", "x-amz-acl": "private"}
    assert with_hoisted(merged, query) == merged


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"x-amz-acl": "a"}, {"x-amz-acl": "b"}),
        ({}, {"x-amz-acl": "a", "X-Amz-Acl": "b"}),
        ({}, {"x-amz-meta-a": "\r\nx: y"}),
    ],
)
def test_presigned_query_headers_cannot_contradict_or_inject(headers: dict[str, str], query: dict[str, str]) -> None:
    with pytest.raises(S3Error):
        with_hoisted(Headers(headers), query)
