"""pyarrow: SDK for C++, bodies framed as aws-chunked with a trailer even over plain HTTP."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.interop

MIB = 1 << 20
ROWS = 200_000


@pytest.fixture
def fs(python_client: Callable[[str], ModuleType]) -> ModuleType:
    return python_client("pyarrow.fs")


@pytest.fixture
def filesystem(fs: ModuleType, endpoint: Any) -> Any:
    return fs.S3FileSystem(
        access_key=endpoint.access_key,
        secret_key=endpoint.secret,
        region=endpoint.region,
        scheme=endpoint.url.partition(":")[0],
        endpoint_override=endpoint.host,
        tls_ca_file_path=str(endpoint.ca_file) if endpoint.secure else None,
        allow_bucket_creation=True,
        allow_bucket_deletion=True,
    )


@pytest.fixture
def table(python_client: Callable[[str], ModuleType]) -> Any:
    return python_client("pyarrow").table({"number": range(ROWS), "text": [str(number) * 5 for number in range(ROWS)]})


def test_parquet(filesystem: Any, bucket: str, table: Any, python_client: Callable[[str], ModuleType]) -> None:
    parquet = python_client("pyarrow.parquet")
    parquet.write_table(table, f"{bucket}/folder/table.parquet", filesystem=filesystem, compression="none")
    assert parquet.read_table(f"{bucket}/folder/table.parquet", filesystem=filesystem) == table
    some = parquet.read_table(f"{bucket}/folder/table.parquet", filesystem=filesystem, columns=["number"])
    assert some == table.select(["number"])


def test_a_partitioned_dataset(
    filesystem: Any, bucket: str, table: Any, python_client: Callable[[str], ModuleType]
) -> None:
    dataset = python_client("pyarrow.dataset")
    parts = table.append_column("part", [[number % 3 for number in range(ROWS)]])
    shape = {"filesystem": filesystem, "format": "parquet", "partitioning": ["part"]}
    dataset.write_dataset(parts, f"{bucket}/data", **shape)
    read = dataset.dataset(f"{bucket}/data", **shape)
    assert len(read.files) == 3
    assert read.count_rows() == ROWS
    assert read.to_table(filter=dataset.field("part") == 1).num_rows == ROWS // 3 + 1


def test_files(
    filesystem: Any, bucket: str, large: bytes, files: dict[str, bytes], objects: Callable[[], dict[str, bytes]]
) -> None:
    for name, data in (files | {"large": large}).items():
        with filesystem.open_output_stream(f"{bucket}/{name}") as stream:
            stream.write(data)
    assert objects() == files | {"large": large}
    with filesystem.open_input_file(f"{bucket}/large") as file:
        file.seek(6_000_000)
        assert file.read(9) == large[6_000_000:6_000_009]
    filesystem.move(f"{bucket}/large", f"{bucket}/moved +1")
    assert objects() == files | {"moved +1": large}


def test_folders_and_buckets(fs: ModuleType, filesystem: Any, bucket: str) -> None:
    other = f"{bucket}-arrow"
    filesystem.create_dir(f"{other}/a/b", recursive=True)
    with filesystem.open_output_stream(f"{other}/a/c") as stream:
        stream.write(b"x")
    found = filesystem.get_file_info(fs.FileSelector(other, recursive=True))
    assert {info.path.removeprefix(other): info.is_file for info in found} == {
        "/a": False, "/a/b": False, "/a/c": True
    }  # fmt: skip
    filesystem.delete_dir_contents(other)
    filesystem.delete_dir(other)
    assert filesystem.get_file_info(other).type == fs.FileType.NotFound
