"""Where a block lies, and the 16 bytes that the tables of places keep of it."""

from __future__ import annotations

import struct
from typing import NamedTuple, Self

_PLACE = struct.Struct("<IQI")

pack = _PLACE.pack
"""The form in a table of a segment number, a file offset and a length, without making a `Place` of them first."""


class Place(NamedTuple):
    """Where a block's bytes lie: segment number, file offset and length in bytes."""

    segment: int
    offset: int
    length: int

    def pack(self) -> bytes:
        """Its form in a table."""
        return pack(*self)

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """The place that `pack` wrote."""
        return cls._make(_PLACE.unpack(packed))
