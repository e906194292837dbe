"""`ms3t tree`: the nodes of a bucket's tree, or the one path that a key takes through them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

import click

from gateway.cli.failure import Verb
from gateway.cli.options import as_json, at_commit, configured
from gateway.cli.output import key_text, show_json, size_text
from gateway.cli.reading import bucket_at, bucket_name, open_store
from gateway.config import Config
from gateway.store.blocks import Blocks
from gateway.store.errors import BlockCorrupt
from mst import node as node_codec
from mst import tree
from mst.cid import CID
from mst.entry import Entry
from mst.errors import FormatError
from mst.layer import TreeParams
from mst.node import Node
from registry.heads import Bucket

NODES_DEFAULT = 100
KEY_CHARS_MAX = 48
"""Longest key shown whole, in characters."""


@dataclass
class _Drawn:
    """A node that is drawn, and those below it that are.

    Attributes:
        cid: its CID.
        node: what its block holds.
        size: the length of its block, bytes.
        level: 0 for the leaves.
        low: the key left of everything in it, None for no bound.
        high: the key right of everything in it, None for no bound.
        below: its drawn children, in key order.
    """

    cid: CID
    node: Node
    size: int
    level: int
    low: tree.Bound
    high: tree.Bound
    below: list[_Drawn] = field(default_factory=list)

    @property
    def children(self) -> int:
        """How many subtrees the node has, drawn or not."""
        return sum(child is not None for child in self.node.children)


@click.command("tree", cls=Verb)
@click.argument("bucket")
@click.option("--key", metavar="KEY", help="Follow this key's path only, and say whether it is there.")
@click.option("--depth", type=click.IntRange(min=1), metavar="N", help="Draw at most N levels from the top.")
@click.option(
    "--nodes",
    type=click.IntRange(min=1),
    default=NODES_DEFAULT,
    show_default=True,
    metavar="N",
    help="Draw at most N nodes, upper levels first.",
)
@at_commit
@configured
@as_json
def verb(
    bucket: str, key: str | None, depth: int | None, nodes: int, at: str | None, config: Config, as_json: bool
) -> None:
    """Draw a bucket's tree, or the path of one key.

    A line is a node: CID, level (0 is the lowest), entries, bytes and first key.

    With --key only the nodes on that key's path are drawn: they prove that the bucket has the key, or
    that it has not.

    \b
    Examples:
      ms3t tree photos
      ms3t tree photos --depth 2
      ms3t tree photos --key 2026/cat.jpg
    """
    with open_store(config) as opened:
        at_root = bucket_at(opened.store, bucket_name(bucket), at)
        reader = _Reader(opened.store.blocks, TreeParams(at_root.bits, at_root.salt))
        if key is None:
            top = reader.top(at_root.tree)
            _draw_level_by_level(reader, top, depth, nodes)
            found = None
        else:
            top, found = _draw_path(reader, at_root.tree, _key_bytes(key))
    if as_json:
        show_json(_document(at_root, top, key, found))
        return
    for line in _lines(top, "", ""):
        click.echo(line)
    if key is not None:
        click.echo(_verdict(key, found))


class _Reader:
    """Reads nodes and checks that each belongs where it stands."""

    def __init__(self, blocks: Blocks, params: TreeParams) -> None:
        self._blocks = blocks
        self.params = params

    def top(self, root: CID) -> _Drawn:
        """The top node."""
        node, size = self._read(root)
        try:
            tree.check_root(node)
        except FormatError as error:
            raise BlockCorrupt(f"tree node {root}: {error}") from error
        return _Drawn(root, node, size, max(node.layer, 0), None, None)

    def child(self, parent: _Drawn, index: int) -> _Drawn:
        """The subtree of ``parent`` left of its key number ``index``; the caller looked that there is one."""
        keys = parent.node.keys
        low = keys[index - 1] if index else parent.low
        high = keys[index] if index < len(keys) else parent.high
        cid = parent.node.children[index]
        assert cid is not None
        node, size = self._read(cid)
        try:
            tree.check_child(node, parent.level - 1, low, high)
        except FormatError as error:
            raise BlockCorrupt(f"tree node {cid}: {error}") from error
        return _Drawn(cid, node, size, parent.level - 1, low, high)

    def _read(self, cid: CID) -> tuple[Node, int]:
        data = self._blocks.read(cid)
        try:
            return node_codec.decode(data, self.params), len(data)
        except FormatError as error:
            raise BlockCorrupt(f"block {cid} is not a tree node: {error}") from error


def _draw_level_by_level(reader: _Reader, top: _Drawn, depth: int | None, nodes: int) -> None:
    """Draw up to ``nodes`` nodes of up to ``depth`` levels below and with ``top``."""
    room = nodes - 1
    level = [top]
    while level and (depth is None or depth > 1):
        depth = None if depth is None else depth - 1
        for drawn in level:
            for index, cid in enumerate(drawn.node.children):
                if cid is not None and room:
                    drawn.below.append(reader.child(drawn, index))
                    room -= 1
        level = [below for drawn in level for below in drawn.below]


def _draw_path(reader: _Reader, root: CID, key: bytes) -> tuple[_Drawn, bytes | None]:
    """Draw the nodes a look-up of ``key`` reads; returns the top one and the key's value."""
    drawn = top = reader.top(root)
    key_level = reader.params.layer(key)
    while True:
        keys = drawn.node.keys
        index = bisect_left(keys, key)
        if index < len(keys) and keys[index] == key:
            return top, drawn.node.values[index]
        if drawn.node.children[index] is None or drawn.level <= key_level:
            return top, None
        drawn.below.append(reader.child(drawn, index))
        drawn = drawn.below[0]


def _lines(drawn: _Drawn, first: str, rest: str) -> Iterator[str]:
    """The drawing of ``drawn`` and everything below it, ``first`` before its first line, ``rest`` before the others."""
    keys = drawn.node.keys
    count = "1 entry" if len(keys) == 1 else f"{len(keys)} entries"
    starts = f"  {_short(keys[0])}" if keys else ""
    yield f"{first}{drawn.cid}  level {drawn.level}  {count}  {size_text(drawn.size)}{starts}"
    hidden = drawn.children - len(drawn.below)
    for number, below in enumerate(drawn.below, 1):
        last = number == len(drawn.below) and not hidden
        yield from _lines(below, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))
    if hidden:
        other = "other " if drawn.below else ""
        yield f"{rest}└─ {hidden} {other}subtree{'' if hidden == 1 else 's'} not drawn"


def _verdict(key: str, found: bytes | None) -> str:
    shown = _short(key.encode())
    if found is None:
        return f"not found: the path ends without {shown}"
    entry = Entry.decode(found)
    return f"found: {shown}  {size_text(entry.size)}  {entry.body}"


def _document(bucket: Bucket, top: _Drawn, key: str | None, found: bytes | None) -> dict[str, object]:
    document: dict[str, object] = {
        "bucket": bucket.name,
        "root": str(bucket.tree),
        "fan_out": 1 << bucket.bits,
        "tree": _json_node(top),
    }
    if key is not None:
        document["key"] = key
        document["found"] = found is not None
        document["cid"] = None if found is None else str(Entry.decode(found).body)
    return document


def _json_node(drawn: _Drawn) -> dict[str, object]:
    keys = drawn.node.keys
    return {
        "cid": str(drawn.cid),
        "level": drawn.level,
        "entries": len(keys),
        "bytes": drawn.size,
        "first_key": keys[0].decode() if keys else None,
        "children": drawn.children,
        "drawn": [_json_node(below) for below in drawn.below],
    }


def _short(key: bytes) -> str:
    text = key_text(key)
    return text if len(text) <= KEY_CHARS_MAX else text[: KEY_CHARS_MAX - 1] + "…"


def _key_bytes(key: str) -> bytes:
    try:
        return key.encode()
    except UnicodeEncodeError:
        raise click.UsageError("a key is text in UTF-8, and this is not") from None
