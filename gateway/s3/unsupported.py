"""Headers that ask for something this gateway does not do.

An upload that asks for encryption, a lock or an ACL must not look as if it had got it. So these
requests are answered with 501, whatever the operation; other unknown headers are harmless.
"""

from __future__ import annotations

from typing import Final

from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers

PREFIXES: Final = (
    "x-amz-server-side-encryption",
    "x-amz-copy-source-server-side-encryption",
    "x-amz-object-lock-",
    "x-amz-grant-",
    "x-amz-write-offset-bytes",
)
"""What the names of refused headers begin with."""

_ACL: Final = "x-amz-acl"
# What everybody's objects are here anyway.
_ACLS: Final = frozenset({"private", "bucket-owner-read", "bucket-owner-full-control"})
_OTHER_ACLS: Final = frozenset(
    {"public-read", "public-read-write", "authenticated-read", "aws-exec-read", "log-delivery-write"}
)


def refuse_unsupported(headers: Headers) -> None:
    """Refuse a request that asks for what would not happen.

    Raises:
        S3Error: ``NotImplemented``, with the header named; ``InvalidArgument`` for an ACL that S3 does
            not know either.
    """
    acl = headers.get(_ACL)
    if acl is not None and acl not in _ACLS and acl not in _OTHER_ACLS:
        raise S3Error("InvalidArgument", ArgumentName=_ACL, ArgumentValue=acl)
    for name, value in headers.items():
        if name[:6] == "x-amz-" and (
            name.startswith(PREFIXES) or (name == _ACL and value not in _ACLS)
        ):
            raise S3Error("NotImplemented", Header=name)
