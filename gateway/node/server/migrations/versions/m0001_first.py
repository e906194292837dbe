"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "allocations",
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("space", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("expires_s", sa.BigInteger, nullable=False),
        sa.Column("received", sa.Boolean, nullable=False),
        sa.Column("accepted_s", sa.BigInteger),
        sa.Column("claim", sa.LargeBinary(36)),
        sa.PrimaryKeyConstraint("digest", "space", name="pk_allocations"),
        sa.UniqueConstraint("token", name="uq_allocations_token"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_allocations_space_accepted_s_digest", "allocations", ["space", "accepted_s", "digest"])
    op.create_index("ix_allocations_accepted_s_expires_s", "allocations", ["accepted_s", "expires_s"])
    op.create_table(
        "claims",
        sa.Column("cid", sa.LargeBinary(36), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("space", sa.Text),
        sa.Column("expires_s", sa.BigInteger),
        sa.Column("added_s", sa.BigInteger, nullable=False),
        sa.Column("archive", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("cid", name="pk_claims"),
    )
    op.create_index("ix_claims_content", "claims", ["content"])
    op.create_table(
        "indexes",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("space", sa.Text, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("claim", sa.LargeBinary(36), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_indexes"),
        sa.UniqueConstraint("digest", "space", name="uq_indexes_digest_space"),
        sa.ForeignKeyConstraint(
            ["digest", "space"],
            ["allocations.digest", "allocations.space"],
            name="fk_indexes_digest_space_allocations",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_indexes_content", "indexes", ["content"])
    op.create_table(
        "slices",
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("index_id", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("digest", "index_id", name="pk_slices"),
        sa.ForeignKeyConstraint(["index_id"], ["indexes.id"], name="fk_slices_index_id_indexes", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_slices_index_id", "slices", ["index_id"])
