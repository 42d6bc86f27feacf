"""Several writes of entries into PostgreSQL in one transaction, with the statements of one.

What each statement takes of the server and of the event loop is most of what a write takes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from supervisor.core.lease import Lease
from supervisor.core.text import one_line
from supervisor.errors import StoreAway
from supervisor.store.bulk import (
    Found,
    Place,
    Placed,
    found_in,
    last_numbers,
    new_of,
    new_summaries,
    numbered,
)
from supervisor.store.draft import Draft, drafts_of
from supervisor.store.interface import Addition, StoredEntry
from supervisor.store.postgres_entries import insert_all
from supervisor.store.postgres_pool import Connections
from supervisor.store.postgres_query import Database
from supervisor.store.postgres_server import has_broken
from supervisor.store.rows import clean

if TYPE_CHECKING:
    from claude_agent_sdk import SessionKey

__all__ = ["write_all"]

log = logging.getLogger(__name__)


class _Write(NamedTuple):
    key: SessionKey
    drafts: list[Draft]
    lease: Lease | None


class _Change(NamedTuple):
    """What several writes change."""

    results: list[list[StoredEntry]]
    entries: list[tuple[Place, int, Draft]]
    summaries: dict[int, str | None]
    last: dict[int, int]


async def write_all(
    connections: Connections, additions: Sequence[Addition]
) -> dict[int, list[StoredEntry]]:
    """Carry out together those that have nothing out of the ordinary, whose transcripts are
    known and not just written to by another, and whose lease, if there is one, is not lost.
    Returns what each of them came to, by its number from 0; the others are left to do, as all
    are where this fails. Raises where the server is away."""
    writes = await asyncio.to_thread(_writes, additions)
    try:
        return await connections.change(partial(_write, writes=writes))
    except StoreAway:
        raise
    except Exception as error:
        if isinstance(error, psycopg.Error) and has_broken(error):
            raise
        what = one_line(str(error), 300)
        log.warning("writing %d transcripts one by one, not together: %s", len(writes), what)
        return {}


def _writes(additions: Iterable[Addition]) -> dict[int, _Write]:
    writes: dict[int, _Write] = {}
    for number, (key, raws, _, inherited, offsets, lease) in enumerate(additions):
        with suppress(Exception):  # it is raised where this one is written by itself
            drafts = drafts_of(raws, inherited=inherited, offsets=offsets, batch=None)
            writes[number] = _Write(key, drafts, lease)
    return writes


async def _write(db: Database, writes: Mapping[int, _Write]) -> dict[int, list[StoredEntry]]:
    places = await _places_of(db, writes)
    placed = [Placed(writes[number], place) for number, place in places.items()]
    found = found_in(placed)
    there = await _there(db, found)
    change = await asyncio.to_thread(_change, placed, found, there)
    if change.entries:
        await insert_all(db, change.entries)
        await db.run(
            "advance_all",
            transcript_keys=list(change.summaries),
            summaries=list(change.summaries.values()),
            session_keys=list(change.last),
            last_seqs=list(change.last.values()),
        )
    return dict(zip(places, change.results, strict=True))


async def _places_of(db: Database, writes: Mapping[int, _Write]) -> dict[int, Place]:
    """Where entries belong, locked, by their write's number and in the order of the writes;
    see the statement for those that are left out."""
    keys = [write.key for write in writes.values()]
    rows = await db.all(
        "transcripts_of_writes",
        project_keys=[clean(key["project_key"]) for key in keys],
        sdk_session_ids=[clean(key["session_id"]) for key in keys],
        subpaths=[clean(key.get("subpath", "")) for key in keys],
    )
    numbers = list(writes)
    places = {}
    for row in rows:
        number = numbers[row.pop("number") - 1]
        there = row["session_id"], row.pop("owner"), row.pop("epoch")
        lease = writes[number].lease
        if lease is None or there == (lease.session_id, lease.owner, lease.epoch):
            places[number] = Place(**row)
    return dict(sorted(places.items()))


async def _there(db: Database, found: Sequence[Found]) -> set[int]:
    """Which of them their transcripts hold already, by their number from 0."""
    if not found:
        return set()
    rows = await db.all(
        "entries_there",
        transcript_keys=[one.place.key for one in found],
        uuids=[one.draft.uuid for one in found],
        places=[one.draft.place for one in found],
    )
    return {row["number"] - 1 for row in rows}


def _change(placed: Sequence[Placed], found: Sequence[Found], there: set[int]) -> _Change:
    new = new_of(found, there)
    results, seqs = numbered(placed, new)
    return _Change(
        results,
        [(one.place, seq, one.draft) for one, seq in zip(new, seqs, strict=True)],
        new_summaries(placed, results),
        last_numbers(placed, results),
    )
