"""Sessions put back into a PostgreSQL store, or deleted from it, some entries at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import psycopg

from supervisor.core.lease import Lease
from supervisor.store import codec, refusal
from supervisor.store import postgres_entries as transcripts_of
from supervisor.store import postgres_sessions as sessions
from supervisor.store.draft import drafts_again, fold
from supervisor.store.interface import SessionRow, StoredEntry
from supervisor.store.postgres_query import Database
from supervisor.store.rows import by_transcript, kept_row, key_columns

if TYPE_CHECKING:
    from claude_agent_sdk import SessionKey

__all__ = ["prunable", "remove", "restore", "transcripts"]


async def transcripts(db: Database, session_id: str) -> list[SessionKey]:
    """See `Store.transcripts`."""
    session_key = await sessions.session_key(db, session_id)
    return [codec.key_of(**row) for row in await db.all("transcripts", session_key=session_key)]


async def restore(
    db: Database,
    row: SessionRow,
    *,
    transcripts: Sequence[SessionKey] = (),
    entries: Sequence[StoredEntry] = (),
    lease: Lease | None = None,
) -> None:
    """See `Store.restore`."""
    await sessions.fence(db, lease, [row.session_id])
    session_key = await sessions.session_key(db, row.session_id)
    for key in transcripts:
        await _ensure(db, session_key, key, row)
    for key, part in by_transcript(entries):
        await _put_back(db, session_key, key, part, row)
    await db.run("restore_session", session_key=session_key, **kept_row(row))


async def _ensure(db: Database, session_key: int, key: SessionKey, row: SessionRow) -> None:
    await db.run("lock_sdk_session", sdk_session_id=key["session_id"])
    there = await transcripts_of.place_of(db, key)
    if there is None:
        await db.run("insert_transcript", session_key=session_key, **key_columns(key))
    elif there.session_key != session_key:
        raise refusal.taken(key, row.session_id, there.session_id)


async def _put_back(
    db: Database,
    session_key: int,
    key: SessionKey,
    entries: Sequence[StoredEntry],
    row: SessionRow,
) -> None:
    place = await transcripts_of.place_of(db, key)
    if place is None or place.session_key != session_key:
        raise refusal.astray(key, entries[0].seq)
    size = sum(len(entry.raw) for entry in entries)
    drafts = await transcripts_of.aside(size, partial(drafts_again, entries))
    try:
        await transcripts_of.insert(db, place, drafts, [entry.seq for entry in entries])
    except psycopg.errors.UniqueViolation as error:
        raise refusal.there_already(entries[0].seq) from error
    await db.run(
        "restore_transcript",
        transcript_key=place.key,
        updated_at=row.updated_at,
        summary=await transcripts_of.aside(size, partial(fold, place.summary, key, entries)),
    )


async def prunable(
    db: Database, before: datetime, *, unfinished: bool = False, limit: int = 1_000
) -> list[SessionRow]:
    """See `Store.prunable`."""
    found = await db.all("prunable_ids", before=before, unfinished=unfinished, limit=limit)
    return await sessions.rows_of(db, [row["id"] for row in found])


async def remove(db: Database, session_id: str, *, at_most: int, lease: Lease | None = None) -> int:
    """See `Store.remove`. The server uses the space again."""
    await sessions.fence(db, lease, [session_id])
    session_key = await sessions.session_key(db, session_id)
    cursor = await db.run("delete_newest_entries", session_key=session_key, limit=at_most)
    if cursor.rowcount < at_most:
        await db.run("delete_session", session_key=session_key)
    else:
        await db.run("mark_removal", session_key=session_key, reason=refusal.BEING_REMOVED)
    return cursor.rowcount
