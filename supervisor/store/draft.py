"""Raw entries on their way into a store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from supervisor.store import codec
from supervisor.store.interface import StoredEntry
from supervisor.store.rows import read

if TYPE_CHECKING:
    from claude_agent_sdk import SessionKey, SessionSummaryEntry

__all__ = ["Draft", "drafts_again", "drafts_of", "fold", "origin"]


class Draft(NamedTuple):
    """A raw entry that may be new."""

    raw: bytes
    uuid: str | None
    place: str | None
    """Tells an entry without a uuid by where it was read, or by the write it came with."""
    forked_from: str | None
    """The SDK session id it was copied from."""
    inherited: bool
    compressed: bool
    kept: bytes

    def stored(self, session_id: str, seq: int, key: SessionKey) -> StoredEntry:
        """The entry as it stands once it has its number."""
        return StoredEntry(
            session_id=session_id,
            seq=seq,
            project_key=key["project_key"],
            transcript=key["session_id"],
            subpath=key.get("subpath", ""),
            uuid=self.uuid,
            inherited=self.inherited,
            raw=self.raw,
        )


def drafts_of(
    raws: Sequence[bytes],
    *,
    inherited: bool | None,
    offsets: Sequence[int] | None,
    batch: str | None,
) -> list[Draft]:
    """Entries ready to be stored; see `Store.write`."""
    places = _places(raws, offsets, batch)
    return [_drafted(raw, inherited, place) for raw, place in zip(raws, places, strict=True)]


def _places(
    raws: Sequence[bytes], offsets: Sequence[int] | None, batch: str | None
) -> Sequence[str | None]:
    """What tells entries that have no uuid."""
    if offsets is not None:
        return [codec.place_of(offset, raw) for offset, raw in zip(offsets, raws, strict=True)]
    if batch is not None:
        return [f"{batch}/{number}" for number in range(len(raws))]
    return [None] * len(raws)


def _drafted(raw: bytes, inherited: bool | None, place: str | None) -> Draft:
    identity = codec.identify(raw)
    fork = identity.forked_from
    compressed, kept = codec.pack(raw)
    return Draft(
        raw=raw,
        uuid=identity.uuid,
        place=place if identity.uuid is None else None,
        forked_from=fork.session_id if fork is not None else None,
        inherited=fork is not None if inherited is None else inherited,
        compressed=compressed,
        kept=kept,
    )


def drafts_again(entries: Iterable[StoredEntry]) -> list[Draft]:
    """Entries that were stored before, ready to be stored elsewhere."""
    return [
        _drafted(entry.raw, entry.inherited, None)._replace(uuid=entry.uuid) for entry in entries
    ]


def origin(drafts: Iterable[Draft]) -> str | None:
    """The SDK session id that a fork's entries were copied from."""
    return next((draft.forked_from for draft in drafts if draft.forked_from is not None), None)


def fold(summary: str | None, key: SessionKey, stored: Sequence[StoredEntry]) -> str | None:
    """The SDK's digest of a transcript, brought up to date; None where what is kept of it
    stays as it is. A subagent's transcript has none."""
    if key.get("subpath"):
        return None
    from claude_agent_sdk import fold_session_summary  # takes a second to import

    before: SessionSummaryEntry | None = None
    if summary is not None:
        before = {"session_id": key["session_id"], "mtime": 0, "data": json.loads(read(summary))}
    decoded = (codec.decode(entry.raw) for entry in stored)
    entries = [entry for entry in decoded if entry is not None]
    data = fold_session_summary(before, key, entries)["data"]
    if before is not None and data == before["data"]:
        return None
    return codec.encode(data).decode()
