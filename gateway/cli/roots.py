"""`ms3t roots`: the one CID that pins each bucket."""

from __future__ import annotations

import click

from gateway.cli.buckets import COLUMNS, cells, facts
from gateway.cli.failure import Verb
from gateway.cli.options import as_json, configured
from gateway.cli.output import Column, show_json, show_table, size_text
from gateway.cli.reading import open_store
from gateway.config import Config
from gateway.shipping.distance import Distance, distances
from registry.heads import Bucket

_REMOTE_COLUMNS = (Column("shipped"), Column("behind", "right"))


@click.command("roots", cls=Verb)
@configured
@as_json
def verb(config: Config, as_json: bool) -> None:
    """Show the root of every bucket.

    The root is the CID that pins the exact contents: two buckets with the same root hold
    the same objects, wherever they are. The commit is the signed block that names the root.
    With a remote, also the newest commit that is wholly on the storage node, and how far
    that is behind.

    \b
    Examples:
      ms3t roots
      ms3t roots --json | jq -r '.[] | select(.bucket == "photos") | .root'
    """
    with open_store(config) as opened:
        buckets = opened.store.buckets()
        behind = distances(opened.store, opened.places) if config.remote.is_set else {}
    if as_json:
        show_json([facts(bucket) | _shipped_facts(bucket, behind.get(bucket.instance)) for bucket in buckets])
    elif buckets and config.remote.is_set:
        show_table(
            (*COLUMNS, *_REMOTE_COLUMNS),
            ((*cells(bucket), *_shipped_cells(bucket, behind[bucket.instance])) for bucket in buckets),
        )
    elif buckets:
        show_table(COLUMNS, map(cells, buckets))
    else:
        click.echo("There are no buckets yet: `aws s3 mb s3://NAME` makes one.", err=True)


def _shipped_facts(bucket: Bucket, behind: Distance | None) -> dict[str, str | int | None]:
    if behind is None:
        return dict.fromkeys(("shipped_commit", "shipped_sequence", "behind_commits", "behind_bytes"))
    return {
        "shipped_commit": None if bucket.shipped is None else str(bucket.shipped),
        "shipped_sequence": bucket.shipped_sequence,
        "behind_commits": behind.commits,
        "behind_bytes": behind.bytes,
    }


def _shipped_cells(bucket: Bucket, behind: Distance) -> tuple[str, str]:
    shipped = "nothing" if bucket.shipped is None else str(bucket.shipped)
    if bucket.shipped == bucket.commit:
        return shipped, "-"
    commits = "1 commit" if behind.commits == 1 else f"{behind.commits} commits"
    return shipped, f"{commits}, {size_text(behind.bytes)}"
