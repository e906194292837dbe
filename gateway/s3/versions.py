"""Version ids and how answers carry them: ``null``, or a version's number in 16 hexadecimal digits."""

from __future__ import annotations

import re
from typing import Final

from gateway.s3.call import Call
from gateway.s3.errors import S3Error
from mst import version
from mst.entry import Entry
from registry.heads import UNVERSIONED, Bucket

HEADER: Final = "x-amz-version-id"
MARKER_HEADER: Final = "x-amz-delete-marker"
NULL_VERSION: Final = "null"

_ID: Final = re.compile(r"(?!0{16})[0-7][0-9a-f]{15}", re.ASCII)


def format_version(number: int) -> str:
    """The version id of a version's number (`mst.version`)."""
    return NULL_VERSION if number == version.NULL else f"{number:016x}"


def parse_version(text: str | None, parameter: str = "versionId") -> int | None:
    """The number of the version that an id names; None where there is no id.

    Args:
        text: the id, None if the request has none.
        parameter: what the request calls it.

    Raises:
        S3Error: InvalidArgument, it is no version id.
    """
    if text is None:
        return None
    if text == NULL_VERSION:
        return version.NULL
    if _ID.fullmatch(text) is None:
        reason = "Invalid version id specified" if text else "Version id cannot be the empty string"
        raise S3Error("InvalidArgument", reason, ArgumentName=parameter, ArgumentValue=text)
    return int(text, 16)


def refuse_version_id(call: Call) -> None:
    """Refuse a request that makes a version if it names one.

    Raises:
        S3Error: InvalidArgument.
    """
    text = call.target.query.get("versionId")
    if text is not None:
        raise S3Error(
            "InvalidArgument", "This operation does not accept a version-id.",
            ArgumentName="versionId", ArgumentValue=text,
        )  # fmt: skip


def read_headers(bucket: Bucket, entry: Entry, name: str = HEADER) -> dict[str, str]:
    """The header ``name`` that tells which version was read; none where no versions are kept."""
    return {} if bucket.versioning == UNVERSIONED else {name: format_version(version.version_of(entry))}


def marker_headers(entry: Entry) -> dict[str, str]:
    """The headers that tell of the delete marker ``entry``."""
    return {MARKER_HEADER: "true", HEADER: format_version(version.version_of(entry))}


def write_headers(made: int | None) -> dict[str, str]:
    """The header that tells which version a write made, if it made one; the null version goes unnamed, as in S3."""
    return {} if made is None or made == version.NULL else {HEADER: format_version(made)}
