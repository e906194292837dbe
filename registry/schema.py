"""The tables, in one schema that SQLite and PostgreSQL both take.

What is here is what the newest migration leaves behind; a test compares the two.  Keys of objects are binary columns
and upload ids are lower-case hexadecimal, because a text column sorts by the locale in PostgreSQL and S3 sorts bytes.
"""

from __future__ import annotations

import sqlalchemy as sa

from mst.limits import CID_BYTES, INSTANCE_BYTES, KEY_BYTES_MAX, SALT_BYTES

SCHEMA_REVISION = "0005"
"""The newest migration this code knows."""

ETAG_BYTES = 16
"""A part's ETag: the md5 of its bytes."""
PARTS_DIGEST_BYTES = 32
"""The SHA-256 of the list of parts that an upload was completed with."""
SHARD_DIGEST_BYTES = 32
"""The SHA-256 of a shard, or of its index."""

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

buckets = sa.Table(
    "buckets",
    metadata,
    sa.Column("instance", sa.LargeBinary(INSTANCE_BYTES), primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("commit", sa.LargeBinary(CID_BYTES), nullable=False),
    sa.Column("tree", sa.LargeBinary(CID_BYTES), nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("objects", sa.BigInteger, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("bits", sa.SmallInteger, nullable=False),
    sa.Column("salt", sa.LargeBinary(SALT_BYTES)),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("head_time_ms", sa.BigInteger, nullable=False),
    sa.Column("shipped", sa.LargeBinary(CID_BYTES)),
    sa.Column("config", sa.JSON(none_as_null=True)),
    sa.Column("versions", sa.LargeBinary(CID_BYTES)),
    sa.Column("versioning", sa.Text, nullable=False, server_default="unversioned"),
    sa.Column("shipped_sequence", sa.BigInteger),
)

bucket_settings = sa.Table(
    "bucket_settings",
    metadata,
    sa.Column(
        "instance",
        sa.LargeBinary(INSTANCE_BYTES),
        sa.ForeignKey("buckets.instance", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),
)

credentials = sa.Table(
    "credentials",
    metadata,
    sa.Column("access_key", sa.Text, primary_key=True),
    sa.Column("secret", sa.Text, nullable=False),
    sa.Column("owner_id", sa.Text, nullable=False),
    sa.Column("display_name", sa.Text, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False),
)

uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("upload_id", sa.Text, primary_key=True),
    sa.Column(
        "instance",
        sa.LargeBinary(INSTANCE_BYTES),
        sa.ForeignKey("buckets.instance", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("key", sa.LargeBinary(KEY_BYTES_MAX), nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("meta", sa.LargeBinary, nullable=False),
    sa.Index(None, "instance", "key", "upload_id"),
)

parts = sa.Table(
    "parts",
    metadata,
    sa.Column(
        "upload_id",
        sa.Text,
        sa.ForeignKey("uploads.upload_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("etag", sa.LargeBinary(ETAG_BYTES), nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("checksums", sa.LargeBinary, nullable=False),
    sa.Column("modified_ms", sa.BigInteger, nullable=False),
    # Last, because a page of parts is listed without it and it can be longer than a database page.
    sa.Column("leaves", sa.LargeBinary, nullable=False),
)

completions = sa.Table(
    "completions",
    metadata,
    sa.Column("upload_id", sa.Text, primary_key=True),
    sa.Column(
        "instance",
        sa.LargeBinary(INSTANCE_BYTES),
        sa.ForeignKey("buckets.instance", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("key", sa.LargeBinary(KEY_BYTES_MAX), nullable=False),
    sa.Column("parts_digest", sa.LargeBinary(PARTS_DIGEST_BYTES), nullable=False),
    sa.Column("answer", sa.LargeBinary, nullable=False),
    sa.Column("commit", sa.LargeBinary(CID_BYTES), nullable=False),
    sa.Column("tree", sa.LargeBinary(CID_BYTES), nullable=False),
    sa.Column("completed_ms", sa.BigInteger, nullable=False),
    sa.Column("version", sa.BigInteger),
    sa.Index(None, "completed_ms"),
    sa.Index(None, "instance"),
)

shipments = sa.Table(
    "shipments",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("manifest", sa.LargeBinary, nullable=False),
    sa.Column("heads", sa.LargeBinary, nullable=False),
    sa.Column("finished", sa.Boolean, nullable=False),
)

shards = sa.Table(
    "shards",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("digest", sa.LargeBinary(SHARD_DIGEST_BYTES), nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("index_digest", sa.LargeBinary(SHARD_DIGEST_BYTES), nullable=False),
    sa.Column("index_bytes", sa.BigInteger, nullable=False),
    sa.Column("manifest", sa.LargeBinary(CID_BYTES)),
    sa.Column("segment", sa.Integer),
    sa.Column("start", sa.BigInteger),
    sa.Column("stop", sa.BigInteger),
    sa.Column("continues", sa.Boolean),
    sa.Column("shipment", sa.BigInteger, sa.ForeignKey("shipments.number")),
    sa.Column("answers", sa.LargeBinary),
    sa.Index(None, "segment", "start"),
    sa.Index(None, "shipment"),
)

published = sa.Table(
    "published",
    metadata,
    sa.Column("instance", sa.LargeBinary(INSTANCE_BYTES), primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),
)

store_state = sa.Table(
    "store_state",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
)
