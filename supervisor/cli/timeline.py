"""A stored session as a person looks it up: its entries in order, what Lucid did behind
the entry it did it on, and where the work went on in a fork."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from supervisor.cli.beats import Beat, beats_of_entry, beats_of_event
from supervisor.cli.output import short
from supervisor.core.decision import Decision
from supervisor.core.entry import Entry
from supervisor.core.outcome import Outcome
from supervisor.core.verdict import Verdict
from supervisor.runtime.judge import Judge
from supervisor.store.interface import Incident, SessionRow, Store, StoredEntry

__all__ = ["Fork", "Item", "beats_of", "timeline"]

Event = Verdict | Decision | Outcome | Incident

_KINDS: dict[type[Event], str] = {
    Verdict: "verdict",
    Decision: "decision",
    Outcome: "outcome",
    Incident: "incident",
}


class Fork(msgspec.Struct, frozen=True, kw_only=True):
    """The work goes on in another transcript."""

    transcript: str
    """The fork's SDK session id."""
    source: str
    """The transcript it was cut from."""
    after_seq: int
    """The last entry that was taken along."""


@dataclass(frozen=True)
class Item:
    """One thing on the timeline, and when it happened if that is known."""

    what: Entry | Event | Fork
    at: datetime | None
    left_behind: bool = False
    """An entry that stands in a part of the transcript which a rollback cut off."""

    @property
    def kind(self) -> str:
        """`entry`, `fork`, `verdict`, `decision`, `outcome` or `incident`."""
        if isinstance(self.what, Fork):
            return "fork"
        return _KINDS.get(type(self.what), "entry")  # type: ignore[arg-type] # an entry is none


class _Origin(msgspec.Struct, rename="camel"):
    session_id: str = ""
    message_uuid: str = ""


class _Copied(msgspec.Struct, rename="camel"):
    forked_from: _Origin | None = None


def beats_of(item: Item) -> Iterator[Beat]:
    """The lines of one thing on the timeline."""
    what = item.what
    if isinstance(what, Fork):
        yield Beat("fork", "", f"goes on after entry {what.after_seq}, in {short(what.transcript)}")
    elif isinstance(what, Event):
        # By its id a decision can be asked about: `lucid explain`.
        name = f" [{short(what.id)}]" if isinstance(what, Decision) else ""
        for beat in beats_of_event(item.kind, msgspec.to_builtins(what)):
            yield replace(beat, text=beat.text + name) if beat.kind == "decision" else beat
    else:
        yield from beats_of_entry(what)


async def timeline(store: Store, session: SessionRow) -> AsyncIterator[Item]:
    """The session's items, oldest first. Entries that a fork copied stand where they first
    stood, and only there."""
    forks = await _forks(store, session.session_id)
    behind = await _events(store, session.session_id)
    reader = Judge(session.session_id, {}, {})
    begun: set[str] = set()
    async for stored in store.entries(session.session_id):
        fork = forks.get(stored.transcript)
        if fork is not None and stored.transcript not in begun and not stored.inherited:
            begun.add(stored.transcript)
            yield Item(fork, None)
        for entry in () if stored.inherited else reader.observe(stored).entries:
            yield Item(entry, entry.at, _is_left_behind(stored, forks))
        for event in behind.pop(stored.seq, ()):
            yield Item(event, getattr(event, "at", None))
    for events in behind.values():
        for event in events:
            yield Item(event, getattr(event, "at", None))


async def _forks(store: Store, session_id: str) -> dict[str, Fork]:
    """The session's forks by their SDK session ids."""
    seqs: dict[tuple[str, str], int] = {}
    forks: dict[str, Fork] = {}
    async for stored in store.entries(session_id):
        if stored.uuid and not stored.subpath:
            seqs[stored.transcript, stored.uuid] = stored.seq
        origin = _origin(stored) if stored.inherited else None
        if origin is not None and (seq := seqs.get((origin.session_id, origin.message_uuid))):
            forks[stored.transcript] = Fork(
                transcript=stored.transcript, source=origin.session_id, after_seq=seq
            )
    return forks


def _origin(stored: StoredEntry) -> _Origin | None:
    try:
        return msgspec.json.decode(stored.raw, type=_Copied).forked_from
    except (msgspec.DecodeError, RecursionError):
        return None


def _is_left_behind(stored: StoredEntry, forks: dict[str, Fork]) -> bool:
    return not stored.subpath and any(
        fork.source == stored.transcript and stored.seq > fork.after_seq for fork in forks.values()
    )


async def _events(store: Store, session_id: str) -> dict[int, list[Event]]:
    """What Lucid did, by the entry it did it on; 0 where it was on none."""
    behind: dict[int, list[Event]] = {}
    for events in (
        await store.incidents(session_id),
        await store.verdicts(session_id),
        await store.outcomes(session_id),
        await store.decisions(session_id),
    ):
        for event in events:
            behind.setdefault(event.seq or 0, []).append(event)
    return behind
