"""The SQL side of the SQLite store: plain calls, all from one thread."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Unpack

from supervisor.core.decision import Decision
from supervisor.core.lease import Lease
from supervisor.core.sent import SentPrompt
from supervisor.errors import TranscriptError
from supervisor.store import refusal
from supervisor.store.draft import Draft, fold, origin
from supervisor.store.interface import ListedT, Recorded, SessionRow, StoredEntry
from supervisor.store.parts import START, Part, Position
from supervisor.store.rows import (
    Changes,
    Details,
    Value,
    columns_of_changes,
    columns_of_details,
    decoded,
    insertion,
    key_columns,
    listing,
    part_of,
    sent_prompt,
    session_row,
)
from supervisor.store.sqlite_file import connect, transaction
from supervisor.store.sqlite_rows import after, bound, columns_of, now
from supervisor.store.statements import SQL, load_statements

if TYPE_CHECKING:
    from claude_agent_sdk import (
        SessionKey,
    )

__all__ = ["Database", "Transcript"]

_STATEMENTS = load_statements(SQL / "sqlite" / "queries.sql")
_BATCH_ROWS = 500
_BATCH_BYTES = 4 * 1024 * 1024
_PAGES_AT_ONCE = 1_000


class Transcript(NamedTuple):
    """A transcript's row, and what is needed of its session's."""

    key: int
    session_key: int
    summary: str | None
    session_id: str
    last_seq: int


class Database:
    """One connection to a store. Raises `sqlite3.Error` where the database fails."""

    def __init__(self, path: Path | None, busy_timeout: float) -> None:
        self._db = connect(path, busy_timeout)

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection itself, for statements that have no name."""
        return self._db

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing."""
        return transaction(self._db)

    def give_back(self) -> None:
        """Return free pages to the file system, some at a time, each time in a transaction.
        A file made by an early version keeps them and uses them again."""
        free, before = self._free_pages(), 0
        while free and free != before:
            # `execute` would stop after the first page.
            self._db.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")
            free, before = self._free_pages(), free

    def _free_pages(self) -> int:
        return int(self._db.execute("PRAGMA freelist_count").fetchone()[0])

    # Entries

    def write(
        self,
        key: SessionKey,
        drafts: Sequence[Draft],
        session_id: str | None,
        lease: Lease | None,
    ) -> list[StoredEntry]:
        """See `Store.write`."""
        if not drafts:
            return []
        wanted = session_id or (lease.session_id if lease is not None else None)
        with self.transaction():
            transcript = self.transcript(key) or self._new_transcript(key, wanted, drafts)
            self.fence(lease, transcript.session_id)
            stored = self._insert(transcript, key, drafts)
            if stored:
                self._advance(transcript, key, stored)
        return stored

    def transcript(self, key: SessionKey) -> Transcript | None:
        """The transcript of that key, if it is there."""
        row = self.run("transcript", **key_columns(key)).fetchone()
        return None if row is None else Transcript(*row)

    def _new_transcript(
        self, key: SessionKey, session_id: str | None, drafts: Sequence[Draft]
    ) -> Transcript:
        session_key = self._session_for(key, session_id, drafts)
        self.run("insert_transcript", session_key=session_key, now=now(), **key_columns(key))
        made = self.transcript(key)
        assert made is not None
        return made

    def _session_for(self, key: SessionKey, session_id: str | None, drafts: Sequence[Draft]) -> int:
        """Which session a transcript that is new belongs to; see `Store.write`."""
        if session_id is None:
            for sdk_session_id in (key["session_id"], origin(drafts)):
                row = self.run(
                    "session_of_sdk_session",
                    project_key=key["project_key"],
                    sdk_session_id=sdk_session_id,
                ).fetchone()
                if row is not None:
                    return int(row["session_key"])
            session_id = self._free_id(key["session_id"])
        self._make_session(session_id, key["project_key"], head=key["session_id"])
        return self.session_key(session_id)

    def _free_id(self, wanted: str) -> str:
        session_id, number = wanted, 1
        while self.run("session_key", id=session_id).fetchone() is not None:
            number += 1
            session_id = f"{wanted}-{number}"
        return session_id

    def _insert(
        self,
        transcript: Transcript,
        key: SessionKey,
        drafts: Sequence[Draft],
    ) -> list[StoredEntry]:
        seq = transcript.last_seq
        stored: list[StoredEntry] = []
        for draft in drafts:
            inserted = self.run(
                "insert_entry",
                session_key=transcript.session_key,
                seq=seq + 1,
                transcript_key=transcript.key,
                uuid=draft.uuid,
                place=draft.place,
                inherited=draft.inherited,
                compressed=draft.compressed,
                raw=draft.kept,
            )
            if inserted.rowcount:
                seq += 1
                stored.append(draft.stored(transcript.session_id, seq, key))
        return stored

    def _advance(
        self, transcript: Transcript, key: SessionKey, stored: Sequence[StoredEntry]
    ) -> None:
        moment = now()
        self.advance_transcript(transcript, key, stored, at=moment)
        self.run(
            "advance_session",
            session_key=transcript.session_key,
            last_seq=stored[-1].seq,
            now=moment,
        )

    def advance_transcript(
        self,
        transcript: Transcript,
        key: SessionKey,
        stored: Sequence[StoredEntry],
        *,
        at: int | datetime,
    ) -> None:
        """Bring what is kept of a transcript up to date with its new entries."""
        self.run(
            "advance_transcript",
            transcript_key=transcript.key,
            now=at,
            summary=fold(transcript.summary, key, stored),
        )

    def delete(self, key: SessionKey) -> None:
        """See `Store.delete`."""
        with self.transaction():
            columns = key_columns(key)
            row = self.run("session_of_sdk_session", **columns).fetchone()
            if row is None:
                return
            self.run("delete_transcript" if key.get("subpath") else "delete_sdk_session", **columns)
            self.run("delete_empty_session", session_key=row["session_key"])

    # Sessions

    def create_session(
        self, session_id: str, *, project_key: str, **details: Unpack[Details]
    ) -> SessionRow:
        """See `Store.create_session`."""
        with self.transaction():
            self._make_session(session_id, project_key, **details)
        return self.session(session_id)

    def _make_session(self, session_id: str, project_key: str, **details: Unpack[Details]) -> None:
        columns = columns_of_details(details)
        self.run("insert_session", id=session_id, project_key=project_key, now=now(), **columns)

    def update_session(
        self, session_id: str, *, lease: Lease | None = None, **changes: Unpack[Changes]
    ) -> None:
        """See `Store.update_session`."""
        columns = columns_of_changes(changes)
        with self.transaction():
            self.fence(lease, session_id)
            if not self.run("update_session", id=session_id, now=now(), **columns).rowcount:
                raise self._unknown(session_id)

    def session(self, session_id: str) -> SessionRow:
        """See `Store.session`."""
        row = self.session_row(session_id)
        if row is not None:
            return row
        found = self.run("sessions_by_prefix", prefix=session_id, limit=refusal.SHOWN_IDS)
        ids = [row["id"] for row in found]
        row = self.session_row(ids[0]) if len(ids) == 1 and session_id else None
        if row is not None:
            return row
        if ids and session_id:
            raise refusal.ambiguous(session_id, ids)
        raise self._unknown(session_id)

    def sessions(
        self, limit: int = 100, *, before: tuple[datetime, str] | None = None
    ) -> list[SessionRow]:
        """See `Store.sessions`."""
        if before is None:
            found = self.run("recent_session_ids", limit=limit)
        else:
            at, session_id = before
            found = self.run("session_ids_before", before=at, before_id=session_id, limit=limit)
        return self._rows([row["id"] for row in found])

    def runnable(self, limit: int) -> list[SessionRow]:
        """See `Store.runnable`."""
        ids = [row["id"] for row in self.run("runnable_ids", now=now(), limit=limit)]
        by_id = {row.session_id: row for row in self._rows(ids)}
        return [by_id[session_id] for session_id in ids if session_id in by_id]

    def session_row(self, session_id: str) -> SessionRow | None:
        """The session of exactly this id, if it is there."""
        return next(iter(self._rows([session_id])), None)

    def _rows(self, ids: Sequence[str]) -> list[SessionRow]:
        rows = self.run("session_rows", ids=json.dumps(ids), now=now())
        return [session_row(columns_of(row)) for row in rows]

    def session_key(self, session_id: str) -> int:
        """The key of a session; raises `TranscriptError` where there is none."""
        row = self.run("session_key", id=session_id).fetchone()
        if row is None:
            raise self._unknown(session_id)
        return int(row["key"])

    def _unknown(self, session_id: str) -> TranscriptError:
        recent = self.run("recent_session_ids", limit=refusal.NEAREST_AMONG)
        return refusal.unknown(session_id, [row["id"] for row in recent])

    # Leases, by this machine's clock: whoever shares the file shares the clock

    def acquire_lease(self, session_id: str, *, owner: str, ttl: timedelta) -> Lease:
        """See `Store.acquire_lease`."""
        with self.transaction():
            taken = self.run("take_lease", id=session_id, owner=owner, now=now(), until=after(ttl))
            lease = self.lease(session_id)
        assert lease is not None, "it has just been taken, or was held"
        if not taken.rowcount:
            raise refusal.held(lease)
        return lease

    def renew_lease(self, lease: Lease, *, ttl: timedelta) -> Lease:
        """See `Store.renew_lease`."""
        with self.transaction():
            if not self._extend(lease, after(ttl)):
                raise refusal.lost(lease, self._lease(lease.session_id))
            renewed = self._lease(lease.session_id)
        assert renewed is not None
        return renewed

    def release_lease(self, lease: Lease) -> None:
        """See `Store.release_lease`."""
        with self.transaction():
            self._extend(lease, now())

    def _extend(self, lease: Lease, until: int) -> bool:
        extended = self.run(
            "extend_lease", id=lease.session_id, owner=lease.owner, epoch=lease.epoch, until=until
        )
        return extended.rowcount > 0

    def lease(self, session_id: str) -> Lease | None:
        """See `Store.lease`."""
        self.session_key(session_id)
        return self._lease(session_id)

    def _lease(self, session_id: str) -> Lease | None:
        row = self.run("lease", id=session_id).fetchone()
        return None if row is None else Lease(**columns_of(row))

    def fence(self, lease: Lease | None, session_id: str) -> None:
        """Raise unless the lease, where there is one, is on this session still."""
        if lease is not None:
            refusal.check_fence(lease, session_id, self._lease(session_id))

    # What was concluded

    def record(self, items: Sequence[Recorded], lease: Lease | None) -> None:
        """See `Store.record`."""
        with self.transaction():
            for session_id in {item.session_id for item in items}:
                self.fence(lease, session_id)
            for item in items:
                statement, columns = insertion(item)
                self.run(statement, session_key=self.session_key(item.session_id), **columns)

    def recorded(
        self,
        kind: type[ListedT],
        session_id: str,
        *,
        after: Position = START,
        limit: int | None = None,
    ) -> Part[ListedT]:
        """See `Store.recorded`."""
        statement, columns = listing(kind, after, limit)
        rows = self.run(statement, session_key=self.session_key(session_id), **columns)
        return part_of(rows, kind, limit)

    def decisions_like(self, prefix: str, *, limit: int) -> list[Decision]:
        """See `Store.decisions_like`."""
        rows = self.run("decisions_by_prefix", prefix=prefix, limit=limit)
        return [decoded(row, Decision) for row in rows]

    def prompts(self, session_id: str) -> list[SentPrompt]:
        """See `Store.prompts`."""
        rows = self.run("prompts", session_key=self.session_key(session_id))
        return [sent_prompt(session_id, columns_of(row)) for row in rows]

    def run(self, statement: str, **columns: Value) -> sqlite3.Cursor:
        """Run a named statement."""
        return self._db.execute(_STATEMENTS[statement], bound(columns))
