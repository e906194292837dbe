"""Multipart uploads that were completed, so that a client that asks again gets the answer it did not get.

Uploads in progress are dropped: their parts lack the checksum that every object has from now on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table and drop the uploads in progress."""
    op.execute("DELETE FROM parts")
    op.execute("DELETE FROM uploads")
    op.create_table(
        "completions",
        sa.Column("upload_id", sa.Text, nullable=False),
        sa.Column("instance", sa.LargeBinary(16), nullable=False),
        sa.Column("key", sa.LargeBinary(1024), nullable=False),
        sa.Column("parts_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("answer", sa.LargeBinary, nullable=False),
        sa.Column("commit", sa.LargeBinary(36), nullable=False),
        sa.Column("tree", sa.LargeBinary(36), nullable=False),
        sa.Column("completed_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("upload_id", name="pk_completions"),
        sa.ForeignKeyConstraint(
            ["instance"],
            ["buckets.instance"],
            name="fk_completions_instance_buckets",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_completions_completed_ms", "completions", ["completed_ms"])
    op.create_index("ix_completions_instance", "completions", ["instance"])
