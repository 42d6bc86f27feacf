"""Writes of entries into a SQLite store, many with the statements of one.

Each statement that runs, and each row that it returns, gives the interpreter up, to be won
back from a busy event loop. So rows come and go as JSON, and their bytes in one piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from supervisor.core.lease import Lease
from supervisor.store.draft import Draft, drafts_of, fold
from supervisor.store.interface import StoredEntry
from supervisor.store.rows import clean, kept, key_columns
from supervisor.store.sqlite_database import Database
from supervisor.store.sqlite_rows import now

if TYPE_CHECKING:
    from claude_agent_sdk import SessionKey

__all__ = ["EntryWrite", "Place", "Placed", "places_of", "write_all"]


class EntryWrite:
    """One call of `Store.write`, carried out when it is called. Its entries are read and
    packed in the store's thread, where that blocks no event loop."""

    def __init__(
        self,
        db: Database,
        key: SessionKey,
        raws: Sequence[bytes],
        *,
        session_id: str | None,
        inherited: bool | None,
        offsets: Sequence[int] | None,
        batch: str | None,
        lease: Lease | None,
    ) -> None:
        self.key = key
        self.size = sum(map(len, raws))
        self.lease = lease
        self._db = db
        self._session_id = session_id
        self._draft = partial(drafts_of, raws, inherited=inherited, offsets=offsets, batch=batch)

    @cached_property
    def drafts(self) -> list[Draft]:
        """Its entries."""
        return self._draft()

    def __call__(self) -> list[StoredEntry]:
        """Carry it out, by itself."""
        return self._db.write(self.key, self.drafts, self._session_id, self.lease)


class Place(msgspec.Struct, array_like=True):
    """A row of `transcripts_of_writes`."""

    write: int
    key: int
    session_key: int
    summary: str | None
    session_id: str
    last_seq: int
    owner: str | None
    epoch: int

    def admits(self, lease: Lease | None) -> bool:
        """Whether the lease, where there is one, is on this session still."""
        if lease is None:
            return True
        ours = lease.session_id, lease.owner, lease.epoch
        return ours == (self.session_id, self.owner, self.epoch)


_PLACES = msgspec.json.Decoder(list[Place])
_NUMBERS = msgspec.json.Decoder(list[int])


class Placed(NamedTuple):
    """A write, and where its entries belong."""

    write: EntryWrite
    place: Place


class _New(NamedTuple):
    """An entry that may be new, and where it belongs."""

    write: int
    place: Place
    draft: Draft

    @property
    def identity(self) -> tuple[int, str | None, str | None]:
        """What tells it from others; two that are None tell nothing."""
        draft = self.draft
        return self.place.key, draft.uuid, None if draft.place is None else clean(draft.place)


def places_of(db: Database, writes: Sequence[EntryWrite]) -> dict[int, Place]:
    """Where entries belong, by their write's number from 0; a write is left out where its
    transcript is new, or its lease lost."""
    keys = _json([[clean(str(part)) for part in key_columns(one.key).values()] for one in writes])
    found = _PLACES.decode(db.run("transcripts_of_writes", keys=keys).fetchone()[0])
    return {place.write: place for place in found if place.admits(writes[place.write].lease)}


def write_all(db: Database, writes: Sequence[Placed]) -> list[list[StoredEntry]]:
    """Carry them out, within a transaction. Returns what each comes to, as `Database.write`
    has it."""
    results: list[list[StoredEntry]] = [[] for _ in writes]
    last = {place.session_key: place.last_seq for _, place in writes}
    rows: list[tuple[object, ...]] = []
    at = 1
    new = _new(db, writes)
    for one in new:
        place, draft = one.place, one.draft
        seq = last[place.session_key] = last[place.session_key] + 1
        key = writes[one.write].write.key
        results[one.write].append(draft.stored(place.session_id, seq, key))
        flags = int(draft.inherited), int(draft.compressed)
        rows.append((place.session_key, seq, *one.identity, *flags, at, len(draft.kept)))
        at += len(draft.kept)
    if new:
        db.run("insert_entries", entries=_json(rows), raws=b"".join(one.draft.kept for one in new))
        _advance(db, writes, results)
    return results


def _new(db: Database, writes: Sequence[Placed]) -> list[_New]:
    """Those entries that their transcripts do not hold yet, in their order."""
    found = [
        _New(number, place, draft)
        for number, (write, place) in enumerate(writes)
        for draft in write.drafts
    ]
    if not found:
        return []
    identities = [one.identity for one in found]
    there = db.run("entries_there", identities=_json(identities)).fetchone()[0]
    known = {identities[number] for number in _NUMBERS.decode(there)}
    new: list[_New] = []
    for one, identity in zip(found, identities, strict=True):
        if identity in known:
            continue
        if identity[1:] != (None, None):
            known.add(identity)
        new.append(one)
    return new


def _advance(
    db: Database, writes: Sequence[Placed], results: Sequence[Sequence[StoredEntry]]
) -> None:
    """Bring what is kept of transcripts and sessions up to date with their new entries."""
    first: dict[int, Placed] = {}
    entries: dict[int, list[StoredEntry]] = {}
    last: dict[int, int] = {}
    for one, stored in zip(writes, results, strict=True):
        if stored:
            first.setdefault(one.place.key, one)
            entries.setdefault(one.place.key, []).extend(stored)
            last[one.place.session_key] = stored[-1].seq
    summaries = [
        (key, _new_summary(place.summary, write.key, entries[key]))
        for key, (write, place) in first.items()
    ]
    moment = now()
    db.run("advance_transcripts", summaries=_json(summaries), now=moment)
    db.run("advance_sessions", numbers=_json(list(last.items())), now=moment)


def _new_summary(summary: str | None, key: SessionKey, stored: Sequence[StoredEntry]) -> str | None:
    """A transcript's summary as it is kept from now on; None where it stays as it is."""
    folded = fold(summary, key, stored)
    return None if folded is None or folded is summary else kept("summary", folded)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
