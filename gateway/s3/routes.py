"""The one table from a request to its operation.  What is not in it answers 501, never a silent success."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal, NamedTuple, TypeAlias

from aiohttp import web

from gateway.s3 import (
    acl,
    attributes,
    bucket_tagging,
    buckets,
    completing,
    copying,
    deleting,
    listing,
    object_tagging,
    objects,
    unconfigured,
    upload,
    upload_listing,
    upload_parts,
    version_listing,
    versioning,
)
from gateway.s3.call import Call
from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers
from gateway.s3.target import Target

Handler: TypeAlias = Callable[[Call], Awaitable[web.StreamResponse]]
Level: TypeAlias = Literal["service", "bucket", "object"]

COPY = "x-amz-copy-source"

SUBRESOURCES = frozenset(
    {
        "abac", "accelerate", "acl", "analytics", "annotation", "attributes", "cors", "delete", "encryption",
        "intelligent-tiering", "inventory", "legal-hold", "lifecycle", "list-type", "location", "logging",
        "metadataAnnotationTable", "metadataConfiguration", "metadataInventoryTable", "metadataJournalTable",
        "metadataTable", "metrics", "notification", "object-lock", "ownershipControls", "partNumber", "policy",
        "policyStatus", "publicAccessBlock", "renameObject", "replication", "requestPayment", "restore", "retention",
        "select", "session", "tagging", "torrent", "uploadId", "uploads", "versioning", "versions", "website",
    }
)  # fmt: skip
"""Query parameters that name another resource than the bucket or the object itself."""


class Route(NamedTuple):
    """An operation by its name in the S3 API, and what carries it out."""

    operation: str
    handler: Handler


_TABLE: tuple[tuple[str, Level, tuple[str, ...], str, Handler], ...] = (
    ("GET", "service", (), "ListBuckets", buckets.list_buckets),
    ("PUT", "bucket", (), "CreateBucket", buckets.create_bucket),
    ("HEAD", "bucket", (), "HeadBucket", buckets.head_bucket),
    ("DELETE", "bucket", (), "DeleteBucket", buckets.delete_bucket),
    ("GET", "bucket", ("location",), "GetBucketLocation", buckets.get_bucket_location),
    ("PUT", "bucket", ("tagging",), "PutBucketTagging", bucket_tagging.put_bucket_tagging),
    ("GET", "bucket", ("tagging",), "GetBucketTagging", bucket_tagging.get_bucket_tagging),
    ("DELETE", "bucket", ("tagging",), "DeleteBucketTagging", bucket_tagging.delete_bucket_tagging),
    ("PUT", "bucket", ("versioning",), "PutBucketVersioning", versioning.put_bucket_versioning),
    ("GET", "bucket", ("versioning",), "GetBucketVersioning", versioning.get_bucket_versioning),
    ("PUT", "bucket", ("acl",), "PutBucketAcl", acl.put_bucket_acl),
    ("GET", "bucket", ("acl",), "GetBucketAcl", acl.get_bucket_acl),
    ("GET", "bucket", (), "ListObjects", listing.list_objects),
    ("GET", "bucket", ("list-type",), "ListObjectsV2", listing.list_objects_v2),
    ("GET", "bucket", ("versions",), "ListObjectVersions", version_listing.list_object_versions),
    ("GET", "bucket", ("uploads",), "ListMultipartUploads", upload_listing.list_uploads),
    ("POST", "bucket", ("delete",), "DeleteObjects", deleting.delete_objects),
    ("PUT", "object", (), "PutObject", objects.put_object),
    ("PUT", "object", (COPY,), "CopyObject", copying.copy_object),
    ("GET", "object", (), "GetObject", objects.get_object),
    ("GET", "object", ("partNumber",), "GetObject", objects.get_object),
    ("HEAD", "object", (), "HeadObject", objects.head_object),
    ("HEAD", "object", ("partNumber",), "HeadObject", objects.head_object),
    ("GET", "object", ("attributes",), "GetObjectAttributes", attributes.get_object_attributes),
    ("DELETE", "object", (), "DeleteObject", deleting.delete_object),
    ("PUT", "object", ("acl",), "PutObjectAcl", acl.put_object_acl),
    ("GET", "object", ("acl",), "GetObjectAcl", acl.get_object_acl),
    ("PUT", "object", ("tagging",), "PutObjectTagging", object_tagging.put_object_tagging),
    ("GET", "object", ("tagging",), "GetObjectTagging", object_tagging.get_object_tagging),
    ("DELETE", "object", ("tagging",), "DeleteObjectTagging", object_tagging.delete_object_tagging),
    ("POST", "object", ("uploads",), "CreateMultipartUpload", upload.create_upload),
    ("PUT", "object", ("uploadId", "partNumber"), "UploadPart", upload_parts.upload_part),
    ("PUT", "object", ("uploadId", "partNumber", COPY), "UploadPartCopy", upload_parts.copy_part),
    ("GET", "object", ("uploadId",), "ListParts", upload_listing.list_parts),
    ("POST", "object", ("uploadId",), "CompleteMultipartUpload", completing.complete_upload),
    ("DELETE", "object", ("uploadId",), "AbortMultipartUpload", upload.abort_upload),
    *(("GET", "bucket", (it.subresource,), it.reads, partial(unconfigured.read, it)) for it in unconfigured.ABSENT),
    *(
        ("DELETE", "bucket", (it.subresource,), it.deletes, unconfigured.delete)
        for it in unconfigured.ABSENT
        if it.deletes
    ),
)

ROUTES = {
    (method, level, frozenset(qualifiers)): Route(operation, handler)
    for method, level, qualifiers, operation, handler in _TABLE
}

_METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"})
_PLAIN: frozenset[str] = frozenset()


def level_of(target: Target) -> Level:
    """What kind of thing the request names."""
    if target.key is not None:
        return "object"
    return "service" if target.bucket is None else "bucket"


def find_route(method: str, target: Target, headers: Headers) -> Route:
    """The operation of a request.

    Raises:
        S3Error: NotImplemented for what S3 has and this gateway has not, MethodNotAllowed for what S3 has not.
    """
    qualifiers = SUBRESOURCES.intersection(target.query) if target.query else _PLAIN
    if COPY in headers and method == "PUT" and target.key is not None:
        qualifiers = qualifiers | {COPY}
    route = ROUTES.get((method, level_of(target), qualifiers))
    if route is not None:
        return route
    if method not in _METHODS:
        raise S3Error("MethodNotAllowed", Method=method)
    raise S3Error("NotImplemented")
