"""Sets of tags: read from a header and from documents, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.errors import S3Error
from gateway.s3.tags import document_of, read_bucket_tags, read_header, read_object_tags

LEGAL = st.text(st.characters(categories=["L", "N", "Z"], include_characters="_.:/=+-@"), max_size=128).filter(
    lambda text: len(text.encode("utf-16-le")) <= 256
)
SETS = st.dictionaries(
    LEGAL.filter(lambda key: key and not key.lower().startswith("aws:")), LEGAL, min_size=1, max_size=10
)


def document(tags: Mapping[str, str]) -> bytes:
    return document_of(tags).encode()


@given(SETS)
def test_every_form_gives_the_set_back(tags: dict[str, str]) -> None:
    assert read_header(urlencode(tags)) == tags
    assert read_header(urlencode(tags, quote_via=quote)) == tags
    assert read_object_tags(document(tags)) == tags
    assert read_bucket_tags(document(tags)) == tags


@given(SETS)
def test_answers_are_in_the_order_of_the_keys(tags: dict[str, str]) -> None:
    keys = [element.text for element in ElementTree.fromstring(document(tags)).iter() if element.tag.endswith("}Key")]
    assert keys == sorted(tags)


@pytest.mark.parametrize(
    ("header", "tags"),
    [("", {}), ("&", {}), ("a", {"a": ""}), ("a=", {"a": ""}), ("a=%3D&b=1+2", {"a": "=", "b": "1 2"})],
)
def test_headers(header: str, tags: dict[str, str]) -> None:
    assert read_header(header) == tags


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("a=1&a=2", "InvalidArgument"),
        ("a=b=c", "InvalidArgument"),
        ("a=%", "InvalidArgument"),
        ("a=%ff", "InvalidArgument"),
        ("=1", "InvalidTag"),
        ("a=%00", "InvalidTag"),
        ("AWS:a=1", "InvalidTag"),
        ("&".join(f"k{n}" for n in range(11)), "BadRequest"),
    ],
)
def test_refused_headers(header: str, code: str) -> None:
    with pytest.raises(S3Error) as refused:
        read_header(header)
    assert (refused.value.code, refused.value.status) == (code, 400)


@given(st.text())
def test_only_s3_errors_are_raised(header: str) -> None:
    try:
        read_header(header)
    except S3Error as error:
        assert error.status == 400
