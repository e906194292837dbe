"""Looking into a data folder: what every reading verb does before it reads.

Works on a stopped folder and beside the server that owns it, and changes nothing in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from gateway.cli.failure import ExitCode, Failure
from gateway.cli.folder import require_folder
from gateway.cli.output import warn
from gateway.store.store import Store, StoreSettings
from mst.cid import CID
from mst.commit import Commit
from mst.errors import FormatError
from registry.did_key import SignatureInvalid
from registry.heads import Bucket
from registry.space import verify_commit

_SCHEME = "s3://"


@contextmanager
def open_store(path: Path) -> Iterator[Store]:
    """The store in the folder at ``path``, for reading.

    Raises:
        Failure: there is none.
        StoreError, RegistryError: it cannot be read.
    """
    store = Store.open_for_reading(require_folder(path), StoreSettings())
    try:
        for finding in store.findings:
            if finding.damaged_at is not None:
                warn(f"segment {finding.segment} is damaged at byte {finding.damaged_at}")
        yield store
    finally:
        store.close()


def split_path(text: str) -> tuple[str, bytes]:
    """The bucket and the key or prefix of ``BUCKET/KEY``, written with or without ``s3://`` before it."""
    bucket, _, key = text.removeprefix(_SCHEME).partition("/")
    if not bucket:
        raise click.UsageError(f"{text!r} names no bucket: write BUCKET or BUCKET/KEY")
    try:
        return bucket, key.encode()
    except UnicodeEncodeError:
        raise click.UsageError("a key is text in UTF-8, and this is not") from None


def bucket_at(store: Store, name: str, at: str | None) -> Bucket:
    """A bucket as it is, or as it was.

    Args:
        store: where from.
        name: the bucket.
        at: the text of the CID of one of its commits or tree roots; None for its head.

    Raises:
        Failure: ``at`` names nothing of this bucket.
        NoSuchBucket, BlockMissing, BlockCorrupt: it cannot be read.
    """
    bucket = store.bucket(name)
    if at is None:
        return bucket
    try:
        cid = CID.from_text(at)
    except FormatError as error:
        raise click.UsageError(f"--at {at}: {error}") from None
    if not store.blocks.holds(cid):
        raise Failure(f"no block {at} is stored: `ms3t log {name}` shows commits", ExitCode.NOT_FOUND)
    try:
        commit = Commit.decode(store.blocks.read(cid))
    except FormatError:
        # Not a commit: then it has to be a tree, of this bucket's shape.
        return replace(bucket, tree=cid)
    if commit.bucket != name:
        raise Failure(f"commit {at} is of bucket {commit.bucket}, not of {name}", ExitCode.NOT_FOUND)
    try:
        verify_commit(commit)
    except SignatureInvalid as error:
        raise Failure(f"commit {at} is forged or damaged: {error}", ExitCode.DAMAGED) from error
    return bucket_of(commit, cid, bucket)


def bucket_of(commit: Commit, cid: CID, head: Bucket) -> Bucket:
    """The bucket whose head is ``head`` as it was at ``commit``."""
    return replace(
        head,
        instance=commit.instance,
        commit=cid,
        tree=commit.tree,
        versions=commit.versions,
        sequence=commit.sequence,
        objects=commit.objects,
        size_bytes=commit.size_bytes,
        bits=commit.bits,
        salt=commit.salt,
        head_time_ms=commit.time_ms,
    )
