"""Writes of entries that a database carries out with the statements of one: what does not
depend on the database."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from supervisor.store.draft import Draft, fold
from supervisor.store.interface import StoredEntry
from supervisor.store.rows import clean, kept

if TYPE_CHECKING:
    from claude_agent_sdk import SessionKey

__all__ = [
    "Found",
    "Place",
    "Placed",
    "Write",
    "found_in",
    "last_numbers",
    "new_of",
    "new_summaries",
    "numbered",
]


class Place(msgspec.Struct, kw_only=True):
    """A transcript and its session, where entries belong."""

    key: int
    session_key: int
    summary: str | None = None
    session_id: str
    last_seq: int


class Write(Protocol):
    """One call of `Store.write`."""

    @property
    def key(self) -> SessionKey:
        """Its transcript's."""

    @property
    def drafts(self) -> Sequence[Draft]:
        """Its entries."""


class Placed(NamedTuple):
    """A write, and where its entries belong."""

    write: Write
    place: Place


class Found(NamedTuple):
    """An entry that may be new, and where it belongs."""

    write: int
    place: Place
    draft: Draft

    @property
    def identity(self) -> tuple[int, str | None, str | None]:
        """What tells it from others; two that are None tell nothing."""
        draft = self.draft
        return self.place.key, draft.uuid, None if draft.place is None else clean(draft.place)


def found_in(writes: Sequence[Placed]) -> list[Found]:
    """The entries of these writes, in their order."""
    return [
        Found(number, place, draft)
        for number, (write, place) in enumerate(writes)
        for draft in write.drafts
    ]


def new_of(found: Sequence[Found], there: Container[int]) -> list[Found]:
    """Those that their transcripts do not hold yet, each once. `there` are those that they
    hold, by their number from 0."""
    identities = [one.identity for one in found]
    known = {identity for number, identity in enumerate(identities) if number in there}
    new: list[Found] = []
    for one, identity in zip(found, identities, strict=True):
        if identity in known:
            continue
        if identity[1:] != (None, None):
            known.add(identity)
        new.append(one)
    return new


def numbered(
    writes: Sequence[Placed], new: Iterable[Found]
) -> tuple[list[list[StoredEntry]], list[int]]:
    """Give new entries their numbers. Returns what each write comes to, and the numbers."""
    results: list[list[StoredEntry]] = [[] for _ in writes]
    last = {place.session_key: place.last_seq for _, place in writes}
    seqs: list[int] = []
    for number, place, draft in new:
        seq = last[place.session_key] = last[place.session_key] + 1
        results[number].append(draft.stored(place.session_id, seq, writes[number].write.key))
        seqs.append(seq)
    return results, seqs


def last_numbers(
    writes: Sequence[Placed], results: Sequence[Sequence[StoredEntry]]
) -> dict[int, int]:
    """The number of the last entry of each session that has new ones, by the session's key."""
    pairs = zip(writes, results, strict=True)
    return {one.place.session_key: stored[-1].seq for one, stored in pairs if stored}


def new_summaries(
    writes: Sequence[Placed], results: Sequence[Sequence[StoredEntry]]
) -> dict[int, str | None]:
    """The summaries, as they are kept, of the transcripts that have new entries, by their
    keys; None where one stays as it is."""
    first: dict[int, Placed] = {}
    entries: dict[int, list[StoredEntry]] = {}
    for one, stored in zip(writes, results, strict=True):
        if stored:
            first.setdefault(one.place.key, one)
            entries.setdefault(one.place.key, []).extend(stored)
    return {
        key: _new_summary(place.summary, write.key, entries[key])
        for key, (write, place) in first.items()
    }


def _new_summary(summary: str | None, key: SessionKey, stored: Sequence[StoredEntry]) -> str | None:
    folded = fold(summary, key, stored)
    return None if folded is None else kept("summary", folded)
