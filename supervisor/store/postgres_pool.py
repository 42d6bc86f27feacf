"""`Connections`: work on a PostgreSQL server that outlives a lost connection."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Generic, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from supervisor.errors import StoreAway
from supervisor.store.postgres_query import Connection, Database
from supervisor.store.postgres_server import Address, has_broken, reach

__all__ = ["Connections"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_Work = Callable[[Database], Awaitable[_T]]

_BEGIN = "BEGIN; SELECT pg_current_xact_id()::text AS id"
_LOOK_AGAIN = 0.1


class Connections:
    """A pool of connections to one server, made when they are needed.

    Where a connection is lost, because the server restarts or the network fails, the work
    is done once more on a fresh one, but not where it turns out to have been done: the
    server is asked what became of the transaction.
    """

    # psycopg_pool will not do: its tasks swallow their cancellation while they connect, so
    # that a program which fails while the server is away never ends, and after a restart
    # it hands out connections that are dead.

    def __init__(
        self, address: Address, *, most: int, reconnect_within: timedelta, timeout: timedelta
    ) -> None:
        """`most` connections are open at once; further work waits. `reconnect_within` is for
        how long a server that is away is tried, `timeout` how long a statement may take."""
        self._address = address
        self._reconnect_within = reconnect_within
        self._timeout = timeout
        self._turn = asyncio.Semaphore(most)
        self._free: list[Connection] = []
        self._closed = False

    async def close(self) -> None:
        """Close all connections; those at work, when they are done."""
        self._closed = True
        await self._close_free()

    async def read(self, work: _Work[_T]) -> _T:
        """Do what changes nothing."""
        async with self._borrowed() as connection:
            try:
                return await work(Database(connection))
            except psycopg.OperationalError as error:
                await self._distrust_after(error, connection)
        async with self._borrowed(fresh=True) as connection:
            return await work(Database(connection))

    async def change(self, work: _Work[_T]) -> _T:
        """Do work in a transaction, and do it once."""
        attempt = _Transaction(work)
        async with self._borrowed() as connection:
            try:
                return await attempt.make(connection)
            except psycopg.OperationalError as error:
                await self._distrust_after(error, connection)
        async with self._borrowed(fresh=True) as connection:
            if await self._was_made(attempt, Database(connection)):
                return attempt.result
            return await _Transaction(work).make(connection)

    @asynccontextmanager
    async def _borrowed(self, *, fresh: bool = False) -> AsyncIterator[Connection]:
        async with self._turn:
            free = self._free.pop() if self._free and not fresh else None
            connection = free or await self._reached()
            try:
                yield connection
            finally:
                idle = connection.info.transaction_status is TransactionStatus.IDLE
                if idle and not self._closed:
                    self._free.append(connection)
                else:
                    await connection.close()

    async def _reached(self) -> Connection:
        # Quietly: whoever goes on trying says so once, and not with each attempt.
        return await reach(
            self._address, self._reconnect_within, self._timeout, level=logging.DEBUG
        )

    async def _distrust_after(
        self, error: psycopg.OperationalError, connection: Connection
    ) -> None:
        """Raise the error again unless it means that the connection is lost: then close it,
        and the free ones, which may be lost too."""
        if not has_broken(error):
            raise error
        log.warning("lost a connection to the store %s; going on with another", self._address)
        await connection.close()
        await self._close_free()

    async def _close_free(self) -> None:
        while self._free:
            await self._free.pop().close()

    async def _was_made(self, attempt: _Transaction[_T], db: Database) -> bool:
        """Whether the server has carried out an attempt whose end this side did not see.

        The server may not have noticed yet that its client is gone, and ends the
        transaction when it does: at the latest when it has been idle for too long.
        """
        give_up = time.monotonic() + 2 * self._timeout.total_seconds()
        while (status := await attempt.status(db)) == "in progress":
            if time.monotonic() > give_up:
                raise StoreAway(
                    f"the server of the store {self._address} still works on a write whose "
                    "connection was lost, so it is not known whether it is kept; look at the server"
                )
            await asyncio.sleep(_LOOK_AGAIN)
        return status == "committed"


class _Transaction(Generic[_T]):
    """One attempt to do work in a transaction of its own."""

    result: _T
    """What the work returned; known once the end of the transaction was asked for."""

    def __init__(self, work: _Work[_T]) -> None:
        self._work = work
        self._id: str | None = None

    async def make(self, connection: Connection) -> _T:
        """Make the attempt."""
        begun = await connection.execute(_BEGIN)
        begun.nextset()
        row = await begun.fetchone()
        assert row is not None
        try:
            self.result = await self._work(Database(connection))
            self._id = row["id"]
            await connection.commit()
        except BaseException:
            with suppress(psycopg.Error):
                await connection.rollback()
            raise
        return self.result

    async def status(self, db: Database) -> str | None:
        """What became of the transaction: `committed`, `aborted`, `in progress`, or None
        where its end was not asked for."""
        if self._id is None:
            return None
        try:
            row = await db.one("transaction_status", id=self._id)
        except psycopg.errors.InvalidParameterValue:
            return None  # a standby took over that had not heard of it yet
        return str(row["status"])
