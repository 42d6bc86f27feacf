"""`PostgresStore`: the store in a PostgreSQL database, for many hosts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
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
from supervisor.store import postgres_entries as entries
from supervisor.store import postgres_files as files
from supervisor.store import postgres_folders as folders
from supervisor.store import postgres_sessions as sessions
from supervisor.store import postgres_upkeep as upkeep
from supervisor.store.draft import drafts_of
from supervisor.store.files import FilesRecord, piece_of
from supervisor.store.folders import FileMark, Folder
from supervisor.store.interface import Incident, Recorded, SessionRow, Store, StoredEntry
from supervisor.store.postgres_pool import Connections
from supervisor.store.postgres_query import Database
from supervisor.store.postgres_schema import migrate
from supervisor.store.postgres_server import Address, explained, reach

if TYPE_CHECKING:
    from claude_agent_sdk import (
        SessionKey,
        SessionListSubkeysKey,
        SessionStoreEntry,
        SessionStoreListEntry,
        SessionSummaryEntry,
    )

__all__ = ["PostgresStore"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Work = Callable[Concatenate[Database, _P], Awaitable[_T]]


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

    async def _read(self, work: _Work[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with explained(self.address):
            return await self._connections.read(lambda db: work(db, *args, **kwargs))

    async def _change(self, work: _Work[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with explained(self.address):
            return await self._connections.change(lambda db: work(db, *args, **kwargs))

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
        drafts = await entries.aside(sum(map(len, raws)), draft)
        return await self._change(entries.write, key, drafts, session_id, lease)

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        return await self._read(entries.load, key)

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        return await self._read(entries.list_sessions, project_key)

    async def list_session_summaries(self, project_key: str) -> list[SessionSummaryEntry]:
        return await self._read(entries.list_summaries, project_key)

    async def delete(self, key: SessionKey) -> None:
        await self._change(entries.delete, key)

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        return await self._read(entries.list_subkeys, key)

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
        return await self._change(sessions.create_session, session_id, project_key, state, details)

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
        await self._change(sessions.update_session, session_id, changes, lease)

    async def session(self, session_id: str) -> SessionRow:
        return await self._read(sessions.session, session_id)

    async def sessions(
        self, limit: int = 100, *, before: tuple[datetime, str] | None = None
    ) -> list[SessionRow]:
        return await self._read(sessions.sessions, limit, before)

    async def runnable(self, limit: int) -> list[SessionRow]:
        return await self._read(sessions.runnable, limit)

    async def acquire_lease(self, session_id: str, *, owner: str, ttl: timedelta) -> Lease:
        return await self._change(sessions.acquire_lease, session_id, owner, ttl)

    async def renew_lease(self, lease: Lease, *, ttl: timedelta) -> Lease:
        return await self._change(sessions.renew_lease, lease, ttl)

    async def release_lease(self, lease: Lease) -> None:
        await self._change(sessions.release_lease, lease)

    async def lease(self, session_id: str) -> Lease | None:
        return await self._read(sessions.lease, session_id)

    async def session_of(self, project_key: str, sdk_session_id: str) -> str | None:
        return await self._read(folders.session_of, project_key, sdk_session_id)

    async def live_leases(self) -> list[Lease]:
        return await self._read(folders.live_leases)

    async def acquire_folder(self, name: str, *, owner: str, ttl: timedelta) -> Folder:
        return await self._change(folders.acquire, name, owner, ttl)

    async def renew_folder(self, lease: Lease, *, ttl: timedelta) -> Folder:
        return await self._change(folders.renew, lease, ttl)

    async def release_folder(self, lease: Lease) -> None:
        await self._change(folders.release, lease)

    async def folder(self, name: str) -> Folder | None:
        return await self._read(folders.folder, name)

    async def keep_marks(self, marks: Sequence[FileMark], *, lease: Lease) -> None:
        if marks:
            await self._change(folders.keep_marks, marks, lease)

    async def marks(self, name: str) -> list[FileMark]:
        return await self._read(folders.marks, name)

    async def entries(
        self, session_id: str, *, after: int = 0, transcript: str | None = None
    ) -> AsyncIterator[StoredEntry]:
        while found := await self._read(entries.batch, session_id, after, transcript):
            for entry in found:
                yield entry
            after = found[-1].seq
            found.clear()  # before the next ones come

    async def record(self, *items: Recorded, lease: Lease | None = None) -> None:
        if items:
            await self._change(sessions.record, items, lease)

    async def verdicts(self, session_id: str) -> list[Verdict]:
        return await self._read(sessions.recorded, "verdicts", Verdict, session_id)

    async def decisions(self, session_id: str) -> list[Decision]:
        return await self._read(sessions.recorded, "decisions", Decision, session_id)

    async def decisions_like(self, prefix: str, *, limit: int) -> list[Decision]:
        return await self._read(sessions.decisions_like, prefix, limit)

    async def outcomes(self, session_id: str) -> list[Outcome]:
        return await self._read(sessions.recorded, "outcomes", Outcome, session_id)

    async def intents(self, session_id: str) -> list[Intent]:
        return await self._read(sessions.recorded, "intents", Intent, session_id)

    async def prompts(self, session_id: str) -> list[SentPrompt]:
        return await self._read(sessions.prompts, session_id)

    async def words(self, session_id: str) -> list[Word]:
        return await self._read(sessions.recorded, "words", Word, session_id)

    async def incidents(self, session_id: str) -> list[Incident]:
        return await self._read(sessions.recorded, "incidents", Incident, session_id)

    async def write_files(
        self,
        session_id: str,
        snapshot_id: str,
        number: int,
        data: bytes,
        *,
        lease: Lease | None = None,
    ) -> None:
        await self._change(files.write_chunk, session_id, snapshot_id, number, data, lease)

    async def record_files(self, kept: FilesRecord, *, lease: Lease | None = None) -> None:
        await self._change(files.record, kept, lease)

    async def files(self, session_id: str) -> list[FilesRecord]:
        return await self._read(files.records, session_id)

    async def read_files(self, kept: FilesRecord) -> AsyncIterator[bytes]:
        for number in range(kept.chunks):
            data = await self._read(files.chunk, kept.session_id, kept.snapshot_id, number)
            yield piece_of(kept, number, data)

    async def transcripts(self, session_id: str) -> list[SessionKey]:
        return await self._read(upkeep.transcripts, session_id)

    async def restore(
        self,
        row: SessionRow,
        *,
        transcripts: Sequence[SessionKey] = (),
        entries: Sequence[StoredEntry] = (),
        lease: Lease | None = None,
    ) -> None:
        await self._change(upkeep.restore, row, transcripts, entries, lease)

    async def prunable(
        self, before: datetime, *, unfinished: bool = False, limit: int = 1_000
    ) -> list[SessionRow]:
        return await self._read(upkeep.prunable, before, unfinished, limit)

    async def remove(self, session_id: str, *, at_most: int, lease: Lease | None = None) -> int:
        return await self._change(upkeep.remove, session_id, at_most, lease)
