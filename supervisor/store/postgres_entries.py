"""Transcripts and their entries in PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from psycopg.rows import DictRow

from supervisor.core.lease import Lease
from supervisor.store import codec, refusal
from supervisor.store.bulk import Place
from supervisor.store.draft import Draft, fold, origin
from supervisor.store.interface import StoredEntry
from supervisor.store.postgres_query import Database
from supervisor.store.postgres_sessions import lease_of, make_session, session_key
from supervisor.store.rows import key_columns, micros, read

if TYPE_CHECKING:
    from claude_agent_sdk import (
        SessionKey,
        SessionListSubkeysKey,
        SessionStoreEntry,
        SessionStoreListEntry,
        SessionSummaryEntry,
    )

__all__ = [
    "LockedPlace",
    "aside",
    "delete",
    "insert",
    "insert_all",
    "list_sessions",
    "list_subkeys",
    "list_summaries",
    "load",
    "next_entries",
    "place_of",
    "write",
]

_T = TypeVar("_T")
_Identity = tuple[str | None, str | None]
"""The uuid and the place of an entry."""

_BATCH_ROWS = 500
_BATCH_BYTES = 4 * 1024 * 1024
_BATCH_KEPT_BYTES = 1024 * 1024
"""What a batch comes to as it is kept: transcripts become a third to a sixth of their size."""
_LARGE = 256 * 1024
"""Bytes whose compression or decoding takes longer than other tasks should wait."""


class LockedPlace(Place, kw_only=True):
    """A transcript and its session, both locked, so that its writers take turns."""

    lease: Lease | None


async def write(
    db: Database,
    key: SessionKey,
    drafts: Sequence[Draft],
    session_id: str | None,
    lease: Lease | None,
) -> list[StoredEntry]:
    """See `Store.write`."""
    place = await place_of(db, key)
    if place is None:
        await db.run("lock_sdk_session", sdk_session_id=key["session_id"])
        place = await place_of(db, key)  # another may just have made it
    if place is None:
        wanted = session_id or (lease.session_id if lease is not None else None)
        place = await _new_place(db, key, drafts, wanted)
    if lease is not None:
        refusal.check_fence(lease, place.session_id, place.lease)
    new = list(_new(drafts, await _known(db, place, drafts)))
    numbered = enumerate(new, place.last_seq + 1)
    stored = [draft.stored(place.session_id, seq, key) for seq, draft in numbered]
    if stored:
        await insert(db, place, new, [entry.seq for entry in stored])
        await _advance(db, place, key, stored)
    return stored


async def place_of(db: Database, key: SessionKey) -> LockedPlace | None:
    """The transcript of that key, if it is there."""
    row = await db.find("transcript", **key_columns(key))
    return None if row is None else LockedPlace(**_with_lease(row))


async def _new_place(
    db: Database, key: SessionKey, drafts: Sequence[Draft], wanted: str | None
) -> LockedPlace:
    session: DictRow | None = None
    while session is None:  # it may be deleted before it is locked
        owner = await _session_for(db, key, drafts, wanted)
        session = await db.find("session_of_key", session_key=owner)
    made = await db.one("insert_transcript", session_key=session["session_key"], **key_columns(key))
    return LockedPlace(**made, **_with_lease(session))


async def _session_for(
    db: Database, key: SessionKey, drafts: Iterable[Draft], wanted: str | None
) -> int:
    """Which session a transcript that is new belongs to; see `Store.write`."""
    project_key, sdk_session_id = key["project_key"], key["session_id"]
    if wanted is not None:
        await make_session(db, wanted, project_key, head=sdk_session_id)
        return await session_key(db, wanted)
    for known in (sdk_session_id, origin(drafts)):
        row = await db.find("session_of_sdk_session", project_key=project_key, sdk_session_id=known)
        if row is not None:
            return int(row["session_key"])
    session_id, number = sdk_session_id, 1
    while not await make_session(db, session_id, project_key, head=sdk_session_id):
        number += 1
        session_id = f"{sdk_session_id}-{number}"
    return await session_key(db, session_id)


def _with_lease(row: DictRow) -> DictRow:
    lease = {name: row.pop(name) for name in ("owner", "epoch", "expires_at")}
    return {**row, "lease": lease_of({"session_id": row["session_id"], **lease})}


async def _known(db: Database, place: Place, drafts: Sequence[Draft]) -> set[_Identity]:
    """Which of the drafts the transcript holds already."""
    uuids = [draft.uuid for draft in drafts if draft.uuid]
    places = [draft.place for draft in drafts if draft.place]
    rows = await db.all("known_entries", transcript_key=place.key, uuids=uuids, places=places)
    return {(row["uuid"], row["place"]) for row in rows}


def _new(drafts: Iterable[Draft], known: set[_Identity]) -> Iterator[Draft]:
    """The drafts that are not known, each once; those without an identity always."""
    for draft in drafts:
        identity = (draft.uuid, draft.place)
        if identity in known:
            continue
        if identity != (None, None):
            known.add(identity)
        yield draft


async def insert(db: Database, place: Place, new: Sequence[Draft], seqs: Sequence[int]) -> None:
    """Insert entries of one transcript under these numbers."""
    await insert_all(db, [(place, seq, draft) for seq, draft in zip(seqs, new, strict=True)])


async def insert_all(db: Database, entries: Iterable[tuple[Place, int, Draft]]) -> None:
    """Insert entries, each where it belongs and under its number."""
    for chunk in _chunks(entries):
        places, seqs, drafts = zip(*chunk, strict=True)
        await db.run(
            "insert_entries",
            session_keys=[place.session_key for place in places],
            transcript_keys=[place.key for place in places],
            seqs=list(seqs),
            uuids=[draft.uuid for draft in drafts],
            places=[draft.place for draft in drafts],
            inherited=[draft.inherited for draft in drafts],
            compressed=[draft.compressed for draft in drafts],
            raws=[draft.kept for draft in drafts],
        )


def _chunks(
    entries: Iterable[tuple[Place, int, Draft]],
) -> Iterator[list[tuple[Place, int, Draft]]]:
    chunk: list[tuple[Place, int, Draft]] = []
    size = 0
    for entry in entries:
        more = len(entry[2].kept)
        if chunk and (len(chunk) >= _BATCH_ROWS or size + more > _BATCH_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(entry)
        size += more
    if chunk:
        yield chunk


async def _advance(
    db: Database, place: Place, key: SessionKey, stored: Sequence[StoredEntry]
) -> None:
    size = sum(len(entry.raw) for entry in stored)
    summary = await aside(size, partial(fold, place.summary, key, stored))
    await db.run(
        "advance",
        transcript_key=place.key,
        summary=summary,
        session_key=place.session_key,
        last_seq=stored[-1].seq,
    )


async def load(db: Database, key: SessionKey) -> list[SessionStoreEntry] | None:
    """See `Store.load`. Holds some raw entries at a time."""
    transcript = await db.find("transcript_key", **key_columns(key))
    if transcript is None:
        return None
    entries: list[SessionStoreEntry] = []
    async for rows in db.stream("raws_of_transcript", transcript_key=transcript["key"]):
        entries += await asyncio.to_thread(_decoded, rows)
    return entries


def _decoded(rows: Iterable[DictRow]) -> list[SessionStoreEntry]:
    decoded = (codec.decode(codec.unpack(row["compressed"], row["raw"])) for row in rows)
    return [entry for entry in decoded if entry is not None]


async def next_entries(
    db: Database, session_id: str, *, after: int = 0, transcript: str | None = None
) -> list[StoredEntry]:
    """See `Store.next_entries`."""
    rows = await db.all(
        "entries_after",
        session_key=await session_key(db, session_id),
        after=after,
        transcript=transcript,
        rows=_BATCH_ROWS,
        bytes=_BATCH_KEPT_BYTES,
    )
    return await asyncio.to_thread(_stored, session_id, rows)


def _stored(session_id: str, rows: Iterable[DictRow]) -> list[StoredEntry]:
    entries: list[StoredEntry] = []
    size = 0
    for row in rows:
        raw = codec.unpack(row["compressed"], row["raw"])
        entries.append(
            StoredEntry(
                session_id=session_id,
                seq=row["seq"],
                project_key=row["project_key"],
                transcript=row["sdk_session_id"],
                subpath=row["subpath"],
                uuid=row["uuid"],
                inherited=row["inherited"],
                raw=raw,
            )
        )
        size += len(raw)
        if size > _BATCH_BYTES:
            break
    return entries


async def list_sessions(db: Database, project_key: str) -> list[SessionStoreListEntry]:
    """See `Store.list_sessions`."""
    rows = await db.all("sdk_sessions", project_key=project_key)
    return [{"session_id": row["sdk_session_id"], "mtime": _milliseconds(row)} for row in rows]


async def list_summaries(db: Database, project_key: str) -> list[SessionSummaryEntry]:
    """See `Store.list_session_summaries`."""
    rows = await db.all("sdk_sessions", project_key=project_key)
    return [
        {
            "session_id": row["sdk_session_id"],
            "mtime": _milliseconds(row),
            "data": json.loads(read(row["summary"] or "{}")),
        }
        for row in rows
    ]


async def list_subkeys(db: Database, key: SessionListSubkeysKey) -> list[str]:
    """See `Store.list_subkeys`."""
    rows = await db.all(
        "subpaths", project_key=key["project_key"], sdk_session_id=key["session_id"]
    )
    return [row["subpath"] for row in rows]


async def delete(db: Database, key: SessionKey) -> None:
    """See `Store.delete`."""
    columns = key_columns(key)
    row = await db.find("session_of_sdk_session", **columns)
    if row is None:
        return
    await db.run("session_of_key", **row)
    await db.run("delete_transcript" if key.get("subpath") else "delete_sdk_session", **columns)
    await db.run("delete_empty_session", **row)


def _milliseconds(row: DictRow) -> int:
    return micros(row["updated_at"]) // 1000


async def aside(size: int, work: Callable[[], _T]) -> _T:
    """Do what takes long for many bytes without keeping other tasks from running."""
    return await asyncio.to_thread(work) if size > _LARGE else work()
