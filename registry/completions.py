"""Multipart uploads that were completed: what was decided, kept for a client that did not get the answer.

An upload ends in the transaction that moves its bucket's head, so of two who want to end it exactly one does.  Whoever
comes later with the same parts is told what the first one was told, even after a crash.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from mst.cid import CID
from mst.errors import FormatError
from registry import uploads
from registry.errors import RegistryError
from registry.schema import buckets, completions
from registry.schema import uploads as uploads_table

KEPT_MS = 7 * 24 * 60 * 60 * 1000
"""How long a completion is kept, in milliseconds: no client asks again after a week."""


class CompletionDamaged(RegistryError):
    """A completion's row is not what this code could have written."""


@dataclass(frozen=True, slots=True)
class Completion:
    """The end of a multipart upload.

    Args:
        instance: the bucket's instance id.
        key: the object's key, as UTF-8.
        parts_digest: the SHA-256 of the list of parts that was asked for.
        answer: what the front end will need to answer again; opaque here.
        commit: the bucket's commit that made the object visible.
        tree: the tree root that commit names.
        version: the number of the version that it made, 0 for the null version; None if the bucket kept none.
    """

    instance: bytes
    key: bytes
    parts_digest: bytes
    answer: bytes
    commit: CID
    tree: CID
    version: int | None


_GET = sa.select(
    completions.c.instance,
    completions.c.key,
    completions.c.parts_digest,
    completions.c.answer,
    completions.c.commit,
    completions.c.tree,
    completions.c.version,
).where(completions.c.upload_id == sa.bindparam("wanted"))
_INSERT = sa.insert(completions).from_select(
    ["upload_id", "instance", "key", "parts_digest", "answer", "commit", "tree", "completed_ms", "version"],
    sa.select(
        uploads_table.c.upload_id,
        uploads_table.c.instance,
        uploads_table.c.key,
        sa.bindparam("of_parts", type_=sa.LargeBinary),
        sa.bindparam("with_answer", type_=sa.LargeBinary),
        buckets.c.commit,
        buckets.c.tree,
        sa.bindparam("at_ms", type_=sa.BigInteger),
        sa.bindparam("made_version", type_=sa.BigInteger),
    )
    .join_from(uploads_table, buckets)
    .where(uploads_table.c.upload_id == sa.bindparam("wanted")),
)
_DROP_OLD = sa.delete(completions).where(completions.c.completed_ms < sa.bindparam("before_ms"))


def get(connection: sa.Connection, upload_id: str) -> Completion | None:
    """How the upload of that id was completed; None if it was not, or long ago.

    Raises:
        CompletionDamaged: the row is not what this code could have written.
    """
    row = connection.execute(_GET, {"wanted": upload_id}).first()
    if row is None:
        return None
    try:
        commit, tree = CID.parse(row.commit), CID.parse(row.tree)
    except FormatError as error:
        raise CompletionDamaged(f"the completion of upload {upload_id} is damaged: {error}") from error
    return Completion(row.instance, row.key, row.parts_digest, row.answer, commit, tree, row.version)


def complete(
    connection: sa.Connection,
    version: int | None,
    *,
    upload_id: str,
    parts_digest: bytes,
    answer: bytes,
    now_ms: int,
) -> None:
    """End an upload and remember how; completions older than `KEPT_MS` are forgotten.

    Args:
        connection: the write transaction that has moved the bucket's head to the commit with the object.
        version: see `Completion`.
        upload_id: the upload.
        parts_digest: the SHA-256 of the list of parts.
        answer: opaque bytes to find again.
        now_ms: the time, in milliseconds since 1970.

    Raises:
        UploadMissing: the upload was completed or aborted before.
    """
    values = {
        "wanted": upload_id,
        "of_parts": parts_digest,
        "with_answer": answer,
        "at_ms": now_ms,
        "made_version": version,
    }
    if connection.execute(_INSERT, values).rowcount != 1:
        raise uploads.UploadMissing(upload_id)
    uploads.delete(connection, upload_id)
    connection.execute(_DROP_OLD, {"before_ms": now_ms - KEPT_MS})
