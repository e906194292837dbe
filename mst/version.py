"""Versions of an object: the keys of the tree of versions, and what an entry says of itself as a version.

A versioned bucket has its current objects in one tree, and older versions and delete markers in a second one.  There a
key is the object's key, a NUL, and 16 hexadecimal digits that fall while versions rise: so the versions of a key are
neighbours, newest first, in the order of the objects' keys (none of which has a NUL).

An entry of a versioned bucket says which version it is in its metadata:

======  ================  =====================================================================
field   type              meaning
======  ================  =====================================================================
``vn``  unsigned integer  the version's number; rises from version to version of a key
``nv``  true              the version is the null version
``dm``  true              the version is a delete marker
``mt``  link              the rest of the metadata, where it is a block of its own
======  ================  =====================================================================

An entry without a number was written before its bucket was versioned: the null version, older than any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import md5
from typing import Final, NamedTuple

from mst import cbor
from mst.block import Block
from mst.cid import CID, DAG_CBOR, RAW
from mst.entry import Entry, Meta
from mst.errors import FormatError
from mst.fetch import Fetch
from mst.layer import TreeParams
from mst.limits import ENTRY_META_INLINE_BYTES_MAX, INTEGER_MAX, VERSION_SUFFIX_BYTES
from mst.node import Node
from mst.walk import Walk

NULL: Final = 0
"""What the null version is called where a version is named by its number; no version has it as its number."""

ABOVE_ALL: Final = INTEGER_MAX
"""A number that no version has, above those that versions have."""

_PLACE_BITS = 16
_NUMBER = "vn"
_IS_NULL = "nv"
_IS_MARKER = "dm"
_REST = "mt"
_OURS = frozenset({_NUMBER, _IS_NULL, _IS_MARKER, _REST})
_NO_BODY = CID.of(RAW, b"")
_NO_ETAG = md5(b"", usedforsecurity=False).digest()


def number_of_commit(sequence: int, place: int) -> int:
    """The number of a version: no other of the bucket, earlier or later, ever has it.

    Args:
        sequence: the number of the commit that makes the version.
        place: which of that commit's changes it is, from 0 on, below 65,536.
    """
    return sequence << _PLACE_BITS | place


def version_key(key: bytes, number: int) -> bytes:
    """The key in the tree of versions of version ``number`` of the object ``key``."""
    return b"%b\0%016x" % (key, INTEGER_MAX - number)


def split_version_key(version: bytes) -> tuple[bytes, int]:
    """The object's key and the number of the version in a key of the tree of versions.

    Raises:
        FormatError: it is no such key.
    """
    key, digits = version[:-VERSION_SUFFIX_BYTES], version[-VERSION_SUFFIX_BYTES:]
    try:
        number = INTEGER_MAX - int(digits[1:], 16)
    except ValueError:
        number = -1
    if not key or number < 0 or version_key(key, number) != version:
        raise FormatError("not a key of a tree of versions")
    return key, number


def order_of(entry: Entry) -> int:
    """The number that an entry has among the versions of its key; 0 if it was written before there were any.

    Raises:
        FormatError: what it has is no number.
    """
    meta = entry.meta
    number = meta.get(_NUMBER, 0) if isinstance(meta, Mapping) else 0
    if type(number) is not int or not 0 <= number <= INTEGER_MAX:
        raise FormatError("the number of a version is none")
    return number


def version_of(entry: Entry) -> int:
    """The number that names an entry's version: `NULL` for the null version."""
    return NULL if is_null(entry) else order_of(entry)


def is_null(entry: Entry) -> bool:
    """Whether an entry is the null version of its key."""
    meta = entry.meta
    return not (isinstance(meta, Mapping) and _NUMBER in meta) or _IS_NULL in meta


def is_marker(entry: Entry) -> bool:
    """Whether an entry is a delete marker."""
    return isinstance(entry.meta, Mapping) and _IS_MARKER in entry.meta


def object_meta(entry: Entry) -> Meta:
    """An entry's metadata without what it says of itself as a version."""
    meta = entry.meta
    if not isinstance(meta, Mapping) or _OURS.isdisjoint(meta):
        return meta
    if _REST in meta:
        rest = meta[_REST]
        if type(rest) is not CID:
            raise FormatError("the metadata of a version is not a link")
        return rest
    return {name: value for name, value in meta.items() if name not in _OURS} or None


def as_version(entry: Entry, number: int, *, null: bool) -> tuple[Entry, tuple[Block, ...]]:
    """``entry`` as a version, and the block of its metadata if that must leave the entry for it.

    Args:
        entry: an entry that says nothing of versions.
        number: the version's number; 0 leaves the entry as it is, the null version from before there were any.
        null: whether it is the null version.
    """
    if not number:
        return entry, ()
    stamp: dict[str, cbor.Value] = {_NUMBER: number}
    if null:
        stamp[_IS_NULL] = True
    if entry.meta is None:
        return entry._replace(meta=stamp), ()
    if isinstance(entry.meta, CID):
        return entry._replace(meta={_REST: entry.meta, **stamp}), ()
    whole = {**entry.meta, **stamp}
    if len(cbor.encode(whole)) <= ENTRY_META_INLINE_BYTES_MAX:
        return entry._replace(meta=whole), ()
    block = Block.of(DAG_CBOR, cbor.encode(entry.meta))
    return entry._replace(meta={_REST: block.cid, **stamp}), (block,)


def delete_marker(number: int, time_ms: int, *, null: bool) -> Entry:
    """A delete marker: the entry of an empty object that is none.

    Args:
        number: its version's number.
        time_ms: when the object was deleted, milliseconds since 1970.
        null: whether it is the null version.
    """
    entry, _ = as_version(Entry(_NO_BODY, 0, time_ms, _NO_ETAG, {_IS_MARKER: True}), number, null=null)
    return entry


class Version(NamedTuple):
    """An entry of the tree of versions, and the number it is kept under."""

    number: int
    entry: Entry


def find(params: TreeParams, root: CID, key: bytes, wanted: Callable[[Version], bool]) -> Fetch[Node, Version | None]:
    """The newest version of ``key`` in the tree of versions at ``root`` that is ``wanted``.

    Costs the nodes between the key's newest version and the one that is found.

    Raises:
        FormatError: a node that had to be read is not valid in its place, or not of a tree of versions.
    """
    walk = Walk(params, root)
    first = key + b"\0"
    yield from walk.seek(first)
    while (run := (yield from walk.run())) is not None:
        for stored, value in zip(run.keys, run.values, strict=True):
            if not stored.startswith(first):
                return None
            version = Version(split_version_key(stored)[1], Entry.decode(value))
            if wanted(version):
                return version
    return None
