"""Whose buckets and objects these are: the elements that name an owner, and clients that name the one they expect."""

from __future__ import annotations

from typing import Final

from gateway.s3.call import Call
from gateway.s3.errors import S3Error
from gateway.s3.xmltext import escape

_EXPECTED: Final = ("x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner")


def check_expected_owner(call: Call) -> None:
    """Refuse a request that expects its bucket, or that of a copy's source, to be someone else's.

    An owner is named by the id that listings and ACLs show.

    Raises:
        S3Error: ``AccessDenied``.
    """
    for header in _EXPECTED:
        expected = call.headers.get(header)
        if expected is not None and expected != call.owner.owner_id:
            raise S3Error("AccessDenied")


def owner_element(call: Call) -> str:
    """The Owner of the buckets and objects that the request may see: its sender."""
    owner = call.owner
    return f"<Owner><ID>{owner.owner_id}</ID><DisplayName>{escape(owner.display_name)}</DisplayName></Owner>"
