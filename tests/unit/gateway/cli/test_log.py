"""`ms3t log`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from click.testing import Result

from registry.space import SpaceKey


def test_the_whole_history_newest_first(made: Any, ms3t_json: Callable[..., Any]) -> None:
    rows = ms3t_json("log", "photos", data=made.path)
    assert [row["commit"] for row in rows] == [str(state.commit) for state in reversed(made.states)]
    assert [row["root"] for row in rows] == [str(state.tree) for state in reversed(made.states)]
    assert [row["sequence"] for row in rows] == list(range(len(made.states), 0, -1))
    assert all(row["verified"] is True for row in rows)
    assert [row["previous"] for row in rows] == [*(row["commit"] for row in rows[1:]), None]


def test_only_the_newest(made: Any, ms3t: Callable[..., Result], ms3t_json: Callable[..., Any]) -> None:
    assert [row["sequence"] for row in ms3t_json("log", "photos", "-n", "2", data=made.path)] == [
        len(made.states),
        len(made.states) - 1,
    ]
    result = ms3t("log", "photos", "-n", "2", data=made.path)
    assert f"{len(made.states) - 2} older" in result.stderr
    assert len([line for line in result.stdout.splitlines() if "verified" in line]) == 2
    assert ms3t("log", "photos", "-n", "0", data=made.path).exit_code == 2
    assert len(ms3t_json("log", "photos", "-n", "9" * 20, data=made.path)) == len(made.states)


def test_commits_of_another_key_are_not_verified(own: Any, ms3t: Callable[..., Result]) -> None:
    own.folder.key.unlink()
    without = ms3t("log", "photos", data=own.path)
    assert "NOT VERIFIED" not in without.stdout
    assert "space key" in without.stderr
    SpaceKey.load_or_create(own.folder.key)
    assert without.exit_code == 0
    other = ms3t("log", "photos", data=own.path)
    assert other.exit_code == 5
    assert other.stdout.count("NOT VERIFIED") == len(own.states)
    told = f"Error: {len(own.states)} of these {len(own.states)} commits of bucket photos are not signed by"
    assert other.stderr.startswith(told)
    as_json = ms3t("log", "photos", "--json", data=own.path)
    assert as_json.exit_code == 5
    assert [row["verified"] for row in json.loads(as_json.stdout)] == [False] * len(own.states)


def test_no_such_bucket(made: Any, ms3t: Callable[..., Result]) -> None:
    result = ms3t("log", "nobody", data=made.path)
    assert result.exit_code == 3
    assert "ms3t roots" in result.stderr


def test_a_bucket_is_written_with_or_without_its_scheme(
    made: Any, ms3t: Callable[..., Result], ms3t_json: Callable[..., Any]
) -> None:
    for verb in ("log", "tree"):
        plain = ms3t_json(verb, "photos", data=made.path)
        assert ms3t_json(verb, "s3://photos", data=made.path) == plain
        assert ms3t_json(verb, "s3://photos/", data=made.path) == plain
        more = ms3t(verb, "photos/2026/a.jpg", data=made.path)
        assert more.exit_code == 2
        assert "'photos/2026/a.jpg' names more than a bucket" in more.stderr
