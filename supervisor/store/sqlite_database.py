"""The SQL side of the SQLite store: plain calls, all from one thread."""

from __future__ import annotations

import difflib
import json
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
from claude_agent_sdk import (
    SessionKey,
    SessionListSubkeysKey,
    SessionStoreEntry,
    SessionStoreListEntry,
    SessionSummaryEntry,
    fold_session_summary,
)

from supervisor.core.session import SessionState
from supervisor.errors import TranscriptError
from supervisor.store import codec
from supervisor.store.interface import Recorded, SessionRow, StoredEntry
from supervisor.store.sqlite_file import connect, transaction
from supervisor.store.sqlite_rows import Value, insertion, session_row
from supervisor.store.statements import SQL, load_statements

__all__ = ["Database"]

_STATEMENTS = load_statements(SQL / "sqlite" / "queries.sql")
_BATCH_ROWS = 500
_BATCH_BYTES = 4 * 1024 * 1024
_NEAREST_AMONG = 1_000
_SHOWN_IDS = 5

_Record = TypeVar("_Record", bound=msgspec.Struct)


class _Draft(NamedTuple):
    """A raw entry that may be new."""

    raw: bytes
    identity: codec.Identity
    place: str | None
    inherited: bool
    compressed: bool
    kept: bytes


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
        raws: Sequence[bytes],
        session_id: str | None,
        inherited: bool | None,
        offsets: Sequence[int] | None,
    ) -> list[StoredEntry]:
        """See `Store.write`."""
        if not raws:
            return []
        places = offsets if offsets is not None else [None] * len(raws)
        drafts = [_draft(raw, inherited, offset) for raw, offset in zip(raws, places, strict=True)]
        with transaction(self._db):
            transcript = self._transcript(key) or self._new_transcript(key, session_id, drafts)
            stored = self._insert(transcript, key, drafts)
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
        row = self._run("transcript", **_columns(key)).fetchone()
        return None if row is None else _Transcript(*row)

    def _new_transcript(
        self, key: SessionKey, session_id: str | None, drafts: Sequence[_Draft]
    ) -> _Transcript:
        session_key = self._session_for(key, session_id, drafts)
        made = self._run("insert_transcript", session_key=session_key, now=_now(), **_columns(key))
        assert made.lastrowid is not None
        return _Transcript(made.lastrowid, session_key, None)

    def _session_for(
        self, key: SessionKey, session_id: str | None, drafts: Sequence[_Draft]
    ) -> int:
        """Which session a transcript that is new belongs to; see `Store.write`."""
        if session_id is None:
            forks = (draft.identity.forked_from for draft in drafts)
            origin = next((fork.session_id for fork in forks if fork is not None), None)
            for sdk_session_id in (key["session_id"], origin):
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
        self, transcript: _Transcript, key: SessionKey, drafts: Sequence[_Draft]
    ) -> list[StoredEntry]:
        session = self._run("session_of_key", session_key=transcript.session_key).fetchone()
        seq = int(session["last_seq"])
        stored: list[StoredEntry] = []
        for draft in drafts:
            inserted = self._run(
                "insert_entry",
                session_key=transcript.session_key,
                seq=seq + 1,
                transcript_key=transcript.key,
                uuid=draft.identity.uuid,
                place=draft.place,
                inherited=draft.inherited,
                compressed=draft.compressed,
                raw=draft.kept,
            )
            if inserted.rowcount:
                seq += 1
                stored.append(
                    StoredEntry(
                        session_id=session["id"],
                        seq=seq,
                        transcript=key["session_id"],
                        subpath=key.get("subpath", ""),
                        uuid=draft.identity.uuid,
                        inherited=draft.inherited,
                        raw=draft.raw,
                    )
                )
        return stored

    def _advance(
        self, transcript: _Transcript, key: SessionKey, stored: Sequence[StoredEntry]
    ) -> None:
        now, summary = _now(), transcript.summary
        if not key.get("subpath"):
            summary = _folded(summary, key, stored)
        self._run("advance_transcript", transcript_key=transcript.key, now=now, summary=summary)
        self._run(
            "advance_session",
            session_key=transcript.session_key,
            last_seq=stored[-1].seq,
            now=now,
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
            columns = _columns(key)
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
            now=_now(),
            state=state,
            head=head,
            objective=objective,
            cwd=cwd,
            policy=policy,
        )

    def update_session(self, session_id: str, changes: dict[str, str | None]) -> None:
        """See `Store.update_session`."""
        with transaction(self._db):
            if not self._run("update_session", id=session_id, now=_now(), **changes).rowcount:
                raise self._unknown(session_id)

    def session(self, session_id: str) -> SessionRow:
        """See `Store.session`."""
        row = self._session_row(session_id)
        if row is not None:
            return row
        found = self._run("sessions_by_prefix", prefix=session_id, limit=_SHOWN_IDS)
        ids = [row["id"] for row in found]
        row = self._session_row(ids[0]) if len(ids) == 1 and session_id else None
        if row is not None:
            return row
        if ids and session_id:
            raise TranscriptError(
                f"several sessions begin with {session_id!r}: {', '.join(ids)}; give more of the id"
            )
        raise self._unknown(session_id)

    def sessions(self, limit: int) -> list[SessionRow]:
        """See `Store.sessions`."""
        return [session_row(row) for row in self._run("session_rows", id=None, limit=limit)]

    def _session_row(self, session_id: str) -> SessionRow | None:
        row = self._run("session_rows", id=session_id, limit=1).fetchone()
        return None if row is None else session_row(row)

    def _session_key(self, session_id: str) -> int:
        row = self._run("session_key", id=session_id).fetchone()
        if row is None:
            raise self._unknown(session_id)
        return int(row["key"])

    def _unknown(self, session_id: str) -> TranscriptError:
        recent = [row["id"] for row in self._run("recent_session_ids", limit=_NEAREST_AMONG)]
        nearest = difflib.get_close_matches(session_id, recent, n=_SHOWN_IDS, cutoff=0)
        there = f"the nearest are {', '.join(nearest)}" if nearest else "the store holds none yet"
        return TranscriptError(f"there is no session {session_id!r}; {there}")

    # What was concluded

    def record(self, items: Sequence[Recorded]) -> None:
        """See `Store.record`."""
        with transaction(self._db):
            for item in items:
                statement, columns = insertion(item)
                self._run(statement, session_key=self._session_key(item.session_id), **columns)

    def recorded(self, statement: str, kind: type[_Record], session_id: str) -> list[_Record]:
        """What one of the listing statements finds, as values of its kind."""
        rows = self._run(statement, session_key=self._session_key(session_id))
        return [msgspec.json.decode(row["body"], type=kind) for row in rows]

    def _run(self, statement: str, **columns: Value) -> sqlite3.Cursor:
        try:
            return self._db.execute(_STATEMENTS[statement], columns)
        except UnicodeEncodeError:  # a lone surrogate, quoted from an agent
            clean = {name: _clean(value) for name, value in columns.items()}
            return self._db.execute(_STATEMENTS[statement], clean)


def _draft(raw: bytes, inherited: bool | None, offset: int | None) -> _Draft:
    identity = codec.identify(raw)
    compressed, kept = codec.pack(raw)
    return _Draft(
        raw=raw,
        identity=identity,
        place=codec.place_of(offset, raw) if offset is not None and not identity.uuid else None,
        inherited=identity.forked_from is not None if inherited is None else inherited,
        compressed=compressed,
        kept=kept,
    )


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


def _columns(key: SessionKey) -> dict[str, Value]:
    return {
        "project_key": key["project_key"],
        "sdk_session_id": key["session_id"],
        "subpath": key.get("subpath", ""),
    }


def _folded(summary: str | None, key: SessionKey, stored: Sequence[StoredEntry]) -> str:
    """The SDK's digest of a transcript, brought up to date."""
    before = (
        None
        if summary is None
        else SessionSummaryEntry(session_id=key["session_id"], mtime=0, data=json.loads(summary))
    )
    decoded = (codec.decode(entry.raw) for entry in stored)
    entries = [entry for entry in decoded if entry is not None]
    return codec.encode(fold_session_summary(before, key, entries)["data"]).decode()


def _clean(value: Value) -> Value:
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _now() -> int:
    return time.time_ns() // 1000
