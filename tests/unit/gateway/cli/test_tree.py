"""`ms3t tree`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from click.testing import Result

from gateway.store.folder import DataFolder
from gateway.store.store import Store, StoreSettings
from mst.layer import TreeParams


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node["drawn"]:
        yield from _nodes(below)


def test_every_node_is_drawn_once_with_its_level_entries_and_bytes(made: Any, ms3t_json: Callable[..., Any]) -> None:
    document = ms3t_json("tree", "many", "--nodes", "10000", data=made.path)
    assert document["fan_out"] == 16
    nodes = list(_nodes(document["tree"]))
    assert document["root"] == nodes[0]["cid"]
    assert sum(node["entries"] for node in nodes) == len(made.many)
    assert len({node["cid"] for node in nodes}) == len(nodes)
    for node in nodes:
        assert node["children"] == len(node["drawn"])
        assert all(below["level"] == node["level"] - 1 for below in node["drawn"])
    with closing(Store.open_for_reading(made.folder, StoreSettings())) as store:
        from mst.cid import CID

        for node in nodes:
            assert len(store.blocks.read(CID.from_text(node["cid"]))) == node["bytes"]


def test_a_huge_tree_is_cut_and_says_so(made: Any, ms3t: Callable[..., Result], ms3t_json: Callable[..., Any]) -> None:
    out = ms3t("tree", "many", "--nodes", "5", data=made.path).stdout
    assert len([line for line in out.splitlines() if "level" in line]) == 5
    assert "not drawn" in out
    assert ms3t("tree", "many", "--nodes", "50", data=made.path).stdout.count("level") == 50
    top = ms3t_json("tree", "many", "--depth", "2", data=made.path)["tree"]
    assert {node["level"] for node in _nodes(top)} == {top["level"], top["level"] - 1}
    no_limit = ms3t_json("tree", "many", "--depth", "9" * 20, "--nodes", "9" * 20, data=made.path)["tree"]
    assert sum(node["entries"] for node in _nodes(no_limit)) == len(made.many)


def test_a_keys_path_is_what_a_look_up_reads(
    made: Any, ms3t: Callable[..., Result], ms3t_json: Callable[..., Any]
) -> None:
    params = TreeParams()
    for key in (*made.many[:40], "absent", "0/00000x", "\U0001f600"):
        document = ms3t_json("tree", "many", "--key", key, data=made.path)
        path = list(_nodes(document["tree"]))
        assert document["found"] == (key in made.many)
        assert all(len(node["drawn"]) <= 1 for node in path)
        if document["found"]:
            assert path[-1]["level"] == params.layer(key.encode())
            assert document["cid"].startswith("bafkrei")
        else:
            assert path[-1]["level"] >= min(params.layer(key.encode()), path[0]["level"])
    found = ms3t("tree", "photos", "--key", "big", data=made.path)
    assert found.exit_code == 0
    assert "found: big  2.9 MiB  bafybei" in found.stdout
    absent = ms3t("tree", "photos", "--key", "nope", data=made.path)
    assert absent.exit_code == 0
    assert "not found: the path ends without nope" in absent.stdout


def test_an_empty_tree(made: Any, ms3t: Callable[..., Result]) -> None:
    out = ms3t("tree", "void", data=made.path).stdout
    assert out == "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm  level 0  0 entries  7 B\n"
    assert "not found" in ms3t("tree", "void", "--key", "a", data=made.path).stdout


def test_an_earlier_tree(made: Any, ms3t_json: Callable[..., Any]) -> None:
    early = made.states[1]
    document = ms3t_json("tree", "photos", "--at", str(early.commit), data=made.path)
    assert document["root"] == str(early.tree)
    assert document["tree"]["entries"] == 1


def test_keys_are_shown_short_and_harmless(made: Any, ms3t: Callable[..., Result]) -> None:
    out = ms3t("tree", "photos", "--key", "\x1b[31m" + "x" * 200, data=made.path).stdout
    assert "\x1b" not in out
    assert "…" in out


def test_a_damaged_node_is_named(own: Any, ms3t: Callable[..., Result]) -> None:
    flip_block(own.folder, own.head.tree)
    result = ms3t("tree", "photos", data=own.path)
    assert result.exit_code == 5
    assert str(own.head.tree) in result.stderr


def flip_block(folder: DataFolder, cid: Any) -> None:
    """Change one bit of a stored block."""
    for path in folder.segments.iterdir():
        data = bytearray(path.read_bytes())
        at = data.find(cid)
        while at >= 0:
            data[at + len(cid)] ^= 1
            at = data.find(cid, at + 1)
        path.write_bytes(data)
