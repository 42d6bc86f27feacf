"""The SQL side of the SQLite store: plain calls, all from one thread."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
from claude_agent_sdk import (
    SessionKey,
    SessionListSubkeysKey,
    SessionStoreEntry,
    SessionStoreListEntry,
    SessionSummaryEntry,
)

from supervisor.core.lease import Lease
from supervisor.core.session import SessionState
from supervisor.errors import TranscriptError
from supervisor.store import codec, refusal
from supervisor.store.draft import Draft, fold, origin
from supervisor.store.interface import Recorded, SessionRow, StoredEntry
from supervisor.store.rows import Value, insertion, key_columns, session_row
from supervisor.store.sqlite_file import connect, transaction
from supervisor.store.sqlite_rows import after, bound, columns_of, now
from supervisor.store.statements import SQL, load_statements

__all__ = ["Database"]

_STATEMENTS = load_statements(SQL / "sqlite" / "queries.sql")
_BATCH_ROWS = 500
_BATCH_BYTES = 4 * 1024 * 1024

_Record = TypeVar("_Record", bound=msgspec.Struct)


class _Transcript(NamedTuple):
    key: int
    session_key: int
    summary: str | None


class Database:
    """One connection to a store. Raises `sqlite3.Error` where the database fails."""

    def __init__(self, path: Path | None, busy_timeout: float) -> None:
        self._db = connect(path, busy_timeout)

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    # Entries

    def write(
        self,
        key: SessionKey,
        draft: Callable[[], list[Draft]],
        session_id: str | None,
        lease: Lease | None,
    ) -> list[StoredEntry]:
        """See `Store.write`. `draft` is called here, where it blocks no event loop."""
        drafts = draft()
        if not drafts:
            return []
        wanted = session_id or (lease.session_id if lease is not None else None)
        with transaction(self._db):
            transcript = self._transcript(key) or self._new_transcript(key, wanted, drafts)
            session = self._run("session_of_key", session_key=transcript.session_key).fetchone()
            self._fence(lease, session["id"])
            stored = self._insert(transcript, key, drafts, session["id"], session["last_seq"])
            if stored:
                self._advance(transcript, key, stored)
        return stored

    def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        """See `Store.load`."""
        transcript = self._transcript(key)
        if transcript is None:
            return None
        rows = self._run("raws_of_transcript", transcript_key=transcript.key)
        decoded = (codec.decode(codec.unpack(row["compressed"], row["raw"])) for row in rows)
        return [entry for entry in decoded if entry is not None]

    def batch(self, session_id: str, after: int, transcript: str | None) -> list[StoredEntry]:
        """The next entries: some hundreds, or some megabytes, whichever is less."""
        rows = self._run(
            "entries_after",
            session_key=self._session_key(session_id),
            after=after,
            transcript=transcript,
            limit=_BATCH_ROWS,
        )
        entries: list[StoredEntry] = []
        size = 0
        for row in rows:
            entries.append(_stored(session_id, row))
            size += len(entries[-1].raw)
            if size > _BATCH_BYTES:
                break
        rows.close()
        return entries

    def _transcript(self, key: SessionKey) -> _Transcript | None:
        row = self._run("transcript", **key_columns(key)).fetchone()
        return None if row is None else _Transcript(*row)

    def _new_transcript(
        self, key: SessionKey, session_id: str | None, drafts: Sequence[Draft]
    ) -> _Transcript:
        session_key = self._session_for(key, session_id, drafts)
        made = self._run(
            "insert_transcript", session_key=session_key, now=now(), **key_columns(key)
        )
        assert made.lastrowid is not None
        return _Transcript(made.lastrowid, session_key, None)

    def _session_for(self, key: SessionKey, session_id: str | None, drafts: Sequence[Draft]) -> int:
        """Which session a transcript that is new belongs to; see `Store.write`."""
        if session_id is None:
            for sdk_session_id in (key["session_id"], origin(drafts)):
                row = self._run(
                    "session_of_sdk_session",
                    project_key=key["project_key"],
                    sdk_session_id=sdk_session_id,
                ).fetchone()
                if row is not None:
                    return int(row["session_key"])
            session_id = self._free_id(key["session_id"])
        self._make_session(session_id, key["project_key"], head=key["session_id"])
        return self._session_key(session_id)

    def _free_id(self, wanted: str) -> str:
        session_id, number = wanted, 1
        while self._run("session_key", id=session_id).fetchone() is not None:
            number += 1
            session_id = f"{wanted}-{number}"
        return session_id

    def _insert(
        self,
        transcript: _Transcript,
        key: SessionKey,
        drafts: Sequence[Draft],
        session_id: str,
        seq: int,
    ) -> list[StoredEntry]:
        stored: list[StoredEntry] = []
        for draft in drafts:
            inserted = self._run(
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
                stored.append(draft.stored(session_id, seq, key))
        return stored

    def _advance(
        self, transcript: _Transcript, key: SessionKey, stored: Sequence[StoredEntry]
    ) -> None:
        moment = now()
        self._run(
            "advance_transcript",
            transcript_key=transcript.key,
            now=moment,
            summary=fold(transcript.summary, key, stored),
        )
        self._run(
            "advance_session",
            session_key=transcript.session_key,
            last_seq=stored[-1].seq,
            now=moment,
        )

    # Transcripts, as the SDK lists them

    def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        """See `Store.list_sessions`."""
        return [
            SessionStoreListEntry(session_id=row["sdk_session_id"], mtime=row["updated_at"] // 1000)
            for row in self._run("sdk_sessions", project_key=project_key)
        ]

    def list_session_summaries(self, project_key: str) -> list[SessionSummaryEntry]:
        """See `Store.list_session_summaries`."""
        return [
            SessionSummaryEntry(
                session_id=row["sdk_session_id"],
                mtime=row["updated_at"] // 1000,
                data=json.loads(row["summary"] or "{}"),
            )
            for row in self._run("sdk_sessions", project_key=project_key)
        ]

    def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        """See `Store.list_subkeys`."""
        rows = self._run(
            "subpaths", project_key=key["project_key"], sdk_session_id=key["session_id"]
        )
        return [row["subpath"] for row in rows]

    def delete(self, key: SessionKey) -> None:
        """See `Store.delete`."""
        with transaction(self._db):
            columns = key_columns(key)
            row = self._run("session_of_sdk_session", **columns).fetchone()
            if row is None:
                return
            self._run(
                "delete_transcript" if key.get("subpath") else "delete_sdk_session", **columns
            )
            self._run("delete_empty_session", session_key=row["session_key"])

    # Sessions

    def create_session(
        self,
        session_id: str,
        project_key: str,
        state: SessionState,
        details: dict[str, str | None],
    ) -> SessionRow:
        """See `Store.create_session`."""
        with transaction(self._db):
            self._make_session(session_id, project_key, state=state, **details)
        return self.session(session_id)

    def _make_session(
        self,
        session_id: str,
        project_key: str,
        *,
        head: str | None = None,
        objective: str | None = None,
        cwd: str | None = None,
        policy: str | None = None,
        state: SessionState = SessionState.RUNNING,
    ) -> None:
        self._run(
            "insert_session",
            id=session_id,
            project_key=project_key,
            now=now(),
            state=state,
            head=head,
            objective=objective,
            cwd=cwd,
            policy=policy,
        )

    def update_session(
        self, session_id: str, changes: dict[str, str | None], lease: Lease | None
    ) -> None:
        """See `Store.update_session`."""
        with transaction(self._db):
            self._fence(lease, session_id)
            if not self._run("update_session", id=session_id, now=now(), **changes).rowcount:
                raise self._unknown(session_id)

    def session(self, session_id: str) -> SessionRow:
        """See `Store.session`."""
        row = self._session_row(session_id)
        if row is not None:
            return row
        found = self._run("sessions_by_prefix", prefix=session_id, limit=refusal.SHOWN_IDS)
        ids = [row["id"] for row in found]
        row = self._session_row(ids[0]) if len(ids) == 1 and session_id else None
        if row is not None:
            return row
        if ids and session_id:
            raise refusal.ambiguous(session_id, ids)
        raise self._unknown(session_id)

    def sessions(self, limit: int) -> list[SessionRow]:
        """See `Store.sessions`."""
        rows = self._run("session_rows", id=None, limit=limit, now=now())
        return [session_row(columns_of(row)) for row in rows]

    def runnable(self, limit: int) -> list[SessionRow]:
        """See `Store.runnable`."""
        ids = [row["id"] for row in self._run("runnable_ids", now=now(), limit=limit)]
        rows = [self._session_row(session_id) for session_id in ids]
        return [row for row in rows if row is not None]

    def _session_row(self, session_id: str) -> SessionRow | None:
        row = self._run("session_rows", id=session_id, limit=1, now=now()).fetchone()
        return None if row is None else session_row(columns_of(row))

    def _session_key(self, session_id: str) -> int:
        row = self._run("session_key", id=session_id).fetchone()
        if row is None:
            raise self._unknown(session_id)
        return int(row["key"])

    def _unknown(self, session_id: str) -> TranscriptError:
        recent = self._run("recent_session_ids", limit=refusal.NEAREST_AMONG)
        return refusal.unknown(session_id, [row["id"] for row in recent])

    # Leases, by this machine's clock: whoever shares the file shares the clock

    def acquire_lease(self, session_id: str, owner: str, ttl: timedelta) -> Lease:
        """See `Store.acquire_lease`."""
        with transaction(self._db):
            taken = self._run("take_lease", id=session_id, owner=owner, now=now(), until=after(ttl))
            lease = self.lease(session_id)
        assert lease is not None, "it has just been taken, or was held"
        if not taken.rowcount:
            raise refusal.held(lease)
        return lease

    def renew_lease(self, lease: Lease, ttl: timedelta) -> Lease:
        """See `Store.renew_lease`."""
        with transaction(self._db):
            if not self._extend(lease, after(ttl)):
                raise refusal.lost(lease, self._lease(lease.session_id))
            renewed = self._lease(lease.session_id)
        assert renewed is not None
        return renewed

    def release_lease(self, lease: Lease) -> None:
        """See `Store.release_lease`."""
        with transaction(self._db):
            self._extend(lease, now())

    def _extend(self, lease: Lease, until: int) -> bool:
        extended = self._run(
            "extend_lease", id=lease.session_id, owner=lease.owner, epoch=lease.epoch, until=until
        )
        return extended.rowcount > 0

    def lease(self, session_id: str) -> Lease | None:
        """See `Store.lease`."""
        self._session_key(session_id)
        return self._lease(session_id)

    def _lease(self, session_id: str) -> Lease | None:
        row = self._run("lease", id=session_id).fetchone()
        return None if row is None else Lease(**columns_of(row))

    def _fence(self, lease: Lease | None, session_id: str) -> None:
        if lease is not None:
            refusal.check_fence(lease, session_id, self._lease(session_id))

    # What was concluded

    def record(self, items: Sequence[Recorded], lease: Lease | None) -> None:
        """See `Store.record`."""
        with transaction(self._db):
            for session_id in {item.session_id for item in items}:
                self._fence(lease, session_id)
            for item in items:
                statement, columns = insertion(item)
                self._run(statement, session_key=self._session_key(item.session_id), **columns)

    def recorded(self, statement: str, kind: type[_Record], session_id: str) -> list[_Record]:
        """What one of the listing statements finds, as values of its kind."""
        rows = self._run(statement, session_key=self._session_key(session_id))
        return [msgspec.json.decode(row["body"], type=kind) for row in rows]

    def _run(self, statement: str, **columns: Value) -> sqlite3.Cursor:
        return self._db.execute(_STATEMENTS[statement], bound(columns))


def _stored(session_id: str, row: sqlite3.Row) -> StoredEntry:
    return StoredEntry(
        session_id=session_id,
        seq=row["seq"],
        transcript=row["sdk_session_id"],
        subpath=row["subpath"],
        uuid=row["uuid"],
        inherited=bool(row["inherited"]),
        raw=codec.unpack(row["compressed"], row["raw"]),
    )
