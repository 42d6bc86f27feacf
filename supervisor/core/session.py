"""`SessionState`: how a session stands, and how it ended."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["SessionState"]


class SessionState(StrEnum):
    """Where a supervised session is. All but `QUEUED` and `RUNNING` are ends, and may be
    resumed."""

    QUEUED = "queued"
    """It waits for a worker."""
    RUNNING = "running"
    REACHED = "reached"
    """The agent finished, and no failure is left unresolved, as far as Lucid knows."""
    GAVE_UP = "gave_up"
    """It ran into a limit, or finished with a failure unresolved."""
    ABORTED = "aborted"
    """A policy stopped it."""
    BROKEN = "broken"
    """The infrastructure failed: the model's service, the CLI or the store."""
    PAUSED = "paused"
    """It waits for a person's word: approved, rejected or told something, it goes on."""
    CLOSED = "closed"
    """The caller left before the agent finished."""
