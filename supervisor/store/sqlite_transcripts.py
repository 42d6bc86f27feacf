"""A SQLite store's transcripts, read some entries at a time, and listed."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

from supervisor.store import codec
from supervisor.store.interface import StoredEntry
from supervisor.store.rows import read
from supervisor.store.sqlite_database import Database

if TYPE_CHECKING:
    from claude_agent_sdk import (
        SessionKey,
        SessionListSubkeysKey,
        SessionStoreEntry,
        SessionStoreListEntry,
        SessionSummaryEntry,
    )

__all__ = ["list_sessions", "list_subkeys", "list_summaries", "load", "next_entries"]

_BATCH_ROWS = 500
_BATCH_BYTES = 4 * 1024 * 1024


def load(db: Database, key: SessionKey, after: int) -> tuple[list[SessionStoreEntry], int | None]:
    """The next entries of a transcript, some hundreds, and the number of the last one
    read; None where there are no more."""
    transcript = db.transcript(key)
    if transcript is None:
        return [], None
    rows = db.run(
        "raws_of_transcript", transcript_key=transcript.key, after=after, limit=_BATCH_ROWS
    )
    entries: list[SessionStoreEntry] = []
    last: int | None = None
    for row in rows:
        last = row["seq"]
        entry = codec.decode(codec.unpack(row["compressed"], row["raw"]))
        if entry is not None:
            entries.append(entry)
    return entries, last


def next_entries(
    db: Database, session_id: str, *, after: int = 0, transcript: str | None = None
) -> list[StoredEntry]:
    """See `Store.next_entries`."""
    rows = db.run(
        "entries_after",
        session_key=db.session_key(session_id),
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


def list_sessions(db: Database, project_key: str) -> list[SessionStoreListEntry]:
    """See `Store.list_sessions`."""
    return [
        {"session_id": row["sdk_session_id"], "mtime": row["updated_at"] // 1000}
        for row in db.run("sdk_sessions", project_key=project_key)
    ]


def list_summaries(db: Database, project_key: str) -> list[SessionSummaryEntry]:
    """See `Store.list_session_summaries`."""
    return [
        {
            "session_id": row["sdk_session_id"],
            "mtime": row["updated_at"] // 1000,
            "data": json.loads(read(row["summary"] or "{}")),
        }
        for row in db.run("sdk_sessions", project_key=project_key)
    ]


def list_subkeys(db: Database, key: SessionListSubkeysKey) -> list[str]:
    """See `Store.list_subkeys`."""
    rows = db.run("subpaths", project_key=key["project_key"], sdk_session_id=key["session_id"])
    return [row["subpath"] for row in rows]


def _stored(session_id: str, row: sqlite3.Row) -> StoredEntry:
    return StoredEntry(
        session_id=session_id,
        seq=row["seq"],
        project_key=row["project_key"],
        transcript=row["sdk_session_id"],
        subpath=row["subpath"],
        uuid=row["uuid"],
        inherited=bool(row["inherited"]),
        raw=codec.unpack(row["compressed"], row["raw"]),
    )
