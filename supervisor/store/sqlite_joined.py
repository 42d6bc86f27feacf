"""Writes that share a transaction of a SQLite store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from supervisor.store.bulk import Placed
from supervisor.store.sqlite_bulk import EntryWrite, places_of, write_all
from supervisor.store.sqlite_database import Database

__all__ = ["join"]

_MOST_BYTES = 4 * 1024 * 1024
"""Of entries in one statement, which holds a second copy of them."""

_Write = Callable[[], object]


class _PartFailed(Exception):
    """One of several joined writes failed."""


def join(db: Database, writes: Sequence[_Write]) -> list[object]:
    """Carry out several writes in one transaction, in their order. Returns what each came to:
    a value, or the exception that it raised, which undid that write alone."""
    try:
        with db.transaction():
            return list(_parts(db, writes))
    except _PartFailed:  # which undid them all
        return [_alone(write) for write in writes]


def _alone(write: _Write) -> object:
    try:
        return write()
    except Exception as error:  # noqa: BLE001 - raised where it is waited for
        return error


def _parts(db: Database, writes: Sequence[_Write]) -> Iterator[object]:
    done = 0
    try:
        while done < len(writes):
            results = _next_parts(db, writes[done:])
            yield from results
            done += len(results)
    except Exception as error:
        raise _PartFailed from error


def _next_parts(db: Database, writes: Sequence[_Write]) -> Sequence[object]:
    """What the first of them come to: together those of entries with nothing out of the
    ordinary, or one by one those before them."""
    entries = _first_of_entries(writes)
    if len(entries) < 2:
        return [writes[0]()]
    places = places_of(db, entries)
    usual = next((number for number in range(len(entries)) if number not in places), len(entries))
    if usual:
        return write_all(db, [Placed(entries[number], places[number]) for number in range(usual)])
    return [write() for write in entries[: min(places, default=len(entries))]]


def _first_of_entries(writes: Sequence[_Write]) -> list[EntryWrite]:
    """As many as one statement takes."""
    first: list[EntryWrite] = []
    size = 0
    for write in writes:
        if not isinstance(write, EntryWrite) or (size := size + write.size) > _MOST_BYTES:
            break
        first.append(write)
    return first
