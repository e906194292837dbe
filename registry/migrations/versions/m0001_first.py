"""The first schema: buckets, credentials, multipart uploads and the store's own state."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "buckets",
        sa.Column("instance", sa.LargeBinary(16), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("commit", sa.LargeBinary(36), nullable=False),
        sa.Column("tree", sa.LargeBinary(36), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("objects", sa.BigInteger, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("bits", sa.SmallInteger, nullable=False),
        sa.Column("salt", sa.LargeBinary(32)),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("head_time_ms", sa.BigInteger, nullable=False),
        sa.Column("shipped", sa.LargeBinary(36)),
        sa.Column("config", sa.JSON),
        sa.PrimaryKeyConstraint("instance", name="pk_buckets"),
        sa.UniqueConstraint("name", name="uq_buckets_name"),
    )
    op.create_table(
        "credentials",
        sa.Column("access_key", sa.Text, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("owner_id", sa.Text, nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("access_key", name="pk_credentials"),
    )
    op.create_table(
        "uploads",
        sa.Column("upload_id", sa.Text, nullable=False),
        sa.Column("instance", sa.LargeBinary(16), nullable=False),
        sa.Column("key", sa.LargeBinary(1024), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("meta", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("upload_id", name="pk_uploads"),
        sa.ForeignKeyConstraint(
            ["instance"],
            ["buckets.instance"],
            name="fk_uploads_instance_buckets",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_uploads_instance_key_upload_id", "uploads", ["instance", "key", "upload_id"])
    op.create_table(
        "parts",
        sa.Column("upload_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("etag", sa.LargeBinary(16), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("checksums", sa.LargeBinary, nullable=False),
        sa.Column("modified_ms", sa.BigInteger, nullable=False),
        sa.Column("leaves", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("upload_id", "number", name="pk_parts"),
        sa.ForeignKeyConstraint(
            ["upload_id"],
            ["uploads.upload_id"],
            name="fk_parts_upload_id_uploads",
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "store_state",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_store_state"),
    )
