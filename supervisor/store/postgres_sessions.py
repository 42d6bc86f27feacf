"""Sessions, leases and what was concluded, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Unpack

from psycopg.rows import DictRow

from supervisor.core.decision import Decision
from supervisor.core.lease import Lease
from supervisor.core.sent import SentPrompt
from supervisor.errors import TranscriptError
from supervisor.store import refusal
from supervisor.store.interface import ListedT, Recorded, SessionRow
from supervisor.store.parts import START, Part, Position
from supervisor.store.postgres_query import Database
from supervisor.store.rows import (
    Changes,
    Details,
    columns_of_changes,
    columns_of_details,
    decoded,
    insertion,
    listing,
    part_of,
    sent_prompt,
    session_row,
)

__all__ = [
    "acquire_lease",
    "create_session",
    "decisions_like",
    "fence",
    "lease",
    "lease_of",
    "make_session",
    "prompts",
    "record",
    "recorded",
    "release_lease",
    "renew_lease",
    "rows_of",
    "runnable",
    "session",
    "session_key",
    "sessions",
    "update_session",
]

_NOW = timedelta(0)


async def create_session(
    db: Database, session_id: str, *, project_key: str, **details: Unpack[Details]
) -> SessionRow:
    """See `Store.create_session`."""
    await make_session(db, session_id, project_key, **details)
    return await session(db, session_id)


async def make_session(
    db: Database, session_id: str, project_key: str, **details: Unpack[Details]
) -> bool:
    """Make a session unless there is one of this id; returns whether it was made."""
    columns = columns_of_details(details)
    made = await db.find("insert_session", id=session_id, project_key=project_key, **columns)
    return made is not None


async def update_session(
    db: Database, session_id: str, *, lease: Lease | None = None, **changes: Unpack[Changes]
) -> None:
    """See `Store.update_session`."""
    await fence(db, lease, [session_id])
    columns = columns_of_changes(changes)
    if await db.find("update_session", id=session_id, **columns) is None:
        raise await _unknown(db, session_id)


async def session(db: Database, session_id: str) -> SessionRow:
    """See `Store.session`."""
    rows = await rows_of(db, [session_id])
    if rows:
        return rows[0]
    found = await db.all("sessions_by_prefix", prefix=session_id, limit=refusal.SHOWN_IDS)
    ids = [row["id"] for row in found]
    rows = await rows_of(db, ids) if len(ids) == 1 and session_id else []
    if rows:
        return rows[0]
    if ids and session_id:
        raise refusal.ambiguous(session_id, ids)
    raise await _unknown(db, session_id)


async def sessions(
    db: Database, limit: int = 100, *, before: tuple[datetime, str] | None = None
) -> list[SessionRow]:
    """See `Store.sessions`."""
    if before is None:
        return await rows_of(db, await _ids(db, "recent_session_ids", limit))
    at, session_id = before
    found = await db.all("session_ids_before", before=at, before_id=session_id, limit=limit)
    return await rows_of(db, [row["id"] for row in found])


async def runnable(db: Database, limit: int) -> list[SessionRow]:
    """See `Store.runnable`."""
    return await rows_of(db, await _ids(db, "runnable_ids", limit))


async def _ids(db: Database, statement: str, limit: int) -> list[str]:
    rows = await db.all(statement, limit=limit)
    return [row["id"] for row in rows]


async def rows_of(db: Database, ids: Sequence[str]) -> list[SessionRow]:
    """The sessions of these ids, in this order."""
    rows = await db.all("session_rows", ids=ids)
    return [session_row(row) for row in rows]


async def session_key(db: Database, session_id: str) -> int:
    """The key of a session; raises `TranscriptError` where there is none."""
    keys = await _session_keys(db, [session_id])
    return keys[session_id]


async def _session_keys(db: Database, ids: Collection[str]) -> dict[str, int]:
    rows = await db.all("session_keys", ids=list(ids))
    keys: dict[str, int] = {row["id"]: row["key"] for row in rows}
    for session_id in ids:
        if session_id not in keys:
            raise await _unknown(db, session_id)
    return keys


async def _unknown(db: Database, session_id: str) -> TranscriptError:
    return refusal.unknown(session_id, await _ids(db, "recent_session_ids", refusal.NEAREST_AMONG))


# Leases, by the database's clock


async def acquire_lease(db: Database, session_id: str, *, owner: str, ttl: timedelta) -> Lease:
    """See `Store.acquire_lease`."""
    taken = await db.find("take_lease", id=session_id, owner=owner, ttl=ttl)
    if taken is not None:
        return Lease(**taken)
    holds = await lease(db, session_id)
    assert holds is not None, "a session that was never leased would have been taken"
    raise refusal.held(holds)


async def renew_lease(db: Database, lease: Lease, *, ttl: timedelta) -> Lease:
    """See `Store.renew_lease`."""
    renewed = await _extend(db, lease, ttl)
    if renewed is None:
        raise refusal.lost(lease, await _lease(db, lease.session_id))
    return Lease(**renewed)


async def release_lease(db: Database, lease: Lease) -> None:
    """See `Store.release_lease`."""
    await _extend(db, lease, _NOW)


async def _extend(db: Database, held: Lease, ttl: timedelta) -> DictRow | None:
    return await db.find(
        "extend_lease", id=held.session_id, owner=held.owner, epoch=held.epoch, ttl=ttl
    )


async def lease(db: Database, session_id: str) -> Lease | None:
    """See `Store.lease`."""
    await session_key(db, session_id)
    return await _lease(db, session_id)


async def _lease(db: Database, session_id: str) -> Lease | None:
    row = await db.find("lease", id=session_id)
    return None if row is None else Lease(**row)


def lease_of(columns: Mapping[str, Any]) -> Lease | None:
    """The lease in a session's columns; None where it never had one."""
    return Lease(**columns) if columns["epoch"] else None


async def fence(db: Database, held: Lease | None, session_ids: Collection[str]) -> None:
    """Raise unless the lease is on these sessions, and keep it so until the transaction ends."""
    if held is None:
        return
    row = await db.find("lease_that_stays", id=held.session_id)
    now = None if row is None else lease_of(row)
    for session_id in session_ids:
        refusal.check_fence(held, session_id, now)


# What was concluded


async def record(db: Database, items: Sequence[Recorded], lease: Lease | None) -> None:
    """See `Store.record`."""
    session_ids = {item.session_id for item in items}
    await fence(db, lease, session_ids)
    keys = await _session_keys(db, session_ids)
    for item in items:
        statement, columns = insertion(item)
        await db.run(statement, session_key=keys[item.session_id], **columns)


async def recorded(
    db: Database,
    kind: type[ListedT],
    session_id: str,
    *,
    after: Position = START,
    limit: int | None = None,
) -> Part[ListedT]:
    """See `Store.recorded`."""
    statement, columns = listing(kind, after, limit)
    rows = await db.all(statement, session_key=await session_key(db, session_id), **columns)
    return part_of(rows, kind, limit)


async def decisions_like(db: Database, prefix: str, *, limit: int) -> list[Decision]:
    """See `Store.decisions_like`."""
    rows = await db.all("decisions_by_prefix", prefix=prefix, limit=limit)
    return [decoded(row, Decision) for row in rows]


async def prompts(db: Database, session_id: str) -> list[SentPrompt]:
    """See `Store.prompts`."""
    rows = await db.all("prompts", session_key=await session_key(db, session_id))
    return [sent_prompt(session_id, row) for row in rows]
