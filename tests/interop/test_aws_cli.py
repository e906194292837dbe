"""What people type: the aws CLI against a running server, killed and started again in the middle of it."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

MIB = 1 << 20
WRITTEN = 1_700_000_000
"""When files that are synchronised were last written, Unix time in seconds."""
PREFIX = "base/"
AWKWARD_NAMES = (
    "plain.txt",
    "with space",
    " leading and trailing ",
    "plus+plus",
    "percent%20%zz%",
    "hash#tag",
    "question?mark=1&b=2",
    "new\nline",
    "tab\tstop",
    "carriage\rreturn",
    "emoji \N{GRINNING FACE}\N{FAMILY}",
    "\N{LATIN SMALL LETTER E WITH ACUTE} composed",
    "e\N{COMBINING ACUTE ACCENT} decomposed",
    "quotes'\"`",
    "<xml>&amp;&lt;</xml>",
    "back\\slash",
    "tilde~!*'()",
    "-dash",
    ".hidden",
    "a=b;c:d,e@f$g",
    "[brackets]{braces}|^",
    "\N{ZERO WIDTH SPACE}\N{RIGHT-TO-LEFT MARK}",
    "\x01\x7f",
    "dir/with//no double/but deep/er",
    "UPPER and upper/case",
)


def content(name: str, size: int) -> bytes:
    """The same bytes for the same name, always."""
    return random.Random(name).randbytes(size)


def make_tree(root: Path, files: int) -> dict[str, str]:
    """A folder of awkwardly named files; returns what `read_tree` returns for it."""
    names = [str(Path(name)) for name in AWKWARD_NAMES]
    # With PREFIX the longest key there is, of parts that a file system takes.
    names.append("/".join(("l" * 255, "o" * 255, "n" * 255, "g" * 251)))
    names += [f"folder {number % 17}/sub+{number % 5}/file #{number}" for number in range(files - len(names))]
    sizes = random.Random(files)
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(name, sizes.choice((0, 1, 3, 100, 4096, 20_000))))
        os.utime(path, (WRITTEN, WRITTEN))  # a copy made in the same second would seem older than its original
    return read_tree(root)


def read_tree(root: Path) -> dict[str, str]:
    """Every file below a folder with the digest of its bytes."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_random(path: Path, mebibytes: int) -> str:
    """A file of that many MiB that does not repeat itself; its digest."""
    numbers = random.Random(mebibytes)
    with path.open("wb") as file:
        for _ in range(mebibytes):
            file.write(numbers.randbytes(MIB))
    return digest_of(path)


def test_mb_ls_rb(server: Any) -> None:
    server.aws("s3", "mb", "s3://made-by-cli")
    assert b"made-by-cli" in server.aws("s3", "ls")
    server.aws("s3", "rb", "s3://made-by-cli")
    assert b"made-by-cli" not in server.aws("s3", "ls")
    assert b"NoSuchBucket" in server.aws("s3", "ls", "s3://made-by-cli", status=255)


@pytest.mark.parametrize("data", [b"", b"abc"], ids=["0 bytes", "3 bytes"])
def test_cp_of_a_small_file_up_and_down(server: Any, bucket: str, tmp_path: Path, data: bytes) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    there.write_bytes(data)
    server.aws("s3", "cp", str(there), f"s3://{bucket}/folder/file")
    server.aws("s3", "cp", f"s3://{bucket}/folder/file", str(back))
    assert back.read_bytes() == data
    listed = server.aws("s3", "ls", f"s3://{bucket}/", "--recursive").decode().split()
    assert listed[-2:] == [str(len(data)), "folder/file"]
    assert b"PRE folder/" in server.aws("s3", "ls", f"s3://{bucket}/")


def cp_of_a_large_file(server: Any, bucket: str, tmp_path: Path, mebibytes: int) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    digest = write_random(there, mebibytes)
    server.aws("s3", "cp", str(there), f"s3://{bucket}/large", "--no-progress")
    there.unlink()
    server.aws("s3", "cp", f"s3://{bucket}/large", str(back), "--no-progress")
    assert back.stat().st_size == mebibytes * MIB
    assert digest_of(back) == digest


def test_cp_of_a_multipart_file(server: Any, s3: Any, bucket: str, tmp_path: Path) -> None:
    cp_of_a_large_file(server, bucket, tmp_path, 64)
    head = s3.head_object(Bucket=bucket, Key="large")
    assert head["ETag"].endswith('-8"')
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


@pytest.mark.big
def test_cp_of_a_gibibyte(server: Any, bucket: str, tmp_path: Path) -> None:
    cp_of_a_large_file(server, bucket, tmp_path, 1024)


@pytest.mark.parametrize("size", [0, 5, 20 * MIB], ids=["0 bytes", "5 bytes", "20 MiB"])
def test_cp_from_and_to_a_pipe(server: Any, bucket: str, size: int) -> None:
    data = content("pipe", size)
    server.aws("s3", "cp", "-", f"s3://{bucket}/piped", stdin=data)
    assert server.aws("s3", "cp", f"s3://{bucket}/piped", "-") == data


def sync_up_and_down(server: Any, s3: Any, bucket: str, tmp_path: Path, files: int) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    tree = make_tree(there, files)
    assert len(tree) == files
    assert max(len(f"{PREFIX}{name}".encode()) for name in tree) == 1024
    server.aws("s3", "sync", str(there), f"s3://{bucket}/{PREFIX}", "--only-show-errors")
    assert list_keys(s3, bucket) == sorted(f"{PREFIX}{name}" for name in tree)
    server.aws("s3", "sync", f"s3://{bucket}/{PREFIX}", str(back), "--only-show-errors")
    assert read_tree(back) == tree
    # Nothing is left to do in either direction, and a change and a deletion are carried over.
    assert server.aws("s3", "sync", str(there), f"s3://{bucket}/{PREFIX}") == b""
    assert server.aws("s3", "sync", f"s3://{bucket}/{PREFIX}", str(back)) == b""
    (there / "plain.txt").write_bytes(b"longer than it was, whatever it was" * 1000)
    (there / "hash#tag").unlink()
    server.aws("s3", "sync", str(there), f"s3://{bucket}/{PREFIX}", "--delete", "--only-show-errors")
    server.aws("s3", "sync", f"s3://{bucket}/{PREFIX}", str(back), "--delete", "--only-show-errors")
    assert read_tree(back) == read_tree(there)


def list_keys(s3: Any, bucket: str) -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [item["Key"] for page in pages for item in page.get("Contents", ())]


def test_sync_of_awkward_names_up_and_down(server: Any, s3: Any, bucket: str, tmp_path: Path) -> None:
    sync_up_and_down(server, s3, bucket, tmp_path, 300)


@pytest.mark.big
def test_sync_of_2000_awkward_names_up_and_down(server: Any, s3: Any, bucket: str, tmp_path: Path) -> None:
    sync_up_and_down(server, s3, bucket, tmp_path, 2000)


def test_mv_and_rm(server: Any, s3: Any, bucket: str, tmp_path: Path) -> None:
    for name in ("a", "b/c", "b/d e+f", "b/g/h"):
        s3.put_object(Bucket=bucket, Key=name, Body=name.encode())
    server.aws("s3", "mv", f"s3://{bucket}/a", f"s3://{bucket}/moved/a")
    server.aws("s3", "mv", f"s3://{bucket}/b/", f"s3://{bucket}/c/", "--recursive")
    assert list_keys(s3, bucket) == ["c/c", "c/d e+f", "c/g/h", "moved/a"]
    assert s3.get_object(Bucket=bucket, Key="c/d e+f")["Body"].read() == b"b/d e+f"
    there = tmp_path / "local"
    server.aws("s3", "mv", f"s3://{bucket}/moved/a", str(there))
    assert there.read_bytes() == b"a"
    server.aws("s3", "rm", f"s3://{bucket}/c/c")
    assert list_keys(s3, bucket) == ["c/d e+f", "c/g/h"]
    server.aws("s3", "rm", f"s3://{bucket}/", "--recursive")
    assert list_keys(s3, bucket) == []


def test_mv_of_a_multipart_file(server: Any, s3: Any, bucket: str) -> None:
    """Above 8 MiB the CLI copies part by part."""
    data = content("to be moved", 20 * MIB + 5)
    server.aws("s3", "cp", "-", f"s3://{bucket}/from", stdin=data)
    server.aws("s3", "mv", f"s3://{bucket}/from", f"s3://{bucket}/to", "--only-show-errors")
    assert list_keys(s3, bucket) == ["to"]
    assert s3.get_object(Bucket=bucket, Key="to")["Body"].read() == data


def test_rb_force(server: Any, s3: Any, bucket: str) -> None:
    for number in range(5):
        s3.put_object(Bucket=bucket, Key=f"key {number}", Body=b"x")
    assert b"BucketNotEmpty" in server.aws("s3", "rb", f"s3://{bucket}", status=1)
    server.aws("s3", "rb", f"s3://{bucket}", "--force")
    assert bucket not in [found["Name"] for found in s3.list_buckets()["Buckets"]]


def fetch_by_urllib(url: str) -> bytes:
    with urllib.request.urlopen(url) as response:
        return response.read()


def fetch_by_curl(url: str) -> bytes:
    return subprocess.run(["curl", "-sS", "--fail", url], capture_output=True, check=True).stdout


@pytest.fixture(params=["urllib", "curl"])
def fetch(request: pytest.FixtureRequest) -> Iterator[Callable[[str], bytes]]:
    if request.param == "curl" and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    yield fetch_by_curl if request.param == "curl" else fetch_by_urllib


def test_presign(server: Any, s3: Any, bucket: str, fetch: Callable[[str], bytes]) -> None:
    key = "sp ace+plus%20/\N{GRINNING FACE}?&=#"
    s3.put_object(Bucket=bucket, Key=key, Body=b"given away")
    url = server.aws("s3", "presign", f"s3://{bucket}/{key}", "--expires-in", "60").decode().strip()
    assert fetch(url) == b"given away"


def sync_through_crashes(server: Any, tmp_path: Path, files: int, kills: Sequence[int]) -> None:
    """Sync a tree up while the server is killed after so many acknowledgements and started again, then one of its
    workers alone; then down.

    The CLI prints an `upload:` line when it has its 200, so what it printed has to be there after the crash.
    """
    there = tmp_path / "there"
    for number in range(files):
        path = there / f"{number % 10}" / f"file-{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(path.name, (number % 7) * 9_000))
    (there / "large").write_bytes(content("large", 24 * MIB))
    tree = read_tree(there)
    server.boto3().create_bucket(Bucket="crash")
    acknowledged: set[str] = set()
    for lines_until_kill in kills:
        acknowledged |= sync_until_killed(server, there, lines_until_kill, server.kill)
        server.restart()
        assert not missing(server.boto3(), "crash", tree, acknowledged)
    assert sum(kills) <= len(acknowledged) < len(tree)
    acknowledged |= sync_until_killed(server, there, 5, server.kill_a_worker)
    assert not missing(server.boto3(), "crash", tree, acknowledged)
    server.aws("s3", "sync", str(there), "s3://crash", "--only-show-errors")
    server.aws("s3", "sync", "s3://crash", str(tmp_path / "back"), "--only-show-errors")
    assert read_tree(tmp_path / "back") == tree
    assert server.stop() == 0


def test_kill_9_in_the_middle_of_sync_loses_nothing_acknowledged(start: Callable[..., Any], tmp_path: Path) -> None:
    sync_through_crashes(start(), tmp_path, 200, [70])


@pytest.mark.big
def test_many_times_kill_9_in_the_middle_of_sync(start: Callable[..., Any], tmp_path: Path) -> None:
    sync_through_crashes(start(), tmp_path, 2000, [1, 10, 100, 200, 300, 150, 50, 5])


def sync_until_killed(server: Any, there: Path, lines_until_kill: int, kill: Callable[[], None]) -> set[str]:
    """``kill`` after that many acknowledgements; the names of all that were printed, before and after."""
    names = set()
    process = server.aws_process(
        "s3", "sync", str(there), "s3://crash", "--no-progress",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(b"upload: "):
                names.add(line.decode().rstrip("\n").rpartition("s3://crash/")[2])
                if len(names) == lines_until_kill:
                    kill()
    return names


def missing(s3: Any, bucket: str, tree: dict[str, str], names: set[str]) -> list[str]:
    """The names whose objects are not there with the bytes they had."""
    present = set(list_keys(s3, bucket))
    return [
        name
        for name in sorted(names)
        if name not in present
        or hashlib.sha256(s3.get_object(Bucket=bucket, Key=name)["Body"].read()).hexdigest() != tree[name]
    ]
