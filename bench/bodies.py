"""Unique, incompressible bodies that cost nothing to make and can be checked again on the way back.

A body is a window into one pool of random bytes. Every index gives another window, and the
windows of large bodies start at different offsets modulo 1 MiB, so a server that cuts bodies in
1 MiB blocks and stores equal blocks once gains nothing. The pool comes from a fixed seed: the
process that reads can check what another process wrote.
"""

from __future__ import annotations

import hashlib
import random

_SEED = 20_261_121
_SPAN_BYTES = 1 << 24
"""How far the windows slide: also the number of distinct bodies of one size."""
_STRIDE_BYTES = 61
"""Odd, hence coprime to the span: index -> offset repeats only after `_SPAN_BYTES` bodies."""
SAMPLE_BYTES = 32


class BodyPool:
    """All bodies of one size."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._pool = memoryview(random.Random(_SEED).randbytes(size_bytes + _SPAN_BYTES))

    def body(self, index: int) -> memoryview:
        """The body of that index; the view stays valid as long as the pool."""
        start = index * _STRIDE_BYTES % _SPAN_BYTES
        return self._pool[start : start + self.size_bytes]

    def sha256(self, index: int) -> str:
        return hashlib.sha256(self.body(index)).hexdigest()

    def sample_matches(self, index: int, position: int, received: memoryview) -> bool:
        """Whether the first bytes of a received piece are those of the body at that position."""
        want = self.body(index)[position : position + min(len(received), SAMPLE_BYTES)]
        return received[: len(want)] == want and len(want) > 0
