"""Settings of a bucket, each a document under a name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table of settings."""
    op.create_table(
        "bucket_settings",
        sa.Column("instance", sa.LargeBinary(16), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("instance", "name", name="pk_bucket_settings"),
        sa.ForeignKeyConstraint(
            ["instance"],
            ["buckets.instance"],
            name="fk_bucket_settings_instance_buckets",
            ondelete="CASCADE",
        ),
    )
