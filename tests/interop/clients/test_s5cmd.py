"""s5cmd: SDK for Go version 1, Content-MD5, names encoded as in a form."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.interop


@pytest.fixture
def s5cmd(program: Callable[[str], Any], endpoint: Any) -> Any:
    return program("s5cmd").with_arguments("--retry-count", "0", "--endpoint-url", endpoint.url)


def test_a_tree_up_and_down(
    s5cmd: Any, bucket: str, there: Any, back: Any, files: dict[str, bytes], objects: Callable[[], dict[str, bytes]]
) -> None:
    s5cmd("sync", f"{there.path}/", f"s3://{bucket}/tree/")
    assert objects() == {f"tree/{name}": data for name, data in files.items()}
    s5cmd("sync", f"s3://{bucket}/tree/*", back.path)
    assert back.read() == files
    (there.path / "plain.txt").write_bytes(b"changed, and longer")
    (there.path / "empty").unlink()
    s5cmd("sync", "--delete", f"{there.path}/", f"s3://{bucket}/tree/")
    assert objects() == {f"tree/{name}": data for name, data in there.read().items()}


def test_copies_on_the_server(
    s5cmd: Any, bucket: str, there: Any, files: dict[str, bytes], objects: Callable[[], dict[str, bytes]]
) -> None:
    s5cmd("cp", f"{there.path}/", f"s3://{bucket}/a/")
    s5cmd("cp", f"s3://{bucket}/a/*", f"s3://{bucket}/b/")
    s5cmd("mv", f"s3://{bucket}/a/*", f"s3://{bucket}/c/")
    assert objects() == {f"{prefix}/{name}": data for prefix in "bc" for name, data in files.items()}
    s5cmd("rm", f"s3://{bucket}/*")
    assert objects() == {}


def test_large_files(
    s5cmd: Any, bucket: str, tmp_path: Path, large: bytes, objects: Callable[[], dict[str, bytes]]
) -> None:
    (tmp_path / "large").write_bytes(large)
    s5cmd("cp", "--part-size", "5", "large", f"s3://{bucket}/large")
    s5cmd("pipe", "--part-size", "5", f"s3://{bucket}/piped", stdin=large)
    assert objects() == {"large": large, "piped": large}
    s5cmd("cp", "--part-size", "5", "--concurrency", "4", f"s3://{bucket}/large", "back")
    assert (tmp_path / "back").read_bytes() == large
    assert s5cmd("cat", f"s3://{bucket}/piped") == large


def test_what_it_tells(s5cmd: Any, bucket: str, s3: Any) -> None:
    other = f"{bucket}-s5cmd"
    s5cmd("mb", f"s3://{other}")
    s5cmd("pipe", "--content-type", "text/x", "--metadata", "k=v", f"s3://{other}/a/b", stdin=b"12345")
    head = s3.head_object(Bucket=other, Key="a/b")
    assert (head["ContentType"], head["Metadata"]) == ("text/x", {"k": "v"})
    listed = [json.loads(line) for line in s5cmd("--json", "ls", f"s3://{other}/*").splitlines()]
    assert [(item["key"], item["size"], item["etag"]) for item in listed] == [
        (f"s3://{other}/a/b", 5, head["ETag"].strip('"'))
    ]
    assert b"5 bytes in 1 objects" in s5cmd("du", f"s3://{other}/*")
    assert b"BucketNotEmpty" in s5cmd("rb", f"s3://{other}", status=1)
    s5cmd("rm", f"s3://{other}/*")
    s5cmd("rb", f"s3://{other}")
    assert b"NoSuchBucket" in s5cmd("ls", f"s3://{other}", status=1)
