"""Values as they leave the store: secrets taken out, long strings cut."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from supervisor.privacy.redaction import Redactor
from supervisor.service.schema import TranscriptEntry
from supervisor.store.interface import StoredEntry

__all__ = ["LONGEST", "Leaving"]

LONGEST = 65_536
"""Characters of a string in an entry; an image or a build's output is looked at elsewhere."""

_DEEPEST = 200
"""Levels of nesting of an entry; no transcript has a tenth of it."""


class Leaving:
    """Makes values fit to be sent, as JSON. Safe to call from several threads."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def value(self, value: msgspec.Struct) -> msgspec.Raw:
        """A value of ours."""
        return msgspec.Raw(self._redactor.json(msgspec.json.encode(value)))

    def values(self, values: Sequence[msgspec.Struct]) -> list[msgspec.Raw]:
        """Several."""
        return [self.value(value) for value in values]

    def entries(self, found: Sequence[StoredEntry]) -> list[TranscriptEntry]:
        """Entries of a transcript, which are untrusted and may be no JSON at all."""
        return [self._entry(stored) for stored in found]

    def _entry(self, stored: StoredEntry) -> TranscriptEntry:
        raw, is_cut = self._line(stored.raw)
        return TranscriptEntry(
            session_id=stored.session_id,
            seq=stored.seq,
            transcript=stored.transcript,
            agent_id=stored.agent_id,
            uuid=stored.uuid,
            inherited=stored.inherited,
            raw=raw,
            is_cut=is_cut,
        )

    def _line(self, stored: bytes) -> tuple[object, bool]:
        # Before anything is cut: a secret across the cut must not leave by half.
        line = self._redactor.json(stored)
        try:
            found: object = msgspec.json.decode(line)
        except (ValueError, RecursionError):
            found = self._redactor.text(line.decode(errors="replace"))
        else:
            if len(line) <= LONGEST:
                return msgspec.Raw(line), False
        cuts: list[int] = []
        return _shorter(found, cuts, 0), bool(cuts)


def _shorter(value: object, cuts: list[int], depth: int) -> object:
    """A JSON value with its long strings cut; how long each was is added to `cuts`."""
    if isinstance(value, str):
        return _cut(value, cuts)
    if isinstance(value, dict | list) and depth > _DEEPEST:
        cuts.append(len(value))
        return "[deeper levels are left out]"
    if isinstance(value, dict):
        return {_cut(key, cuts): _shorter(inner, cuts, depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shorter(inner, cuts, depth + 1) for inner in value]
    return value


def _cut(text: str, cuts: list[int]) -> str:
    if len(text) <= LONGEST:
        return text
    cuts.append(len(text))
    return f"{text[:LONGEST]}… [{len(text) - LONGEST} more characters]"
