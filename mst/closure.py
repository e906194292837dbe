"""Every block that a root needs, children before parents: what has to be copied so that nothing dangles.

`of_commit` goes children before parents, which makes any prefix of the walk whole: wherever a copy stops, no block in
it lacks one that it needs.  `in_waves` goes the other way, many blocks at once, for who has to wait for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from mst import node, unixfs, version
from mst.cid import CID, DAG_PB, RAW
from mst.commit import Commit
from mst.entry import Entry
from mst.fetch import Fetch
from mst.layer import TreeParams

Load: TypeAlias = Callable[[CID], bytes]
"""Returns the verified bytes of a block."""
Known: TypeAlias = Callable[[CID], bool]
"""Whether a block is to be left out, and with it all it needs."""


class _Open(NamedTuple):
    """A block that is handed out when all of ``needs`` have been."""

    cid: CID
    needs: Iterator[_Need]


class _Need(NamedTuple):
    """A block, and how to find out what it needs in turn; None if it needs nothing."""

    cid: CID
    needs: Callable[[bytes], Iterator[_Need]] | None


def of_commit(commit: CID, load: Load, known: Known) -> Iterator[CID]:
    """The commit and all blocks of its trees and of the objects in them; not the commits before it.

    ``known`` is asked again and again while the walk goes on.  If it says yes of each block that was handed out, none
    comes twice, however often it is needed.

    Args:
        commit: a commit's block.
        load: see there; asked for commits, nodes of trees and of files, not for leaves and metadata.
        known: see there.

    Raises:
        FormatError: a block is not what its parent says it is; also what ``load`` raises.
    """
    stack: list[_Open] = []
    needs = iter((_Need(commit, _of_commit),))
    while True:
        need = next(needs, None)
        if need is not None:
            if known(need.cid):
                continue
            if need.needs is None:
                yield need.cid
                continue
            stack.append(_Open(need.cid, needs))
            needs = need.needs(load(need.cid))
        elif stack:
            done, needs = stack.pop()
            yield done
        else:
            return


def in_waves(commit: CID, width: int) -> Fetch[bytes | None, None]:
    """Ask for the commit and every block that it needs, those before what they need, some more than once.

    Is sent the verified bytes of what it asked for; of leaves and metadata, `is_followed` says, any bytes do, and None
    for a block that is not to be had, and with it all it needs.

    Args:
        commit: a commit's block.
        width: how many blocks are asked for at once, at most.

    Raises:
        FormatError: a block is not what its parent says it is.
    """
    waiting = [_Need(commit, _of_commit)]
    while waiting:
        wave = waiting[-width:]
        del waiting[-width:]
        loaded = yield [need.cid for need in wave]
        for need, data in zip(wave, loaded, strict=True):
            if need.needs is not None and data is not None:
                waiting += need.needs(data)


def is_followed(cid: CID) -> bool:
    """Whether a block may need others."""
    return cid.codec != RAW


def _of_commit(data: bytes) -> Iterator[_Need]:
    commit = Commit.decode(data)
    params = TreeParams(commit.bits, commit.salt)
    for root in (commit.tree, commit.versions):
        if root is not None:
            yield _node(root, params)


def _node(cid: CID, params: TreeParams) -> _Need:
    def needs(data: bytes) -> Iterator[_Need]:
        opened = node.decode(data, params)
        for child in opened.children:
            if child is not None:
                yield _node(child, params)
        for value in opened.values:
            entry = Entry.decode(value)
            if not version.is_marker(entry):  # a delete marker names the empty object, which nobody stored
                yield _file(entry.body)
            meta = version.object_meta(entry)
            if isinstance(meta, CID):
                yield _Need(meta, None)

    return _Need(cid, needs)


def _file(cid: CID) -> _Need:
    return _Need(cid, _of_file_node if cid.codec == DAG_PB else None)


def _of_file_node(data: bytes) -> Iterator[_Need]:
    for link in unixfs.decode_file_node(data).links:
        yield _file(link.cid)
