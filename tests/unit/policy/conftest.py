"""Small detectors and actions to load policies against, and verdicts to decide on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal

import pytest
from pydantic import Field, model_validator

from supervisor.core.action import Action, ActionParams, ActionResult, AgentControl, Capability
from supervisor.core.decision import Decision
from supervisor.core.detector import Detector, DetectorConfig
from supervisor.core.duration import Duration
from supervisor.core.entry import Entry
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.policy.load import parse_policy
from supervisor.policy.model import Policy


class Silent(Detector):
    """Finds nothing: policies only need its name, its mode and its configuration."""

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        return ()


class LoopConfig(DetectorConfig):
    repeats: int = Field(default=3, ge=2)
    window: int = 12
    tools: tuple[str, ...] = ()
    strictness: Literal["low", "high"] = "low"

    @model_validator(mode="after")
    def _window_holds_the_repeats(self) -> LoopConfig:
        if self.window < self.repeats:
            raise ValueError("window must be at least repeats")
        return self


class Loop(Silent):
    name = "loop"
    failure_mode = FailureMode.LOOP
    Config = LoopConfig


class TextLoop(Silent):
    name = "text_loop"
    failure_mode = FailureMode.LOOP


class HallucinatedTool(Silent):
    name = "hallucinated_tool"
    failure_mode = FailureMode.HALLUCINATED_TOOL


class Idle(Action):
    """Does nothing: policies only need its name, its parameters and its needs."""

    async def run(self, decision: Decision, params: Any, agent: AgentControl) -> ActionResult:
        return ActionResult(detail="did nothing")


class MessageParams(ActionParams):
    message: str | None = None


class RollbackParams(MessageParams):
    to: Literal["onset"] = "onset"
    files: Literal["keep", "restore"] = "keep"

    @property
    def restores_files(self) -> bool:
        return self.files == "restore"


class Nudge(Idle):
    name = "nudge"
    Params = MessageParams
    needs: ClassVar = frozenset({Capability.ADD_CONTEXT})


class Correct(Idle):
    name = "correct"
    Params = MessageParams
    needs: ClassVar = frozenset({Capability.PROMPT})


class Rollback(Idle):
    name = "rollback"
    Params = RollbackParams
    needs: ClassVar = frozenset({Capability.BRANCH})


class ResumeParams(ActionParams):
    within: Duration = timedelta(hours=2)


class Resume(Idle):
    name = "resume"
    Params = ResumeParams
    needs: ClassVar = frozenset({Capability.RESUME})


class Abort(Idle):
    name = "abort"
    needs: ClassVar = frozenset({Capability.STOP})


@pytest.fixture(scope="session")
def detectors() -> Mapping[str, type[Detector]]:
    return {detector.name: detector for detector in (Loop, TextLoop, HallucinatedTool)}


@pytest.fixture(scope="session")
def actions() -> Mapping[str, type[Action]]:
    return {action.name: action for action in (Nudge, Correct, Rollback, Resume, Abort)}


@pytest.fixture(scope="session")
def parse(
    detectors: Mapping[str, type[Detector]], actions: Mapping[str, type[Action]]
) -> Callable[[str], Policy]:
    """Read a policy from text."""
    return lambda text: parse_policy(text, "p.yaml", detectors=detectors, actions=actions)


@pytest.fixture(scope="session")
def started() -> datetime:
    """When the sessions of these tests began."""
    return datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def finding() -> Callable[..., Verdict]:
    """Make a verdict; what is not said is a certain loop of the main agent."""

    def make(seq: int = 10, key: str = "k", agent: str | None = None, **said: Any) -> Verdict:
        facts: dict[str, Any] = {
            "detector": "loop",
            "failure_mode": FailureMode.LOOP,
            "severity": Severity.WARNING,
            "confidence": 0.9,
        }
        return Verdict(
            session_id="s",
            transcript="t",
            agent_id=agent,
            seq=seq,
            onset_seq=max(1, seq - 3),
            summary="the same call with the same result",
            evidence=Evidence(entries=(seq,)),
            key=key,
            **(facts | said),
        )

    return make


@pytest.fixture(scope="session")
def outcome_of() -> Callable[[Decision, OutcomeStatus], Outcome]:
    """Settle a decision."""

    def settle(decision: Decision, status: OutcomeStatus) -> Outcome:
        return Outcome(
            session_id=decision.session_id,
            decision_id=decision.id,
            action=decision.action or "",
            failure_mode=decision.verdict.failure_mode,
            agent_id=decision.verdict.agent_id,
            status=status,
            seq=decision.seq + 1,
            at=decision.at,
            reason="for the test",
        )

    return settle
