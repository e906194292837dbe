"""What is configured for a bucket: documents under names, gone with the bucket.

A document's form is its reader's business; here it is bytes.  A function that raises has written nothing.
"""

from __future__ import annotations

import sqlalchemy as sa

from registry.heads import require_bucket
from registry.schema import bucket_settings

_THE_SETTING = sa.and_(
    bucket_settings.c.instance == sa.bindparam("of_instance"),
    bucket_settings.c.name == sa.bindparam("of_name"),
)
_GET = sa.select(bucket_settings.c.document).where(_THE_SETTING)
_LOAD_ALL = sa.select(bucket_settings.c.instance, bucket_settings.c.name, bucket_settings.c.document)
_UPDATE = sa.update(bucket_settings).where(_THE_SETTING).values(document=sa.bindparam("new_document"))
_INSERT = sa.insert(bucket_settings)
_DELETE = sa.delete(bucket_settings).where(_THE_SETTING)


def get(connection: sa.Connection, instance: bytes, name: str) -> bytes | None:
    """The document that the bucket ``instance`` has under ``name``, if it has one."""
    document: bytes | None = connection.execute(_GET, {"of_instance": instance, "of_name": name}).scalar()
    return document


def load_all(connection: sa.Connection) -> dict[bytes, dict[str, bytes]]:
    """The documents of every bucket that has some: by the bucket's instance id, then by name."""
    found: dict[bytes, dict[str, bytes]] = {}
    for row in connection.execute(_LOAD_ALL):
        found.setdefault(row.instance, {})[row.name] = row.document
    return found


def put(connection: sa.Connection, *, instance: bytes, name: str, document: bytes) -> None:
    """Put ``document`` under ``name`` in place of any earlier one.

    Args:
        connection: a write transaction.
        instance: the bucket's instance id.
        name: which setting it is.
        document: opaque bytes to find again.

    Raises:
        BucketMissing: the bucket is gone.
    """
    values = {"of_instance": instance, "of_name": name, "new_document": document}
    if connection.execute(_UPDATE, values).rowcount == 0:
        require_bucket(connection, instance)
        connection.execute(_INSERT, {"instance": instance, "name": name, "document": document})


def delete(connection: sa.Connection, *, instance: bytes, name: str) -> bool:
    """Remove what is under ``name``; False when nothing was."""
    return connection.execute(_DELETE, {"of_instance": instance, "of_name": name}).rowcount == 1
