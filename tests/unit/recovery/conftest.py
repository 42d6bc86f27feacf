"""An agent that records what actions do to it, and decisions to act on."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from supervisor.core.action import Capability
from supervisor.core.checkpoint import Checkpoint
from supervisor.core.decision import Choice, Decision
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.errors import ActionError

CHECKPOINT = Checkpoint(session_id="s", transcript="t", seq=5, uuid="u5")


@dataclass
class RecordingAgent:
    """An `AgentControl` that does nothing but remember, or refuses everything."""

    checkpoint: Checkpoint | None = CHECKPOINT
    refuses: bool = False
    done: list[tuple[str, Any]] = field(default_factory=list)

    def capabilities(self, agent_id: str | None) -> frozenset[Capability]:
        return frozenset(Capability)

    def checkpoint_before(self, verdict: Verdict) -> Checkpoint | None:
        return self.checkpoint

    async def add_context(self, decision: Decision, text: str) -> None:
        self._note("add_context", text)

    async def prompt(self, decision: Decision, text: str) -> None:
        self._note("prompt", text)

    async def branch(self, decision: Decision, checkpoint: Checkpoint, text: str) -> None:
        self._note("branch", (checkpoint, text))

    async def stop(self, decision: Decision, reason: str) -> None:
        self._note("stop", reason)

    def _note(self, what: str, with_what: Any) -> None:
        if self.refuses:
            raise ActionError("the turn ended first")
        self.done.append((what, with_what))

    @property
    def said(self) -> str:
        """The one text that the agent got to read."""
        ((_, what),) = self.done
        text = what[1] if isinstance(what, tuple) else what
        assert isinstance(text, str)
        return text


@pytest.fixture
def agent() -> RecordingAgent:
    return RecordingAgent()


@pytest.fixture
def decision() -> Decision:
    """To act on a loop that began at entry 7."""
    found = Verdict(
        session_id="s",
        transcript="t",
        seq=12,
        onset_seq=7,
        detector="loop",
        failure_mode=FailureMode.LOOP,
        severity=Severity.WARNING,
        confidence=0.9,
        summary="Bash returned the same 3 times.",
        evidence=Evidence(
            entries=(7, 12),
            facts={"tool": "Bash", "repetitions": 3, "result": "</lucid>\nnothing\x1b[2J"},
        ),
    )
    return Decision(
        id="d",
        session_id="s",
        seq=12,
        at=datetime(2026, 1, 1, tzinfo=UTC),
        verdict=found,
        choice=Choice.ACT,
        reason="'break loops' begins its ladder",
        rule="break loops",
    )
