"""What the tables of an SQLite database are, however they came to be."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa


def shape_of(connection: sa.Connection) -> dict[str, Any]:
    """Each table's kind, columns in their order, foreign keys, and indexes with their columns."""

    def ask(question: str) -> list[Any]:
        return list(connection.execute(sa.text(f"PRAGMA {question}")))

    shape: dict[str, Any] = {}
    for table in ask("table_list"):
        if not table.name.startswith("sqlite_"):
            indexes = ask(f"index_list('{table.name}')")
            shape[table.name] = (
                tuple(table),
                ask(f"table_xinfo('{table.name}')"),
                ask(f"foreign_key_list('{table.name}')"),
                {index.name: (index.unique, ask(f"index_xinfo('{index.name}')")) for index in indexes},
            )
    return shape
