"""Checks that every bucket can be read from its head, and that the head is what the space key signed."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.checks.result import Result, fail, ok
from gateway.store.errors import RemoteUnavailable, StoreError
from gateway.store.store import Store
from mst.commit import Commit
from mst.errors import MstError
from mst.layer import TreeParams
from registry.errors import RegistryError
from registry.heads import Bucket
from registry.space import verify_commit

_RESTORE = "stop the server and restore the data folder from a backup"
_ASK_NODE = "look that the server's configuration is read, with its remote, and that the storage node runs"


def check_segments(store: Store) -> Iterator[Result]:
    """Whether any segment is damaged in the middle (a torn end is the normal trace of a crash)."""
    damaged = [finding for finding in store.findings if finding.damaged_at is not None]
    for finding in damaged:
        yield fail("segments", f"{finding.segment} is damaged at byte {finding.damaged_at}", _RESTORE)
    if not damaged:
        yield ok("segments", f"{store.size_bytes} bytes, no damage seen at the ends that were scanned")


def check_heads(store: Store, space: str | None) -> Iterator[Result]:
    """Whether each bucket's commit and top node can be read, and whether commit and registry agree.

    Args:
        store: where from.
        space: the DID of the folder's space key, or None if it cannot be read.
    """
    buckets = store.buckets()
    bad = 0
    for bucket in buckets:
        try:
            reason, todo = _why_bad(store, bucket, space), _RESTORE
        except RemoteUnavailable as error:
            reason, todo = str(error), _ASK_NODE
        if reason:
            bad += 1
            yield fail("heads", f"bucket {bucket.name}: {reason}", todo)
    if not bad:
        count = "1 bucket" if len(buckets) == 1 else f"{len(buckets)} buckets"
        yield ok("heads", f"{count}, every head is there and its signature is right")


def _why_bad(store: Store, bucket: Bucket, space: str | None) -> str:
    try:
        commit = Commit.decode(store.blocks.read(bucket.commit))
        verify_commit(commit)
        for root in (bucket.tree, bucket.versions):
            if root is not None:
                store.blocks.node(TreeParams(bucket.bits, bucket.salt), root)
    except RemoteUnavailable:
        raise
    except (StoreError, RegistryError, MstError) as error:
        return str(error)
    if space is not None and commit.space != space:
        return f"its commit is signed by {commit.space}, not by this folder's key"
    signed = (
        commit.bucket, commit.instance, commit.tree, commit.versions, commit.sequence, commit.objects,
        commit.size_bytes,
    )  # fmt: skip
    here = (
        bucket.name, bucket.instance, bucket.tree, bucket.versions, bucket.sequence, bucket.objects,
        bucket.size_bytes,
    )  # fmt: skip
    if signed != here:
        return f"the registry says something else than its commit {bucket.commit}"
    return ""
