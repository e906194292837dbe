"""Buckets with their roots, as the verbs that list them show them."""

from __future__ import annotations

from typing import Final

from gateway.cli.output import Column, size_text, time_json, time_text
from registry.heads import Bucket

COLUMNS: Final = (
    Column("bucket"),
    Column("root"),
    Column("commit"),
    Column("sequence", "right"),
    Column("objects", "right"),
    Column("size", "right"),
    Column("time"),
)


def cells(bucket: Bucket) -> tuple[str, ...]:
    """A bucket's row of a table with ``COLUMNS``."""
    return (
        bucket.name,
        str(bucket.tree),
        str(bucket.commit),
        str(bucket.sequence),
        str(bucket.objects),
        size_text(bucket.size_bytes),
        time_text(bucket.head_time_ms),
    )


def facts(bucket: Bucket) -> dict[str, str | int | None]:
    """The same for programs."""
    return {
        "bucket": bucket.name,
        "root": str(bucket.tree),
        "versions": None if bucket.versions is None else str(bucket.versions),
        "commit": str(bucket.commit),
        "sequence": bucket.sequence,
        "objects": bucket.objects,
        "bytes": bucket.size_bytes,
        "time": time_json(bucket.head_time_ms),
    }
