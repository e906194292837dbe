"""How far the storage node is behind a bucket."""

from __future__ import annotations

from typing import NamedTuple

from gateway.shipping.places import RemotePlaces
from gateway.store.store import Store
from mst import closure
from mst.cid import CID
from registry.heads import Bucket


class Distance(NamedTuple):
    """What a bucket's head is ahead of its shipped head.

    Attributes:
        commits: how many commits.
        bytes: how much the head needs that no accepted shard holds.
    """

    commits: int
    bytes: int


def distances(store: Store, places: RemotePlaces | None) -> dict[bytes, Distance]:
    """How far the storage node is behind each bucket, by instance id.  Reads what is not shipped, but for leaves.

    Args:
        store: the buckets.
        places: where blocks lie on the node; None if nothing was ever shipped.

    Raises:
        BlockMissing, BlockCorrupt, RemoteUnavailable, FormatError: a bucket cannot be read.
    """
    return {bucket.instance: _distance(store, places, bucket) for bucket in store.buckets()}


def _distance(store: Store, places: RemotePlaces | None, bucket: Bucket) -> Distance:
    met: set[bytes] = set()

    def known(cid: CID) -> bool:
        return cid.digest in met or (places is not None and places.get(cid.digest) is not None)

    size = 0
    if bucket.shipped != bucket.commit:
        for cid in closure.of_commit(bucket.commit, store.blocks.read, known):
            met.add(cid.digest)
            place = store.index.get(cid.digest)
            size += place.length if place else 0
    return Distance(bucket.sequence - (bucket.shipped_sequence or 0), size)
