"""`ms3t roots`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result

from mst.tree import EMPTY_ROOT


def test_json_has_exactly_the_promised_keys(made: Any, ms3t_json: Callable[..., Any]) -> None:
    roots = ms3t_json("roots", data=made.path)
    assert [root["bucket"] for root in roots] == ["many", "photos", "void"]
    for root in roots:
        shipped = ["shipped_commit", "shipped_sequence", "behind_commits", "behind_bytes"]
        assert list(root) == ["bucket", "root", "versions", "commit", "sequence", "objects", "bytes", "time", *shipped]
        assert {root[key] for key in shipped} == {None}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", root["time"])
    photos = roots[1]
    assert photos["root"] == str(made.head.tree)
    assert photos["commit"] == str(made.head.commit)
    assert photos["sequence"] == len(made.states)
    assert photos["objects"] == made.head.objects
    assert photos["bytes"] == made.head.size_bytes
    assert roots[2]["root"] == str(EMPTY_ROOT)


def test_the_table_has_whole_cids_off_a_terminal(made: Any, ms3t: Callable[..., Result]) -> None:
    result = ms3t("roots", data=made.path)
    assert result.exit_code == 0
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("photos"))
    assert line.split()[1:3] == [str(made.head.tree), str(made.head.commit)]


def test_without_buckets_it_says_how_to_make_one(tmp_path: Path, ms3t: Callable[..., Result], serve: Any) -> None:
    server = serve(tmp_path / "data")
    server.wait_until_ready()
    result = ms3t("roots", data=tmp_path / "data")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "aws s3 mb" in result.stderr
    assert ms3t("roots", "--json", data=tmp_path / "data").stdout == "[]\n"


def test_a_missing_folder_is_an_error_that_says_what_to_do(tmp_path: Path, ms3t: Callable[..., Result]) -> None:
    for verb in (["roots"], ["ls", "photos"], ["tree", "photos"], ["cat", "photos/a"], ["log", "photos"], ["env"]):
        result = ms3t(*verb, data=tmp_path / "none")
        assert result.exit_code == 3, verb
        assert "ms3t serve" in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "none").exists()


def test_a_missing_index_is_an_error_that_says_what_to_do(own: Any, ms3t: Callable[..., Result]) -> None:
    for file in own.folder.index.iterdir():
        file.unlink()
    result = ms3t("roots", data=own.path)
    assert result.exit_code == 1
    assert "start the server once" in result.stderr
    assert "Traceback" not in result.stderr


def test_reading_changes_nothing(made: Any, ms3t: Callable[..., Result]) -> None:
    def contents() -> dict[str, bytes]:
        # Notes of who is reading, LMDB's and SQLite's, and the empty WAL that SQLite makes for it.
        passing = {"lock.mdb", "registry.db-shm", "registry.db-wal"}
        wal = made.path / "registry.db-wal"
        assert not wal.exists() or wal.stat().st_size == 0
        files = (path for path in sorted(made.path.rglob("*")) if path.is_file())
        return {str(path): path.read_bytes() for path in files if path.name not in passing}

    before = contents()
    for verb in (["roots"], ["ls", "photos"], ["tree", "photos"], ["cat", "photos/big"], ["log", "photos"], ["doctor"]):
        ms3t(*verb, data=made.path)
    assert contents() == before


def test_settings_choose_the_folder(made: Any, tmp_path: Path, ms3t: Callable[..., Result]) -> None:
    config = tmp_path / "ms3t.yaml"
    config.write_text(f"data_dir: {made.path}\n")
    assert ms3t("roots", "--config", str(config)).exit_code == 0
    assert ms3t("roots", env={"MS3T_DATA_DIR": str(made.path)}).exit_code == 0
    config.write_text("data_dire: x\n")
    refused = ms3t("roots", "--config", str(config))
    assert refused.exit_code == 2
    assert f"{config}:1" in refused.stderr
