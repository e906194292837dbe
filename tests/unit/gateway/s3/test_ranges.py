"""Range headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.errors import S3Error
from gateway.s3.ranges import ByteRange, parse_copy_range, parse_range


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        ("bytes=0-0", 10, (0, 1)),
        ("bytes=0-9", 10, (0, 10)),
        ("bytes=0-", 10, (0, 10)),
        ("bytes=9-", 10, (9, 10)),
        ("bytes=3-4", 10, (3, 5)),
        ("bytes=3-400", 10, (3, 10)),
        ("bytes=-1", 10, (9, 10)),
        ("bytes=-10", 10, (0, 10)),
        ("bytes=-11", 10, (0, 10)),
        ("bytes=-" + "9" * 5000, 10, (0, 10)),
        ("bytes=0-" + "9" * 5000, 10, (0, 10)),
        ("bytes=000-0001", 10, (0, 2)),
    ],
)
def test_ranges(header: str, size: int, expected: tuple[int, int]) -> None:
    assert parse_range(header, size) == expected


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5-3",
        "bytes=a-b",
        "bytes=1-2,4-5",
        "bytes=0-0,",
        "bytes =0-1",
        "bytes= 0-1",
        "bytes=0 -1",
        "bytes=0-1 ",
        "items=0-1",
        "Bytes=0-1",
        "bytes=--1",
        "bytes=-1-",
        "bytes=1-2-3",
        "bytes=+1-2",
        "bytes=0x1-2",
        "bytes=1.0-2",
        "bytes=٠-١",
        "0-1",
        "bytes:0-1",
        "bytes=0-1\n",
    ],
)
def test_what_is_no_single_range_means_the_whole(header: str | None) -> None:
    assert parse_range(header, 10) is None


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("bytes=10-", 10),
        ("bytes=10-11", 10),
        ("bytes=11-", 10),
        ("bytes=-0", 10),
        ("bytes=0-0", 0),
        ("bytes=0-", 0),
        ("bytes=-5", 0),
        ("bytes=" + "9" * 5000 + "-", 10),
    ],
)
def test_ranges_outside_the_object(header: str, size: int) -> None:
    with pytest.raises(S3Error) as refused:
        parse_range(header, size)
    error = refused.value
    assert (error.code, error.status) == ("InvalidRange", 416)
    assert error.fields == {"RangeRequested": header, "ActualObjectSize": size}
    assert error.headers == {"Content-Range": f"bytes */{size}"}


def test_content_range() -> None:
    assert ByteRange(2, 5).content_range(10) == "bytes 2-4/10"


@given(st.text(), st.integers(0, 100))
def test_only_s3_errors_are_raised(header: str, size: int) -> None:
    for text in (header, f"bytes={header}"):
        try:
            chosen = parse_range(text, size)
        except S3Error as refused:
            assert refused.code == "InvalidRange"
            continue
        assert chosen is None or 0 <= chosen.start < chosen.stop <= size


def test_copy_ranges() -> None:
    assert parse_copy_range("bytes=0-9", 10) == (0, 10)
    assert parse_copy_range("bytes=3-3", 10) == (3, 4)


@pytest.mark.parametrize("header", ["", "bytes=0-", "bytes=-1", "bytes=2-1", "0-1", "bytes=0-1,2-3", "bytes=a-b"])
def test_copy_ranges_of_another_form(header: str) -> None:
    with pytest.raises(S3Error) as refused:
        parse_copy_range(header, 10)
    assert refused.value.code == "InvalidArgument"


@pytest.mark.parametrize(("header", "size"), [("bytes=0-10", 10), ("bytes=10-10", 10), ("bytes=0-0", 0)])
def test_copy_ranges_beyond_the_source(header: str, size: int) -> None:
    with pytest.raises(S3Error) as refused:
        parse_copy_range(header, size)
    assert refused.value.code == "InvalidRange"
