"""Looking into a data folder: what every reading verb does before it reads.

Works on a stopped folder and beside the server that owns it, and changes nothing in it.  What only the storage node has
is read from there, in the same way as the server does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from dataclasses import replace
from typing import NamedTuple

import click

from gateway.cli.event_loop import EventLoop
from gateway.cli.failure import ExitCode, Failure
from gateway.cli.folder import require_folder
from gateway.cli.output import printable, warn
from gateway.config import Config
from gateway.shipping.places import RemotePlaces
from gateway.store.folder import DataFolder
from gateway.store.store import Store, StoreSettings
from mst.cid import CID
from mst.commit import Commit
from mst.errors import FormatError
from registry.did_key import SignatureInvalid
from registry.heads import Bucket
from registry.space import verify_commit

_SCHEME = "s3://"


class Opened(NamedTuple):
    """A data folder that is looked into.

    Attributes:
        store: what is in it, and on the storage node if it was dropped here.
        places: where blocks lie on the storage node; None if nothing was ever shipped.
        loop: where coroutines of the store are to run.
    """

    store: Store
    places: RemotePlaces | None
    loop: EventLoop


@contextmanager
def open_store(config: Config) -> Iterator[Opened]:
    """The configured data folder, for reading; what is damaged in it is told.

    Raises:
        Failure: there is none.
        StoreError, RegistryError: it cannot be read.
    """
    with look_into(require_folder(config.data_dir), config) as opened:
        for finding in opened.store.findings:
            if finding.damaged_at is not None:
                warn(f"segment {finding.segment} is damaged at byte {finding.damaged_at}")
        yield opened


@contextmanager
def look_into(folder: DataFolder, config: Config) -> Iterator[Opened]:
    """A data folder, for reading.

    Args:
        folder: the folder.
        config: says where to read what was dropped here.

    Raises:
        StoreError, RegistryError: it cannot be read.
    """
    with closing(Store.open_for_reading(folder, StoreSettings())) as store, EventLoop() as loop:
        if not folder.remote.exists():
            yield Opened(store, None, loop)
            return
        from gateway.remote import reading_beside

        afar = AsyncExitStack()
        try:
            places = loop.run(afar.enter_async_context(reading_beside(config, store, read_only=True)))
            yield Opened(store, places, loop)
        finally:
            loop.run(afar.aclose())


def split_path(text: str) -> tuple[str, bytes]:
    """The bucket and the key or prefix of ``BUCKET/KEY``, written with or without ``s3://`` before it."""
    bucket, _, key = text.removeprefix(_SCHEME).partition("/")
    if not bucket:
        raise click.UsageError(f"{text!r} names no bucket: write BUCKET or BUCKET/KEY")
    try:
        return bucket, key.encode()
    except UnicodeEncodeError:
        raise click.UsageError("a key is text in UTF-8, and this is not") from None


def bucket_name(text: str) -> str:
    """The bucket of ``BUCKET``, written with or without ``s3://`` before it."""
    name, key = split_path(text)
    if key:
        raise click.UsageError(f"{text!r} names more than a bucket: write BUCKET")
    return name


def listing(name: str, at: str | None) -> str:
    """The command that shows what a bucket has, or had."""
    return f"`ms3t ls {name}`" if at is None else f"`ms3t ls {name} --at {at}`"


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
        raise click.UsageError(f"--at {printable(at)}: {error}") from None
    if not store.blocks.can_be_had(cid):
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
