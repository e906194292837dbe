"""Which ranges are asked for: against a slow oracle, and the cases that the sizes are about."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.node.client.ranges import GAP_BYTES_MAX, RANGE_BYTES_MAX, Piece, coalesce

A, B = b"a" * 32, b"b" * 32
SIZES = st.sampled_from([0, 1, 1000, GAP_BYTES_MAX, 2**20, RANGE_BYTES_MAX, 2 * RANGE_BYTES_MAX + 1])
PIECES = st.lists(st.builds(Piece, st.sampled_from([A, B]), st.integers(0, 4 * RANGE_BYTES_MAX), SIZES), max_size=12)


@given(PIECES)
def test_every_byte_that_is_wanted_is_asked_for_and_no_range_is_too_large(pieces: list[Piece]) -> None:
    ranges = coalesce(pieces)
    for one in ranges:
        assert 0 < one.stop - one.start <= RANGE_BYTES_MAX
        assert (one.start, one.stop) == (min(p.start for p in one.parts), max(p.stop for p in one.parts))
    for number, piece in enumerate(pieces):
        parts = sorted((part, one.shard) for one in ranges for part in one.parts if part.piece == number)
        position = piece.offset
        for part, shard in parts:
            assert shard == piece.shard
            assert part.start == position
            position = part.stop
        assert position == piece.stop


@given(PIECES)
def test_no_two_ranges_that_could_be_one(pieces: list[Piece]) -> None:
    for shard in (A, B):
        ranges = sorted((one for one in coalesce(pieces) if one.shard == shard), key=lambda one: one.start)
        for one, after in pairwise(ranges):
            first = after.parts[0]
            assert first.start > one.stop + GAP_BYTES_MAX or max(one.stop, first.stop) - one.start > RANGE_BYTES_MAX


@pytest.mark.parametrize("gap, requests", [(0, 1), (GAP_BYTES_MAX, 1), (GAP_BYTES_MAX + 1, 2)])
def test_a_small_gap_is_fetched_too(gap: int, requests: int) -> None:
    assert len(coalesce([Piece(A, 0, 10), Piece(A, 10 + gap, 10)])) == requests


def test_blobs_do_not_share_a_range() -> None:
    assert len(coalesce([Piece(A, 0, 10), Piece(B, 10, 10)])) == 2


def test_64_mib_of_leaves_take_few_ranges() -> None:
    leaf = 2**20
    ranges = coalesce([Piece(A, 100 + number * (leaf + 39), leaf) for number in range(64)])
    assert len(ranges) <= 5


def test_what_is_needed_first_is_asked_for_first() -> None:
    ranges = coalesce([Piece(A, 2**30, 1), Piece(B, 5, 1), Piece(A, 0, 1)])
    assert [one.parts[0].piece for one in ranges] == [0, 1, 2]
