"""`Database`: a connection to PostgreSQL, asked by named statements."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import DictRow

from supervisor.store.rows import Value, kept
from supervisor.store.statements import SQL, load_statements

__all__ = ["STATEMENTS", "Connection", "Cursor", "Database"]

STATEMENTS = {
    name: text.encode() for name, text in load_statements(SQL / "postgres" / "queries.sql").items()
}

Connection = AsyncConnection[DictRow]
Cursor = AsyncCursor[DictRow]
Parameter = Value | timedelta | Sequence[Value]

_STREAMED = 100


class Database:
    """One connection to a store. Raises `psycopg.Error` where the database fails.

    Statements are not sent in a pipeline, though it would spare some turns: a server that
    was asked so waits without end for a client that froze, and keeps its session locked.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def connection(self) -> Connection:
        """The connection itself, for statements that are not Lucid's."""
        return self._connection

    async def run(self, statement: str, **columns: Parameter) -> Cursor:
        """Run a statement."""
        return await self._connection.execute(STATEMENTS[statement], _bound(columns), binary=True)

    async def all(self, statement: str, **columns: Parameter) -> list[DictRow]:
        """The rows of a statement."""
        return await (await self.run(statement, **columns)).fetchall()

    async def find(self, statement: str, **columns: Parameter) -> DictRow | None:
        """The first row of a statement, if it has any."""
        return await (await self.run(statement, **columns)).fetchone()

    async def one(self, statement: str, **columns: Parameter) -> DictRow:
        """The one row of a statement that always has one."""
        row = await self.find(statement, **columns)
        assert row is not None, statement
        return row

    async def stream(self, statement: str, **columns: Parameter) -> AsyncIterator[list[DictRow]]:
        """The rows of a statement, some at a time, of which the server keeps the rest."""
        async with (
            self._connection.transaction(),
            self._connection.cursor(name="stream", binary=True) as cursor,
        ):
            await cursor.execute(STATEMENTS[statement], _bound(columns))
            while rows := await cursor.fetchmany(_STREAMED):
                yield rows


def _bound(columns: dict[str, Parameter]) -> dict[str, Parameter]:
    return {name: kept(name, v) if isinstance(v, str) else v for name, v in columns.items()}
