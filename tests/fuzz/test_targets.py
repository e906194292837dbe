"""Every parser of hostile bytes, given seeds and seeds that were damaged.  `make fuzz` searches far longer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.all import TARGETS
from tests.fuzz.mutation import damaged


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_accepted(name: str) -> None:
    for seed in TARGETS[name].seeds:
        assert TARGETS[name](seed), seed


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=settings.default.max_examples // 2)
@given(data=st.data())
def test_damaged_seeds_are_refused_or_keep_every_promise(name: str, data: st.DataObject) -> None:
    TARGETS[name](data.draw(damaged(TARGETS[name])))
