"""What a switch has set holds for the rest of the session, until a person chooses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from supervisor.core.decision import Choice, Decision
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.runtime.changes import switched
from supervisor.runtime.ruling import LEFT_OPEN

AT = datetime(2026, 1, 1, tzinfo=UTC)


def decision(number: int, action: str, to: str, choice: Choice = Choice.ACT) -> Decision:
    verdict = Verdict(
        session_id="s",
        transcript="t",
        seq=number,
        onset_seq=1,
        detector="loop",
        failure_mode=FailureMode.LOOP,
        severity=Severity.WARNING,
        confidence=0.9,
        summary="again",
        evidence=Evidence(entries=(number,)),
    )
    return Decision(
        id=str(number),
        session_id="s",
        seq=number,
        at=AT + timedelta(minutes=number),
        verdict=verdict,
        choice=choice,
        reason="for the test",
        action=action,
        params={"to": to, "message": None},
    )


def outcome(number: int, status: OutcomeStatus, did: str = "", reason: str = "so") -> Outcome:
    return Outcome(
        session_id="s",
        decision_id=str(number),
        action="switch_model",
        failure_mode=FailureMode.LOOP,
        status=status,
        seq=number,
        at=AT,
        reason=reason,
        did=did,
    )


MODEL, EFFORT = decision(1, "switch_model", "opus"), decision(2, "switch_effort", "max")
DONE = outcome(1, OutcomeStatus.FAILED, did="goes on with the model opus")


@pytest.mark.parametrize(
    ("outcomes", "holds"),
    [
        ([], {"model": "opus"}),
        ([DONE], {"model": "opus"}),
        ([outcome(1, OutcomeStatus.SUPERSEDED, reason=LEFT_OPEN)], {"model": "opus"}),
        ([outcome(1, OutcomeStatus.FAILED, reason="no checkpoint")], {}),
        ([DONE, outcome(1, OutcomeStatus.RELAPSED)], {"model": "opus"}),
    ],
)
def test_a_switch_that_may_have_been_made_holds(
    outcomes: list[Outcome], holds: dict[str, Any]
) -> None:
    assert switched([MODEL], outcomes, None) == holds


def test_the_newest_of_each_kind_holds_and_nothing_else_does() -> None:
    later = decision(3, "switch_model", "haiku")
    observed = decision(4, "switch_model", "sonnet", Choice.OBSERVE)
    other = decision(5, "nudge", "nobody")

    held = switched([MODEL, EFFORT, later, observed, other], [], None)

    assert held == {"model": "haiku", "effort": "max"}


def test_what_a_person_chose_since_goes_before() -> None:
    assert switched([MODEL, EFFORT], [], AT + timedelta(minutes=1)) == {"effort": "max"}
