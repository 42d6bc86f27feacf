"""A session that is written to through a `SpooledStore`, and who hears how its store is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.errors import LeaseLost, StoreError
from supervisor.store.draft import Draft
from supervisor.store.interface import StoredEntry
from supervisor.store.spool_backlog import Backlog

if TYPE_CHECKING:
    from claude_agent_sdk import SessionKey

__all__ = ["HeldSession", "SpoolListener"]

_RECENT = 10_000
"""Entries whose identity is remembered for each session, to tell one that comes again while
the store cannot. An agent repeats what it has just sent, if anything."""


class SpoolListener:
    """Hears how the store is. Its methods return at once; by default nobody listens."""

    def went_away(self, error: StoreError) -> None:
        """Writes wait from now on."""

    def waits(self, change: int) -> None:
        """So many operations more, or less, wait."""

    def came_back(self, after: timedelta, operations: int) -> None:
        """All that waited, so many operations, is in the store, or was refused."""

    def left(self) -> None:
        """The store was closed while it was away: what waits stays on local disk."""

    def lost(self, error: LeaseLost, where: Path | None) -> None:
        """Another worker took the session over: what waited is kept aside in the file
        `where`, if the disk took it, and goes nowhere."""

    def refused(self, session_id: str, message: str) -> None:
        """Something that waited could not be kept as it should."""


class HeldSession:
    """A session that is written to under a lease of ours."""

    def __init__(self, backlog: Backlog, last_seq: int) -> None:
        self.backlog = backlog
        self.last_seq = last_seq
        self.waiting = 0
        self.lost: LeaseLost | None = None
        self.writing = asyncio.Lock()
        self._recent: dict[tuple[str | None, ...], None] = {}

    def took(self, stored: Sequence[StoredEntry]) -> None:
        """The store took these entries."""
        for entry in stored:
            self._remember((entry.transcript, entry.subpath, entry.uuid))
            self.last_seq = entry.seq

    def numbered(self, key: SessionKey, drafts: Sequence[Draft]) -> list[StoredEntry]:
        """What the store will make of these drafts, as far as can be known here."""
        stored: list[StoredEntry] = []
        for draft in drafts:
            identity = (key["session_id"], key.get("subpath", ""), draft.uuid or draft.place)
            if identity in self._recent:
                continue
            self._remember(identity)
            self.last_seq += 1
            stored.append(draft.stored(self.backlog.lease.session_id, self.last_seq, key))
        return stored

    def forget(self, stored: Sequence[StoredEntry]) -> None:
        """These entries, the newest, are kept nowhere."""
        self.last_seq -= len(stored)
        for entry in stored:
            self._recent.pop((entry.transcript, entry.subpath, entry.uuid), None)

    def _remember(self, identity: tuple[str | None, ...]) -> None:
        if identity[-1] is None:
            return
        self._recent[identity] = None
        if len(self._recent) > _RECENT:
            del self._recent[next(iter(self._recent))]
