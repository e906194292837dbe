"""Objects as UnixFS files: an object's CID is what public IPFS tools print for the same bytes.

Default parameters are the profile unixfs-v1-2025 (IPIP-0499): raw leaves of 1 MiB, a balanced tree,
1024 links to a node.  A file of one leaf is that leaf.  Inner nodes are dag-pb in the one form
that public writers produce, links first, then data, an empty name in every link; only that form is
read.
Spec: https://specs.ipfs.tech/unixfs/ and https://ipld.io/specs/codecs/dag-pb/spec/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from mst import varint
from mst.block import Block
from mst.cid import CID, DAG_PB, RAW
from mst.errors import FormatError
from mst.fetch import Fetch
from mst.limits import (
    BLOCK_BYTES_MAX,
    CHUNK_BYTES,
    CID_BYTES,
    FILE_DEPTH_MAX,
    FILE_NODE_LINKS_MAX,
    FILE_RANGE_LEAVES_MAX,
)

_WIDTH_MIN = 2
_DECODED_NODES_MAX = 16

# Fields of the two protobuf messages, tag byte first (wire type in the low three bits).
_NODE_LINK = b"\x12"
_NODE_DATA = b"\x0a"
_LINK_HASH = b"\x0a\x24"
_LINK_NAME_EMPTY_THEN_TSIZE = b"\x12\x00\x18"
_TYPE_FILE_THEN_FILESIZE = b"\x08\x02\x18"
_BLOCKSIZE = b"\x20"

_LINK_FIXED_BYTES = len(_LINK_HASH) + CID_BYTES + len(_LINK_NAME_EMPTY_THEN_TSIZE)

# A node has up to 1024 links and every range read decodes one, so the engine of `re` takes it
# apart.  The possessive repeats leave it one way to match: what the whole pattern took as a run
# of links or sizes, findall cuts the same way.
_VARINT = rb"[\x80-\xff]{0,8}+[\x00-\x7f]"
_CHILD = rb"\x01[\x55\x70]\x12\x20.{32}"
_LINKS = re.compile(rb"\x12(.)\x0a\x24(%b)\x12\x00\x18(%b)" % (_CHILD, _VARINT), re.DOTALL)
_SIZES = re.compile(rb"\x20(%b)" % _VARINT)
_NODE = re.compile(
    rb"((?:\x12.\x0a\x24%b\x12\x00\x18%b)++)" % (_CHILD, _VARINT)
    + rb"\x0a(%b)\x08\x02\x18(%b)((?:\x20%b)++)" % (_VARINT, _VARINT, _VARINT),
    re.DOTALL,
)


class FileLink(NamedTuple):
    """A child of a file node.

    Attributes:
        cid: the child, a raw leaf or a file node.
        tsize: bytes of all blocks below and with it.
        blocksize: bytes of the file below it.
    """

    cid: CID
    tsize: int
    blocksize: int


class FileNode(NamedTuple):
    """An inner node of a file.

    Attributes:
        links: its children in file order.
        filesize: bytes of the file below it.
    """

    links: tuple[FileLink, ...]
    filesize: int


class Leaf(NamedTuple):
    """A leaf and its place in a file.

    Attributes:
        cid: a raw block.
        offset: where its first byte lies in the file.
        size_bytes: its length.
    """

    cid: CID
    offset: int
    size_bytes: int


EMPTY = Block.of(RAW, b"")
"""The file of zero bytes."""


class FileBuilder:
    """Lays a file out over leaves that arrive in order; the leaves' bytes are never needed.

    Memory grows with the depth of the file, not with its length.

    Args:
        chunk_bytes: the largest leaf.  Leaves may be smaller anywhere in the file, but only equal
            leaves with a smaller one at the end give the CID that the profile defines.
        width: most links of a node, 2 to ``FILE_NODE_LINKS_MAX``.

    Raises:
        FormatError: a parameter out of range.
    """

    def __init__(self, chunk_bytes: int = CHUNK_BYTES, width: int = FILE_NODE_LINKS_MAX) -> None:
        if not 1 <= chunk_bytes <= BLOCK_BYTES_MAX:
            raise FormatError(f"leaves must be of 1 to {BLOCK_BYTES_MAX} bytes, not {chunk_bytes}")
        if not _WIDTH_MIN <= width <= FILE_NODE_LINKS_MAX:
            raise FormatError(f"file nodes have 2 to {FILE_NODE_LINKS_MAX} links, not {width}")
        self._chunk_bytes = chunk_bytes
        self._width = width
        # The still open node of every level, leaves' parents first.
        self._open: list[list[FileLink]] = [[]]

    def add_leaf(self, cid: CID, size_bytes: int) -> list[Block]:
        """Append a leaf.

        Args:
            cid: a raw block.
            size_bytes: its length, at least 1.

        Returns:
            The inner nodes this leaf completes, children before parents.

        Raises:
            FormatError: not a raw block, a length out of range, or a file too deep.
        """
        if cid.codec != RAW:
            raise FormatError("a leaf of a file must be a raw block")
        if not 1 <= size_bytes <= self._chunk_bytes:
            raise FormatError(f"leaf of {size_bytes} bytes; 1 to {self._chunk_bytes} are allowed")
        blocks: list[Block] = []
        self._push(0, FileLink(cid, size_bytes, size_bytes), blocks)
        return blocks

    def finish(self) -> tuple[CID, list[Block]]:
        """The end of the file.

        Returns:
            The file's CID, and the blocks still missing, children before parents: inner nodes, or,
            for a file without leaves, the empty leaf.

        Raises:
            FormatError: a file too deep.
        """
        if not self._open[0]:
            return EMPTY.cid, [EMPTY]
        blocks: list[Block] = []
        level = 0
        # A lone link is the root only on the top level: elsewhere it gets a parent, so that all
        # leaves are equally deep.
        while level + 1 < len(self._open) or len(self._open[level]) > 1:
            self._close(level, blocks)
            level += 1
        return self._open[level][0].cid, blocks

    def _push(self, level: int, link: FileLink, blocks: list[Block]) -> None:
        if level == len(self._open):
            if level > FILE_DEPTH_MAX:
                raise FormatError(f"file needs more than {FILE_DEPTH_MAX} levels of nodes")
            self._open.append([])
        # A full node is closed only now that a further link comes: it may have been the root.
        if len(self._open[level]) == self._width:
            self._close(level, blocks)
        self._open[level].append(link)

    def _close(self, level: int, blocks: list[Block]) -> None:
        links = self._open[level]
        self._open[level] = []
        block = Block.of(DAG_PB, encode_file_node(links))
        blocks.append(block)
        tsize = len(block.data) + sum(link.tsize for link in links)
        self._push(level + 1, FileLink(block.cid, tsize, sum(link.blocksize for link in links)), blocks)


def encode_file_node(links: Sequence[FileLink]) -> bytes:
    """The bytes of the dag-pb block with these children."""
    parts: list[bytes] = []
    for cid, tsize, _ in links:
        size = varint.encode(tsize)
        parts += (
            _NODE_LINK,
            varint.encode(_LINK_FIXED_BYTES + len(size)),
            _LINK_HASH,
            cid,
            _LINK_NAME_EMPTY_THEN_TSIZE,
            size,
        )
    data = [_TYPE_FILE_THEN_FILESIZE, varint.encode(sum(link.blocksize for link in links))]
    for link in links:
        data += (_BLOCKSIZE, varint.encode(link.blocksize))
    unixfs = b"".join(data)
    return b"".join((*parts, _NODE_DATA, varint.encode(len(unixfs)), unixfs))


def decode_file_node(data: bytes) -> FileNode:
    """Decode and validate one inner node.

    Raises:
        FormatError: anything but the bytes that `encode_file_node` writes for 1 to
            ``FILE_NODE_LINKS_MAX`` children, all leaves or all nodes, whose sizes agree.
    """
    if len(data) > BLOCK_BYTES_MAX:
        raise FormatError(f"file node of {len(data)} bytes exceeds {BLOCK_BYTES_MAX}")
    match = _NODE.fullmatch(data)
    if match is None:
        raise FormatError("not a file node: links, then the type file and a size for each link")
    raw_links, raw_sizes = _LINKS.findall(match[1]), _SIZES.findall(match[4])
    if len(raw_links) != len(raw_sizes) or len(raw_links) > FILE_NODE_LINKS_MAX:
        raise FormatError(f"file node with {len(raw_links)} links and {len(raw_sizes)} sizes")
    if varint.decode(match[2])[0] != len(data) - match.end(2):
        raise FormatError("file node whose data has a wrong length")
    # Most sizes of a file are equal: each is decoded once.
    numbers = {raw: varint.decode(raw)[0] for raw in {*raw_sizes, *(raw for _, _, raw in raw_links)}}
    links = []
    for (length, cid, tsize), blocksize in zip(raw_links, raw_sizes, strict=True):
        if length[0] != _LINK_FIXED_BYTES + len(tsize):
            raise FormatError("link of a file node with a wrong length")
        links.append(FileLink(CID(cid), numbers[tsize], numbers[blocksize]))
    filesize = varint.decode(match[3])[0]
    _check_sizes(links, filesize)
    return FileNode(tuple(links), filesize)


def _check_sizes(links: list[FileLink], filesize: int) -> None:
    if sum(link.blocksize for link in links) != filesize:
        raise FormatError("file node whose sizes do not add up")
    codec = links[0].cid.codec
    for cid, tsize, blocksize in links:
        if cid.codec != codec:
            raise FormatError("file node with leaves beside nodes")
        if blocksize == 0:
            raise FormatError("file node with an empty child")
        if codec == RAW and not tsize == blocksize <= BLOCK_BYTES_MAX:
            raise FormatError("file node with a leaf of an impossible size")


def leaf_ranges(root: CID, size_bytes: int, start: int, stop: int) -> Fetch[bytes, list[Leaf]]:
    """Find the leaves that hold bytes ``start`` to ``stop`` (exclusive) of a file.

    Sans-IO (see `mst.fetch`): asks for the inner nodes of one level at a time, each once, and only
    for those above the range; wants their bytes, already checked against their CIDs.  Costs
    memory per leaf: go through a large file in ranges of, say, 1 GiB.

    Args:
        root: the file.
        size_bytes: its length as its entry states it.
        start: first byte wanted.
        stop: first byte no longer wanted.

    Returns:
        The leaves in file order; none for an empty range.

    Raises:
        FormatError: a node is not valid, its sizes are not those its parent states, the file is not
            balanced, is deeper than ``FILE_DEPTH_MAX``, or the range touches more than
            ``FILE_RANGE_LEAVES_MAX`` leaves.
    """
    if root.codec == RAW and size_bytes > BLOCK_BYTES_MAX:
        raise FormatError("file of one block is larger than a block")
    level = [_Place(root, 0, size_bytes, None)] if max(start, 0) < min(stop, size_bytes) else []
    for _ in range(FILE_DEPTH_MAX + 1):
        if all(place.cid.codec == RAW for place in level):
            return [Leaf(place.cid, place.offset, place.size_bytes) for place in level]
        if not all(place.cid.codec == DAG_PB for place in level):
            raise FormatError("file is not balanced, or is no file")
        # The same node may stand in many places (a file of zeros): ask for it once, decode it once.
        wanted = list(dict.fromkeys(place.cid for place in level))
        loaded = yield wanted
        nodes = {cid: (_decoded(data), len(data)) for cid, data in zip(wanted, loaded, strict=True)}
        below: list[_Place] = []
        for place in level:
            below += _children(place, *nodes[place.cid], start, stop)
            if len(below) > FILE_RANGE_LEAVES_MAX:
                raise FormatError(f"range touches more than {FILE_RANGE_LEAVES_MAX} leaves")
        level = below
    raise FormatError(f"file has more than {FILE_DEPTH_MAX} levels of nodes")


# A client that downloads a file in ranges asks for the same node each time, and decoding 1,024 links takes 1.5 ms.
_decoded = lru_cache(maxsize=_DECODED_NODES_MAX)(decode_file_node)


class _Place(NamedTuple):
    """A block's place in a file and what its parent says of it; a root's tsize nobody states."""

    cid: CID
    offset: int
    size_bytes: int
    tsize: int | None


def _children(place: _Place, node: FileNode, node_bytes: int, start: int, stop: int) -> list[_Place]:
    if node.filesize != place.size_bytes:
        raise FormatError("file node of another size than stated above it")
    if place.tsize not in (None, node_bytes + sum(link.tsize for link in node.links)):
        raise FormatError("file node of another total size than stated above it")
    children = []
    offset = place.offset
    for cid, tsize, blocksize in node.links:
        if offset < stop and offset + blocksize > start:
            children.append(_Place(cid, offset, blocksize, tsize))
        offset += blocksize
    return children
