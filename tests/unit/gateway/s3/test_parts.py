"""Which bytes a part number names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.errors import S3Error
from gateway.s3.parts import part_range, place_of
from gateway.s3.ranges import ByteRange


@pytest.mark.parametrize(
    ("number", "parts", "size", "bytes_chosen"),
    [
        ("1", [], 7, (0, 7)),
        ("1", [], 0, (0, 0)),
        ("1", [(1, 5), (2, 3)], 8, (0, 5)),
        ("2", [(1, 5), (2, 3)], 8, (5, 8)),
        ("00002", [(1, 5), (2, 3)], 8, (5, 8)),
        ("10000", [(7, 5), (10000, 3)], 8, (5, 8)),
        ("2", [(1, 5), (2, 0)], 5, (5, 5)),
    ],
)
def test_parts(number: str, parts: list[tuple[int, int]], size: int, bytes_chosen: tuple[int, int]) -> None:
    assert part_range(number, parts, size) == bytes_chosen


@pytest.mark.parametrize(
    ("chosen", "place"),
    [((0, 5), 0), ((5, 8), 1), ((8, 8), 2), ((0, 8), None), ((0, 4), None), ((1, 5), None), ((5, 5), None)],
)
def test_a_range_that_is_a_part(chosen: tuple[int, int], place: int | None) -> None:
    assert place_of(ByteRange(*chosen), [(1, 5), (7, 3), (9, 0)]) == place


@pytest.mark.parametrize(
    ("number", "parts", "code", "status"),
    [
        ("2", [], "InvalidPartNumber", 416),
        ("3", [(1, 5), (2, 3)], "InvalidPartNumber", 416),
        ("1", [(7, 5)], "InvalidPartNumber", 416),
        ("0", [], "InvalidArgument", 400),
        ("10001", [], "InvalidArgument", 400),
        ("000001", [], "InvalidArgument", 400),
        ("", [], "InvalidArgument", 400),
        ("-1", [], "InvalidArgument", 400),
        ("\u0661", [], "InvalidArgument", 400),
    ],
)
def test_refusals(number: str, parts: list[tuple[int, int]], code: str, status: int) -> None:
    with pytest.raises(S3Error) as refused:
        part_range(number, parts, 8)
    assert (refused.value.code, refused.value.status) == (code, status)


@given(st.text(max_size=8))
def test_only_s3_errors_are_raised(number: str) -> None:
    try:
        assert part_range(number, [], 8) == (0, 8)
    except S3Error as error:
        assert error.status in (400, 416)
