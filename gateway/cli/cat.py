"""`ms3t cat`: an object's bytes, every block of them checked against its CID."""

from __future__ import annotations

import sys

import click

from gateway.cli.failure import ExitCode, Failure, Verb
from gateway.cli.options import as_json, at_commit, configured
from gateway.cli.output import key_text, show_json, time_json
from gateway.cli.reading import Opened, bucket_at, listing, open_store, split_path
from gateway.config import Config
from mst.entry import Entry

WINDOW_BYTES = 1 << 30
"""A large object is read in ranges of this many bytes: a range costs memory per block it touches."""


@click.command("cat", cls=Verb)
@click.argument("path", metavar="BUCKET/KEY")
@at_commit
@configured
@as_json
def verb(path: str, at: str | None, config: Config, as_json: bool) -> None:
    """Write an object's bytes, every block verified.

    No byte that fails its hash is written. With --json its facts are printed instead: bucket,
    key, bytes, time, etag and cid.

    \b
    Examples:
      ms3t cat photos/cat.jpg > cat.jpg
      ms3t cat photos/notes.txt --at bafyrei...      (as it was at that commit)
      ms3t cat photos/cat.jpg --json
    """
    name, key = split_path(path)
    if not key:
        raise click.UsageError(f"{path!r} names no object: write BUCKET/KEY")
    with open_store(config) as opened:
        bucket = bucket_at(opened.store, name, at)
        entry = opened.loop.run(opened.store.trees.get(bucket, key))
        if entry is None:
            raise Failure(
                f"bucket {name} has no object {key_text(key)}: {listing(name, at)} shows what it has",
                ExitCode.NOT_FOUND,
            )
        if as_json:
            show_json({"bucket": name, "key": key.decode(), **_facts(entry)})
        else:
            _write(opened, entry)


def _facts(entry: Entry) -> dict[str, str | int]:
    return {
        "bytes": entry.size,
        "time": time_json(entry.mtime_ms),
        "etag": entry.etag_text,
        "cid": str(entry.body),
    }


def _write(opened: Opened, entry: Entry) -> None:
    out = sys.stdout.buffer
    for start in range(0, entry.size, WINDOW_BYTES):
        stop = min(start + WINDOW_BYTES, entry.size)
        for piece in opened.loop.iterate(opened.store.read_body(entry, start, stop)):
            out.write(piece)
    out.flush()
