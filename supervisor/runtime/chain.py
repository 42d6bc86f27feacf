"""The chain of a transcript: each entry names its parent, and a runtime that resumes reads
from the last one back. What comes before a gap is lost to it, unless the gap is closed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from supervisor.core.entry import Entry

if TYPE_CHECKING:
    from claude_agent_sdk import SessionStoreEntry

__all__ = ["Gaps", "joined"]


class Gaps:
    """Finds the entries of one main transcript whose parent is not there.

    Holds the ids of a whole transcript: for the time that it is read once, to be resumed.
    """

    def __init__(self) -> None:
        self._there: set[str] = set()
        self._open: list[tuple[int, str]] = []

    def take(self, uuid: str | None, entries: Sequence[Entry]) -> None:
        """Take note of the next raw line's `uuid` and of what it holds."""
        first = entries[0] if entries else None
        if first is not None and first.agent_id is None and first.parent and self._there:
            self._open.append((first.seq, first.parent))
        if uuid is not None:
            self._there.add(uuid)

    def found(self) -> tuple[int, ...]:
        """The `seq` of each entry behind a gap. A first line's parent may stand elsewhere."""
        return tuple(seq for seq, parent in self._open if parent not in self._there)


def joined(entries: Sequence[SessionStoreEntry]) -> list[SessionStoreEntry]:
    """A transcript's entries in one chain: one whose parent is not there hangs on the one
    before it."""
    there = {entry.get("uuid") for entry in entries}
    before: str | None = None
    chain: list[SessionStoreEntry] = []
    for entry in entries:
        hangs = entry
        parent = entry.get("parentUuid")
        if not entry.get("isSidechain"):
            if parent and parent not in there and before is not None:
                hangs = cast("SessionStoreEntry", {**entry, "parentUuid": before})
            before = entry.get("uuid") or before
        chain.append(hangs)
    return chain
