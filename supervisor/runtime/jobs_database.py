"""Procrastinate's way to PostgreSQL: over the store's connections, in a schema of its own.

Its own connector will not do: the pool below it keeps a program that fails while the
server is away from ending, and cannot tell whether a job whose fetching was cut off is
taken.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, LiteralString, NoReturn

import psycopg
from procrastinate.connector import BaseAsyncConnector, BaseConnector, Notify
from procrastinate.exceptions import ConnectorException, NoResult, UniqueViolation
from procrastinate.schema import SchemaManager, migrations_path
from psycopg.rows import DictRow
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from supervisor.errors import StoreError
from supervisor.store.postgres_pool import Connections
from supervisor.store.postgres_query import Connection, Database
from supervisor.store.postgres_server import Address, explained, reach

__all__ = ["SCHEMA", "JobsConnector", "prepare"]

log = logging.getLogger(__name__)

SCHEMA = "lucid_jobs"
"""Where Procrastinate's tables are, apart from Lucid's own and everybody else's."""

_CONNECTIONS = 4
_CONNECT_WITHIN = timedelta(seconds=30)
_RECONNECT_WITHIN = timedelta(days=1)
"""A server that is away is waited for: a worker whose heartbeat failed once would give none
any more. What is asked of the queue can wait, the sessions at work do not ask it."""
_STATEMENT_TIMEOUT = timedelta(seconds=30)
_BEFORE_LISTENING_AGAIN = 2.0

_IN_SCHEMA = SQL("SET LOCAL search_path TO {}").format(Identifier(SCHEMA))


class JobsConnector(BaseAsyncConnector):
    """Runs Procrastinate's statements. What it does is done once, also where a connection
    is lost in the midst of it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connections = Connections(
            address,
            most=_CONNECTIONS,
            reconnect_within=_RECONNECT_WITHIN,
            timeout=_STATEMENT_TIMEOUT,
        )

    def get_sync_connector(self) -> BaseConnector:
        """Itself: nothing of Lucid's calls Procrastinate without an event loop."""
        return self

    async def open_async(self, pool: object = None) -> None:
        """Nothing to do: connections are made when they are needed."""

    async def close_async(self) -> None:
        """Close the connections."""
        await self._connections.close()

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        """Run a statement. Raises `ConnectorException`, as do the others."""
        await self._rows(query, arguments)

    async def execute_query_one_async(
        self, query: LiteralString, **arguments: Any
    ) -> dict[str, Any]:
        """The first row of a statement."""
        rows = await self._rows(query, arguments)
        if not rows:
            raise NoResult
        return rows[0]

    async def execute_query_all_async(
        self, query: LiteralString, **arguments: Any
    ) -> list[dict[str, Any]]:
        """The rows of a statement."""
        return await self._rows(query, arguments)

    async def _rows(self, query: LiteralString, arguments: Mapping[str, Any]) -> list[DictRow]:
        bound = {name: _bound(value) for name, value in arguments.items()}

        async def work(db: Database) -> list[DictRow]:
            await db.connection.execute(_IN_SCHEMA)
            cursor = await db.connection.execute(query, bound)
            return await cursor.fetchall() if cursor.description is not None else []

        try:
            return await self._connections.change(work)
        except psycopg.errors.UniqueViolation as error:
            # Procrastinate reads the lock out of the message, which may be in any language.
            lock = error.diag.constraint_name
            raise UniqueViolation(constraint_name=lock, queueing_lock=None) from error
        except (psycopg.Error, StoreError) as error:
            raise ConnectorException from error

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        """Pass notifications on, over a connection of its own, until cancelled."""
        while True:
            try:
                connection = await reach(self._address, _RECONNECT_WITHIN, _STATEMENT_TIMEOUT)
                async with connection:
                    await _listen(connection, on_notification, channels)
            except psycopg.OperationalError as error:
                log.warning("not told of new jobs, but looking for them: %s", error)
            await asyncio.sleep(_BEFORE_LISTENING_AGAIN)


async def _listen(
    connection: Connection, on_notification: Notify, channels: Iterable[str]
) -> NoReturn:
    for channel in channels:
        await connection.execute(SQL("LISTEN {}").format(Identifier(channel)))
    while True:
        async for told in connection.notifies():
            await on_notification(channel=told.channel, payload=told.payload)


def _bound(value: Any) -> Any:
    """A value as PostgreSQL is to take it: mappings are JSON, tuples are rows."""
    if isinstance(value, dict):
        return Jsonb(value)
    if isinstance(value, list):
        return [_bound(item) for item in value]
    return tuple(_bound(item) for item in value) if isinstance(value, tuple) else value


# The schema


async def prepare(address: Address) -> None:
    """Make Procrastinate's tables, or bring them up to date. Raises `StoreError`."""
    with explained(address):
        try:
            async with await reach(address, _CONNECT_WITHIN, _STATEMENT_TIMEOUT) as connection:
                if await _version(connection) != _newest():
                    await _migrate(connection)
        except psycopg.errors.InsufficientPrivilege as error:
            raise StoreError(
                f"the queue of the store {address} needs the schema {SCHEMA} ({error}); have an "
                f"administrator run: CREATE SCHEMA {SCHEMA} AUTHORIZATION the user of --store"
            ) from error


def _migrations() -> list[Path]:
    return sorted(Path(migrations_path).glob("*.sql"))


def _newest() -> str:
    return _migrations()[-1].name


async def _version(connection: Connection) -> str | None:
    """The newest migration that the schema has, as its comment says, taken to be up to date
    where it says nothing; None where there are no tables."""
    cursor = await connection.execute(
        "SELECT obj_description(n.oid, 'pg_namespace') AS version FROM pg_namespace n "
        "JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'procrastinate_jobs' "
        "WHERE n.nspname = %s",
        [SCHEMA],
    )
    row = await cursor.fetchone()
    return None if row is None else row["version"] or _newest()


async def _migrate(connection: Connection) -> None:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [SCHEMA])
        version = await _version(connection)  # another worker may just have done it
        if version is not None and version >= _newest():
            return
        if not await _is_there(connection):
            await connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(SCHEMA)))
        await connection.execute(_IN_SCHEMA)
        for script in _scripts(version):
            await connection.execute(script.encode())
        said = SQL("COMMENT ON SCHEMA {} IS {}").format(Identifier(SCHEMA), _newest())
        await connection.execute(said)


async def _is_there(connection: Connection) -> bool:
    cursor = await connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [SCHEMA])
    return await cursor.fetchone() is not None


def _scripts(version: str | None) -> list[str]:
    if version is None:
        return [SchemaManager.get_schema()]
    return [path.read_text(encoding="utf-8") for path in _migrations() if path.name > version]
