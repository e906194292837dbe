"""What Alembic runs to apply migrations: on the connection, and in the transaction, that the caller opened.

SQLite's DDL is transactional, so a start that is killed half way leaves the old schema.
"""

from __future__ import annotations

from alembic import context

from gateway.node.server.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
