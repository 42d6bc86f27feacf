"""`SqliteStore`: the store in one SQLite file, for one host."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from supervisor.core.decision import Decision
from supervisor.core.intent import Intent
from supervisor.core.lease import Lease
from supervisor.core.outcome import Outcome
from supervisor.core.sent import SentPrompt
from supervisor.core.session import SessionState
from supervisor.core.verdict import Verdict
from supervisor.core.word import Word
from supervisor.errors import StoreError
from supervisor.store import sqlite_files as files
from supervisor.store import sqlite_folders as folders
from supervisor.store import sqlite_transcripts as transcripts
from supervisor.store import sqlite_upkeep as upkeep
from supervisor.store.files import FilesRecord, piece_of
from supervisor.store.folders import FileMark, Folder
from supervisor.store.interface import Incident, Recorded, SessionRow, Store, StoredEntry
from supervisor.store.sqlite_bulk import EntryWrite
from supervisor.store.sqlite_database import Database
from supervisor.store.sqlite_file import explained
from supervisor.store.sqlite_joined import join
from supervisor.store.sqlite_thread import DatabaseThread

if TYPE_CHECKING:
    from claude_agent_sdk import (
        SessionKey,
        SessionListSubkeysKey,
        SessionStoreEntry,
        SessionStoreListEntry,
        SessionSummaryEntry,
    )

__all__ = ["SqliteStore"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


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
            await self._call(Database.close)
        finally:
            if self._thread is not None:
                self._thread.stop()
            self._database = self._thread = None

    async def _call(
        self,
        method: Callable[Concatenate[Database, _P], _T],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        thread, database = self._opened()
        with explained(self.path):
            return await thread.run(partial(method, database, *args, **kwargs))

    async def _joined(
        self,
        method: Callable[Concatenate[Database, _P], _T],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """The same for a write, or what goes between writes, which may share its transaction
        with others that wait."""
        thread, database = self._opened()
        with explained(self.path):
            return await thread.run(partial(method, database, *args, **kwargs), joins=True)

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

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        if await self._call(Database.transcript, key) is None:
            return None
        entries: list[SessionStoreEntry] = []
        after: int | None = 0
        while after is not None:  # in parts, so that other calls come in between
            part, after = await self._call(transcripts.load, key, after)
            entries += part
        return entries

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        return await self._call(transcripts.list_sessions, project_key)

    async def list_session_summaries(self, project_key: str) -> list[SessionSummaryEntry]:
        return await self._call(transcripts.list_summaries, project_key)

    async def delete(self, key: SessionKey) -> None:
        await self._call(Database.delete, key)

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        return await self._call(transcripts.list_subkeys, key)

    async def create_session(
        self,
        session_id: str,
        *,
        project_key: str,
        head: str | None = None,
        objective: str | None = None,
        cwd: str | None = None,
        policy: str | None = None,
        submission: str | None = None,
        state: SessionState = SessionState.RUNNING,
    ) -> SessionRow:
        details = {
            "head": head,
            "objective": objective,
            "cwd": cwd,
            "policy": policy,
            "submission": submission,
        }
        return await self._joined(Database.create_session, session_id, project_key, state, details)

    async def update_session(
        self,
        session_id: str,
        *,
        state: SessionState | None = None,
        state_reason: str | None = None,
        head: str | None = None,
        objective: str | None = None,
        cwd: str | None = None,
        policy: str | None = None,
        submission: str | None = None,
        lease: Lease | None = None,
    ) -> None:
        changes = {
            "state": state,
            "state_reason": state_reason,
            "head": head,
            "objective": objective,
            "cwd": cwd,
            "policy": policy,
            "submission": submission,
        }
        await self._joined(Database.update_session, session_id, changes, lease)

    async def session(self, session_id: str) -> SessionRow:
        return await self._call(Database.session, session_id)

    async def sessions(
        self, limit: int = 100, *, before: tuple[datetime, str] | None = None
    ) -> list[SessionRow]:
        return await self._call(Database.sessions, limit, before)

    async def runnable(self, limit: int) -> list[SessionRow]:
        return await self._call(Database.runnable, limit)

    async def acquire_lease(self, session_id: str, *, owner: str, ttl: timedelta) -> Lease:
        return await self._call(Database.acquire_lease, session_id, owner, ttl)

    async def renew_lease(self, lease: Lease, *, ttl: timedelta) -> Lease:
        return await self._joined(Database.renew_lease, lease, ttl)

    async def release_lease(self, lease: Lease) -> None:
        await self._call(Database.release_lease, lease)

    async def lease(self, session_id: str) -> Lease | None:
        return await self._call(Database.lease, session_id)

    async def session_of(self, project_key: str, sdk_session_id: str) -> str | None:
        return await self._joined(folders.session_of, project_key, sdk_session_id)

    async def live_leases(self) -> list[Lease]:
        return await self._call(folders.live_leases)

    async def acquire_folder(self, name: str, *, owner: str, ttl: timedelta) -> Folder:
        return await self._call(folders.acquire, name, owner, ttl)

    async def renew_folder(self, lease: Lease, *, ttl: timedelta) -> Folder:
        return await self._call(folders.renew, lease, ttl)

    async def release_folder(self, lease: Lease) -> None:
        await self._call(folders.release, lease)

    async def folder(self, name: str) -> Folder | None:
        return await self._call(folders.folder, name)

    async def keep_marks(self, marks: Sequence[FileMark], *, lease: Lease) -> None:
        if marks:
            await self._call(folders.keep_marks, marks, lease)

    async def marks(self, name: str) -> list[FileMark]:
        return await self._call(folders.marks, name)

    async def entries(
        self, session_id: str, *, after: int = 0, transcript: str | None = None
    ) -> AsyncIterator[StoredEntry]:
        while batch := await self._call(transcripts.batch, session_id, after, transcript):
            for entry in batch:
                yield entry
            after = batch[-1].seq
            batch.clear()  # before the next ones come

    async def record(self, *items: Recorded, lease: Lease | None = None) -> None:
        if items:
            await self._joined(Database.record, items, lease)

    async def verdicts(self, session_id: str) -> list[Verdict]:
        return await self._call(Database.recorded, "verdicts", Verdict, session_id)

    async def decisions(self, session_id: str) -> list[Decision]:
        return await self._call(Database.recorded, "decisions", Decision, session_id)

    async def decisions_like(self, prefix: str, *, limit: int) -> list[Decision]:
        return await self._call(Database.decisions_like, prefix, limit)

    async def outcomes(self, session_id: str) -> list[Outcome]:
        return await self._call(Database.recorded, "outcomes", Outcome, session_id)

    async def intents(self, session_id: str) -> list[Intent]:
        return await self._call(Database.recorded, "intents", Intent, session_id)

    async def prompts(self, session_id: str) -> list[SentPrompt]:
        return await self._call(Database.prompts, session_id)

    async def words(self, session_id: str) -> list[Word]:
        return await self._call(Database.recorded, "words", Word, session_id)

    async def incidents(self, session_id: str) -> list[Incident]:
        return await self._call(Database.recorded, "incidents", Incident, session_id)

    async def write_files(
        self,
        session_id: str,
        snapshot_id: str,
        number: int,
        data: bytes,
        *,
        lease: Lease | None = None,
    ) -> None:
        await self._call(files.write_chunk, session_id, snapshot_id, number, data, lease)

    async def record_files(self, kept: FilesRecord, *, lease: Lease | None = None) -> None:
        await self._call(files.record, kept, lease)

    async def files(self, session_id: str) -> list[FilesRecord]:
        return await self._call(files.records, session_id)

    async def read_files(self, kept: FilesRecord) -> AsyncIterator[bytes]:
        for number in range(kept.chunks):
            data = await self._call(files.chunk, kept.session_id, kept.snapshot_id, number)
            yield piece_of(kept, number, data)

    async def transcripts(self, session_id: str) -> list[SessionKey]:
        return await self._call(upkeep.transcripts, session_id)

    async def restore(
        self,
        row: SessionRow,
        *,
        transcripts: Sequence[SessionKey] = (),
        entries: Sequence[StoredEntry] = (),
        lease: Lease | None = None,
    ) -> None:
        await self._call(upkeep.restore, row, transcripts, entries, lease)

    async def prunable(
        self, before: datetime, *, unfinished: bool = False, limit: int = 1_000
    ) -> list[SessionRow]:
        return await self._call(upkeep.prunable, before, unfinished, limit)

    async def remove(self, session_id: str, *, at_most: int, lease: Lease | None = None) -> int:
        return await self._call(upkeep.remove, session_id, at_most, lease)
