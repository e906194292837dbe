"""One view of a request's header list, shared by the signature check and by every reader.

If the signature were checked over one reading of the headers and the request carried out by
another, a second ``x-amz-copy-source`` or one in other letters could be slipped past the signer. So
the raw list is folded once, names in lower case, and a second value for a name that means something
to us is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NewType

from gateway.s3.errors import S3Error

Headers = NewType("Headers", dict[str, str])
"""Lower-case header name -> value. Made by :func:`fold` only; treat it as read-only."""

_SINGLE: Final = frozenset(
    {
        "authorization",
        "content-disposition",
        "content-language",
        "content-length",
        "content-md5",
        "content-range",
        "content-type",
        "date",
        "expect",
        "expires",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "range",
        "transfer-encoding",
    }
)
# The Go SDK sends each item of these in a line of its own.
_LISTS: Final = frozenset({"x-amz-object-attributes", "x-amz-optional-object-attributes"})
_AMZ: Final = "x-amz-"
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")  # RFC 9110 5.6.2, in lower case
_AUTH_PARAMETERS: Final = frozenset(
    {
        "x-amz-algorithm",
        "x-amz-content-sha256",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-expires",
        "x-amz-security-token",
        "x-amz-signature",
        "x-amz-signedheaders",
    }
)

_NAMES_MAX: Final = 4096
_NAME_BYTES_MAX: Final = 64
_names: dict[bytes, str] = {}  # header names repeat on every request: fold each spelling once


def _lower(raw: bytes) -> str:
    name = raw.decode("latin-1").lower()
    _check_name(name)
    if len(raw) <= _NAME_BYTES_MAX and len(_names) < _NAMES_MAX:
        _names[raw] = name
    return name


def fold(raw: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return the header list as one mapping.

    Values are UTF-8; a value that is not valid UTF-8 is read as Latin-1, which is how clients that
    sign UTF-8 but send one byte per character arrive.

    Raises:
        S3Error: ``InvalidArgument`` for a repeated header that S3 gives a meaning to, and for a
            control character in a value.
    """
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name = _names.get(raw_name) or _lower(raw_name)
        try:
            value = raw_value.decode()
        except UnicodeDecodeError:
            value = raw_value.decode("latin-1")
        if not value.isprintable() and has_control(value):
            raise S3Error("InvalidArgument", "A header value has a control character.", ArgumentName=name)
        value = value.strip(" \t")
        if name in headers:
            if name in _SINGLE or (name.startswith(_AMZ) and name not in _LISTS):
                raise S3Error("InvalidArgument", "A header was given more than once.", ArgumentName=name)
            value = f"{headers[name]},{value}"
        headers[name] = value
    return Headers(headers)


def _check_name(name: str) -> None:
    if _TOKEN.fullmatch(name) is None:
        raise S3Error("InvalidArgument", "A header name is malformed.", ArgumentName=name)


def has_control(text: str) -> bool:
    """Return whether ``text`` has a C0 control other than TAB, or DEL: unfit for any header."""
    return any((c < " " and c != "\t") or c == "\x7f" for c in text)


def is_hoisted(parameter: str) -> bool:
    """Whether a query parameter of a presigned URL counts as a header."""
    name = parameter.lower()
    return name.startswith(_AMZ) and name not in _AUTH_PARAMETERS


def with_hoisted(headers: Headers, query: Mapping[str, str]) -> Headers:
    """Return ``headers`` plus the ``x-amz-*`` headers that a presigned URL carries in its query.

    The JavaScript and Go SDKs move headers such as ``x-amz-meta-*`` and ``x-amz-checksum-*`` into
    the query when they presign, boto3 does it with signature version 2; they are signed, so these
    count as headers. Carry out only a request whose signature covers them.

    Raises:
        S3Error: ``InvalidArgument`` when a header has two values.
    """
    merged = dict(headers)
    for parameter, value in query.items():
        if not is_hoisted(parameter):
            continue
        name = parameter.lower()
        _check_name(name)
        if has_control(value):
            raise S3Error("InvalidArgument", "A header value has a control character.", ArgumentName=name)
        if merged.setdefault(name, value.strip(" \t")) != value.strip(" \t"):
            raise S3Error("InvalidArgument", "A header was given more than once.", ArgumentName=name)
    return Headers(merged)
