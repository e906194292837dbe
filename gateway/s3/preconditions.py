"""If-Match and its relatives: on reads, on writes and on the source of a copy.

Reads follow RFC 9110 13.2.2. A write's condition is made into a function of the entry, because it
has to be evaluated where writes are put in order: looked at any earlier, two writers could both
pass.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers
from gateway.s3.httpdate import format_http, parse_http
from mst.entry import Entry

_COPY_PREFIX: Final = "x-amz-copy-source-"


def check_read(headers: Headers, etag: str, modified_ms: int, now_ms: int) -> None:
    """Decide whether a read may go on.

    Args:
        headers: the request's headers.
        etag: the object's entity tag, without quotes.
        modified_ms: its modification time, Unix milliseconds; compared at a resolution of a second,
            the only one a client has seen.
        now_ms: the time, likewise: a client whose clock is ahead would never see a change (RFC 9110 13.1.3).

    Raises:
        S3Error: ``PreconditionFailed``; ``NotModified``, which carries the headers of a 304.
    """
    failed = _failed(headers, "", etag, modified_ms, now_ms)
    if failed in ("If-None-Match", "If-Modified-Since"):
        raise S3Error("NotModified").with_headers(
            {"ETag": f'"{etag}"', "Last-Modified": format_http(modified_ms // 1000)}
        )
    if failed is not None:
        raise S3Error("PreconditionFailed", Condition=failed)


def check_copy_source(headers: Headers, etag: str, modified_ms: int, now_ms: int) -> None:
    """Decide by the ``x-amz-copy-source-if-*`` headers whether a copy may go on, as `check_read`.

    Raises:
        S3Error: ``PreconditionFailed``, whichever of them does not hold.
    """
    failed = _failed(headers, _COPY_PREFIX, etag, modified_ms, now_ms)
    if failed is not None:
        raise S3Error("PreconditionFailed", Condition=f"{_COPY_PREFIX}{failed}")


def range_applies(headers: Headers, etag: str, modified_ms: int) -> bool:
    """Return whether ``Range`` may be honoured, as ``If-Range`` decides (RFC 9110 13.1.5).

    A client that resumes a download of an object that has changed must get all of the new one.
    """
    condition = headers.get("if-range")
    if condition is None:
        return True
    date = parse_http(condition)
    if date is not None:
        return date == modified_ms // 1000
    return _matches(condition, etag, weak=False)


def write_check(headers: Headers) -> Callable[[Entry | None], None] | None:
    """Return the condition of a write as a function of the entry it would replace, or None.

    The function raises ``PreconditionFailed``, or ``NoSuchKey`` where If-Match meets no object.

    Raises:
        S3Error: ``NotImplemented`` for conditions that Amazon S3 does not have on writes:
            If-None-Match with an entity tag, both at once, and the two that compare times.
    """
    if_match = headers.get("if-match")
    if_none_match = headers.get("if-none-match")
    if (
        "if-modified-since" in headers
        or "if-unmodified-since" in headers
        or (if_match is not None and if_none_match is not None)
        or if_none_match not in (None, "*")
    ):
        raise S3Error("NotImplemented", "This condition is not implemented for writes.")
    if if_none_match is not None:
        return _must_be_absent
    return None if if_match is None else partial(_must_match, if_match)


def _must_match(wanted: str, entry: Entry | None) -> None:
    if entry is None:
        raise S3Error("NoSuchKey")
    if not _matches(wanted, entry.etag_text, weak=False):
        raise S3Error("PreconditionFailed", Condition="If-Match")


def _must_be_absent(entry: Entry | None) -> None:
    if entry is not None:
        raise S3Error("PreconditionFailed", Condition="If-None-Match")


def _failed(headers: Headers, prefix: str, etag: str, modified_ms: int, now_ms: int) -> str | None:
    """Return the first condition that does not hold, in the order of RFC 9110 13.2.2, or None.

    The two that compare times count only where their entity-tag counterpart is absent, and only
    if their value is a date, for If-Modified-Since one that is not in the future.
    """
    modified = modified_ms // 1000
    if_match = headers.get(f"{prefix}if-match")
    if if_match is not None:
        if not _matches(if_match, etag, weak=False):
            return "If-Match"
    else:
        date = parse_http(headers.get(f"{prefix}if-unmodified-since", ""))
        if date is not None and modified > date:
            return "If-Unmodified-Since"
    if_none_match = headers.get(f"{prefix}if-none-match")
    if if_none_match is not None:
        if _matches(if_none_match, etag, weak=True):
            return "If-None-Match"
    else:
        date = parse_http(headers.get(f"{prefix}if-modified-since", ""))
        if date is not None and modified <= date <= now_ms // 1000:
            return "If-Modified-Since"
    return None


def _matches(condition: str, etag: str, *, weak: bool) -> bool:
    """Return whether a list of entity tags, quoted or bare, has ``etag`` in it, or is ``*``.

    Args:
        weak: whether ``W/"x"`` counts as ``"x"``; RFC 9110 8.8.3.2 says so for If-None-Match only.
    """
    for item in condition.split(","):
        tag = item.strip()
        if tag == "*":
            return True
        if tag.startswith("W/"):
            if not weak:
                continue
            tag = tag[2:]
        if tag.removeprefix('"').removesuffix('"') == etag:
            return True
    return False
