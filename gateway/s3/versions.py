"""Version ids where nothing is versioned: every object is its own version, with the id ``null``."""

from __future__ import annotations

from gateway.s3.errors import S3Error

NULL_VERSION = "null"


def require_null_version(version_id: str | None) -> None:
    """Accept no version id, or that of an unversioned object.

    Raises:
        S3Error: NoSuchVersion, any other.
    """
    if version_id not in (None, NULL_VERSION):
        raise S3Error("NoSuchVersion", VersionId=version_id)
