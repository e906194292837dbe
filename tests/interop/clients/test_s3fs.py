"""s3fs: aiobotocore, and files that are written piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.interop

MIB = 1 << 20


@pytest.fixture
def filesystem(python_client: Callable[[str], ModuleType], endpoint: Any) -> Any:
    module = python_client("s3fs")
    return module.S3FileSystem(
        endpoint_url=endpoint.url,
        key=endpoint.access_key,
        secret=endpoint.secret,
        default_block_size=5 * MIB,
        skip_instance_cache=True,
        use_listings_cache=False,
    )


def test_files(filesystem: Any, bucket: str, files: dict[str, bytes], objects: Callable[[], dict[str, bytes]]) -> None:
    filesystem.pipe({f"{bucket}/{name}": data for name, data in files.items()})
    assert objects() == files
    assert {name: filesystem.cat_file(f"{bucket}/{name}") for name in files} == files
    assert filesystem.find(bucket) == sorted(f"{bucket}/{name}" for name in files)
    assert filesystem.isdir(f"{bucket}/sub/folder")
    assert filesystem.info(f"{bucket}/megabyte")["size"] == len(files["megabyte"])
    filesystem.rm([f"{bucket}/{name}" for name in files])
    assert objects() == {}


def test_a_file_written_read_and_appended_to(filesystem: Any, bucket: str, large: bytes) -> None:
    path = f"{bucket}/a b+c"
    with filesystem.open(path, "wb") as file:
        for start in range(0, len(large), MIB):
            file.write(large[start : start + MIB])
    with filesystem.open(path, "rb") as file:
        file.seek(6_000_000)
        assert file.read(9) == large[6_000_000:6_000_009]
    with filesystem.open(path, "ab") as file:
        file.write(b"more")
    assert filesystem.cat(path) == large + b"more"


def test_copies_and_metadata(filesystem: Any, bucket: str, objects: Callable[[], dict[str, bytes]]) -> None:
    filesystem.pipe(f"{bucket}/a b+c", b"x")
    filesystem.cp(f"{bucket}/a b+c", f"{bucket}/copy")
    filesystem.mv(f"{bucket}/copy", f"{bucket}/moved")
    filesystem.touch(f"{bucket}/empty")
    assert objects() == {"a b+c": b"x", "moved": b"x", "empty": b""}
    filesystem.setxattr(f"{bucket}/moved", k="v")
    assert filesystem.getxattr(f"{bucket}/moved", "k") == "v"


def test_buckets(filesystem: Any, bucket: str) -> None:
    other = f"{bucket}-s3fs"
    filesystem.mkdir(other)
    assert other in filesystem.ls("")
    filesystem.rmdir(other)
    assert not filesystem.exists(other)
    with pytest.raises(FileNotFoundError):
        filesystem.cat(f"{bucket}/none")
