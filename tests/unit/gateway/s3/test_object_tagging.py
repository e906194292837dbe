"""The check that a change of tags takes to the committer, which may be another process."""

from __future__ import annotations

import pickle
from functools import partial

import pytest

from gateway.s3.object_tagging import EntryChanged, _must_be
from mst.cid import CID, RAW
from mst.entry import Entry

ENTRY = Entry(CID.of(RAW, b"x"), 1, 1_790_000_000_000, bytes(16), {"ct": "a/b"})


@pytest.mark.parametrize(
    "other", [None, ENTRY._replace(mtime_ms=1), ENTRY._replace(meta=None), ENTRY._replace(meta={"ct": "c/d"})]
)
def test_only_the_entry_that_was_read_is_replaced(other: Entry | None) -> None:
    check = pickle.loads(pickle.dumps(partial(_must_be, ENTRY)))
    check(Entry.decode(ENTRY.encode()))
    with pytest.raises(EntryChanged) as refused:
        check(other)
    assert type(pickle.loads(pickle.dumps(refused.value))) is EntryChanged
