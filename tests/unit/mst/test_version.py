"""Version keys and entries: their order, what they say of themselves, and finding one among many."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import md5
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mst import cbor, tree, version
from mst.cid import CID, DAG_CBOR, RAW
from mst.entry import Entry
from mst.errors import FormatError
from mst.layer import TreeParams
from mst.limits import ENTRY_META_INLINE_BYTES_MAX, INTEGER_MAX, KEY_BYTES_MAX, NODE_KEY_BYTES_MAX

PARAMS = TreeParams(4)
PLAIN = Entry(CID.of(RAW, b"abc"), 3, 1_790_000_000_000, md5(b"abc").digest(), None)
KEYS = st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), min_size=1, max_size=8).map(str.encode)
NUMBERS = st.integers(0, INTEGER_MAX)


@given(KEYS, NUMBERS, KEYS, NUMBERS)
def test_keys_sort_by_object_and_newest_first(key: bytes, number: int, other: bytes, later: int) -> None:
    ours, theirs = version.version_key(key, number), version.version_key(other, later)
    assert (ours < theirs) == ((key, -number) < (other, -later))
    assert version.split_version_key(ours) == (key, number)


def test_the_longest_key_fits_in_a_node() -> None:
    assert len(version.version_key(b"k" * KEY_BYTES_MAX, 1)) == NODE_KEY_BYTES_MAX


@pytest.mark.parametrize(
    "bad",
    [b"", b"k", b"k\0", b"\0" + b"0" * 16, b"k\0" + b"0" * 15, b"k\0" + b"0" * 17, b"k\0" + b"A" * 16,
     b"k\0" + b"f" * 16, b"k\0" + b" " + b"0" * 15, b"k\x01" + b"0" * 16],
)  # fmt: skip
def test_what_is_no_version_key(bad: bytes) -> None:
    with pytest.raises(FormatError):
        version.split_version_key(bad)


def test_numbers_rise_with_the_commit_and_within_it() -> None:
    numbers = [version.number_of_commit(*at) for at in ((1, 0), (1, 1), (1, 511), (2, 0), (3, 7))]
    assert all(low < high for low, high in pairwise(numbers))
    assert numbers[0] > version.NULL


@pytest.mark.parametrize("null", [False, True])
@pytest.mark.parametrize(
    "meta",
    [None, {"ct": "image/jpeg"}, {"ct": "x" * 240}, CID.of(DAG_CBOR, b"\xa0")],
    ids=["none", "small", "nearly too large", "a block"],
)
def test_an_entry_as_a_version(meta: Any, null: bool) -> None:
    plain = PLAIN._replace(meta=meta)
    entry, blocks = version.as_version(plain, 7, null=null)
    assert Entry.decode(entry.encode()) == entry
    assert (version.order_of(entry), version.is_null(entry)) == (7, null)
    assert version.version_of(entry) == (version.NULL if null else 7)
    assert not version.is_marker(entry)
    assert entry._replace(meta=None) == PLAIN
    rest = version.object_meta(entry)
    if blocks:
        assert rest == blocks[0].cid
        assert cbor.decode(blocks[0].data) == meta
    else:
        assert rest == meta
    # A version again: what it says of itself must not pile up.
    again, _ = version.as_version(entry._replace(meta=rest), 7, null=null)
    assert again == entry


@given(st.integers(ENTRY_META_INLINE_BYTES_MAX - 40, ENTRY_META_INLINE_BYTES_MAX - 8))
def test_metadata_of_every_length_near_the_limit(length: int) -> None:
    meta: Mapping[str, cbor.Value] = {"ct": "x" * length}
    entry, _ = version.as_version(PLAIN._replace(meta=meta), INTEGER_MAX, null=True)
    assert Entry.decode(entry.encode()) == entry


def test_an_entry_from_before_there_were_versions() -> None:
    assert version.as_version(PLAIN, 0, null=True) == (PLAIN, ())
    assert (version.order_of(PLAIN), version.version_of(PLAIN), version.is_null(PLAIN)) == (0, version.NULL, True)
    assert version.is_null(PLAIN._replace(meta=CID.of(DAG_CBOR, b"\xa0")))
    assert version.object_meta(PLAIN) is None


def test_a_delete_marker() -> None:
    for null in (False, True):
        marker = version.delete_marker(9, 5, null=null)
        assert Entry.decode(marker.encode()) == marker
        assert version.is_marker(marker)
        assert (version.order_of(marker), version.is_null(marker), marker.mtime_ms) == (9, null, 5)


@pytest.mark.parametrize("number", [-1, INTEGER_MAX + 1, "1", True, None])
def test_a_number_that_is_none(number: Any) -> None:
    with pytest.raises(FormatError):
        version.order_of(PLAIN._replace(meta={"vn": number}))


def test_metadata_that_is_no_link() -> None:
    with pytest.raises(FormatError):
        version.object_meta(PLAIN._replace(meta={"vn": 1, "mt": 3}))


def test_finding_one_of_many(tree_store: Any) -> None:
    pairs: dict[bytes, bytes] = {}
    for key in (b"a", b"a/b", b"b"):
        for number in range(1, 200):
            entry, _ = version.as_version(PLAIN._replace(size=number), number, null=number == 77)
            pairs[version.version_key(key, number)] = entry.encode()
    store = tree_store(PARAMS)
    root = store.build(pairs)

    def found(key: bytes, wanted: Any) -> int | None:
        version_found = store.drive(version.find(PARAMS, root, key, wanted))
        return None if version_found is None else version_found.number

    for key in (b"a", b"a/b", b"b"):
        assert found(key, lambda _: True) == 199
        assert found(key, lambda v: version.is_null(v.entry)) == 77
        assert found(key, lambda _: False) is None
    assert found(b"a/", lambda _: True) is None
    assert found(b"c", lambda _: True) is None
    assert store.drive(version.find(PARAMS, tree.EMPTY_ROOT, b"a", lambda _: True)) is None


def test_a_tree_that_is_none_of_versions(tree_store: Any) -> None:
    store = tree_store(PARAMS)
    root = store.build({b"a\0nonsense": PLAIN.encode()})
    with pytest.raises(FormatError):
        store.drive(version.find(PARAMS, root, b"a", lambda _: True))
