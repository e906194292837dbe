"""Any history of shipments, of which any manifests are lost and the rest found in any order: what is chosen is the
furthest state that can be told, as a slow look at every manifest says too.
"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mst.cid import CID, DAG_CBOR
from mst.history import Why, choose, fold
from mst.manifest import Head, Manifest

SPACE = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"
NAMES = ("films", "music", "photos")

Buckets = dict[str, Head]


def make(before: Manifest | None, was: Buckets, now: Buckets, time_ms: int) -> Manifest:
    """The next manifest of a gateway whose buckets were so and are so now."""
    left = {head.instance for head in now.values()}
    return Manifest(
        space=SPACE,
        sequence=before.sequence + 1 if before else 1,
        time_ms=time_ms,
        prev=before.block().cid if before else None,
        heads=tuple(head for name, head in now.items() if was.get(name) != head),
        drops=tuple(head.instance for head in was.values() if head.instance not in left),
    ).with_signature(bytes(64))


@st.composite
def histories(draw: st.DrawFn) -> dict[CID, tuple[Manifest, Buckets]]:
    """Gateways of one space, each of which begins with nothing or with a copy of what there was at some moment: every
    manifest, and how the buckets were then."""
    made: list[tuple[Manifest | None, Buckets]] = [(None, {})]
    for number in range(draw(st.integers(0, 8))):
        newest_first = draw(st.integers(0, 3)) == 0
        before, was = draw(st.sampled_from(made)) if newest_first else made[-1]
        now = dict(was)
        for name in draw(st.sets(st.sampled_from(NAMES))):
            kind = draw(st.sampled_from(("change", "remake", "delete")))
            if kind == "delete":
                now.pop(name, None)
                continue
            fresh = kind == "remake" or name not in now
            instance = number.to_bytes(8, "big") + name.encode()[:5] + bytes(3) if fresh else now[name].instance
            commit = CID.of(DAG_CBOR, f"{number} {name}".encode())
            now[name] = Head(name, instance, number, commit, "unversioned", {})
        made.append((make(before, was, now, draw(st.integers(0, 3))), now))
    return {one.block().cid: (one, buckets) for one, buckets in made if one is not None}


def path_to(found: dict[CID, Manifest], lost: set[CID], cid: CID) -> list[CID] | None:
    """All manifests from the first one to this, None if one is not there or cannot be used."""
    path: list[CID] = []
    at: CID | None = cid
    while at is not None:
        if at not in found or at in lost:
            return None
        path.insert(0, at)
        at = found[at].prev
    return path


@given(histories(), st.data())
def test_the_furthest_whole_chain_is_chosen(history: dict[CID, tuple[Manifest, Buckets]], data: st.DataObject) -> None:
    cids = data.draw(st.permutations(sorted(history)))
    gone = data.draw(st.sets(st.sampled_from(cids), max_size=2)) if cids else set()
    lost = data.draw(st.sets(st.sampled_from(cids), max_size=2)) if cids else set()
    found = {cid: history[cid][0] for cid in cids if cid not in gone}
    chosen = choose(found, lost)
    paths = [path for cid in found if (path := path_to(found, lost, cid))]
    best = max(((len(path), found[path[-1]].time_ms, path[-1]) for path in paths), default=None)
    if best is None:
        assert chosen.chain == ()
    else:
        assert (len(chosen.chain), found[chosen.chain[-1]].time_ms, chosen.chain[-1]) == best
        assert list(chosen.chain) in paths
        assert fold(found[cid] for cid in chosen.chain) == history[chosen.chain[-1]][1]
    assert all(found[after].prev == before for before, after in pairwise(chosen.chain))
    assert {cid for cid, _ in chosen.passed_over} == found.keys() - set(chosen.chain)
    for cid, why in chosen.passed_over:
        assert (why is Why.UNFINISHED) == (cid in lost)
        assert (why is Why.OTHER) == (path_to(found, lost, cid) is not None)


def test_a_chain_that_does_not_begin_with_the_first() -> None:
    first = make(None, {}, {}, 1)
    later = make(first, {}, {}, 2)
    wrong = make(later, {}, {}, 3)
    skipping = Manifest(space=SPACE, sequence=9, time_ms=4, prev=first.block().cid).with_signature(bytes(64))
    found = {one.block().cid: one for one in (later, wrong, skipping)}
    assert choose(found).chain == ()
    found[first.block().cid] = first
    assert [found[cid].sequence for cid in choose(found).chain] == [1, 2, 3]
    assert choose(found).passed_over == ((skipping.block().cid, Why.BROKEN),)


def test_a_bucket_that_is_made_again_before_the_old_one_is_dropped() -> None:
    old = Head("photos", b"o" * 16, 1, CID.of(DAG_CBOR, b"old"), "unversioned", {})
    new = Head("photos", b"n" * 16, 2, CID.of(DAG_CBOR, b"new"), "unversioned", {})
    first = Manifest(space=SPACE, sequence=1, time_ms=1, prev=None, heads=(old,))
    second = Manifest(space=SPACE, sequence=2, time_ms=2, prev=None, heads=(new,))
    third = Manifest(space=SPACE, sequence=3, time_ms=3, prev=None, drops=(old.instance,))
    assert fold([first, second, third]) == {"photos": new}
