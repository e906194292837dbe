"""`ms3t ls`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from click.testing import Result

AWKWARD = "naïve \x1b[31m [red]\n.txt"


def test_prefixes_and_objects_like_aws_s3_ls(made: Any, ms3t: Callable[..., Result]) -> None:
    lines = ms3t("ls", "photos", data=made.path).stdout.splitlines()
    assert [line.split()[-1] for line in lines] == ["2026/", "big", "empty", "[red]\\n.txt"]
    assert lines[0].split() == ["PRE", "2026/"]
    assert lines[1].split()[1:] == ["2.9", "MiB", "big"]
    assert lines[2].split()[1:] == ["0", "B", "empty"]
    below = ms3t("ls", "s3://photos/2026/", data=made.path).stdout.splitlines()
    assert [line.split()[-1] for line in below] == ["06/", "a.jpg"]
    unfinished = ms3t("ls", "photos/20", data=made.path).stdout.splitlines()
    assert [line.split()[-1] for line in unfinished] == ["2026/"]


def test_nothing_in_a_key_can_steer_the_terminal(made: Any, ms3t: Callable[..., Result]) -> None:
    out = ms3t("ls", "photos", data=made.path).stdout
    assert "\x1b" not in out
    assert "naïve \\x1b[31m [red]\\n.txt" in out


def test_recursive_shows_whole_keys(made: Any, ms3t: Callable[..., Result]) -> None:
    lines = ms3t("ls", "photos/2026/", "-r", data=made.path).stdout.splitlines()
    assert [line.split()[-1] for line in lines] == ["2026/06/c.jpg", "2026/a.jpg"]


def test_more_than_a_page_in_order(made: Any, ms3t_json: Callable[..., Any]) -> None:
    rows = ms3t_json("ls", "many", "--recursive", data=made.path)
    assert [row["key"] for row in rows] == made.many
    assert ms3t_json("ls", "many", data=made.path) == [{"prefix": f"{n}/"} for n in range(7)]


def test_json_has_what_a_listing_knows(made: Any, ms3t_json: Callable[..., Any]) -> None:
    rows = ms3t_json("ls", "photos", data=made.path)
    assert rows[0] == {"prefix": "2026/"}
    assert rows[2] == {
        "key": "empty",
        "bytes": 0,
        "time": "2023-11-14T22:13:20.000Z",
        "etag": "d41d8cd98f00b204e9800998ecf8427e",
        "cid": "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
    }
    assert rows[3]["key"] == AWKWARD


def test_an_empty_bucket(made: Any, ms3t: Callable[..., Result], ms3t_json: Callable[..., Any]) -> None:
    result = ms3t("ls", "void", data=made.path)
    assert (result.exit_code, result.output) == (0, "")
    assert ms3t_json("ls", "void", data=made.path) == []


def test_what_is_not_there_is_an_error(made: Any, ms3t: Callable[..., Result]) -> None:
    missing = ms3t("ls", "nobody", data=made.path)
    assert missing.exit_code == 3
    assert "no bucket nobody" in missing.stderr
    at = str(made.head.commit)
    for more, command in (([], "ms3t ls photos"), (["--at", at], f"ms3t ls photos --at {at}")):
        prefix = ms3t("ls", "photos/zzz", *more, data=made.path)
        as_json = ms3t("ls", "photos/zzz", "--json", *more, data=made.path)
        assert prefix.exit_code == as_json.exit_code == 3
        told = f"Error: no key of bucket photos begins with zzz: `{command}` shows what it has\n"
        assert prefix.output == prefix.stderr == as_json.stderr == told
        assert as_json.stdout == "[]\n"
    assert ms3t("ls", "/x", data=made.path).exit_code == 2


def test_at_a_commit_and_at_a_root(made: Any, ms3t: Callable[..., Result], ms3t_json: Callable[..., Any]) -> None:
    early = made.states[2]  # two objects
    for cid in (early.commit, early.tree):
        rows = ms3t_json("ls", "photos", "-r", "--at", str(cid), data=made.path)
        assert [row["key"] for row in rows] == ["2026/a.jpg", "2026/b.jpg"]
    assert ms3t_json("ls", "photos", "--at", str(made.states[0].commit), data=made.path) == []
    other = ms3t("ls", "void", "--at", str(early.commit), data=made.path)
    assert other.exit_code == 3
    assert "of bucket photos" in other.stderr


def test_at_something_else(made: Any, ms3t: Callable[..., Result], ms3t_json: Callable[..., Any]) -> None:
    assert ms3t("ls", "photos", "--at", "HEAD", data=made.path).exit_code == 2
    absent = "bafyreigdmqpykrgxyaxtlafqpqhzrb7qy2rh75nldvfd4tucqmqqme5yje"
    assert ms3t("ls", "photos", "--at", absent, data=made.path).exit_code == 3
    body = ms3t_json("cat", "photos/2026/a.jpg", data=made.path)["cid"]
    not_a_tree = ms3t("ls", "photos", "--at", body, data=made.path)
    assert not_a_tree.exit_code == 5
    assert "not a tree node" in not_a_tree.stderr
