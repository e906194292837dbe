"""Which bytes of an object a request wants.

The rule that surprises: a ``Range`` header that is malformed, or asks for several ranges, is not an
error but is ignored, and the whole object is the answer; only a well-formed range that lies outside
the object is refused. A copy's range is the opposite: it must be right.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from gateway.s3.errors import S3Error

_RANGE: Final = re.compile(r"bytes=([0-9]*)-([0-9]*)", re.ASCII)
_DIGITS_MAX: Final = 18  # no object is longer; int() of a longer text is slow, then an error


class ByteRange(NamedTuple):
    """The bytes from ``start`` up to and without ``stop`` of an object."""

    start: int
    stop: int

    def content_range(self, size: int) -> str:
        """Return the Content-Range header of an answer with these bytes of ``size``."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def _number(digits: str) -> int:
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _DIGITS_MAX else 10**_DIGITS_MAX


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Return the bytes that a Range header selects, or None for the whole object.

    Args:
        header: the header's value, if there is one.
        size: the object's length in bytes.

    Raises:
        S3Error: ``InvalidRange`` when nothing of the range lies in the object; of an empty object
            nothing ever does.
    """
    if header is None:
        return None
    match = _RANGE.fullmatch(header)
    if match is None:
        return None
    first, last = match.groups()
    if first:
        start = _number(first)
        stop = min(_number(last) + 1, size) if last else size
        if last and _number(last) < start:
            return None  # RFC 9110 14.1.1: not a valid range, so not a range at all
    elif last:
        start = max(size - _number(last), 0)
        stop = size
    else:
        return None
    if start >= size or stop <= start:
        raise S3Error("InvalidRange", RangeRequested=header, ActualObjectSize=size).with_headers(
            {"Content-Range": f"bytes */{size}"}
        )
    return ByteRange(start, stop)


def parse_copy_range(header: str, size: int) -> ByteRange:
    """Return the bytes that ``x-amz-copy-source-range`` selects: ``bytes=first-last``, both given.

    Raises:
        S3Error: ``InvalidArgument`` for another form, ``InvalidRange`` when it leaves the source.
    """
    match = _RANGE.fullmatch(header)
    if match is None or not all(match.groups()) or _number(match[1]) > _number(match[2]):
        raise S3Error(
            "InvalidArgument",
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and"
            " last are the zero-based offsets of the first and last bytes to copy",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=header,
        )
    chosen = ByteRange(_number(match[1]), _number(match[2]) + 1)
    if chosen.stop > size:
        raise S3Error("InvalidRange", RangeRequested=header, ActualObjectSize=size)
    return chosen
