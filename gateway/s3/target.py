"""From a raw request target to (bucket, key, query), decoded once and strictly.

HTTP libraries normalise: they drop fragments, fold ``%2F`` and ``/``, turn bad UTF-8 into
replacement characters. Two spellings would then name one object for one layer and two for another.
So the target is taken apart here, from its raw text, and nobody else decodes any of it. Anything
that cannot be decoded in exactly one way is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from gateway.s3.errors import S3Error

KEY_BYTES_MAX: Final = 1024

_BUCKET: Final = re.compile(
    r"(?=[a-z0-9.-]{3,63}\Z)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*",
    re.ASCII,
)
_IPV4_LIKE: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+", re.ASCII)
_RESERVED_PREFIXES: Final = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_SUFFIXES: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
_NAMES_CACHED: Final = 1024

_NOT_VISIBLE_ASCII: Final = re.compile(r"[^\x21-\x7e]")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ABSOLUTE: Final = re.compile(r"https?://([^/?]*)", re.IGNORECASE | re.ASCII)
_PORT: Final = re.compile(r":[0-9]*\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Target:
    """A decoded request target.

    Attributes:
        bucket: the bucket's name, or None at the service level.
        key: the object's key, 1 to 1024 UTF-8 bytes, or None at the bucket level.
        query: decoded parameters in the order sent; a parameter without ``=`` has the value "".
        raw_path: the path as sent, which is what was signed.
        raw_query: the query as sent, without ``?``.
        virtual_host: whether the bucket was named by the Host header.
    """

    bucket: str | None
    key: str | None
    query: Mapping[str, str]
    raw_path: str
    raw_query: str
    virtual_host: bool


@dataclass(frozen=True, slots=True)
class CopySource:
    """The object that ``x-amz-copy-source`` names."""

    bucket: str
    key: str
    version_id: str | None


def check_bucket_name(name: str) -> str:
    """Return ``name`` if a bucket may have it.

    Raises:
        S3Error: ``InvalidBucketName``, by the rules for general purpose buckets.
    """
    if not _is_bucket_name(name):
        raise S3Error("InvalidBucketName", BucketName=name)
    return name


@lru_cache(maxsize=_NAMES_CACHED)
def _is_bucket_name(name: str) -> bool:
    return (
        _BUCKET.fullmatch(name) is not None
        and _IPV4_LIKE.fullmatch(name) is None
        and not name.startswith(_RESERVED_PREFIXES)
        and not name.endswith(_RESERVED_SUFFIXES)
    )


def check_key(key: str) -> str:
    """Return ``key`` if an object may have it.

    Raises:
        S3Error: ``KeyTooLongError`` above 1024 UTF-8 bytes; ``InvalidURI`` for an empty key, a NUL,
            a lone surrogate, or ``..`` segments that would leave the bucket if the key were a path.
    """
    try:
        size_bytes = len(key) if key.isascii() else len(key.encode())
    except UnicodeEncodeError:
        raise S3Error("InvalidURI") from None
    if size_bytes > KEY_BYTES_MAX:
        raise S3Error("KeyTooLongError", Size=size_bytes, MaxSizeAllowed=KEY_BYTES_MAX)
    if not key or "\0" in key or (".." in key and _escapes(key)):
        raise S3Error("InvalidURI")
    return key


def _escapes(key: str) -> bool:
    """Return whether ``key``, read as a relative path, climbs above where it starts."""
    depth = 0
    for segment in key.split("/"):
        if segment == "..":
            depth -= 1
        elif segment not in ("", "."):
            depth += 1
        if depth < 0:
            return True
    return False


def decode_component(text: str, *, plus_is_space: bool = False) -> str:
    """Percent-decode ASCII ``text`` to UTF-8 text, strictly.

    Args:
        text: raw text; a caller has made sure that it is visible ASCII.
        plus_is_space: the rule of query strings. Every client measured sends a space as ``%20`` and
            a plus as ``%2B`` in queries, so only hand-made URLs depend on it, and these are forms.

    Raises:
        S3Error: ``InvalidURI`` for ``%`` without two hex digits, or bytes that are not UTF-8.
    """
    if plus_is_space and "+" in text:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    if _BAD_ESCAPE.search(text):
        raise S3Error("InvalidURI")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise S3Error("InvalidURI") from None


def parse_query(raw_query: str) -> dict[str, str]:
    """Return the decoded parameters of a raw query string, in order.

    Raises:
        S3Error: ``InvalidURI`` for what cannot be decoded or holds a NUL; ``InvalidArgument`` for a
            parameter given twice: S3 has none that may be, and two readers could pick different
            ones.
    """
    query: dict[str, str] = {}
    if not raw_query:
        return query
    for pair in raw_query.split("&"):
        if not pair:
            continue
        name, _, value = pair.partition("=")
        if "%" in pair or "+" in pair:
            name = decode_component(name, plus_is_space=True)
            value = decode_component(value, plus_is_space=True)
            if "\0" in name or "\0" in value:
                raise S3Error("InvalidURI")
        if name in query:
            raise S3Error("InvalidArgument", "A query parameter was given twice.", ArgumentName=name)
        query[name] = value
    return query


def parse_target(target: str, host: str | None, domains: Sequence[str] = ()) -> Target:
    """Take a request target apart.

    Args:
        target: the request target as it stood in the request line.
        host: the Host header, or None.
        domains: lower-case base domains below which the first labels of Host name the bucket.
            A host that is not below one of them never names a bucket.

    Raises:
        S3Error: ``InvalidURI``, ``InvalidBucketName``, ``KeyTooLongError``, ``InvalidArgument``.
    """
    if _NOT_VISIBLE_ASCII.search(target) or "#" in target:
        raise S3Error("InvalidURI")
    if not target.startswith("/"):
        target = _origin_form(target, host)
    raw_path, _, raw_query = target.partition("?")
    bucket = _bucket_of_host(host, domains) if domains and host else None
    virtual_host = bucket is not None
    raw_key = raw_path[1:]
    if bucket is None and raw_key:
        raw_bucket, _, raw_key = raw_key.partition("/")
        bucket = check_bucket_name(decode_component(raw_bucket))
    key = check_key(decode_component(raw_key)) if raw_key else None
    return Target(bucket, key, parse_query(raw_query), raw_path, raw_query, virtual_host)


def _origin_form(target: str, host: str | None) -> str:
    """Return an absolute-form target without scheme and authority, which must be the Host's."""
    match = _ABSOLUTE.match(target)
    if match is None or host is None or match.group(1).lower() != host.lower():
        raise S3Error("InvalidURI")
    rest = target[match.end() :]
    return rest if rest.startswith("/") else f"/{rest}"


def _bucket_of_host(host: str, domains: Sequence[str]) -> str | None:
    name = _PORT.sub("", host.lower()).rstrip(".")
    for domain in sorted(domains, key=len, reverse=True):
        if name == domain:
            return None
        if name.endswith(f".{domain}"):
            return check_bucket_name(name[: -len(domain) - 1])
    return None


def parse_copy_source(value: str) -> CopySource:
    """Return the object named by an ``x-amz-copy-source`` header.

    The value is ``bucket/key`` or ``/bucket/key``, encoded as in a form (a plus is a space, so a plus in
    the key arrives as ``%2B``), with an optional ``?versionId=``. A ``?`` inside the key arrives as ``%3F``.

    Raises:
        S3Error: ``InvalidArgument`` when it names no object; also what a bad bucket or key raises.
    """
    path, _, suffix = value.partition("?")
    version_id: str | None = None
    if suffix:
        name, _, version_id = suffix.partition("=")
        if name != "versionId" or not version_id:
            raise _bad_copy_source(value)
    if _BAD_ESCAPE.search(path):
        raise _bad_copy_source(value)
    try:
        # Some clients encode the slash between bucket and key as well, so decode before splitting.
        decoded = unquote_to_bytes(path.replace("+", " ")).decode()
    except UnicodeError:
        raise _bad_copy_source(value) from None
    bucket, slash, key = decoded.removeprefix("/").partition("/")
    if not slash or not bucket or not key:
        raise _bad_copy_source(value)
    return CopySource(check_bucket_name(bucket), check_key(key), version_id)


def _bad_copy_source(value: str) -> S3Error:
    return S3Error(
        "InvalidArgument",
        "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
        ArgumentName="x-amz-copy-source",
        ArgumentValue=value,
    )
