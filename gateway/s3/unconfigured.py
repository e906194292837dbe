"""What cannot be configured here, answered as S3 answers for a bucket where nobody has configured it.

Clients ask before they act: s3cmd reads the policy and the CORS rules, Terraform a dozen of these. The answer is what
is true of the bucket. To take away what is not there is a success; to configure it is not in the routes, and so 501.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from aiohttp import web

from gateway.s3.call import Call
from gateway.s3.errors import S3Error
from gateway.s3.xmltext import DECLARATION, NAMESPACE


class Absent(NamedTuple):
    """A sub-resource that no bucket has.

    Attributes:
        subresource: the query parameter that names it.
        reads: the operation that asks for it.
        code: the error that says that there is none; empty where S3 has a document for that.
        document: that document's content, in a root of this name.
        deletes: the operation that takes it away, where S3 has one.
    """

    subresource: str
    reads: str
    code: str = ""
    document: tuple[str, str] = ("", "")
    deletes: str = ""


ABSENT: Final = (
    Absent("accelerate", "GetBucketAccelerateConfiguration", document=("AccelerateConfiguration", "")),
    Absent("cors", "GetBucketCors", "NoSuchCORSConfiguration", deletes="DeleteBucketCors"),
    Absent(
        "encryption", "GetBucketEncryption", "ServerSideEncryptionConfigurationNotFoundError",
        deletes="DeleteBucketEncryption",
    ),
    Absent(
        "lifecycle", "GetBucketLifecycleConfiguration", "NoSuchLifecycleConfiguration",
        deletes="DeleteBucketLifecycle",
    ),
    Absent("logging", "GetBucketLogging", document=("BucketLoggingStatus", "")),
    Absent("notification", "GetBucketNotificationConfiguration", document=("NotificationConfiguration", "")),
    Absent("object-lock", "GetObjectLockConfiguration", "ObjectLockConfigurationNotFoundError"),
    Absent(
        "ownershipControls", "GetBucketOwnershipControls", "OwnershipControlsNotFoundError",
        deletes="DeleteBucketOwnershipControls",
    ),
    Absent("policy", "GetBucketPolicy", "NoSuchBucketPolicy", deletes="DeleteBucketPolicy"),
    Absent("policyStatus", "GetBucketPolicyStatus", "NoSuchBucketPolicy"),
    Absent(
        "publicAccessBlock", "GetPublicAccessBlock", "NoSuchPublicAccessBlockConfiguration",
        deletes="DeletePublicAccessBlock",
    ),
    Absent(
        "replication", "GetBucketReplication", "ReplicationConfigurationNotFoundError",
        deletes="DeleteBucketReplication",
    ),
    Absent(
        "requestPayment", "GetBucketRequestPayment",
        document=("RequestPaymentConfiguration", "<Payer>BucketOwner</Payer>"),
    ),
    Absent("website", "GetBucketWebsite", "NoSuchWebsiteConfiguration", deletes="DeleteBucketWebsite"),
)  # fmt: skip


async def read(absent: Absent, call: Call) -> web.StreamResponse:
    """The operations that ask for a sub-resource."""
    bucket = call.bucket
    if absent.code:
        raise S3Error(absent.code, BucketName=bucket.name)
    root, content = absent.document
    return call.xml(f'{DECLARATION}<{root} xmlns="{NAMESPACE}">{content}</{root}>')


async def delete(call: Call) -> web.StreamResponse:
    """The operations that take a sub-resource away."""
    _ = call.bucket
    return call.answer(204)
