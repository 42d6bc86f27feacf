"""Sessions put back into a SQLite store, or deleted from it, some entries at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from supervisor.core.lease import Lease
from supervisor.store import codec, refusal
from supervisor.store.interface import SessionRow, StoredEntry
from supervisor.store.rows import by_transcript, kept_row, key_columns
from supervisor.store.sqlite_database import Database
from supervisor.store.sqlite_rows import now

if TYPE_CHECKING:
    from claude_agent_sdk import SessionKey

__all__ = ["prunable", "remove", "restore", "transcripts"]


def transcripts(db: Database, session_id: str) -> list[SessionKey]:
    """See `Store.transcripts`."""
    rows = db.run("transcripts", session_key=db.session_key(session_id))
    return [codec.key_of(**row) for row in map(dict, rows)]


def restore(
    db: Database,
    row: SessionRow,
    *,
    transcripts: Sequence[SessionKey] = (),
    entries: Sequence[StoredEntry] = (),
    lease: Lease | None = None,
) -> None:
    """See `Store.restore`."""
    with db.transaction():
        db.fence(lease, row.session_id)
        session_key = db.session_key(row.session_id)
        for key in transcripts:
            _ensure(db, session_key, key, row)
        for key, part in by_transcript(entries):
            _put_back(db, session_key, key, part, row)
        db.run("restore_session", session_key=session_key, **kept_row(row))


def _ensure(db: Database, session_key: int, key: SessionKey, row: SessionRow) -> None:
    there = db.transcript(key)
    if there is None:
        columns = key_columns(key)
        db.run("insert_transcript", session_key=session_key, now=row.updated_at, **columns)
    elif there.session_key != session_key:
        raise refusal.taken(key, row.session_id, there.session_id)


def _put_back(
    db: Database,
    session_key: int,
    key: SessionKey,
    entries: Sequence[StoredEntry],
    row: SessionRow,
) -> None:
    transcript = db.transcript(key)
    if transcript is None or transcript.session_key != session_key:
        raise refusal.astray(key, entries[0].seq)
    for entry in entries:
        compressed, raw = codec.pack(entry.raw)
        try:
            db.run(
                "restore_entry",
                session_key=session_key,
                seq=entry.seq,
                transcript_key=transcript.key,
                uuid=entry.uuid,
                inherited=entry.inherited,
                compressed=compressed,
                raw=raw,
            )
        except sqlite3.IntegrityError as error:
            raise refusal.there_already(entry.seq) from error
    db.advance_transcript(transcript, key, entries, at=row.updated_at)


def prunable(
    db: Database, before: datetime, *, unfinished: bool = False, limit: int = 1_000
) -> list[SessionRow]:
    """See `Store.prunable`."""
    found = db.run("prunable_ids", before=before, unfinished=unfinished, now=now(), limit=limit)
    rows = [db.session_row(row["id"]) for row in found.fetchall()]
    return [row for row in rows if row is not None]


def remove(db: Database, session_id: str, *, at_most: int, lease: Lease | None = None) -> int:
    """See `Store.remove`. The file shrinks by as much, unless it is of an older version."""
    with db.transaction():
        db.fence(lease, session_id)
        session_key = db.session_key(session_id)
        deleted = db.run("delete_newest_entries", session_key=session_key, limit=at_most).rowcount
        if deleted < at_most:
            db.run("delete_session", session_key=session_key)
        else:
            db.run("mark_removal", session_key=session_key, reason=refusal.BEING_REMOVED)
    db.give_back()
    return deleted
