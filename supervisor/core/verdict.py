"""`Verdict`: a detector's finding, with the evidence it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

__all__ = ["RUNTIME_MODES", "Evidence", "Fact", "FailureMode", "Severity", "Verdict"]

Fact = str | int | float | bool | tuple[str, ...]
"""What was measured, as a verdict holds it."""


class FailureMode(StrEnum):
    """The ways an agent fails without an exception."""

    LOOP = "loop"
    HALLUCINATED_TOOL = "hallucinated_tool"
    DRIFT = "drift"
    CONTEXT_BLOAT = "context_bloat"
    FALSE_COMPLETION = "false_completion"
    PREMATURE_END = "premature_end"
    STALL = "stall"
    INCOHERENCE = "incoherence"
    OVERRUN = "overrun"
    """It takes more calls, tokens, money or time than it was given."""
    INTERRUPTION = "interruption"
    STOP = "stop"
    """It is about to end its turn. No failure yet: whether it is one, a check says."""


RUNTIME_MODES = frozenset({FailureMode.INTERRUPTION, FailureMode.STOP})
"""What the runtime sees itself, and no detector finds in a transcript."""


class Severity(StrEnum):
    """How bad it is if nothing is done."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The entries a verdict rests on and the facts measured on them."""

    entries: tuple[int, ...]
    """Their `seq`, ascending; bounded, oldest dropped first."""
    facts: Mapping[str, Fact] = {}
    """Short, bounded values; text in them is the agent's and untrusted."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One finding about one agent of one session."""

    session_id: str
    transcript: str
    agent_id: str | None = None
    seq: int
    """The entry that completed the finding."""
    onset_seq: int
    """Where the failure began; rolling back to before it removes the failure."""
    detector: str
    failure_mode: FailureMode
    severity: Severity
    confidence: float
    """0..1: the share of such verdicts that are right."""
    summary: str
    """One sentence for a person; may quote the agent, bounded."""
    evidence: Evidence
    key: str = ""
    """What fails, so that the same failure seen again is known as the same."""
    risk: float | None = None
    """How likely the run fails as a whole, as it stood then; see docs/risk.md."""

    @property
    def id(self) -> str:
        """Unique in its session, and the same on replay."""
        agent = f"/{self.agent_id}" if self.agent_id else ""
        return f"{self.seq}{agent}/{self.detector}/{self.key}"
