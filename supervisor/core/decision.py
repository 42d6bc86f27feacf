"""`Decision`: what a policy chose for a verdict, and why."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from supervisor.core.verdict import Verdict

__all__ = ["Choice", "Decision", "Skipped"]


class Choice(StrEnum):
    """What became of a verdict. Only `ACT` leads to an action."""

    ACT = "act"
    OBSERVE = "observe"
    """The policy is in observe mode: what would be done is recorded, nothing is."""
    NO_RULE = "no_rule"
    WAITING = "waiting"
    """An earlier action's outcome is still open, or the ladder's next rung is not due yet."""
    COOLDOWN = "cooldown"
    EXHAUSTED = "exhausted"
    """Every rung of the ladder was tried or is out of reach."""


class Skipped(msgspec.Struct, frozen=True):
    """A rung that was passed over, and why."""

    action: str
    reason: str


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one verdict. Its id is a function of the verdict and the rule, so
    deciding the same thing twice yields the same decision, and acting on it twice can
    be told."""

    id: str
    session_id: str
    seq: int
    """The verdict's entry."""
    at: datetime
    verdict: Verdict
    choice: Choice
    reason: str
    """One sentence: why this choice."""
    rule: str | None = None
    attempt: int = 1
    """How often in a row this rung is taken for this failure, with this time."""
    since_seq: int = 0
    """Where the failure began that the ladder has dealt with up to here, in the verdict's
    transcript: what an action led to, such as calls that are denied, may be found as a later
    onset. 0: where the verdict says."""
    attempts: int = 1
    """How often it may be taken in a row at most."""
    rung: int | None = None
    """Index into the rule's ladder; None where a limit's action stands outside it."""
    action: str | None = None
    params: Mapping[str, Any] = {}
    skipped: tuple[Skipped, ...] = ()
    limit: str | None = None
    """Which of the policy's limits decided, such as `interventions`; None for a rule."""
