"""Bodies are unique, also block by block, and can be checked by another process."""

from __future__ import annotations

import hashlib

from bench.bodies import BodyPool

MEBIBYTE = 1 << 20


def test_bodies_are_distinct_and_reproducible() -> None:
    pool, again = BodyPool(1024), BodyPool(1024)
    bodies = {bytes(pool.body(index)) for index in range(3000)}
    assert len(bodies) == 3000
    assert all(pool.body(index) == again.body(index) for index in (0, 1, 2999, 1 << 24, 10**9))
    assert pool.sha256(7) == hashlib.sha256(pool.body(7)).hexdigest()


def test_blocks_of_large_bodies_are_distinct() -> None:
    size = 3 * MEBIBYTE
    pool = BodyPool(size)
    blocks = {
        hashlib.sha256(pool.body(index)[start : start + MEBIBYTE]).digest()
        for index in range(8)
        for start in range(0, size, MEBIBYTE)
    }
    assert len(blocks) == 8 * 3


def test_samples_notice_other_content() -> None:
    pool = BodyPool(100_000)
    body = pool.body(5)
    assert pool.sample_matches(5, 0, body)
    assert pool.sample_matches(5, 70_000, body[70_000:])
    assert pool.sample_matches(5, 99_999, body[99_999:])
    assert not pool.sample_matches(6, 0, body)
    assert not pool.sample_matches(5, 1, body)
    assert not pool.sample_matches(5, 100_000, body)
