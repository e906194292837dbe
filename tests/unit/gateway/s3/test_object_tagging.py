"""The change of tags as the committer makes it, which may be in another process."""

from __future__ import annotations

import pickle
from functools import partial
from typing import Any

import pytest

from gateway.s3.object_tagging import EntryChanged, _Read, _with_tags
from mst import cbor
from mst.block import Block
from mst.cid import CID, DAG_CBOR, RAW
from mst.entry import Entry

ENTRY = Entry(CID.of(RAW, b"x"), 1, 1_790_000_000_000, bytes(16), {"ct": "a/b"})
LARGE = {"ct": "a/b", "um": {"k": "v" * 2000}}
LARGE_BLOCK = Block.of(DAG_CBOR, cbor.encode(LARGE))
TAGS = {"colour": "red"}


def change(kept: Any, metadata: Any) -> Any:
    return pickle.loads(pickle.dumps(partial(_with_tags, TAGS, _Read(kept, metadata))))


@pytest.mark.parametrize("now", [ENTRY, ENTRY._replace(mtime_ms=1), ENTRY._replace(meta={"ct": "c/d"})])
def test_the_entry_that_there_is_gets_the_tags(now: Entry) -> None:
    """Also if it is another one than was read: whoever replaces the object meanwhile does not hold up its tags."""
    changed, blocks = change(ENTRY.meta, ENTRY.meta)(Entry.decode(now.encode()))
    assert blocks == ()
    assert isinstance(now.meta, dict)
    assert changed == now._replace(meta={**now.meta, "tg": TAGS})


def test_metadata_in_a_block_is_what_was_read() -> None:
    now = ENTRY._replace(meta=LARGE_BLOCK.cid, mtime_ms=7)
    changed, (block,) = change(LARGE_BLOCK.cid, LARGE)(now)
    assert changed == now._replace(meta=block.cid)
    assert cbor.decode(block.data) == {**LARGE, "tg": TAGS}


@pytest.mark.parametrize("now", [None, ENTRY._replace(meta=LARGE_BLOCK.cid)], ids=["gone", "an unread block"])
def test_what_has_to_be_read_again(now: Entry | None) -> None:
    with pytest.raises(EntryChanged) as refused:
        change(ENTRY.meta, ENTRY.meta)(now)
    assert type(pickle.loads(pickle.dumps(refused.value))) is EntryChanged
