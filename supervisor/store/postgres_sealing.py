"""A PostgreSQL store's rows, sealed with the newest key."""

from __future__ import annotations

from collections.abc import Iterable

import psycopg

from supervisor.store.postgres_query import Connection, Database
from supervisor.store.rows import Row, Value
from supervisor.store.sealing import Place, SealedPart, Table, resealed

__all__ = ["seal_part"]


async def seal_part(db: Database, table: Table, after: Place) -> SealedPart:
    """See `Store.seal_part`. What stood there is gone once the server has vacuumed."""
    key = ", ".join(table.key)
    behind = f"WHERE ({key}) > ({_given(after)})" if after else ""
    rows = await _all(
        db.connection,
        f"SELECT {', '.join(dict.fromkeys((*table.key, *table.sealed)))} FROM lucid.{table.name} "
        f"{behind} ORDER BY {key} LIMIT {table.at_once} FOR NO KEY UPDATE",
        after,
    )
    sealed = [await _seal(db.connection, table, row) for row in rows]
    is_end = len(rows) < table.at_once
    place = None if is_end else _place(table, rows[-1])
    return SealedPart(table.name, len(rows), sum(sealed), place)


async def _seal(connection: Connection, table: Table, row: Row) -> bool:
    changed = resealed(table, row)
    if not changed:
        return False
    place = _place(table, row)
    there = f"WHERE ({', '.join(table.key)}) = ({_given(place)})"
    assigned = ", ".join(f"{name} = %s" for name in changed)
    try:
        async with connection.transaction():
            update = f"UPDATE lucid.{table.name} SET {assigned} {there}"
            await connection.execute(_statement(update), (*changed.values(), *place))
    except psycopg.errors.UniqueViolation:  # recorded again since, under the new key
        await connection.execute(_statement(f"DELETE FROM lucid.{table.name} {there}"), place)
    return True


def _place(table: Table, row: Row) -> Place:
    return tuple(row[name] for name in table.key)


def _given(values: Iterable[Value]) -> str:
    return ", ".join("%s" for _ in values)


async def _all(connection: Connection, statement: str, values: Place) -> list[Row]:
    found = await connection.execute(_statement(statement), values, binary=True)
    return list(await found.fetchall())


def _statement(text: str) -> bytes:
    """Of names that stand in `TABLES`, and of nothing else."""
    return text.encode()
