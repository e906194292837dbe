"""`ms3t ls`: the objects of a bucket, as `aws s3 ls` shows them, now or at any commit."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import click

from gateway.cli.failure import ExitCode, Failure, Verb
from gateway.cli.options import as_json, at_commit, configured
from gateway.cli.output import JsonArray, key_text, size_text, time_json, time_text
from gateway.cli.reading import Opened, bucket_at, listing, open_store, split_path
from gateway.config import Config
from gateway.s3.page import collect
from gateway.store.store import Store
from mst.entry import Entry
from registry.heads import Bucket

PAGE_KEYS = 1000
"""Keys and prefixes held in memory at a time."""
_DELIMITER = b"/"
_TIME_WIDTH = 25
_SIZE_WIDTH = 10


@click.command("ls", cls=Verb)
@click.argument("path", metavar="BUCKET[/PREFIX]")
@click.option("--recursive", "-r", is_flag=True, help="Show every object below the prefix.")
@at_commit
@configured
@as_json
def verb(path: str, recursive: bool, at: str | None, config: Config, as_json: bool) -> None:
    """List objects and common prefixes, as `aws s3 ls` does.

    \b
    Examples:
      ms3t ls photos
      ms3t ls photos/2026/ --recursive
      ms3t ls photos --at bafyrei...      (the CID of a commit of `ms3t log photos`, or of a root)
    """
    name, prefix = split_path(path)
    with open_store(config) as opened:
        bucket = bucket_at(opened.store, name, at)
        show = _print_json if as_json else _print
        count = show(opened, bucket, prefix, recursive)
    if prefix and not count:
        raise Failure(
            f"no key of bucket {name} begins with {key_text(prefix)}: {listing(name, at)} shows what it has",
            ExitCode.NOT_FOUND,
        )


async def _rows(
    store: Store, bucket: Bucket, prefix: bytes, recursive: bool
) -> AsyncGenerator[tuple[bytes, Entry | None], None]:
    """Keys with their entries and prefixes with None, in key order."""
    delimiter = b"" if recursive else _DELIMITER
    start: bytes | None = prefix
    while start is not None:
        page = await collect(store.trees.walk(bucket), start, prefix, delimiter, PAGE_KEYS)
        rows: list[tuple[bytes, bytes | None]] = [*page.rows, *((p, None) for p in page.prefixes)]
        for key, value in sorted(rows, key=lambda row: row[0]):
            yield key, None if value is None else Entry.decode(value)
        start = page.resume


def _print(opened: Opened, bucket: Bucket, prefix: bytes, recursive: bool) -> int:
    """Print a line for each row; how many there were."""
    # Like `aws s3 ls`: names below a prefix without the part that all of them share.
    shown_from = 0 if recursive else prefix.rfind(_DELIMITER) + 1
    count = 0
    for key, entry in opened.loop.iterate(_rows(opened.store, bucket, prefix, recursive)):
        count += 1
        time = "" if entry is None else time_text(entry.mtime_ms)
        size = "PRE" if entry is None else size_text(entry.size)
        click.echo(f"{time:<{_TIME_WIDTH}} {size:>{_SIZE_WIDTH}} {key_text(key[shown_from:])}")
    return count


def _print_json(opened: Opened, bucket: Bucket, prefix: bytes, recursive: bool) -> int:
    """Print an array with an element for each row; how many there were."""
    with JsonArray() as array:
        for key, entry in opened.loop.iterate(_rows(opened.store, bucket, prefix, recursive)):
            if entry is None:
                array.add({"prefix": key.decode()})
                continue
            array.add(
                {
                    "key": key.decode(),
                    "bytes": entry.size,
                    "time": time_json(entry.mtime_ms),
                    "etag": entry.etag_text,
                    "cid": str(entry.body),
                }
            )
    return array.count
