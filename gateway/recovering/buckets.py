"""The buckets that the manifests name, each read from its commit on the node and checked against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

from gateway.recovering.asking import Progress
from gateway.recovering.errors import SpaceDamaged
from gateway.recovering.reading import Missing, fetch_each
from gateway.shipping.reading import NodeBlocks
from mst import node, tree
from mst.cid import CID
from mst.commit import Commit
from mst.errors import FormatError
from mst.layer import TreeParams
from mst.manifest import Head
from registry.did_key import SignatureInvalid
from registry.heads import Bucket, Versioning
from registry.space import verify_commit

BUCKETS_AT_ONCE: Final = 128
"""How many are read at once."""


async def read_buckets(
    blocks: NodeBlocks, heads: Sequence[Head], space: str, progress: Progress
) -> list[tuple[Bucket, Head]]:
    """Every bucket as the registry is to have it, with what its manifest says.

    Args:
        blocks: the node.
        heads: what the manifests say.
        space: who must have signed the commits.
        progress: is told how many have been read.

    Raises:
        SpaceDamaged: a commit or a root cannot be had, or is not what the manifest says.
        RemoteUnavailable: the node cannot be asked now.
    """
    found: list[tuple[Bucket, Head]] = []
    for start in range(0, len(heads), BUCKETS_AT_ONCE):
        some = heads[start : start + BUCKETS_AT_ONCE]
        loaded = await fetch_each(blocks, [head.commit.digest for head in some])
        commits = [_commit(head, loaded[head.commit.digest], space) for head in some]
        await _check_roots(blocks, commits)
        found += [(_bucket(head, commit), head) for head, commit in zip(some, commits, strict=True)]
        progress("buckets", len(found), len(heads))
    return found


def _commit(head: Head, data: bytes | Missing, space: str) -> Commit:
    if isinstance(data, Missing):
        raise SpaceDamaged(f"bucket {head.name}: its commit {head.commit} cannot be had: {data.reason}")
    try:
        commit = Commit.decode(data)
        verify_commit(commit)
    except (FormatError, SignatureInvalid) as error:
        raise SpaceDamaged(f"bucket {head.name}: its commit {head.commit} is none: {error}") from error
    if (commit.space, commit.bucket, commit.instance) != (space, head.name, head.instance):
        raise SpaceDamaged(f"bucket {head.name}: its commit {head.commit} is of another bucket or space")
    return commit


async def _check_roots(blocks: NodeBlocks, commits: Sequence[Commit]) -> None:
    roots = [(commit, root) for commit in commits for root in _roots(commit)]
    loaded: Mapping[bytes, bytes | Missing] = await fetch_each(blocks, [root.digest for _, root in roots])
    for commit, root in roots:
        data = loaded[root.digest]
        if isinstance(data, Missing):
            raise SpaceDamaged(f"bucket {commit.bucket}: its root {root} cannot be had: {data.reason}")
        try:
            node.decode(data, TreeParams(commit.bits, commit.salt))
        except FormatError as error:
            raise SpaceDamaged(f"bucket {commit.bucket}: its root {root} is no tree node: {error}") from error


def _roots(commit: Commit) -> list[CID]:
    both = (commit.tree, commit.versions)
    return [root for root in both if root is not None and root != tree.EMPTY_ROOT]


def _bucket(head: Head, commit: Commit) -> Bucket:
    return Bucket(
        name=head.name,
        instance=head.instance,
        commit=head.commit,
        tree=commit.tree,
        sequence=commit.sequence,
        objects=commit.objects,
        size_bytes=commit.size_bytes,
        bits=commit.bits,
        salt=commit.salt,
        created_ms=head.created_ms,
        head_time_ms=commit.time_ms,
        versions=commit.versions,
        versioning=cast(Versioning, head.versioning),  # checked by the manifest's decoder
        shipped=head.commit,
        shipped_sequence=commit.sequence,
    )
