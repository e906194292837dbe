"""What the manifests of a space that were found say together: which of them is the newest to be trusted with it, and
how the buckets stand by then.

Nothing is taken on trust but that each manifest is the space's own: some may be missing, and there may be several of
one number, where a data folder was restored from a copy and shipped on.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from enum import Enum
from typing import NamedTuple

from mst.cid import CID
from mst.manifest import Head, Manifest


class Why(Enum):
    """Why a manifest is passed over; the values end a sentence that begins with it."""

    UNFINISHED = "needs what cannot be found"
    BROKEN = "follows one that is missing or cannot be used"
    OTHER = "is of a branch that another one outran"


class Chosen(NamedTuple):
    """The manifests that say how a space stands.

    Attributes:
        chain: they, the first one first; none if no chain is whole.
        passed_over: the others, by falling number.
    """

    chain: tuple[CID, ...]
    passed_over: tuple[tuple[CID, Why], ...]


def choose(found: Mapping[CID, Manifest], unfinished: Container[CID] = frozenset()) -> Chosen:
    """The chain that goes furthest and has no gap; of several, the one whose end was made last.

    Args:
        found: manifests that the space signed, by the CIDs of their blocks.
        unfinished: those that need something that is not there.
    """
    whole: set[CID] = set()
    ordered = sorted(found, key=lambda cid: (found[cid].sequence, found[cid].time_ms, cid))
    for cid in ordered:
        one = found[cid]
        if cid not in unfinished and (_follows(one, found[one.prev]) if one.prev in whole else _is_first(one)):
            whole.add(cid)
    chain: list[CID] = []
    at = next((cid for cid in reversed(ordered) if cid in whole), None)
    while at is not None:
        chain.append(at)
        at = found[at].prev
    chosen = frozenset(chain)
    passed_over = tuple((cid, _why(cid, whole, unfinished)) for cid in reversed(ordered) if cid not in chosen)
    return Chosen(tuple(reversed(chain)), passed_over)


def fold(chain: Iterable[Manifest]) -> dict[str, Head]:
    """How the buckets stand after the last of some manifests, by name.

    Args:
        chain: the manifests, the first one first.
    """
    heads: dict[str, Head] = {}
    names: dict[bytes, str] = {}
    for one in chain:
        for drop in one.drops:
            name = names.pop(drop, None)
            if name is not None and heads[name].instance == drop:
                del heads[name]
        for head in one.heads:
            heads[head.name] = head
            names[head.instance] = head.name
    return heads


def _is_first(one: Manifest) -> bool:
    return one.prev is None and one.sequence == 1


def _follows(one: Manifest, before: Manifest) -> bool:
    return one.sequence == before.sequence + 1


def _why(cid: CID, whole: Container[CID], unfinished: Container[CID]) -> Why:
    if cid in unfinished:
        return Why.UNFINISHED
    return Why.OTHER if cid in whole else Why.BROKEN
