"""The two date forms S3 speaks: HTTP dates in headers, ISO 8601 in XML and in signatures.

Hand-written because ``email.utils`` accepts nearly anything and ``strftime`` follows the locale.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
_CACHED_SECONDS: Final = 4096

# RFC 9110 5.6.7: the fixed form, and the two obsolete ones a recipient must still read.
_IMF: Final = re.compile(
    r"[A-Z][a-z]{2}, ([0-9]{1,2}) ([A-Z][a-z]{2}) ([0-9]{4})"
    r" ([0-9]{2}):([0-9]{2}):([0-9]{2}) (?:GMT|UTC|[+-]0000)",
    re.ASCII,
)
_RFC850: Final = re.compile(
    r"[A-Z][a-z]{5,8}, ([0-9]{2})-([A-Z][a-z]{2})-([0-9]{2})"
    r" ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT",
    re.ASCII,
)
_ASCTIME: Final = re.compile(
    r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([ 0-9][0-9])"
    r" ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([0-9]{4})",
    re.ASCII,
)
_BASIC: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z", re.ASCII)
_CENTURY_PIVOT: Final = 70


def _seconds(year: str, month: str, day: str, hms: tuple[str, str, str]) -> int | None:
    try:
        number = _MONTHS.index(month) + 1
        hour, minute, second = map(int, hms)
        # A leap second cannot be represented: it counts as the second before it.
        moment = datetime(int(year), number, int(day), hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp())


def parse_http(text: str) -> int | None:
    """Return the Unix time in seconds of an HTTP date (RFC 9110 5.6.7), or None if it is none."""
    if match := _IMF.fullmatch(text):
        day, month, year, *hms = match.groups()
    elif match := _RFC850.fullmatch(text):
        day, month, short, *hms = match.groups()
        year = f"{'19' if int(short) >= _CENTURY_PIVOT else '20'}{short}"
    elif match := _ASCTIME.fullmatch(text):
        month, day, h, m, s, year = match.groups()
        hms = [h, m, s]
    else:
        return None
    return _seconds(year, month, day, (hms[0], hms[1], hms[2]))


@lru_cache(maxsize=_CACHED_SECONDS)
def format_http(seconds: int) -> str:
    """Return a Unix time as an HTTP date: ``Sun, 06 Nov 1994 08:49:37 GMT``."""
    t = datetime.fromtimestamp(seconds, UTC)
    return (
        f"{_DAYS[t.weekday()]}, {t.day:02d} {_MONTHS[t.month - 1]} {t.year:04d}"
        f" {t.hour:02d}:{t.minute:02d}:{t.second:02d} GMT"
    )


@lru_cache(maxsize=_CACHED_SECONDS)
def parse_basic(text: str) -> int | None:
    """Return the Unix time in seconds of ``20261121T113000Z`` (as in X-Amz-Date), or None."""
    if _BASIC.fullmatch(text) is None:
        return None
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError:
        return None


@lru_cache(maxsize=_CACHED_SECONDS)
def format_basic(seconds: int) -> str:
    """Return a Unix time as ``20261121T113000Z``, the form signatures are made over."""
    t = datetime.fromtimestamp(seconds, UTC)
    return f"{t.year:04d}{t.month:02d}{t.day:02d}T{t.hour:02d}{t.minute:02d}{t.second:02d}Z"


@lru_cache(maxsize=_CACHED_SECONDS)
def _whole_second(seconds: int) -> str:
    t = datetime.fromtimestamp(seconds, UTC)
    return f"{t.year:04d}-{t.month:02d}-{t.day:02d}T{t.hour:02d}:{t.minute:02d}:{t.second:02d}"


def format_iso(milliseconds: int) -> str:
    """Return a Unix time in milliseconds as ``2026-11-21T11:30:00.000Z``, the form of XML answers.

    The second is cached, because a listing's 1000 keys share few of them; the milliseconds are
    written as zero, as Amazon S3 does, so that XML and ``Last-Modified`` never disagree.
    """
    return f"{_whole_second(milliseconds // 1000)}.000Z"
