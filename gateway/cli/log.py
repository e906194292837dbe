"""`ms3t log`: a bucket's history, one signed commit after another."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice

import click

from gateway.cli.failure import ExitCode, Failure, Verb
from gateway.cli.options import as_json, configured
from gateway.cli.output import Column, show_json, show_table, size_text, time_json, time_text, warn
from gateway.cli.reading import bucket_name, open_store
from gateway.config import Config
from gateway.store.errors import BlockCorrupt
from gateway.store.store import Store
from mst.cid import CID
from mst.commit import Commit
from mst.errors import FormatError
from registry.did_key import SignatureInvalid
from registry.heads import Bucket
from registry.key_file import KeyFileError
from registry.space import SpaceKey, verify_commit

COMMITS_DEFAULT = 20

_COLUMNS = (
    Column("sequence", "right"),
    Column("time"),
    Column("root"),
    Column("commit"),
    Column("objects", "right"),
    Column("size", "right"),
    Column("signature"),
)


@click.command("log", cls=Verb)
@click.argument("bucket")
@click.option(
    "-n",
    "--number",
    type=click.IntRange(min=1),
    default=COMMITS_DEFAULT,
    show_default=True,
    metavar="N",
    help="Show at most the newest N commits.",
)
@configured
@as_json
def verb(bucket: str, number: int, config: Config, as_json: bool) -> None:
    """Show a bucket's commits, newest first.

    The signature of each is checked, and the exit code is 5 if one is not right. Any commit can be
    given to `ls`, `tree` and `cat` with --at.

    \b
    Examples:
      ms3t log photos
      ms3t log photos -n 1 --json
    """
    with open_store(config) as opened:
        head = opened.store.bucket(bucket_name(bucket))
        space = _space(opened.store)
        newest = islice(_history(opened.store, head), min(number, sys.maxsize))
        rows = [(cid, commit, _is_signed(commit, space)) for cid, commit in newest]
    if as_json:
        show_json([_facts(*row) for row in rows])
    else:
        show_table(_COLUMNS, (_cells(*row) for row in rows))
        _say_how_many_more(head, rows[-1][1].sequence, all_asked=len(rows) < number)
    if bad := sum(not signed for _, _, signed in rows):
        raise Failure(
            f"{bad} of these {len(rows)} commits of bucket {head.name} are not signed by this folder's space key:"
            " restore the key, or the folder, from a backup",
            ExitCode.DAMAGED,
        )


def _say_how_many_more(head: Bucket, oldest: int, *, all_asked: bool) -> None:
    """Tell of the commits before number ``oldest``, which were not shown."""
    if oldest > 1 and all_asked:
        click.echo(f"{oldest - 1} older ones were dropped here, and the storage node keeps the newest alone", err=True)
    elif oldest > 1:
        click.echo(f"{oldest - 1} older ones: -n {head.sequence} shows all", err=True)


def _history(store: Store, head: Bucket) -> Iterator[tuple[CID, Commit]]:
    """The commits of the bucket from its head back to its first, or to the last that was not dropped."""
    cid: CID | None = head.commit
    while cid is not None:
        if cid != head.commit and head.shipped is not None and not store.blocks.can_be_had(cid):
            return
        try:
            commit = Commit.decode(store.blocks.read(cid))
        except FormatError as error:
            raise BlockCorrupt(f"block {cid} in the history of {head.name} is no commit") from error
        yield cid, commit
        cid = commit.prev


def _space(store: Store) -> str | None:
    """Whose signatures count: the owner of this folder's space key."""
    try:
        return SpaceKey.load(store.folder.key).did
    except KeyFileError as error:
        warn(f"{error}; signatures are checked against the space each commit names")
        return None


def _is_signed(commit: Commit, space: str | None) -> bool:
    try:
        verify_commit(commit)
    except SignatureInvalid:
        return False
    return space in (None, commit.space)


def _facts(cid: CID, commit: Commit, signed: bool) -> dict[str, str | int | bool | None]:
    return {
        "bucket": commit.bucket,
        "sequence": commit.sequence,
        "time": time_json(commit.time_ms),
        "root": str(commit.tree),
        "commit": str(cid),
        "previous": None if commit.prev is None else str(commit.prev),
        "objects": commit.objects,
        "bytes": commit.size_bytes,
        "space": commit.space,
        "verified": signed,
    }


def _cells(cid: CID, commit: Commit, signed: bool) -> tuple[str, ...]:
    return (
        str(commit.sequence),
        time_text(commit.time_ms),
        str(commit.tree),
        str(cid),
        str(commit.objects),
        size_text(commit.size_bytes),
        "verified" if signed else "NOT VERIFIED",
    )
