"""s3cmd: its own signer, listings of version 1, probes of what a bucket might have."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.interop


@pytest.fixture
def s3cmd(program: Callable[[str], Any], endpoint: Any, tmp_path: Path) -> Any:
    settings = {
        "access_key": endpoint.access_key,
        "secret_key": endpoint.secret,
        "host_base": endpoint.host,
        "host_bucket": endpoint.host,
        "use_https": endpoint.secure,
        "signurl_use_https": endpoint.secure,
        "max_retries": 1,
    }
    if endpoint.secure:
        settings["ca_certs_file"] = endpoint.ca_file
    (tmp_path / "s3cfg").write_text("[default]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
    return program("s3cmd").with_arguments("-c", str(tmp_path / "s3cfg"), "--no-progress")


def test_a_tree_up_and_down(
    s3cmd: Any, bucket: str, there: Any, back: Any, files: dict[str, bytes], objects: Callable[[], dict[str, bytes]]
) -> None:
    s3cmd("sync", f"{there.path}/", f"s3://{bucket}/tree/")
    assert objects() == {f"tree/{name}": data for name, data in files.items()}
    back.path.mkdir()
    s3cmd("sync", f"s3://{bucket}/tree/", f"{back.path}/")
    assert back.read() == files
    (there.path / "plain.txt").write_bytes(b"changed")
    (there.path / "empty").unlink()
    s3cmd("sync", "--delete-removed", f"{there.path}/", f"s3://{bucket}/tree/")
    assert objects() == {f"tree/{name}": data for name, data in there.read().items()}


def test_large_files(
    s3cmd: Any, bucket: str, tmp_path: Path, large: bytes, objects: Callable[[], dict[str, bytes]]
) -> None:
    (tmp_path / "large").write_bytes(large)
    s3cmd("put", "--multipart-chunk-size-mb=5", "large", f"s3://{bucket}/large")
    s3cmd("cp", f"s3://{bucket}/large", f"s3://{bucket}/copy +1")
    s3cmd("mv", f"s3://{bucket}/copy +1", f"s3://{bucket}/moved")
    assert objects() == {"large": large, "moved": large}
    s3cmd("get", f"s3://{bucket}/moved", "back")
    assert (tmp_path / "back").read_bytes() == large
    assert s3cmd("multipart", f"s3://{bucket}") == f"s3://{bucket}/\nInitiated\tPath\tId\n".encode()


def test_an_interrupted_download_goes_on(s3cmd: Any, bucket: str, tmp_path: Path, large: bytes, s3: Any) -> None:
    s3.put_object(Bucket=bucket, Key="large", Body=large)
    (tmp_path / "back").write_bytes(large[:5_000_000])
    s3cmd("get", "--continue", f"s3://{bucket}/large", "back")
    assert (tmp_path / "back").read_bytes() == large


def test_what_it_tells(s3cmd: Any, bucket: str, s3: Any) -> None:
    other = f"{bucket}-s3cmd"
    s3cmd("mb", f"s3://{other}")
    s3.put_object(Bucket=other, Key="a b", Body=b"12345", ContentType="text/x")
    assert f"s3://{other}/a b".encode() in s3cmd("ls", f"s3://{other}")
    assert s3cmd("du", f"s3://{other}").split()[:2] == [b"5", b"1"]
    assert b"Location:  us-east-1" in s3cmd("info", f"s3://{other}")
    assert b"MIME type: text/x" in s3cmd("info", f"s3://{other}/a b")
    s3cmd("modify", "--add-header=x-amz-meta-k:v", f"s3://{other}/a b")
    assert s3.head_object(Bucket=other, Key="a b")["Metadata"]["k"] == "v"
    s3cmd("del", "--recursive", "--force", f"s3://{other}/")
    s3cmd("rb", f"s3://{other}")
    assert b"NoSuchBucket" in s3cmd("ls", f"s3://{other}", status=12)


def test_signurl(s3cmd: Any, bucket: str, s3: Any) -> None:
    s3.put_object(Bucket=bucket, Key="a b+c", Body=b"given away")
    with urllib.request.urlopen(s3cmd("signurl", f"s3://{bucket}/a b+c", "+60").decode().strip()) as answer:
        assert answer.read() == b"given away"
