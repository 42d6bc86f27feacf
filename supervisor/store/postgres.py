"""`PostgresStore`: the store in a PostgreSQL database, for many hosts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from supervisor.core.lease import Lease
from supervisor.errors import StoreError
from supervisor.store import (
    postgres_bulk,
    postgres_entries,
    postgres_files,
    postgres_folders,
    postgres_sealing,
    postgres_sessions,
    postgres_upkeep,
)
from supervisor.store.draft import drafts_of
from supervisor.store.folders import FileMark
from supervisor.store.interface import Addition, Recorded, Store, StoredEntry
from supervisor.store.postgres_pool import Connections
from supervisor.store.postgres_query import Database
from supervisor.store.postgres_schema import migrate
from supervisor.store.postgres_server import Address, explained, reach

if TYPE_CHECKING:
    from claude_agent_sdk import SessionKey

__all__ = ["PostgresStore"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Work = Callable[Concatenate[Database, _P], Awaitable[_T]]
_Method = Callable[Concatenate["PostgresStore", _P], Coroutine[Any, Any, _T]]


def _reads(work: _Work[_P, _T]) -> _Method[_P, _T]:
    """The method that does this work, which changes nothing."""

    async def read(store: PostgresStore, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await store._read(lambda db: work(db, *args, **kwargs))

    update_wrapper(read, work)
    return read


def _changes(work: _Work[_P, _T]) -> _Method[_P, _T]:
    """The method that does this work in a transaction, and does it once."""

    async def change(store: PostgresStore, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await store._change(lambda db: work(db, *args, **kwargs))

    update_wrapper(change, work)
    return change


class PostgresStore(Store):
    """Keeps sessions in the schema `lucid` of a database, on disk at every commit.

    Calls that are made at the same time run at the same time. A call that is cancelled may
    still be carried out. Where a connection is lost, what it was used for is done once
    more on a fresh one, unless the server had done it: nothing is lost or doubled.

    Times, and so the leases, are the database's.
    """

    def __init__(
        self,
        dsn: str,
        *,
        connect_within: timedelta = timedelta(seconds=30),
        reconnect_within: timedelta = timedelta(seconds=5),
        statement_timeout: timedelta = timedelta(seconds=30),
        connections: int = 4,
    ) -> None:
        """`dsn` is a libpq connection URI; raises `StoreError` where it is none.

        `connect_within` is for how long `open` tries to reach the server, `reconnect_within`
        for how long a call waits for a connection later on; `connections` is how many are
        open at most.
        """
        self.address = Address(dsn)
        self._connect_within = connect_within
        self._reconnect_within = reconnect_within
        self._timeout = statement_timeout
        self._most = connections
        self._open: Connections | None = None

    def __str__(self) -> str:
        return str(self.address)

    async def open(self) -> None:
        if self._open is not None:
            return
        with explained(self.address):
            connection = await reach(self.address, self._connect_within, self._timeout)
            async with connection:
                await migrate(connection, self.address)
        self._open = Connections(
            self.address,
            most=self._most,
            reconnect_within=self._reconnect_within,
            timeout=self._timeout,
        )
        await self._tried()

    async def close(self) -> None:
        connections, self._open = self._open, None
        if connections is not None:
            await connections.close()

    @property
    def _connections(self) -> Connections:
        if self._open is None:
            raise StoreError(f"the store {self.address} is not open; open it first")
        return self._open

    async def _read(self, work: Callable[[Database], Awaitable[_T]]) -> _T:
        """Do what changes nothing; see `Connections.read`."""
        with explained(self.address):
            return await self._connections.read(work)

    async def _change(self, work: Callable[[Database], Awaitable[_T]]) -> _T:
        """Do work in a transaction; see `Connections.change`."""
        with explained(self.address):
            return await self._connections.change(work)

    async def write(
        self,
        key: SessionKey,
        raws: Sequence[bytes],
        *,
        session_id: str | None = None,
        inherited: bool | None = None,
        offsets: Sequence[int] | None = None,
        batch: str | None = None,
        lease: Lease | None = None,
    ) -> list[StoredEntry]:
        if not raws:
            return []
        draft = partial(drafts_of, raws, inherited=inherited, offsets=offsets, batch=batch)
        drafts = await postgres_entries.aside(sum(map(len, raws)), draft)
        return await self._change(
            lambda db: postgres_entries.write(db, key, drafts, session_id, lease)
        )

    async def write_all(
        self, additions: Sequence[Addition]
    ) -> Sequence[list[StoredEntry] | Exception]:
        results: dict[int, list[StoredEntry] | Exception] = {}
        if len(additions) > 1:
            with explained(self.address):
                results.update(await postgres_bulk.write_all(self._connections, additions))
        left = [number for number in range(len(additions)) if number not in results]
        others = await super().write_all([additions[number] for number in left])
        results.update(zip(left, others, strict=True))
        return [results[number] for number in range(len(additions))]

    load = _reads(postgres_entries.load)
    list_sessions = _reads(postgres_entries.list_sessions)
    list_session_summaries = _reads(postgres_entries.list_summaries)
    list_subkeys = _reads(postgres_entries.list_subkeys)
    delete = _changes(postgres_entries.delete)
    next_entries = _reads(postgres_entries.next_entries)

    create_session = _changes(postgres_sessions.create_session)
    update_session = _changes(postgres_sessions.update_session)
    session = _reads(postgres_sessions.session)
    sessions = _reads(postgres_sessions.sessions)
    runnable = _reads(postgres_sessions.runnable)

    acquire_lease = _changes(postgres_sessions.acquire_lease)
    renew_lease = _changes(postgres_sessions.renew_lease)
    release_lease = _changes(postgres_sessions.release_lease)
    lease = _reads(postgres_sessions.lease)
    live_leases = _reads(postgres_folders.live_leases)

    session_of = _reads(postgres_folders.session_of)
    acquire_folder = _changes(postgres_folders.acquire)
    renew_folder = _changes(postgres_folders.renew)
    release_folder = _changes(postgres_folders.release)
    folder = _reads(postgres_folders.folder)
    live_folders = _reads(postgres_folders.live_folders)
    marks = _reads(postgres_folders.marks)

    async def keep_marks(self, marks: Sequence[FileMark], *, lease: Lease) -> None:
        if marks:
            await self._change(partial(postgres_folders.keep_marks, marks=marks, lease=lease))

    async def record(self, *items: Recorded, lease: Lease | None = None) -> None:
        if items:
            await self._change(partial(postgres_sessions.record, items=items, lease=lease))

    recorded = _reads(postgres_sessions.recorded)
    decisions_like = _reads(postgres_sessions.decisions_like)
    prompts = _reads(postgres_sessions.prompts)

    write_files = _changes(postgres_files.write_chunk)
    record_files = _changes(postgres_files.record)
    piece_of_files = _reads(postgres_files.chunk)

    transcripts = _reads(postgres_upkeep.transcripts)
    restore = _changes(postgres_upkeep.restore)
    prunable = _reads(postgres_upkeep.prunable)
    remove = _changes(postgres_upkeep.remove)
    seal_part = _changes(postgres_sealing.seal_part)
