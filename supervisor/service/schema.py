"""What the API sends, as types: the published document is made from them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from supervisor.core.session import SessionState

__all__ = ["Health", "HookBody", "Page", "Problem", "Readiness", "Session", "TranscriptEntry"]

Item = TypeVar("Item")


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was refused (RFC 9457, `application/problem+json`)."""

    title: str
    """The status in words."""
    status: int
    detail: str
    """What is wrong, and what to do."""
    type: str = "about:blank"


class HookBody(msgspec.Struct, frozen=True, kw_only=True):
    """What Claude Code posts, as far as every hook has it; `supervisor.sidecar.hook.Hook` says
    what is read of the rest."""

    hook_event_name: str
    session_id: str
    """The SDK session's."""
    transcript_path: str = ""
    """Below one of the folders that are followed."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The process answers."""

    alive: bool = True
    version: str


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the process can do its work now."""

    ready: bool
    reasons: tuple[str, ...] = ()
    """Why not, in sentences."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A session at a glance."""

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
    entries: int = 0
    """Entries ever numbered; the newest one's `seq`."""
    verdicts: int = 0
    interventions: int = 0
    """Decisions to act."""
    held_by: str | None = None
    """Who runs or follows it now; null where nobody does."""
    held_until: datetime | None = None


class TranscriptEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a transcript and its place in the session."""

    session_id: str
    seq: int
    """From 1 and without gaps, over all transcripts of the session."""
    transcript: str
    """The SDK session id."""
    agent_id: str | None = None
    """The subagent whose entry this is; null for the main agent."""
    uuid: str | None = None
    inherited: bool = False
    """Copied from an earlier transcript."""
    raw: Any
    """The line as its agent's runtime wrote it: an object, or a string where it is no JSON.
    Secrets are taken out, and long strings cut; the store keeps it as it was."""
    is_cut: bool = False
    """Whether something too long was cut from it."""


class Page(msgspec.Struct, Generic[Item], frozen=True, kw_only=True):
    """A part of a list."""

    items: list[Item]
    next: str | None = None
    """The `cursor` with which the list goes on; null at its end."""
