"""A rung may be taken several times in a row, and interruptions are counted apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

import pytest

from supervisor.core.action import Action, Capability
from supervisor.core.decision import Choice, Decision
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.verdict import FailureMode, Verdict
from supervisor.policy.engine import decide, ordered
from supervisor.policy.history import History
from supervisor.policy.model import Policy

LADDER = """
version: 1
rules:
  - name: ride out interruptions
    on: interruption
    ladder: [{resume: {attempts: 3}}, abort]
"""
LIMITED = """
version: 1
limits:
  interventions: {max: 2, per: 30m}
  resumptions: {max: 3, per: 30m, then: abort}
rules:
  - {name: break loops, on: loop, ladder: [nudge, correct, rollback]}
  - {name: ride out interruptions, on: interruption, ladder: [{resume: {attempts: 9}}]}
"""

Finding = Callable[..., Verdict]


class Session:
    """Decides under one policy, and has what is decided done."""

    def __init__(
        self,
        policy: Policy,
        actions: Mapping[str, type[Action]],
        now: datetime,
        outcome_of: Callable[[Decision, OutcomeStatus], Outcome],
    ) -> None:
        self.policy = policy
        self.actions = actions
        self.now = now
        self.outcome_of = outcome_of
        self.history = History()

    def act(self, verdict: Verdict, status: OutcomeStatus, *, carried_out: bool = True) -> Decision:
        decision = decide(
            self.policy,
            verdict,
            self.history,
            self.now,
            actions=self.actions,
            capabilities=frozenset(Capability),
        )
        self.history.record_decision(decision)
        if decision.choice is Choice.ACT:
            if carried_out:
                self.history.record_effect(decision)
            self.history.record_outcome(self.outcome_of(decision, status))
        return decision


@pytest.fixture
def session(
    parse: Callable[[str], Policy],
    actions: Mapping[str, type[Action]],
    started: datetime,
    outcome_of: Callable[[Decision, OutcomeStatus], Outcome],
) -> Callable[[str], Session]:
    return lambda text: Session(parse(text), actions, started, outcome_of)


SetUp = Callable[[str], Session]


@pytest.fixture
def outage(finding: Finding) -> Finding:
    """An interruption; `key` says where the model answered last."""

    def make(seq: int, key: str = "after 5") -> Verdict:
        mode = FailureMode.INTERRUPTION
        return finding(seq, key, detector="diagnosis", failure_mode=mode, confidence=1.0)

    return make


def taken(decisions: list[Decision]) -> list[tuple[str | None, int]]:
    return [(decision.action, decision.attempt) for decision in decisions]


def test_a_rung_that_does_not_help_is_taken_as_often_as_it_may_be(
    session: SetUp, outage: Finding
) -> None:
    ridden = session(LADDER)

    decisions = [ridden.act(outage(seq), OutcomeStatus.FAILED) for seq in range(10, 15)]

    assert taken(decisions) == [
        ("resume", 1),
        ("resume", 2),
        ("resume", 3),
        ("abort", 1),
        (None, 1),
    ]
    assert decisions[1].reason == "resume did not help: resume, rung 1 of 2, attempt 2 of 3"
    assert decisions[4].choice is Choice.EXHAUSTED
    assert len({decision.id for decision in decisions}) == 5


def test_once_the_model_has_answered_the_attempts_begin_anew(
    session: SetUp, outage: Finding
) -> None:
    ridden = session(LADDER)
    ridden.act(outage(10), OutcomeStatus.FAILED)
    ridden.act(outage(11), OutcomeStatus.CLEARED)

    assert taken([ridden.act(outage(20, "after 19"), OutcomeStatus.FAILED)]) == [("resume", 1)]


def test_what_could_not_be_carried_out_is_not_tried_in_the_same_way_again(
    session: SetUp, outage: Finding
) -> None:
    ridden = session(LADDER)
    ridden.act(outage(10), OutcomeStatus.FAILED, carried_out=False)

    assert ridden.act(outage(11), OutcomeStatus.FAILED).action == "abort"


def test_an_attempt_of_a_worker_that_died_counts(session: SetUp, outage: Finding) -> None:
    ridden = session(LADDER)

    decisions = [ridden.act(outage(seq), OutcomeStatus.SUPERSEDED) for seq in range(10, 14)]

    assert taken(decisions) == [("resume", 1), ("resume", 2), ("resume", 3), ("abort", 1)]


def test_interruptions_have_a_limit_of_their_own(
    session: SetUp, outage: Finding, finding: Finding
) -> None:
    limited = session(LIMITED)

    resumed = [limited.act(outage(seq), OutcomeStatus.FAILED) for seq in (10, 11, 12)]
    nudged = [limited.act(finding(seq), OutcomeStatus.FAILED) for seq in (13, 14)]

    assert [each.action for each in (*resumed, *nudged)] == ["resume"] * 3 + ["nudge", "correct"]
    over = limited.act(outage(15), OutcomeStatus.FAILED)
    assert (over.action, over.limit) == ("abort", "resumptions")
    assert over.reason == "the limit of 3 resumptions in 30m is reached: abort"
    assert limited.act(finding(16), OutcomeStatus.FAILED).limit == "interventions"


def test_what_a_person_orders_is_no_rules(outage: Finding, started: datetime) -> None:
    decision = ordered(outage(10), started, "resume", "told to go on")

    assert (decision.choice, decision.action) == (Choice.ACT, "resume")
    assert (decision.rule, decision.rung, decision.params) == (None, None, {})
    again = ordered(outage(10), started.replace(hour=13), "resume", "told to go on")
    assert again.id != decision.id, "each order is its own"
