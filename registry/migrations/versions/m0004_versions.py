"""Versions: whether a bucket keeps them, the root of their tree, and which version a completed upload made."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("buckets", sa.Column("versions", sa.LargeBinary(36)))
    op.add_column("buckets", sa.Column("versioning", sa.Text, nullable=False, server_default="unversioned"))
    op.add_column("completions", sa.Column("version", sa.BigInteger))
