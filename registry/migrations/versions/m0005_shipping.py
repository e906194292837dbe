"""Shipping: shards, shipments, what was published of each bucket, and how far each has been shipped."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the tables and add the column."""
    op.add_column("buckets", sa.Column("shipped_sequence", sa.BigInteger))
    op.create_table(
        "shipments",
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("manifest", sa.LargeBinary, nullable=False),
        sa.Column("heads", sa.LargeBinary, nullable=False),
        sa.Column("finished", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_shipments"),
    )
    op.create_table(
        "shards",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("index_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("index_bytes", sa.BigInteger, nullable=False),
        sa.Column("manifest", sa.LargeBinary(36)),
        sa.Column("segment", sa.Integer),
        sa.Column("start", sa.BigInteger),
        sa.Column("stop", sa.BigInteger),
        sa.Column("continues", sa.Boolean),
        sa.Column("shipment", sa.BigInteger),
        sa.Column("answers", sa.LargeBinary),
        sa.PrimaryKeyConstraint("number", name="pk_shards"),
        sa.ForeignKeyConstraint(["shipment"], ["shipments.number"], name="fk_shards_shipment_shipments"),
    )
    op.create_index("ix_shards_segment_start", "shards", ["segment", "start"])
    op.create_index("ix_shards_shipment", "shards", ["shipment"])
    op.create_table(
        "published",
        sa.Column("instance", sa.LargeBinary(16), nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("instance", name="pk_published"),
    )
