"""Tags: what S3 allows in a set of them, and their forms: header, request document, answer.

A set is a map from key to value. Nothing else makes one of what a client sent, so a stored set keeps
the rules.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from gateway.s3.errors import S3Error
from gateway.s3.target import decode_component
from gateway.s3.xml import parse_tagging
from gateway.s3.xmltext import DECLARATION, NAMESPACE, escape

HEADER: Final = "x-amz-tagging"
OBJECT_TAGS_MAX: Final = 10
BUCKET_TAGS_MAX: Final = 50
KEY_UNITS_MAX: Final = 128
"""Longest key of a tag, in UTF-16 code units, as S3 counts."""
VALUE_UNITS_MAX: Final = 256
"""Longest value of a tag, in UTF-16 code units."""

_SYMBOLS: Final = frozenset("_.:/=+-@")
_CATEGORIES: Final = frozenset("LZN")  # letters, separators, numbers
_RESERVED_PREFIX: Final = "aws:"

Tags: TypeAlias = Mapping[str, str]


def read_object_tags(document: bytes) -> Tags:
    """Return the tags of a PutObjectTagging request.

    Raises:
        S3Error: ``MalformedXML``; ``InvalidTag``; ``BadRequest`` for more than 10.
    """
    return _checked(parse_tagging(document), OBJECT_TAGS_MAX, "Object tags cannot be greater than 10")


def read_bucket_tags(document: bytes) -> Tags:
    """Return the tags of a PutBucketTagging request.

    Raises:
        S3Error: ``MalformedXML``; else as for `bucket_tags`.
    """
    return bucket_tags(parse_tagging(document))


def bucket_tags(pairs: Iterable[tuple[str, str]]) -> Tags:
    """Return the tags of a bucket that these keys and values are.

    Raises:
        S3Error: ``InvalidTag``; ``BadRequest`` for more than 50.
    """
    return _checked(pairs, BUCKET_TAGS_MAX, "Bucket tag count cannot be greater than 50")


def read_header(value: str) -> Tags:
    """Return the tags of an ``x-amz-tagging`` header: ``key=value&key``, percent-encoded like a form.

    Raises:
        S3Error: ``InvalidArgument`` when it is not of this form or has a key twice; else as for
            `read_object_tags`.
    """
    tags: dict[str, str] = {}
    for pair in value.split("&"):
        raw_key, _, raw_value = pair.partition("=")
        if not pair:
            continue
        try:
            key = decode_component(raw_key, plus_is_space=True)
            text = decode_component(raw_value, plus_is_space=True)
        except S3Error:
            raise _bad_header(value) from None
        if key in tags or "=" in raw_value:
            raise _bad_header(value)
        tags[key] = text
    return _checked(tags.items(), OBJECT_TAGS_MAX, "Object tags cannot be greater than 10")


def document_of(tags: Tags) -> str:
    """Return the answer that shows a set of tags, in the order of their keys."""
    rows = "".join(
        f"<Tag><Key>{escape(key)}</Key><Value>{escape(value)}</Value></Tag>" for key, value in sorted(tags.items())
    )
    return f'{DECLARATION}<Tagging xmlns="{NAMESPACE}"><TagSet>{rows}</TagSet></Tagging>'


def _checked(pairs: Iterable[tuple[str, str]], most: int, too_many: str) -> Tags:
    """The set that ``pairs`` make."""
    tags: dict[str, str] = {}
    for key, value in pairs:
        if not key or not _fits(key, KEY_UNITS_MAX):
            raise S3Error("InvalidTag", "The TagKey you have provided is invalid", TagKey=key)
        if not _fits(value, VALUE_UNITS_MAX):
            raise S3Error("InvalidTag", "The TagValue you have provided is invalid", TagKey=key, TagValue=value)
        if key.lower().startswith(_RESERVED_PREFIX):
            raise S3Error("InvalidTag", "System tags cannot be added/updated by requester", TagKey=key)
        if key in tags:
            raise S3Error("InvalidTag", "Cannot provide multiple Tags with the same key", TagKey=key)
        tags[key] = value
    if len(tags) > most:
        raise S3Error("BadRequest", too_many)
    return tags


def _fits(text: str, units: int) -> bool:
    # An astral character takes two units, so the cheap count goes first.
    return (
        len(text) <= units
        and all(c in _SYMBOLS or unicodedata.category(c)[0] in _CATEGORIES for c in text)
        and len(text.encode("utf-16-le")) <= 2 * units
    )


def _bad_header(value: str) -> S3Error:
    return S3Error(
        "InvalidArgument",
        f"The header '{HEADER}' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name"
        " duplicates.",
        ArgumentName=HEADER,
        ArgumentValue=value,
    )
