"""The node's tables.  What is here is what the newest migration leaves behind; a test compares the two."""

from __future__ import annotations

import sqlalchemy as sa

from mst.limits import CID_BYTES

SCHEMA_REVISION = "0001"
"""The newest migration this code knows."""

DIGEST_BYTES = 32

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

allocations = sa.Table(
    "allocations",
    metadata,
    sa.Column("digest", sa.LargeBinary(DIGEST_BYTES), primary_key=True),
    sa.Column("space", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    # What the upload's URL ends in.
    sa.Column("token", sa.Text, nullable=False, unique=True),
    # Meaningless once it is accepted.
    sa.Column("expires_s", sa.BigInteger, nullable=False),
    # Whether this space has sent the bytes itself; the blob may be here because another one has.
    sa.Column("received", sa.Boolean, nullable=False),
    sa.Column("accepted_s", sa.BigInteger),
    # The location claim, a CID.
    sa.Column("claim", sa.LargeBinary(CID_BYTES)),
    sa.Index("ix_allocations_space_accepted_s_digest", "space", "accepted_s", "digest"),
    sa.Index("ix_allocations_accepted_s_expires_s", "accepted_s", "expires_s"),
    sqlite_with_rowid=False,
)

claims = sa.Table(
    "claims",
    metadata,
    sa.Column("cid", sa.LargeBinary(CID_BYTES), primary_key=True),
    # The multihash of what is claimed of.
    sa.Column("content", sa.LargeBinary, nullable=False, index=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("space", sa.Text),
    sa.Column("expires_s", sa.BigInteger),
    sa.Column("added_s", sa.BigInteger, nullable=False),
    # The claim with its proofs, a CAR file.
    sa.Column("archive", sa.LargeBinary, nullable=False),
)

indexes = sa.Table(
    "indexes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    # The blob that is the index, and whose it is.
    sa.Column("digest", sa.LargeBinary(DIGEST_BYTES), nullable=False),
    sa.Column("space", sa.Text, nullable=False),
    # The multihash of what is indexed.
    sa.Column("content", sa.LargeBinary, nullable=False, index=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("claim", sa.LargeBinary(CID_BYTES), nullable=False),
    sa.ForeignKeyConstraint(["digest", "space"], ["allocations.digest", "allocations.space"], ondelete="CASCADE"),
    sa.UniqueConstraint("digest", "space"),
)

slices = sa.Table(
    "slices",
    metadata,
    # A block or a whole shard that an index says a place of.
    sa.Column("digest", sa.LargeBinary(DIGEST_BYTES), primary_key=True),
    sa.Column("index_id", sa.Integer, sa.ForeignKey("indexes.id", ondelete="CASCADE"), primary_key=True, index=True),
    sqlite_with_rowid=False,
)
