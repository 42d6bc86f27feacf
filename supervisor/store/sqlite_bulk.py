"""Writes of entries into a SQLite store, many with the statements of one.

Each statement that runs, and each row that it returns, gives the interpreter up, to be won
back from a busy event loop. So rows come and go as JSON, and their bytes in one piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

import msgspec

from supervisor.core.lease import Lease
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
from supervisor.store.interface import StoredEntry
from supervisor.store.rows import clean, key_columns
from supervisor.store.sqlite_database import Database
from supervisor.store.sqlite_rows import now

if TYPE_CHECKING:
    from claude_agent_sdk import SessionKey

__all__ = ["EntryWrite", "places_of", "write_all"]


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


class _Row(Place, array_like=True, kw_only=True):
    """A row of `transcripts_of_writes`."""

    write: int
    owner: str | None
    epoch: int

    def admits(self, lease: Lease | None) -> bool:
        """Whether the lease, where there is one, is on this session still."""
        if lease is None:
            return True
        ours = lease.session_id, lease.owner, lease.epoch
        return ours == (self.session_id, self.owner or "", self.epoch)


_ROWS = msgspec.json.Decoder(list[_Row])
_NUMBERS = msgspec.json.Decoder(set[int])


def places_of(db: Database, writes: Sequence[EntryWrite]) -> dict[int, Place]:
    """Where entries belong, by their write's number from 0; a write is left out where its
    transcript is new, or its lease lost."""
    keys = _json([[clean(str(part)) for part in key_columns(one.key).values()] for one in writes])
    rows = _ROWS.decode(db.run("transcripts_of_writes", keys=keys).fetchone()[0])
    return {row.write: row for row in rows if row.admits(writes[row.write].lease)}


def write_all(db: Database, writes: Sequence[Placed]) -> list[list[StoredEntry]]:
    """Carry them out, within a transaction. Returns what each comes to, as `Database.write`
    has it."""
    found = found_in(writes)
    new = new_of(found, _there(db, found))
    results, seqs = numbered(writes, new)
    if new:
        _insert(db, new, seqs)
        moment = now()
        summaries = _json(list(new_summaries(writes, results).items()))
        db.run("advance_transcripts", summaries=summaries, now=moment)
        numbers = _json(list(last_numbers(writes, results).items()))
        db.run("advance_sessions", numbers=numbers, now=moment)
    return results


def _there(db: Database, found: Sequence[Found]) -> set[int]:
    """Which of them their transcripts hold already."""
    if not found:
        return set()
    identities = _json([one.identity for one in found])
    return _NUMBERS.decode(db.run("entries_there", identities=identities).fetchone()[0])


def _insert(db: Database, new: Sequence[Found], seqs: Sequence[int]) -> None:
    rows: list[tuple[object, ...]] = []
    at = 1
    for one, seq in zip(new, seqs, strict=True):
        draft = one.draft
        flags = int(draft.inherited), int(draft.compressed)
        rows.append((one.place.session_key, seq, *one.identity, *flags, at, len(draft.kept)))
        at += len(draft.kept)
    db.run("insert_entries", entries=_json(rows), raws=b"".join(one.draft.kept for one in new))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
