"""Headers that ask for something this gateway does not do.

An upload that asks for encryption, a lock or an ACL must not look as if it had got it, and a delete
must not go ahead without its condition. So these requests are answered with 501, whatever the
operation; other unknown headers are harmless.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers

PREFIXES: Final = (
    "x-amz-server-side-encryption",
    "x-amz-copy-source-server-side-encryption",
    "x-amz-object-lock-",
    "x-amz-grant-",
    "x-amz-write-offset-bytes",
    "x-amz-if-match-",
)
"""What the names of refused headers begin with."""

ONLY: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "x-amz-acl": frozenset({"private", "bucket-owner-read", "bucket-owner-full-control"}),
        "x-amz-bucket-namespace": frozenset({"global"}),
        "x-amz-object-ownership": frozenset({"BucketOwnerEnforced"}),
    }
)
"""Headers that may only ask for what is so anyway, and the values with which they do."""

_ACL: Final = "x-amz-acl"
_OTHER_ACLS: Final = frozenset(
    {"public-read", "public-read-write", "authenticated-read", "aws-exec-read", "log-delivery-write"}
)


def refuse_unsupported(headers: Headers) -> None:
    """Refuse a request that asks for what would not happen.

    Raises:
        S3Error: ``NotImplemented``, with the header named; ``InvalidArgument`` for an ACL that S3 does
            not know either.
    """
    for name, value in headers.items():
        if name[:6] != "x-amz-":
            continue
        if name.startswith(PREFIXES):
            raise S3Error("NotImplemented", Header=name)
        if name in ONLY and value not in ONLY[name]:
            if name == _ACL and value not in _OTHER_ACLS:
                raise S3Error("InvalidArgument", ArgumentName=_ACL, ArgumentValue=value)
            raise S3Error("NotImplemented", Header=name)
