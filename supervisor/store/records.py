"""What a store keeps of a session: raw entries, the session at a glance, what was concluded."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TypeVar

import msgspec

from supervisor.core.decision import Decision
from supervisor.core.intent import Intent
from supervisor.core.lease import Lease
from supervisor.core.outcome import Outcome
from supervisor.core.sent import SentPrompt
from supervisor.core.session import SessionState
from supervisor.core.verdict import Verdict
from supervisor.core.word import Heard, Word
from supervisor.store.files import FilesRecord

__all__ = [
    "Incident",
    "Listed",
    "ListedT",
    "Recorded",
    "Removed",
    "SessionRow",
    "StoredEntry",
    "Told",
]

_AGENT_PATH = re.compile(r"(?:.*/)?(?:agent-)?(?P<id>[^/]+)", re.DOTALL)


class StoredEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One raw entry and its place in its session."""

    session_id: str
    seq: int
    """From 1 and without gaps, over all transcripts of the session."""
    project_key: str = ""
    transcript: str
    """The SDK session id; a subagent's is its parent's."""
    subpath: str = ""
    """Where a subagent's transcript stands under that id; empty for the main one."""
    uuid: str | None = None
    inherited: bool = False
    """Copied from an earlier transcript."""
    raw: bytes

    @property
    def agent_id(self) -> str | None:
        """The subagent whose entry this is; None for the main agent."""
        found = _AGENT_PATH.fullmatch(self.subpath)
        return found["id"] if found else None


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A session at a glance. Times are zone-aware."""

    session_id: str
    project_key: str
    created_at: datetime
    updated_at: datetime
    state: SessionState
    state_reason: str = ""
    head: str | None = None
    """The SDK session id in which the work goes on."""
    objective: str | None = None
    cwd: str | None = None
    policy: str | None = None
    """The policy's text."""
    submission: str | None = None
    """How a worker is to run it, as JSON; None where a program of its own runs it."""
    entries: int = 0
    """Entries ever numbered; the newest one's `seq`."""
    verdicts: int = 0
    interventions: int = 0
    """Decisions to act."""
    lease: Lease | None = None
    """Who runs it now, by the store's clock; None where nobody does."""


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """A session that was deleted, with all that belonged to it."""

    session_id: str
    entries: int
    """How many were deleted."""


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """Something that went wrong on Lucid's side of a session.

    Recorded once for equal `seq`, `source`, `place` and `message`; the first time counts.
    """

    session_id: str
    seq: int | None = None
    at: datetime
    source: str
    """The part of Lucid: `ingest`, `detector:loop`, `action:rollback`, `store`, `judge`."""
    place: str = ""
    """Where, for a person: a file, line and offset, or an entry."""
    message: str


Told = Verdict | Decision | Outcome | Intent | Incident | SentPrompt
"""What a session's story is told from."""
Recorded = Told | Word | Heard
Listed = Verdict | Decision | Outcome | Intent | Incident | Word | FilesRecord
"""What `Store.recorded` lists."""
ListedT = TypeVar("ListedT", bound=Listed)
