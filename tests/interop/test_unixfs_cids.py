"""An object's CID is the one that public tools print for the same file, whichever way it was uploaded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

MIB = 1 << 20
PROFILE = {"chunk_size": MIB, "width": 1024}
"""unixfs-v1-2025."""
SIZE_MAX = 65 * MIB


def content(vector: dict[str, Any]) -> bytes:
    """The file that a vector describes."""
    size = vector["size"]
    if vector["seed"] is None:
        return (bytes(range(251)) * (size // 251 + 1))[:size]
    key = hashlib.sha256(vector["seed"].encode()).digest()
    return Cipher(algorithms.ChaCha20(key, bytes(16)), None).encryptor().update(bytes(size))


@pytest.fixture(scope="module")
def published(vectors: Path) -> list[dict[str, Any]]:
    """The vectors of the profile that are small enough to be uploaded several times."""
    document = json.loads((vectors / "unixfs" / "unixfs_file_vectors.json").read_text())
    chosen = [v for v in document["vectors"] if PROFILE.items() <= v.items() and v["size"] <= SIZE_MAX]
    assert len(chosen) >= 10
    return chosen


def cid_of(s3: Any, bucket: str, key: str) -> str:
    return s3.head_object(Bucket=bucket, Key=key)["ResponseMetadata"]["HTTPHeaders"]["x-ms3t-cid"]


def upload_in_parts(s3: Any, bucket: str, key: str, data: bytes, part_bytes: int) -> str:
    """Upload in parts of one length; the CID that the completion answers."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    pieces = [data[at : at + part_bytes] for at in range(0, len(data), part_bytes)] or [b""]
    parts = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=piece)["ETag"],
        }
        for number, piece in enumerate(pieces, 1)
    ]
    done = s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
    return done["ResponseMetadata"]["HTTPHeaders"]["x-ms3t-cid"]


def test_one_put(s3: Any, bucket: str, published: list[dict[str, Any]]) -> None:
    for vector in published:
        put = s3.put_object(Bucket=bucket, Key="k", Body=content(vector))
        assert put["ResponseMetadata"]["HTTPHeaders"]["x-ms3t-cid"] == vector["cid"], vector
        assert cid_of(s3, bucket, "k") == vector["cid"]


@pytest.mark.parametrize("part_mib", [5, 8])
def test_parts_of_whole_leaves(s3: Any, bucket: str, published: list[dict[str, Any]], part_mib: int) -> None:
    for vector in published:
        assert upload_in_parts(s3, bucket, "k", content(vector), part_mib * MIB) == vector["cid"], vector
        assert cid_of(s3, bucket, "k") == vector["cid"]


def test_chunked_and_copied(server: Any, s3: Any, bucket: str, published: list[dict[str, Any]]) -> None:
    vector = next(v for v in published if v["size"] == 5 * MIB)
    headers, body = server.chunked(f"/{bucket}/k", content(vector), chunk_bytes=70_001)
    assert server.send("PUT", f"/{bucket}/k", headers, body).headers["x-ms3t-cid"] == vector["cid"]
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
    assert cid_of(s3, bucket, "copy") == vector["cid"]


def test_the_aws_cli(server: Any, s3: Any, bucket: str, published: list[dict[str, Any]], tmp_path: Path) -> None:
    """Above 8 MiB it uploads in parts of 8 MiB, which are whole leaves."""
    vector = max(published, key=lambda v: v["size"])
    (tmp_path / "file").write_bytes(content(vector))
    server.aws("s3", "cp", str(tmp_path / "file"), f"s3://{bucket}/k", "--no-progress")
    assert s3.head_object(Bucket=bucket, Key="k")["ETag"].endswith('-9"')
    assert cid_of(s3, bucket, "k") == vector["cid"]


def test_parts_that_are_not_whole_leaves_read_back(s3: Any, bucket: str, published: list[dict[str, Any]]) -> None:
    """Leaves of uneven length make another CID for the same bytes, and the same bytes."""
    vector = max(published, key=lambda v: v["size"])
    data = content(vector)
    assert upload_in_parts(s3, bucket, "k", data, 5 * MIB + 1) != vector["cid"]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == data
    for first, last in ((0, 10), (MIB - 1, MIB + 1), (5 * MIB - 3, 5 * MIB + 4), (30 * MIB, 33 * MIB)):
        got = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={first}-{last}")["Body"].read()
        assert got == data[first : last + 1]
