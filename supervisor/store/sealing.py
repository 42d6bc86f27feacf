"""What of a store is encrypted, and how a row of it is sealed with the newest key."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Mapping
from typing import NamedTuple

import msgspec

from supervisor.core.decision import Decision
from supervisor.core.verdict import Verdict
from supervisor.privacy.keyring import Keyring, keyring
from supervisor.store.interface import Incident, Store
from supervisor.store.rows import Row, Value, clean

__all__ = ["TABLES", "Place", "SealedPart", "Table", "resealed", "seal"]

Place = tuple[Value, ...]
"""Where a walk through a table stands, in the store's own words; empty at its start."""

_KEY_BYTES = 11
"""By which what was sealed is known, and the key that it was sealed with."""
_KEY_LETTERS = 16
"""Those in base64, and a byte more."""


class SealedPart(NamedTuple):
    """What became of some rows of a table."""

    table: str
    looked_at: int
    sealed: int
    """Those that were not sealed with the newest key; they are now."""
    next: Place | None
    """Where to go on; None at the table's end."""


class Table(NamedTuple):
    """A table with columns that are sealed."""

    name: str
    key: tuple[str, ...]
    """Its primary key."""
    sealed: tuple[str, ...]
    at_once: int = 500
    """Rows, which are in memory together, and locked meanwhile: some megabytes."""
    fingerprints: Callable[[bytes], dict[str, Value]] | None = None
    """The columns that are made from its body and the key."""


def _of_verdict(body: bytes) -> dict[str, Value]:
    return {"id": keyring().fingerprint(msgspec.json.decode(body, type=Verdict).id)}


def _of_decision(body: bytes) -> dict[str, Value]:
    verdict = msgspec.json.decode(body, type=Decision).verdict
    return {"verdict_id": keyring().fingerprint(verdict.id)}


def _of_incident(body: bytes) -> dict[str, Value]:
    found = msgspec.json.decode(body, type=Incident)
    return {"message": keyring().fingerprint(clean(found.message))}


_BODY = ("body",)

TABLES = (
    Table("session", ("key",), ("state_reason", "objective", "policy", "submission"), 100),
    Table("transcript", ("key",), ("summary",)),
    Table("entry", ("session_key", "seq"), ("raw",), 200),
    Table("verdict", ("session_key", "id"), _BODY, fingerprints=_of_verdict),
    Table("decision", ("session_key", "id"), _BODY, fingerprints=_of_decision),
    Table("outcome", ("session_key", "decision_id", "status", "seq"), _BODY),
    Table("intent", ("session_key", "agent_id", "call_id"), _BODY),
    Table("incident", ("number",), _BODY, fingerprints=_of_incident),
    Table("prompt", ("session_key", "uuid"), ("message",), 100),
    Table("word", ("session_key", "id"), _BODY),
    Table("word_heard", ("session_key", "word_id"), _BODY),
    Table("files", ("session_key", "snapshot_id", "at"), _BODY),
    Table("files_chunk", ("session_key", "snapshot_id", "number"), ("data",), 8),
    Table("folder_file", ("folder_key", "path"), _BODY),
)


async def seal(store: Store) -> AsyncIterator[SealedPart]:
    """Seal all that a store keeps with the newest key, in transactions that keep nobody
    waiting; others may use the store meanwhile. What is sealed so already is left as it is:
    where this is broken off, it is taken up by doing it again."""
    for table in TABLES:
        place: Place | None = ()
        while place is not None:
            part = await store.seal_part(table, place)
            yield part
            place = part.next


def resealed(table: Table, row: Row) -> Mapping[str, Value]:
    """The columns of a row that are to change; none where the newest key sealed all of it.
    Raises `StoreError` where the key is missing that it was sealed with."""
    ring = keyring()
    changed: dict[str, Value] = {}
    for name in table.sealed:
        kept = row[name]
        if kept and not _is_newest(ring, kept):
            opened = _opened(ring, kept)
            changed[name] = ring.seal_text(opened) if isinstance(opened, str) else ring.seal(opened)
            if table.fingerprints is not None:
                assert isinstance(opened, str), "it is made from a body"
                changed |= table.fingerprints(opened.encode())
    return changed


def _opened(ring: Keyring, kept: str | bytes) -> str | bytes:
    return ring.open_text(kept) if isinstance(kept, str) else ring.open(bytes(kept))


def _is_newest(ring: Keyring, kept: str | bytes) -> bool:
    return _head_of(ring, kept) == ring.seal(b"")[:_KEY_BYTES]


def _head_of(ring: Keyring, kept: str | bytes) -> bytes | None:
    """The first bytes of what was sealed; None where that is to be seen to be none."""
    if not isinstance(kept, str):
        return bytes(kept[:_KEY_BYTES])
    begins, sign, _ = ring.seal_text("").partition(":")
    if not kept.startswith(begins + sign):
        return None
    letters = kept[len(begins + sign) :][:_KEY_LETTERS]
    try:
        return base64.b64decode(letters)[:_KEY_BYTES]
    except ValueError:
        return None  # it is damaged, which is said when it is opened
