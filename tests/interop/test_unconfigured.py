"""What clients ask a bucket for that it does not have, and the one ACL that everything has."""

from __future__ import annotations

from typing import Any

import pytest

ABSENT = {
    "get_bucket_cors": "NoSuchCORSConfiguration",
    "get_bucket_encryption": "ServerSideEncryptionConfigurationNotFoundError",
    "get_bucket_lifecycle_configuration": "NoSuchLifecycleConfiguration",
    "get_object_lock_configuration": "ObjectLockConfigurationNotFoundError",
    "get_bucket_ownership_controls": "OwnershipControlsNotFoundError",
    "get_bucket_policy": "NoSuchBucketPolicy",
    "get_bucket_policy_status": "NoSuchBucketPolicy",
    "get_public_access_block": "NoSuchPublicAccessBlockConfiguration",
    "get_bucket_replication": "ReplicationConfigurationNotFoundError",
    "get_bucket_website": "NoSuchWebsiteConfiguration",
}
DOCUMENTS = {
    "get_bucket_accelerate_configuration": {},
    "get_bucket_logging": {},
    "get_bucket_notification_configuration": {},
    "get_bucket_request_payment": {"Payer": "BucketOwner"},
}
DELETIONS = [
    "delete_bucket_cors", "delete_bucket_encryption", "delete_bucket_lifecycle", "delete_bucket_ownership_controls",
    "delete_bucket_policy", "delete_public_access_block", "delete_bucket_replication", "delete_bucket_website",
]  # fmt: skip


@pytest.mark.parametrize(("operation", "code"), ABSENT.items())
def test_what_there_is_none_of(s3: Any, bucket: str, operation: str, code: str, refused: Any) -> None:
    with refused(code, 404):
        getattr(s3, operation)(Bucket=bucket)
    with refused("NoSuchBucket", 404):
        getattr(s3, operation)(Bucket="no-such-bucket")


@pytest.mark.parametrize(("operation", "document"), DOCUMENTS.items())
def test_what_is_off(s3: Any, bucket: str, operation: str, document: dict[str, str], refused: Any) -> None:
    answer = getattr(s3, operation)(Bucket=bucket)
    answer.pop("ResponseMetadata")
    assert answer == document
    with refused("NoSuchBucket", 404):
        getattr(s3, operation)(Bucket="no-such-bucket")


@pytest.mark.parametrize("operation", DELETIONS)
def test_taking_away_what_is_not_there(s3: Any, bucket: str, operation: str, refused: Any) -> None:
    assert getattr(s3, operation)(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 204
    with refused("NoSuchBucket", 404):
        getattr(s3, operation)(Bucket="no-such-bucket")


def test_the_acl(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    owner = s3.list_buckets()["Owner"]
    grant = {"Grantee": owner | {"Type": "CanonicalUser"}, "Permission": "FULL_CONTROL"}
    for read, write, where in (
        (s3.get_bucket_acl, s3.put_bucket_acl, {"Bucket": bucket}),
        (s3.get_object_acl, s3.put_object_acl, {"Bucket": bucket, "Key": "k"}),
    ):
        write(**where, ACL="private")
        found = read(**where)
        assert (found["Owner"], found["Grants"]) == (owner, [grant])
    s3.put_object_acl(Bucket=bucket, Key="k", ACL="bucket-owner-full-control")


def test_the_acl_of_what_is_not_there(s3: Any, bucket: str, refused: Any) -> None:
    with refused("NoSuchBucket", 404):
        s3.get_bucket_acl(Bucket="no-such-bucket")
    with refused("NoSuchBucket", 404):
        s3.put_bucket_acl(Bucket="no-such-bucket", ACL="private")
    with refused("NoSuchKey", 404):
        s3.get_object_acl(Bucket=bucket, Key="absent")
    with refused("NoSuchKey", 404):
        s3.put_object_acl(Bucket=bucket, Key="absent", ACL="private")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with refused("NoSuchVersion", 404):
        s3.get_object_acl(Bucket=bucket, Key="k", VersionId="00000000000f0001")
