"""Damage that keeps an input nearly right, as a Hypothesis strategy; random bytes would be refused at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from hypothesis import strategies as st

from tests.fuzz.target import Target

EDITS_MAX = 4
_PUNCTUATION = re.compile(rb"[^A-Za-z0-9]")


class Edit(NamedTuple):
    """One change of some bytes; numbers are taken modulo what there is to choose from.

    Attributes:
        kind: what is done.
        at: where.
        stop: up to where.
        marks: whether places are those beside punctuation, which is where the structure of a text is.
        token: which of the target's tokens is put in, or which seed.
        few: put in instead of a token, unless empty.
    """

    kind: str
    at: int
    stop: int
    marks: bool
    token: int
    few: bytes

    def apply(self, data: bytes, target: Target) -> bytes:
        """``data``, changed."""
        places: Sequence[int] = range(len(data) + 1)
        if self.marks:
            places = [place for match in _PUNCTUATION.finditer(data) for place in match.span()] or places
        at, stop = sorted((places[self.at % len(places)], places[self.stop % len(places)]))
        piece = self.few or (target.tokens[self.token % len(target.tokens)] if target.tokens else b"\0")
        match self.kind:
            case "insert":
                return data[:at] + piece + data[at:]
            case "replace":
                return data[:at] + piece + data[stop:]
            case "overwrite":
                return data[:at] + piece + data[at + len(piece) :]
            case "delete":
                return data[:at] + data[stop:]
            case "repeat":
                return data[:stop] + data[at:stop] + data[stop:]
        other = target.seeds[self.token % len(target.seeds)]
        return data[:at] + other[stop % (len(other) + 1) :]


_NUMBERS = st.integers(0, 2**16 - 1)
_EDITS = st.lists(
    st.builds(
        Edit,
        st.sampled_from(("insert", "replace", "overwrite", "delete", "repeat", "join")),
        _NUMBERS,
        _NUMBERS,
        st.booleans(),
        _NUMBERS,
        st.just(b"") | st.binary(min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=EDITS_MAX,
)


def damaged(target: Target) -> st.SearchStrategy[bytes]:
    """Seeds of ``target`` with a few edits: pieces put in, taken out, repeated, replaced, seeds joined."""
    return st.builds(partial(_damage, target), st.sampled_from(target.seeds), _EDITS)


def _damage(target: Target, seed: bytes, edits: list[Edit]) -> bytes:
    for edit in edits:
        seed = edit.apply(seed, target)
    return seed
