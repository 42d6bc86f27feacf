"""An agent that records what actions do to it, and decisions to act on."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.action import Action, ActionParams, Capability, Denial
from supervisor.core.checkpoint import Checkpoint
from supervisor.core.decision import Choice, Decision
from supervisor.core.digest import Digest, Step, fingerprint
from supervisor.core.interruption import Cause, GoOn, Interruption, Outage
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.errors import ActionError

OUTAGE = Outage(
    interruption=Interruption(
        cause=Cause.OVERLOADED, go_on=GoOn.CONTINUE, reason="The service is overloaded."
    ),
    began=datetime.now(UTC),
)
CHECKPOINT = Checkpoint(session_id="s", transcript="t", seq=5, uuid="u5")


def step(seq: int, command: str, **changes: Any) -> Step:
    """A call of Bash at `seq` and its result behind it."""
    given: dict[str, Any] = {
        "seq": seq,
        "agent_id": None,
        "tool": "Bash",
        "given": command,
        "fingerprint": fingerprint("Bash", command.encode()),
        "result_seq": seq + 1,
        "result": "nothing",
        "result_length": 5_000,
    }
    return Step(**(given | changes))


DIGEST = Digest(
    objective="Find the cause.",
    asked_since=("And hurry.",),
    done=(step(3, "touch notes.txt"),),
    todos=("write it down",),
    recent=(step(3, "touch notes.txt"), *(step(seq, "cat log") for seq in (7, 9, 11))),
)
"""What the agent has done by the time that it loops, with `cat log`."""


@dataclass
class RecordingAgent:
    """An `AgentControl` that does nothing but remember, or refuses everything."""

    checkpoint: Checkpoint | None = CHECKPOINT
    refuses: bool = False
    done: list[tuple[str, Any]] = field(default_factory=list)
    restores_files: bool = False
    interrupted: Outage | None = OUTAGE
    known: Digest = DIGEST
    summary: str = "Find the cause. Did: touch notes.txt. To do: write it down."
    reports: list[tuple[str, str]] = field(default_factory=list)

    def outage(self) -> Outage | None:
        return self.interrupted

    async def resume(self, decision: Decision, after: timedelta) -> str:
        self._note("resume", after)
        return "had the agent continue"

    def capabilities(self, agent_id: str | None) -> frozenset[Capability]:
        return frozenset(Capability)

    def checkpoint_before(self, verdict: Verdict) -> Checkpoint | None:
        return self.checkpoint

    async def add_context(self, decision: Decision, text: str) -> None:
        self._note("add_context", text)

    async def prompt(self, decision: Decision, text: str) -> None:
        self._note("prompt", text)

    async def branch(
        self,
        decision: Decision,
        checkpoint: Checkpoint,
        text: str,
        *,
        restore_files: bool = False,
    ) -> None:
        self.restores_files = restore_files
        self._note("branch", (checkpoint, text))

    async def stop(self, decision: Decision, reason: str) -> None:
        self._note("stop", reason)

    async def pause(self, decision: Decision, reason: str) -> None:
        self._note("pause", reason)

    async def refuse_stop(self, decision: Decision, text: str) -> None:
        self._note("refuse_stop", text)

    async def notify(self, decision: Decision, to: str | None) -> str:
        self._note("notify", to)
        return "told"

    def folder(self) -> Path:
        return Path()

    def digest(self) -> Digest:
        return self.known

    def report(self, source: str, problem: str) -> None:
        self.reports.append((source, problem))

    async def deny_calls(self, decision: Decision, denial: Denial) -> None:
        self._note("deny_calls", (denial, denial.reason))

    async def compact(
        self, decision: Decision, instructions: str, go_on: Callable[[str], str]
    ) -> None:
        self._note("compact", (instructions, go_on(self.summary)))

    async def mask_results(self, decision: Decision, seqs: Collection[int], text: str) -> None:
        self._note("mask_results", (seqs, text))

    async def restart(self, decision: Decision, prompt: str, text: str) -> None:
        self._note("restart", (prompt, text))

    async def switch(
        self, decision: Decision, text: str, *, model: str | None = None, effort: str | None = None
    ) -> None:
        self._note("switch", ((model, effort), text))

    async def stop_subagent(self, decision: Decision, text: str) -> str:
        self._note("stop_subagent", text)
        return "stopped the subagent"

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


REQUIRED: dict[str, dict[str, Any]] = {
    "switch_model": {"to": "claude-opus-5-5"},
    "verify": {"run": "false"},
}
"""Parameters that an action does not do without."""


def params_of(action: type[Action], **changes: Any) -> ActionParams:
    """The action's parameters, as few as will do and `changes`."""
    return action.Params.model_validate(REQUIRED.get(action.name, {}) | changes)


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
        attempts=3,
    )
