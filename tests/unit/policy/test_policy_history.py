"""`History` remembers what ladders, cooldowns and limits need, and no more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from supervisor.core.decision import Choice, Decision
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.verdict import Verdict
from supervisor.policy.history import MAX_REMEMBERED, History
from supervisor.policy.model import MAX_INTERVENTIONS

Acted = Callable[..., Decision]
OutcomeOf = Callable[[Decision, OutcomeStatus], Outcome]


@pytest.fixture
def decided(finding: Callable[..., Verdict], started: datetime) -> Acted:
    def make(
        seq: int, key: str = "k", agent: str | None = None, choice: Choice = Choice.ACT
    ) -> Decision:
        return Decision(
            id=f"d{seq}",
            session_id="s",
            seq=seq,
            at=started + timedelta(seconds=seq),
            verdict=finding(seq, key=key, agent=agent),
            choice=choice,
            reason="for the test",
            rule="r",
            rung=0,
            action="nudge",
        )

    return make


def test_a_new_history_knows_nothing() -> None:
    history = History()

    assert history.last_of_agent(None) is None
    assert history.last_of_rule("r", None) is None
    assert history.last_of_failure("r", None, "k") is None
    assert history.time_of(1) is None


@pytest.mark.parametrize("choice", [choice for choice in Choice if choice is not Choice.ACT])
def test_decisions_that_lead_to_no_action_are_not_remembered(
    choice: Choice, decided: Acted
) -> None:
    history = History()
    history.record_decision(decided(1, choice=choice))

    assert history.last_of_agent(None) is None
    assert history.time_of(1) is None


def test_the_newest_decision_and_outcome_are_what_is_remembered(
    decided: Acted, outcome_of: OutcomeOf
) -> None:
    history = History()
    first, second = decided(1), decided(2)
    history.record_decision(first)
    history.record_decision(second)
    history.record_outcome(outcome_of(second, OutcomeStatus.CLEARED))
    history.record_outcome(outcome_of(second, OutcomeStatus.RELAPSED))

    last = history.last_of_failure("r", None, "k")

    assert last is not None
    assert last is history.last_of_agent(None) is history.last_of_rule("r", None)
    assert last.decision == second
    assert last.outcome is not None
    assert last.outcome.status is OutcomeStatus.RELAPSED
    assert history.time_of(1) == second.at
    assert history.time_of(2) == first.at
    assert history.time_of(3) is None


def test_the_outcome_of_a_forgotten_decision_changes_nothing(
    decided: Acted, outcome_of: OutcomeOf
) -> None:
    history = History()
    first, second = decided(1), decided(2)
    history.record_decision(first)
    history.record_decision(second)
    history.record_outcome(outcome_of(first, OutcomeStatus.FAILED))

    last = history.last_of_agent(None)

    assert last is not None
    assert last.outcome is None


def test_memory_is_bounded_and_the_oldest_goes_first(decided: Acted) -> None:
    history = History()
    for seq in range(1, MAX_REMEMBERED + 2):
        history.record_decision(decided(seq, key=f"k{seq}", agent=f"a{seq}"))

    assert history.last_of_failure("r", "a1", "k1") is None
    assert history.last_of_agent("a1") is None
    assert history.last_of_failure("r", "a2", "k2") is not None
    assert history.time_of(MAX_INTERVENTIONS) is not None
    assert history.time_of(MAX_INTERVENTIONS + 1) is None
