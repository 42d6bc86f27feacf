"""A SQLite store's rows, sealed with the newest key."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from supervisor.store.sealing import Place, SealedPart, Table, resealed
from supervisor.store.sqlite_database import Database

__all__ = ["seal_part"]


def seal_part(db: Database, table: Table, after: Place) -> SealedPart:
    """See `Store.seal_part`. What stood there is overwritten, and not only let go of."""
    db.connection.execute("PRAGMA secure_delete = ON")
    with db.transaction():
        rows = db.connection.execute(
            f"SELECT rowid AS place, {', '.join(table.sealed)} FROM {table.name} "
            "WHERE rowid > ? ORDER BY rowid LIMIT ?",
            (*(after or (0,)), table.at_once),
        ).fetchall()
        sealed = sum(_seal(db.connection, table, row) for row in rows)
    if len(rows) == table.at_once:
        return SealedPart(table.name, len(rows), sealed, (rows[-1]["place"],))
    if sealed:
        # So that it does not stand in the log either.
        db.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return SealedPart(table.name, len(rows), sealed, None)


def _seal(db: sqlite3.Connection, table: Table, row: sqlite3.Row) -> bool:
    changed = resealed(table, {name: row[name] for name in table.sealed})
    if not changed:
        return False
    try:
        db.execute(
            f"UPDATE {table.name} SET {_assigned(changed)} WHERE rowid = ?",
            (*changed.values(), row["place"]),
        )
    except sqlite3.IntegrityError:  # recorded again since, under the new key
        db.execute(f"DELETE FROM {table.name} WHERE rowid = ?", (row["place"],))
    return True


def _assigned(columns: Iterable[str]) -> str:
    return ", ".join(f"{name} = ?" for name in columns)
