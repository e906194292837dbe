"""What Alembic runs to apply migrations: always on the connection, and in the transaction, that the caller opened."""

from __future__ import annotations

from alembic import context

from registry.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite's DDL is transactional, and a start that is killed half way must leave the old schema.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
