"""Part numbers, and which bytes of a stored object the ``partNumber`` of a read names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.s3.errors import S3Error
from gateway.s3.ranges import ByteRange
from gateway.s3.xml import PARTS_MAX

_DIGITS_MAX: Final = len(str(PARTS_MAX))


def part_range(number: str, parts: Sequence[tuple[int, int]], size: int) -> ByteRange:
    """Return the bytes of a part; there may be none.

    Args:
        number: the parameter's value.
        parts: (number, length in bytes) of each part; nothing for an object that was uploaded whole,
            which is its own part 1.
        size: the object's length in bytes.

    Raises:
        S3Error: ``InvalidArgument`` for no number from 1 to 10,000, ``InvalidPartNumber`` when the
            object has no such part.
    """
    wanted = parse_part_number(number)
    start = 0
    for found, length in parts or [(1, size)]:
        if found == wanted:
            return ByteRange(start, start + length)
        start += length
    raise S3Error("InvalidPartNumber", PartNumberRequested=wanted, ActualPartCount=len(parts) or 1)


def place_of(chosen: ByteRange, parts: Sequence[tuple[int, int]]) -> int | None:
    """Return the place, from 0, of the part that is exactly ``chosen``; None if none of ``parts`` is."""
    start = 0
    for place, (_, length) in enumerate(parts):
        if chosen == (start, start + length):
            return place
        start += length
    return None


def parse_part_number(text: str) -> int:
    """The number that a ``partNumber`` parameter is.

    Raises:
        S3Error: ``InvalidArgument``, it is none from 1 to 10,000.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX and 1 <= int(text) <= PARTS_MAX):
        raise S3Error(
            "InvalidArgument",
            f"Part number must be an integer between 1 and {PARTS_MAX}, inclusive",
            ArgumentName="partNumber",
            ArgumentValue=text,
        )
    return int(text)
