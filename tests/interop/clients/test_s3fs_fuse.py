"""s3fs-fuse: a bucket as a file system, with directories and modes in metadata."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.interop


@pytest.fixture
def mounted(program: Callable[[str], Any], endpoint: Any, bucket: str, tmp_path: Path) -> Iterator[Path]:
    """The test's bucket, mounted."""
    s3fs, fusermount = program("s3fs"), program("fusermount3")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse is not usable")
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text(f"{endpoint.access_key}:{endpoint.secret}")
    mount = tmp_path / "mount"
    mount.mkdir()
    # It goes into the background when the bucket is mounted.
    options = (f"url={endpoint.url}", f"endpoint={endpoint.region}", f"passwd_file={password}", "multipart_size=5")
    s3fs(bucket, mount, "-o", ",".join((*options, "use_path_request_style")))
    try:
        yield mount
    finally:
        fusermount("-u", mount)


def test_files_and_folders(
    mounted: Path, files: dict[str, bytes], large: bytes, objects: Callable[[], dict[str, bytes]]
) -> None:
    for name, data in (files | {"large": large}).items():
        (mounted / name).parent.mkdir(parents=True, exist_ok=True)
        (mounted / name).write_bytes(data)
        assert (mounted / name).read_bytes() == data
    stored = objects()
    assert {name: data for name, data in stored.items() if not name.endswith("/")} == files | {"large": large}
    assert {name for name in stored if name.endswith("/")} == {"sub/", "sub/folder/"}
    (mounted / "large").rename(mounted / "sub" / "moved")
    with (mounted / "sub" / "moved").open("r+b") as file:
        file.seek(6_000_000)
        file.write(b"changed")
    assert objects()["sub/moved"] == large[:6_000_000] + b"changed" + large[6_000_007:]
    (mounted / "plain.txt").unlink()
    assert sorted(path.name for path in mounted.iterdir()) == sorted(
        {name.partition("/")[0] for name in files} - {"plain.txt"}
    )


def test_modes_and_links(mounted: Path) -> None:
    (mounted / "file").write_bytes(b"x")
    (mounted / "file").chmod(0o640)
    (mounted / "link").symlink_to("file")
    assert (mounted / "file").stat().st_mode & 0o777 == 0o640
    assert (mounted / "link").read_bytes() == b"x"
