"""`SqliteStore`: the store in one SQLite file, for one host."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial, update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from supervisor.core.lease import Lease
from supervisor.errors import StoreError
from supervisor.store import (
    sqlite_files,
    sqlite_folders,
    sqlite_sealing,
    sqlite_transcripts,
    sqlite_upkeep,
)
from supervisor.store.folders import FileMark
from supervisor.store.interface import Addition, Recorded, Store, StoredEntry
from supervisor.store.sqlite_bulk import EntryWrite
from supervisor.store.sqlite_database import Database
from supervisor.store.sqlite_file import explained
from supervisor.store.sqlite_joined import join
from supervisor.store.sqlite_thread import DatabaseThread

if TYPE_CHECKING:
    from claude_agent_sdk import SessionKey, SessionStoreEntry

__all__ = ["SqliteStore"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Work = Callable[Concatenate[Database, _P], _T]
_Method = Callable[Concatenate["SqliteStore", _P], Coroutine[Any, Any, _T]]


def _called(work: _Work[_P, _T]) -> _Method[_P, _T]:
    """The method that does this work, in its turn."""

    async def call(store: SqliteStore, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await store._run(lambda db: work(db, *args, **kwargs))

    update_wrapper(call, work)
    return call


def _joined(work: _Work[_P, _T]) -> _Method[_P, _T]:
    """The same of a write, or of what goes between writes, which may share its transaction
    with others that wait."""

    async def join_in(store: SqliteStore, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await store._run(lambda db: work(db, *args, **kwargs), joins=True)

    update_wrapper(join_in, work)
    return join_in


class SqliteStore(Store):
    """Keeps sessions in one file, in WAL mode, synced to disk at every commit.

    All SQL runs in one thread of its own, in the order of the calls; the event loop is
    never blocked. A call that is cancelled may still be carried out. Several processes
    of one machine may have the same file open; leases go by that machine's clock.
    """

    def __init__(self, path: Path | None = None, *, busy_timeout: float = 10.0) -> None:
        """`path` None, or `:memory:`, keeps everything in memory. `busy_timeout` is how
        many seconds a write waits for another process's."""
        self.path = None if path is None or str(path) == ":memory:" else path
        self._busy_timeout = busy_timeout
        self._thread: DatabaseThread | None = None
        self._database: Database | None = None

    def __str__(self) -> str:
        return str(self.path.absolute()) if self.path is not None else f"in memory ({id(self)})"

    async def open(self) -> None:
        if self._database is not None:
            return
        thread = DatabaseThread(name="lucid-store")
        try:
            with explained(self.path):
                database = await thread.run(partial(Database, self.path, self._busy_timeout))
        except BaseException:
            thread.stop()
            raise
        thread.joins_by(partial(join, database))
        self._thread, self._database = thread, database
        await self._tried()

    async def close(self) -> None:
        if self._database is None:
            return
        try:
            await self._run(Database.close)
        finally:
            if self._thread is not None:
                self._thread.stop()
            self._database = self._thread = None

    async def _run(self, work: Callable[[Database], _T], *, joins: bool = False) -> _T:
        """Do work in the database's thread; see `DatabaseThread.run`."""
        thread, database = self._opened()
        with explained(self.path):
            return await thread.run(partial(work, database), joins=joins)

    def _opened(self) -> tuple[DatabaseThread, Database]:
        if self._thread is None or self._database is None:
            raise StoreError(f"the store {self.path or 'in memory'} is not open; open it first")
        return self._thread, self._database

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
        thread, database = self._opened()
        write = EntryWrite(
            database,
            key,
            raws,
            session_id=session_id,
            inherited=inherited,
            offsets=offsets,
            batch=batch,
            lease=lease,
        )
        with explained(self.path):
            return await thread.run(write, joins=True)

    async def write_all(
        self, additions: Sequence[Addition]
    ) -> Sequence[list[StoredEntry] | Exception]:
        thread, database = self._opened()
        writes = [EntryWrite(database, batch=None, **addition._asdict()) for addition in additions]
        with explained(self.path):
            results = await thread.run(partial(join, database, writes))
        return [self._told(cast("list[StoredEntry] | Exception", result)) for result in results]

    def _told(self, result: list[StoredEntry] | Exception) -> list[StoredEntry] | Exception:
        """What one of several writes came to, as a caller understands it."""
        if not isinstance(result, Exception):
            return result
        try:
            with explained(self.path):
                raise result
        except Exception as error:  # noqa: BLE001 - it is the result
            return error

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        if await self._run(lambda db: db.transcript(key)) is None:
            return None
        entries: list[SessionStoreEntry] = []
        after: int | None = 0
        while after is not None:  # in parts, so that other calls come in between
            part, after = await self._run(partial(sqlite_transcripts.load, key=key, after=after))
            entries += part
        return entries

    list_sessions = _called(sqlite_transcripts.list_sessions)
    list_session_summaries = _called(sqlite_transcripts.list_summaries)
    list_subkeys = _called(sqlite_transcripts.list_subkeys)
    delete = _called(Database.delete)
    next_entries = _called(sqlite_transcripts.next_entries)

    create_session = _joined(Database.create_session)
    update_session = _joined(Database.update_session)
    session = _called(Database.session)
    sessions = _called(Database.sessions)
    runnable = _called(Database.runnable)

    acquire_lease = _called(Database.acquire_lease)
    renew_lease = _joined(Database.renew_lease)
    release_lease = _called(Database.release_lease)
    lease = _called(Database.lease)
    live_leases = _called(sqlite_folders.live_leases)

    session_of = _joined(sqlite_folders.session_of)
    acquire_folder = _called(sqlite_folders.acquire)
    renew_folder = _called(sqlite_folders.renew)
    release_folder = _called(sqlite_folders.release)
    folder = _called(sqlite_folders.folder)
    live_folders = _called(sqlite_folders.live_folders)
    marks = _called(sqlite_folders.marks)

    async def keep_marks(self, marks: Sequence[FileMark], *, lease: Lease) -> None:
        if marks:
            await self._run(partial(sqlite_folders.keep_marks, marks=marks, lease=lease))

    async def record(self, *items: Recorded, lease: Lease | None = None) -> None:
        if items:
            await self._run(lambda db: db.record(items, lease), joins=True)

    recorded = _called(Database.recorded)
    decisions_like = _called(Database.decisions_like)
    prompts = _called(Database.prompts)

    write_files = _called(sqlite_files.write_chunk)
    record_files = _called(sqlite_files.record)
    piece_of_files = _called(sqlite_files.chunk)

    transcripts = _called(sqlite_upkeep.transcripts)
    restore = _called(sqlite_upkeep.restore)
    prunable = _called(sqlite_upkeep.prunable)
    remove = _called(sqlite_upkeep.remove)
    seal_part = _called(sqlite_sealing.seal_part)
