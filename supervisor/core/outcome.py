"""`Outcome`: whether an action helped, measured on the entries that follow it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from supervisor.core.verdict import FailureMode

__all__ = ["Outcome", "OutcomeStatus"]


class OutcomeStatus(StrEnum):
    """How an action turned out. A cleared one may relapse later."""

    CLEARED = "cleared"
    """The failure did not show again in the action's window."""
    RELAPSED = "relapsed"
    """It was cleared, and the same failure came back."""
    FAILED = "failed"
    """The failure went on, or the action could not be carried out."""
    SUPERSEDED = "superseded"
    """Another action, or the end of the turn, came before it could be judged."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one decision's action."""

    session_id: str
    decision_id: str
    action: str
    failure_mode: FailureMode
    agent_id: str | None = None
    status: OutcomeStatus
    seq: int
    """The entry that settled it."""
    at: datetime
    reason: str
    did: str = ""
    """What the action did, in its own words; empty where it did nothing."""
