"""One tree node: its value type and its byte form.  A function is here if and only if it concerns a single node.

Wire form (DAG-CBOR, atproto's node schema with a wider choice of values)::

    {"e": [{"k": key suffix, "p": prefix length, "t": link | null, "v": value}, ...], "l": link | null}

``p`` is the length of the prefix shared with the previous key of the same node, always the longest; ``t`` is the
subtree right of the key, ``l`` the subtree left of the first.  A value is a link or an entry (mst.entry); inside a
`Node` it stays encoded.  One byte sequence per node: `decode` accepts only what `encode` writes.
"""

from __future__ import annotations

from typing import NamedTuple

from mst import entry
from mst.cid import CID
from mst.errors import FormatError
from mst.layer import TreeParams
from mst.limits import KEY_BYTES_MAX, NODE_BYTES_MAX, NODE_ENTRIES_MAX, NODE_KEY_BYTES_MAX, VERSION_SUFFIX_BYTES

KEYLESS = -1
"""The layer of a node without keys: only its place in the tree tells."""

_MAP2_E = b"\xa2\x61e"
_L = b"\x61l"
_NULL = b"\xf6"
_LINK = b"\xd8\x2a\x58\x25\x00"
_CHILD = _LINK + b"\x01\x71\x12\x20"
_CHILD_BYTES = 41
_ENTRY_K = b"\xa4\x61k"
_P = b"\x61p"
_T = b"\x61t"
_V = b"\x61v"


class Node(NamedTuple):
    """An immutable decoded node.

    Attributes:
        keys: full keys, ascending.
        values: the encoded value (link or entry) of each key.
        children: ``len(keys) + 1`` subtrees, None where there is none; ``children[i]`` lies left of ``keys[i]``.
        rows: the encoded bytes of each entry: what makes re-encoding after a small change cheap.
        layer: the layer of every key here, or ``KEYLESS``.
    """

    keys: tuple[bytes, ...]
    values: tuple[bytes, ...]
    children: tuple[CID | None, ...]
    rows: tuple[bytes, ...]
    layer: int


EMPTY = Node((), (), (None,), (), KEYLESS)
"""The only node of an empty tree."""


def common_prefix_length(a: bytes, b: bytes) -> int:
    """How many leading bytes ``a`` and ``b`` share (a big-integer xor: no Python loop)."""
    n = min(len(a), len(b))
    difference = int.from_bytes(a[:n], "big") ^ int.from_bytes(b[:n], "big")
    return n - (difference.bit_length() + 7) // 8


def row(previous: bytes, key: bytes, right: CID | None, value: bytes) -> bytes:
    """The encoded bytes of one entry.

    Args:
        previous: the key before it in the same node, empty for the first.
        key: its key.
        right: the subtree right of it.
        value: its encoded value.
    """
    prefix = common_prefix_length(previous, key)
    suffix = key[prefix:]
    subtree = _NULL if right is None else _LINK + right
    return b"".join((_ENTRY_K, _head(0x40, len(suffix)), suffix, _P, _head(0x00, prefix), _T, subtree, _V, value))


def link(cid: CID) -> bytes:
    """The encoded value that links to ``cid``."""
    return _LINK + cid


def encode(node: Node) -> bytes:
    """The one byte form of ``node``.  Limits are the tree's business (`mst.tree`), not the encoder's."""
    left = node.children[0]
    return b"".join((_MAP2_E, _head(0x80, len(node.rows)), *node.rows, _L, _NULL if left is None else _LINK + left))


def decode(data: bytes, params: TreeParams) -> Node:
    """Decode and validate one node: byte grammar, limits, key order, and that all keys belong on one layer.

    What only the place in the tree can tell (interval, layer against the parent's, emptiness) is checked by the walk.

    Args:
        data: the block's bytes, already checked against its CID.
        params: the tree's shape parameters.

    Raises:
        FormatError: anything but a canonical node.
    """
    if len(data) > NODE_BYTES_MAX:
        raise FormatError(f"node of {len(data)} bytes exceeds {NODE_BYTES_MAX}")
    try:
        return _decode(data, params)
    except IndexError:
        raise FormatError("node is truncated") from None


def _decode(data: bytes, params: TreeParams) -> Node:
    if data[:3] != _MAP2_E:
        raise FormatError("node is not a map that begins with its entries")
    count, pos = _read_head(data, 3, 0x80)
    if count > NODE_ENTRIES_MAX:
        raise FormatError(f"node has {count} entries, more than {NODE_ENTRIES_MAX}")
    keys: list[bytes] = []
    values: list[bytes] = []
    children: list[CID | None] = []
    rows: list[bytes] = []
    previous = b""
    for _ in range(count):
        first = pos
        previous, pos = _read_key(data, pos, previous)
        keys.append(previous)
        child, pos = _read_child(data, pos)
        children.append(child)
        if data[pos : pos + 2] != _V:
            raise FormatError("entry without a value")
        start = pos + 2
        pos = _skip_value(data, start)
        values.append(data[start:pos])
        rows.append(data[first:pos])
    if data[pos : pos + 2] != _L:
        raise FormatError("node without its left subtree field")
    left, pos = _read_child(data, pos + 2)
    if pos != len(data):
        raise FormatError("bytes after the node")
    layer = _common_layer(keys, params)
    if layer == 0 and (left is not None or any(children)):
        raise FormatError("subtree below layer 0")
    return Node(tuple(keys), tuple(values), (left, *children), tuple(rows), layer)


def _read_key(data: bytes, pos: int, previous: bytes) -> tuple[bytes, int]:
    """Read an entry up to its subtree; the first entry of a node comes with an empty ``previous``."""
    if data[pos : pos + 3] != _ENTRY_K:
        raise FormatError("entry is not a map of four that begins with its key")
    length, pos = _read_head(data, pos + 3, 0x40)
    suffix = data[pos : pos + length]
    pos += length
    if data[pos : pos + 2] != _P:
        raise FormatError("entry without a prefix length")
    prefix, pos = _read_head(data, pos + 2, 0x00)
    if data[pos : pos + 2] != _T:
        raise FormatError("entry without a subtree field")
    if not suffix:
        raise FormatError("empty key suffix")
    if prefix > len(previous):
        raise FormatError("prefix longer than the previous key")
    # With the longest prefix, order is decided by one byte: this check covers maximality and order at once.
    if prefix < len(previous) and suffix[0] <= previous[prefix]:
        raise FormatError("keys out of order, or a prefix that is not the longest")
    key = previous[:prefix] + suffix
    if len(key) > KEY_BYTES_MAX and (len(key) > NODE_KEY_BYTES_MAX or key[-VERSION_SUFFIX_BYTES]):
        raise FormatError(f"key of {len(key)} bytes exceeds {KEY_BYTES_MAX}")
    try:
        key.decode()
    except UnicodeDecodeError:
        raise FormatError("key is not UTF-8") from None
    return key, pos + 2


def _read_child(data: bytes, pos: int) -> tuple[CID | None, int]:
    if data[pos] == 0xF6:  # noqa: PLR2004 - CBOR null
        return None, pos + 1
    end = pos + _CHILD_BYTES
    if data[pos : pos + 9] != _CHILD or end > len(data):
        raise FormatError("subtree is neither null nor a link to a DAG-CBOR block")
    return CID(data[pos + 5 : end]), end


def _skip_value(data: bytes, pos: int) -> int:
    if data[pos] == entry.FIRST_BYTE:
        return entry.skip(data, pos)
    end = pos + _CHILD_BYTES
    if data[pos : pos + 5] != _LINK or end > len(data):
        raise FormatError("value is neither an entry nor a link")
    CID.parse(data[pos + 5 : end])
    return end


def _common_layer(keys: list[bytes], params: TreeParams) -> int:
    if not keys:
        return KEYLESS
    layers = {params.layer(key) for key in keys}
    if len(layers) != 1:
        raise FormatError("keys of different layers in one node")
    return layers.pop()


def _head(major: int, n: int) -> bytes:
    """A minimal CBOR head for ``n`` below 65,536: all a node needs."""
    if n < 24:  # noqa: PLR2004 - RFC 8949 3
        return bytes((major | n,))
    if n < 256:  # noqa: PLR2004
        return bytes((major | 24, n))
    return bytes((major | 25, n >> 8, n & 0xFF))


def _read_head(data: bytes, pos: int, major: int) -> tuple[int, int]:
    n = data[pos] - major
    if 0 <= n < 24:  # noqa: PLR2004 - RFC 8949 3
        return n, pos + 1
    if n == 24 and data[pos + 1] >= 24:  # noqa: PLR2004
        return data[pos + 1], pos + 2
    if n == 25 and data[pos + 1]:  # noqa: PLR2004
        return data[pos + 1] << 8 | data[pos + 2], pos + 3
    raise FormatError("wrong type, or a length that is not minimal or too large")
