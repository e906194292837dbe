"""`ms3t cat`."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

BIG = random.Random(0).randbytes(3_072_000)  # three leaves
AWKWARD = "naïve \x1b[31m [red]\n.txt"


@pytest.mark.parametrize(
    ("key", "content"),
    [("2026/a.jpg", b"first, changed"), ("empty", b""), ("big", BIG), (AWKWARD, b"awkward")],
)
def test_the_bytes(made: Any, ms3t: Callable[..., Result], key: str, content: bytes) -> None:
    result = ms3t("cat", f"photos/{key}", data=made.path)
    assert result.exit_code == 0
    assert result.stdout_bytes == content


def test_a_large_object_is_read_in_windows(
    made: Any, ms3t: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway.cli import cat

    monkeypatch.setattr(cat, "WINDOW_BYTES", 700_000)
    assert ms3t("cat", "photos/big", data=made.path).stdout_bytes == BIG


def test_as_it_was(made: Any, ms3t: Callable[..., Result]) -> None:
    before = made.states[-3]
    at = ["--at", str(before.commit)]
    assert ms3t("cat", "photos/2026/a.jpg", *at, data=made.path).stdout_bytes == b"first"
    assert ms3t("cat", "photos/2026/b.jpg", *at, data=made.path).stdout_bytes == b"second"
    assert ms3t("cat", "photos/2026/b.jpg", data=made.path).exit_code == 3


def test_json_has_the_facts(made: Any, ms3t_json: Callable[..., Any]) -> None:
    facts = ms3t_json("cat", "photos/big", data=made.path)
    assert list(facts) == ["bucket", "key", "bytes", "time", "etag", "cid"]
    assert facts["bytes"] == len(BIG)


def test_what_is_not_there(made: Any, ms3t: Callable[..., Result]) -> None:
    result = ms3t("cat", "photos/none", data=made.path)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "`ms3t ls photos` shows" in result.stderr
    at = str(made.head.tree)
    assert f"`ms3t ls photos --at {at}` shows" in ms3t("cat", "photos/none", "--at", at, data=made.path).stderr
    assert ms3t("cat", "photos", data=made.path).exit_code == 2
    assert ms3t("cat", "photos/\udcff", data=made.path).exit_code == 2


def test_no_byte_of_a_damaged_block_is_written(own: Any, ms3t: Callable[..., Result]) -> None:
    for path in own.folder.segments.glob("bulk-*"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1  # in the second leaf
        path.write_bytes(data)
    result = ms3t("cat", "photos/big", data=own.path)
    assert result.exit_code == 5
    assert "do not match" in result.stderr
    assert result.stdout_bytes == BIG[: 1 << 20]
