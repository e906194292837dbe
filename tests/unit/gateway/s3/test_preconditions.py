"""Conditional requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers
from gateway.s3.httpdate import format_http
from gateway.s3.preconditions import check_copy_source, check_read, range_applies, write_check
from mst.cid import CID, RAW
from mst.entry import Entry

ETAG = "9e107d9d372bb6826bd81d3542a419d6"
OTHER = "0" * 32
MODIFIED_MS = 1_790_000_000_900
BEFORE = format_http(1_789_999_999)
SAME = format_http(1_790_000_000)
AFTER = format_http(1_790_000_001)
NOW_MS = 1_790_000_002_100
NOW = format_http(1_790_000_002)
FUTURE = format_http(1_790_000_003)
ENTRY = Entry(CID.of(RAW, b""), 0, MODIFIED_MS, bytes.fromhex(ETAG), None)


def read(**conditions: str) -> str:
    headers = Headers({name.replace("_", "-"): value for name, value in conditions.items()})
    try:
        check_read(headers, ETAG, MODIFIED_MS, NOW_MS)
    except S3Error as refused:
        return refused.code
    return "go on"


@pytest.mark.parametrize(
    "tags",
    [
        f'"{ETAG}"',
        ETAG,
        "*",
        f'"{OTHER}", "{ETAG}"',
        f"{OTHER},{ETAG}",
        f' "{ETAG}" ',
        f'W/"{OTHER}", "{ETAG}"',
    ],
)
def test_lists_that_match(tags: str) -> None:
    assert read(if_match=tags) == "go on"
    assert read(if_none_match=tags) == "NotModified"


@pytest.mark.parametrize("tags", [f'"{OTHER}"', OTHER, "", '""', ETAG.upper(), f'"{ETAG}', f"x{ETAG}"][:5])
def test_lists_that_do_not_match(tags: str) -> None:
    assert read(if_match=tags) == "PreconditionFailed"
    assert read(if_none_match=tags) == "go on"


def test_weak_tags_match_only_if_none_match() -> None:
    assert read(if_match=f'W/"{ETAG}"') == "PreconditionFailed"
    assert read(if_none_match=f'W/"{ETAG}"') == "NotModified"


@pytest.mark.parametrize(
    ("date", "since", "unmodified"),
    [
        (BEFORE, "go on", "PreconditionFailed"),
        (SAME, "NotModified", "go on"),
        (AFTER, "NotModified", "go on"),
        (NOW, "NotModified", "go on"),
        (FUTURE, "go on", "go on"),
        ("no date", "go on", "go on"),
    ],
)
def test_dates_at_a_resolution_of_one_second(date: str, since: str, unmodified: str) -> None:
    assert read(if_modified_since=date) == since
    assert read(if_unmodified_since=date) == unmodified


def test_order_of_evaluation() -> None:
    assert read(if_match=ETAG, if_unmodified_since=BEFORE) == "go on"
    assert read(if_match=OTHER, if_none_match=ETAG) == "PreconditionFailed"
    assert read(if_none_match=OTHER, if_modified_since=AFTER) == "go on"
    assert read(if_none_match=ETAG, if_modified_since=BEFORE) == "NotModified"
    assert read(if_unmodified_since=BEFORE, if_modified_since=AFTER) == "PreconditionFailed"
    assert read(if_match=ETAG, if_modified_since=AFTER) == "NotModified"


def test_what_a_refusal_carries() -> None:
    with pytest.raises(S3Error) as refused:
        check_read(Headers({"if-none-match": "*"}), ETAG, MODIFIED_MS, NOW_MS)
    assert refused.value.status == 304
    assert refused.value.headers == {"ETag": f'"{ETAG}"', "Last-Modified": SAME}
    with pytest.raises(S3Error) as refused:
        check_read(Headers({"if-match": OTHER}), ETAG, MODIFIED_MS, NOW_MS)
    assert (refused.value.status, refused.value.fields) == (412, {"Condition": "If-Match"})


@pytest.mark.parametrize(
    ("conditions", "holds"),
    [
        ({"if-match": ETAG}, True),
        ({"if-match": OTHER}, False),
        ({"if-none-match": ETAG}, False),
        ({"if-none-match": OTHER}, True),
        ({"if-modified-since": AFTER}, False),
        ({"if-modified-since": FUTURE}, True),
        ({"if-unmodified-since": BEFORE}, False),
        ({"if-match": ETAG, "if-unmodified-since": BEFORE}, True),
        ({"if-none-match": ETAG, "if-modified-since": BEFORE}, False),
        ({}, True),
    ],
)
def test_copy_sources(conditions: dict[str, str], holds: bool) -> None:
    headers = Headers({f"x-amz-copy-source-{name}": value for name, value in conditions.items()} | {"if-match": OTHER})
    if holds:
        check_copy_source(headers, ETAG, MODIFIED_MS, NOW_MS)
    else:
        with pytest.raises(S3Error) as refused:
            check_copy_source(headers, ETAG, MODIFIED_MS, NOW_MS)
        assert refused.value.status == 412


def write(entry: Entry | None, **conditions: str) -> str:
    check = write_check(Headers({name.replace("_", "-"): value for name, value in conditions.items()}))
    assert check is not None
    try:
        check(entry)
    except S3Error as refused:
        return refused.code
    return "go on"


def test_conditional_writes() -> None:
    assert write(None, if_none_match="*") == "go on"
    assert write(ENTRY, if_none_match="*") == "PreconditionFailed"
    assert write(ENTRY, if_match=f'"{ETAG}"') == "go on"
    assert write(ENTRY, if_match=ETAG) == "go on"
    assert write(ENTRY, if_match="*") == "go on"
    assert write(ENTRY, if_match=OTHER) == "PreconditionFailed"
    assert write(None, if_match=ETAG) == "NoSuchKey"
    assert write(None, if_match="*") == "NoSuchKey"


def test_unconditional_writes() -> None:
    assert write_check(Headers({"host": "h"})) is None


@pytest.mark.parametrize(
    "conditions",
    [
        {"if-none-match": ETAG},
        {"if-none-match": "*", "if-match": ETAG},
        {"if-modified-since": AFTER},
        {"if-unmodified-since": AFTER},
    ],
)
def test_conditions_that_writes_do_not_have(conditions: dict[str, str]) -> None:
    with pytest.raises(S3Error) as refused:
        write_check(Headers(conditions))
    assert refused.value.status == 501


@pytest.mark.parametrize(
    ("condition", "applies"),
    [
        (f'"{ETAG}"', True),
        (ETAG, True),
        (f'"{OTHER}"', False),
        (f'W/"{ETAG}"', False),
        (SAME, True),
        (BEFORE, False),
        (AFTER, False),
        ("nonsense", False),
    ],
)
def test_if_range(condition: str, applies: bool) -> None:
    assert range_applies(Headers({"if-range": condition}), ETAG, MODIFIED_MS) is applies
    assert range_applies(Headers({}), ETAG, MODIFIED_MS) is True


@given(
    st.dictionaries(
        st.sampled_from(["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"]),
        st.text(),
    )
)
def test_only_s3_errors_are_raised(conditions: dict[str, str]) -> None:
    headers = Headers(conditions)
    for act in (
        lambda: check_read(headers, ETAG, MODIFIED_MS, NOW_MS),
        lambda: (write_check(headers) or (lambda _: None))(ENTRY),
        lambda: range_applies(headers, ETAG, MODIFIED_MS),
    ):
        try:
            act()
        except S3Error as refused:
            assert refused.code in (
                "PreconditionFailed",
                "NotModified",
                "NotImplemented",
                "NoSuchKey",
            )
