"""Whether an action helped: every transition that `outcomes` documents."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from supervisor.core.decision import Choice, Decision
from supervisor.core.entry import Entry, Origin, Prompt, ToolCall, ToolResult
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.runtime import outcomes as module
from supervisor.runtime.outcomes import PATIENCE, WINDOW, Outcomes

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def same_mode(decision: Decision, verdict: Verdict) -> bool:
    return decision.verdict.failure_mode is verdict.failure_mode


class Course:
    """What happens to one session, and what it settles."""

    def __init__(self) -> None:
        self.in_effect: list[Decision] = []
        self.outcomes = Outcomes(same_mode, self.in_effect.append)
        self.settled: list[Outcome] = []
        self.seq = 10
        self._count = 0

    @property
    def statuses(self) -> list[OutcomeStatus]:
        return [outcome.status for outcome in self.settled]

    def note(self, settled: Iterable[Outcome]) -> None:
        self.settled.extend(settled)

    def entry(self, kind: type[Any], agent: str | None = None, **fields: Any) -> None:
        self.seq += 1
        place = {"session_id": "s", "transcript": "t", "seq": self.seq, "agent_id": agent}
        entry: Entry = kind(**place, **fields)
        self.note(self.outcomes.observe(entry, NOW))

    def call(
        self, call_id: str = "c", agent: str | None = None, at: datetime | None = None
    ) -> None:
        self.entry(ToolCall, agent, call_id=call_id, tool="Bash", at=at)

    def result(self, call_id: str = "c", agent: str | None = None) -> None:
        self.entry(ToolResult, agent, call_id=call_id)

    def steps(self, count: int, agent: str | None = None) -> None:
        """That many calls, each with its result."""
        for _ in range(count):
            self._count += 1
            self.call(f"call {self._count}", agent)
            self.result(f"call {self._count}", agent)

    def lucid_prompt(self, **fields: Any) -> None:
        self.entry(Prompt, text="<lucid>", origin=Origin.LUCID, **fields)

    def fails(
        self, key: str = "k", agent: str | None = None, mode: FailureMode = FailureMode.LOOP
    ) -> Verdict:
        """A verdict on the newest entry."""
        found = verdict(self.seq, key, agent, mode)
        self.note(self.outcomes.judged(found, NOW))
        return found

    def act(self, key: str = "k", agent: str | None = None) -> Decision:
        """A decision on the newest entry, whose effect is still to come."""
        decision = decide(verdict(self.seq, key, agent))
        self.outcomes.opened(decision)
        return decision

    def nudge(self, key: str = "k", agent: str | None = None) -> Decision:
        """An action that was shown beside a result."""
        decision = self.act(key, agent)
        self.outcomes.queued(decision, NOW)
        self.outcomes.shown(decision, "shown beside")
        self.result("shown beside", agent)
        return decision

    def clear(self, key: str = "k", agent: str | None = None) -> Decision:
        """An action that cleared its failure."""
        decision = self.nudge(key, agent)
        self.steps(WINDOW, agent)
        return decision


def verdict(
    seq: int, key: str = "k", agent: str | None = None, mode: FailureMode = FailureMode.LOOP
) -> Verdict:
    return Verdict(
        session_id="s",
        transcript="t",
        agent_id=agent,
        seq=seq,
        onset_seq=1,
        detector="loop",
        failure_mode=mode,
        severity=Severity.WARNING,
        confidence=0.9,
        summary="again",
        evidence=Evidence(entries=(seq,)),
        key=key,
    )


def decide(found: Verdict, rule: str = "rule") -> Decision:
    return Decision(
        id=found.id,
        session_id="s",
        seq=found.seq,
        at=NOW,
        verdict=found,
        choice=Choice.ACT,
        reason="for the test",
        rule=rule,
        action="nudge",
    )


@pytest.fixture
def course() -> Course:
    return Course()


def test_cleared_after_a_window_of_results_without_it(course: Course) -> None:
    decision = course.nudge()
    course.steps(WINDOW - 1)
    assert course.settled == []
    assert course.outcomes.is_open(None)

    course.steps(1)

    (outcome,) = course.settled
    assert (outcome.status, outcome.decision_id) == (OutcomeStatus.CLEARED, decision.id)
    assert outcome.seq == course.seq
    assert not course.outcomes.is_open(None)


def test_cleared_by_the_end_of_the_turn(course: Course) -> None:
    course.nudge()
    course.note(course.outcomes.turn_ended(course.seq, NOW))

    assert [(o.status, o.reason) for o in course.settled] == [
        (OutcomeStatus.CLEARED, "the turn ended without it")
    ]


def test_results_of_calls_made_before_the_effect_do_not_count(course: Course) -> None:
    course.nudge()
    for _ in range(WINDOW):
        course.result()  # of calls that ran beside the one with the text

    course.steps(WINDOW - 1)
    assert course.settled == []


def test_a_prompt_of_lucids_is_the_effect_of_an_action_that_sends_one(course: Course) -> None:
    course.act()
    course.steps(WINDOW)
    assert course.settled == [], "nothing took effect yet"

    course.lucid_prompt()
    course.steps(WINDOW)
    assert course.statuses == [OutcomeStatus.CLEARED]


def test_a_users_prompt_is_no_effect(course: Course) -> None:
    course.act()
    course.entry(Prompt, text="go on", origin=Origin.USER)
    course.steps(WINDOW)

    assert course.settled == []


def test_failed_if_the_failure_shows_on_a_call_made_after_the_effect(course: Course) -> None:
    decision = course.nudge()
    course.steps(1)
    course.fails()

    (outcome,) = course.settled
    assert (outcome.status, outcome.decision_id) == (OutcomeStatus.FAILED, decision.id)
    assert not course.outcomes.is_open(None)


def test_another_key_of_the_same_rule_is_the_same_failure(course: Course) -> None:
    course.nudge(key="one")
    course.steps(1)
    course.fails(key="another")

    assert course.statuses == [OutcomeStatus.FAILED]


def test_a_failure_that_the_rule_is_not_for_settles_nothing(course: Course) -> None:
    course.nudge()
    course.steps(1)
    course.fails(mode=FailureMode.DRIFT)

    assert course.settled == []
    assert course.outcomes.is_open(None)


def test_the_failure_seen_before_the_effect_settles_nothing(course: Course) -> None:
    course.act()
    course.steps(1)
    course.fails()
    assert course.settled == []


def test_the_failure_on_calls_that_ran_beside_settles_nothing(course: Course) -> None:
    course.nudge()
    course.result("made before the text was shown")
    course.fails()

    assert course.settled == []


@pytest.mark.parametrize("missed", [PATIENCE - 1, PATIENCE])
def test_failed_if_the_text_is_never_shown(course: Course, missed: int) -> None:
    course.outcomes.queued(course.act(), NOW)
    course.steps(missed)

    assert course.statuses == [OutcomeStatus.FAILED][: missed == PATIENCE]


def test_calls_from_before_the_text_was_queued_do_not_count_as_missed(course: Course) -> None:
    course.outcomes.queued(course.act(), NOW)
    for number in range(2 * PATIENCE):
        course.call(f"read late {number}", at=NOW - timedelta(seconds=number))
        course.result(f"read late {number}")
    assert course.settled == []

    for number in range(PATIENCE):
        course.call(f"later {number}", at=NOW + timedelta(seconds=1))
        course.result(f"later {number}")
    assert course.statuses == [OutcomeStatus.FAILED]


def test_a_text_that_was_shown_is_waited_for(course: Course) -> None:
    decision = course.act()
    course.outcomes.queued(decision, NOW)
    course.outcomes.shown(decision, "slow")
    course.steps(PATIENCE)
    assert course.settled == []

    course.result("slow")
    course.steps(WINDOW)
    assert course.statuses == [OutcomeStatus.CLEARED]


def test_superseded_if_the_turn_ends_before_the_effect(course: Course) -> None:
    course.act()
    course.note(course.outcomes.turn_ended(course.seq, NOW))

    assert [(o.status, o.reason) for o in course.settled] == [
        (OutcomeStatus.SUPERSEDED, "the turn ended before it took effect")
    ]


def test_superseded_if_the_session_is_stopped(course: Course) -> None:
    course.nudge()
    course.act(agent="sub")
    course.note(course.outcomes.turn_ended(course.seq, NOW, "stopped by the policy"))

    assert [(o.status, o.reason, o.agent_id) for o in course.settled] == [
        (OutcomeStatus.SUPERSEDED, "stopped by the policy", None),
        (OutcomeStatus.SUPERSEDED, "stopped by the policy", "sub"),
    ]


def test_an_action_that_could_not_be_carried_out_failed(course: Course) -> None:
    decision = course.act()
    course.note(course.outcomes.failed(decision, course.seq, NOW, "no fork"))
    course.note(course.outcomes.failed(decision, course.seq, NOW, "said twice"))

    assert [(o.status, o.reason) for o in course.settled] == [(OutcomeStatus.FAILED, "no fork")]


def test_an_action_that_something_came_before_is_superseded(course: Course) -> None:
    decision = course.act()
    course.note(course.outcomes.superseded(decision, course.seq, NOW, "too late"))
    course.note(course.outcomes.superseded(decision, course.seq, NOW, "said twice"))

    assert [(o.status, o.reason) for o in course.settled] == [
        (OutcomeStatus.SUPERSEDED, "too late")
    ]


def test_an_outcome_tells_what_was_done(course: Course) -> None:
    decision = course.act()
    course.outcomes.acted(decision, "rolled back to entry 4")
    course.lucid_prompt()
    course.steps(WINDOW)

    (outcome,) = course.settled
    assert outcome.did == "rolled back to entry 4"
    assert (outcome.action, outcome.failure_mode) == ("nudge", FailureMode.LOOP)


def test_relapsed_if_a_cleared_failure_comes_back(course: Course) -> None:
    decision = course.clear()
    course.steps(20)
    course.fails()
    course.fails()

    assert course.statuses == [OutcomeStatus.CLEARED, OutcomeStatus.RELAPSED]
    assert course.settled[-1].decision_id == decision.id


@pytest.mark.parametrize(
    ("key", "agent", "mode"),
    [
        ("another", None, FailureMode.LOOP),
        ("k", "sub", FailureMode.LOOP),
        ("k", None, FailureMode.DRIFT),
    ],
)
def test_another_failure_is_no_relapse(
    course: Course, key: str, agent: str | None, mode: FailureMode
) -> None:
    course.clear()
    course.fails(key, agent, mode)

    assert course.statuses == [OutcomeStatus.CLEARED]


def test_what_failed_does_not_relapse(course: Course) -> None:
    course.nudge()
    course.steps(1)
    course.fails()
    course.fails()

    assert course.statuses == [OutcomeStatus.FAILED]


def test_the_memory_of_relapses_is_bounded(course: Course) -> None:
    remembered = module._REMEMBERED
    for number in range(remembered + 1):
        course.clear(key=f"k{number}")
    course.settled.clear()

    course.fails(key="k0")
    assert course.statuses == [], "the oldest is forgotten"
    course.fails(key="k1")
    assert course.statuses == [OutcomeStatus.RELAPSED]


def test_subagents_are_apart_from_the_main_agent(course: Course) -> None:
    main, sub = course.nudge(), course.nudge(agent="sub")
    course.steps(1)
    course.fails(agent="sub")
    assert course.settled == [], "the subagent has made no call since"
    course.steps(1, agent="sub")
    course.fails(agent="sub")
    assert [(o.status, o.decision_id) for o in course.settled] == [(OutcomeStatus.FAILED, sub.id)]
    assert course.outcomes.is_pending(main)
    assert not course.outcomes.is_open("sub")

    course.steps(WINDOW - 1)
    assert course.settled[1].decision_id == main.id
    assert course.settled[1].status is OutcomeStatus.CLEARED


def test_a_subagents_results_do_not_clear_the_main_agent(course: Course) -> None:
    course.nudge()
    course.steps(3 * WINDOW, agent="sub")

    assert course.settled == []


def test_inherited_entries_settle_nothing(course: Course) -> None:
    course.act()
    course.lucid_prompt(inherited=True)
    course.steps(WINDOW)

    assert course.settled == []


def test_what_is_said_of_an_action_that_is_settled_changes_nothing(course: Course) -> None:
    first = course.act()
    course.note(course.outcomes.superseded(first, course.seq, NOW, "too late"))
    course.steps(1)
    second = course.act()
    course.outcomes.queued(first, NOW)
    course.outcomes.shown(first, "call")
    course.outcomes.acted(first, "too late")

    assert not course.outcomes.is_pending(first)
    assert course.outcomes.is_pending(second)
    course.result("call")
    course.steps(WINDOW)
    assert course.statuses == [OutcomeStatus.SUPERSEDED], "the second has not taken effect"


def test_another_rules_action_leaves_the_first_ones_window_open(course: Course) -> None:
    first = course.nudge()
    other = decide(verdict(course.seq, "k", mode=FailureMode.DRIFT), rule="another rule")
    course.outcomes.opened(other)
    course.lucid_prompt()
    course.steps(WINDOW)

    assert course.in_effect == [first, other]
    assert [(found.decision_id, found.status) for found in course.settled] == [
        (first.id, OutcomeStatus.CLEARED),
        (other.id, OutcomeStatus.CLEARED),
    ]


def test_a_verdict_fails_only_the_action_of_the_rule_it_concerns(course: Course) -> None:
    loop = course.nudge()
    course.steps(1)
    course.fails(mode=FailureMode.DRIFT)
    course.fails()

    assert [found.decision_id for found in course.settled] == [loop.id]


def test_what_took_effect_at_once_is_judged_from_there(course: Course) -> None:
    decision = course.act()
    course.outcomes.took_effect(decision, course.seq)
    assert course.in_effect == [decision]

    course.steps(WINDOW)
    assert course.statuses == [OutcomeStatus.CLEARED]


def test_a_stopped_subagent_that_fails_all_the_same_has_relapsed(course: Course) -> None:
    decision = course.act(agent="a1")
    cleared = OutcomeStatus.CLEARED
    course.note(course.outcomes.turned_out(decision, cleared, course.seq, NOW, "stopped"))
    assert course.statuses == [cleared]
    assert not course.outcomes.is_open("a1")

    course.steps(1, agent="a1")
    course.fails(agent="a1")
    assert course.statuses == [cleared, OutcomeStatus.RELAPSED]


def test_the_effect_of_what_goes_on_in_a_fork_is_its_own_prompt(course: Course) -> None:
    course.act()
    course.lucid_prompt(inherited=True)
    course.steps(WINDOW)
    assert course.settled == [], "a fork repeats the prompts of earlier actions"

    course.lucid_prompt()
    course.steps(1)
    course.fails()
    assert course.statuses == [OutcomeStatus.FAILED]
