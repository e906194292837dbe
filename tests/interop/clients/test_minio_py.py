"""minio-py: an SDK that is not Amazon's."""

from __future__ import annotations

import io
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.interop

MIB = 1 << 20


@pytest.fixture
def minio(python_client: Callable[[str], ModuleType]) -> ModuleType:
    return python_client("minio")


@pytest.fixture
def client(minio: ModuleType, endpoint: Any) -> Any:
    return minio.Minio(
        endpoint=endpoint.host,
        access_key=endpoint.access_key,
        secret_key=endpoint.secret,
        secure=endpoint.secure,
    )


def test_objects(client: Any, bucket: str, files: dict[str, bytes], objects: Callable[[], dict[str, bytes]]) -> None:
    for name, data in files.items():
        client.put_object(bucket_name=bucket, object_name=name, data=io.BytesIO(data), length=len(data))
    assert objects() == files
    for name, data in files.items():
        with client.get_object(bucket_name=bucket, object_name=name) as answer:
            assert answer.read() == data
        assert client.stat_object(bucket_name=bucket, object_name=name).size == len(data)
    for options in ({}, {"use_api_v1": True}):
        listed = client.list_objects(bucket_name=bucket, recursive=True, **options)
        assert sorted(item.object_name for item in listed) == sorted(files)
    assert {item.object_name for item in client.list_objects(bucket_name=bucket) if item.is_dir} == {"sub/"}


def test_a_stream_of_unknown_length(client: Any, bucket: str, large: bytes) -> None:
    client.put_object(bucket_name=bucket, object_name="k", data=io.BytesIO(large), length=-1, part_size=5 * MIB)
    with client.get_object(bucket_name=bucket, object_name="k", offset=6_000_000, length=1000) as answer:
        assert answer.read() == large[6_000_000:6_001_000]


def test_copy_and_compose(
    client: Any,
    bucket: str,
    large: bytes,
    python_client: Callable[[str], ModuleType],
    objects: Callable[[], dict[str, bytes]],
) -> None:
    common = python_client("minio.commonconfig")
    for name, data in (("a b+c", b"small"), ("large", large)):
        client.put_object(bucket_name=bucket, object_name=name, data=io.BytesIO(data), length=len(data))
    client.copy_object(
        bucket_name=bucket, object_name="copy", source=common.CopySource(bucket_name=bucket, object_name="a b+c")
    )
    sources = [common.ComposeSource(bucket_name=bucket, object_name=name) for name in ("large", "a b+c")]
    client.compose_object(bucket_name=bucket, object_name="composed", sources=sources)
    assert objects() == {"a b+c": b"small", "copy": b"small", "large": large, "composed": large + b"small"}


def test_presigned(client: Any, bucket: str) -> None:
    put = client.presigned_put_object(bucket_name=bucket, object_name="a b+c", expires=timedelta(minutes=1))
    with urllib.request.urlopen(urllib.request.Request(put, b"given", method="PUT")) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(client.presigned_get_object(bucket_name=bucket, object_name="a b+c")) as answer:
        assert answer.read() == b"given"


def test_buckets_and_deletes(
    client: Any, bucket: str, files: dict[str, bytes], python_client: Callable[[str], ModuleType]
) -> None:
    other = f"{bucket}-minio"
    assert not client.bucket_exists(bucket_name=other)
    client.make_bucket(bucket_name=other)
    assert other in [found.name for found in client.list_buckets()]
    for name in files:
        client.put_object(bucket_name=other, object_name=name, data=io.BytesIO(b"x"), length=1)
    doomed = [python_client("minio.deleteobjects").DeleteObject(name=name) for name in files]
    assert list(client.remove_objects(bucket_name=other, delete_object_list=doomed)) == []
    client.remove_bucket(bucket_name=other)
    assert not client.bucket_exists(bucket_name=other)


def test_errors_are_its_own(client: Any, minio: ModuleType, bucket: str) -> None:
    with pytest.raises(minio.error.S3Error) as raised:
        client.stat_object(bucket_name=bucket, object_name="none")
    assert raised.value.code == "NoSuchKey"
