"""What rules may ask for besides the verdict, steps that wait, repeat or choose, budgets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.action import Action, Capability
from supervisor.core.decision import Choice, Decision
from supervisor.core.detector import Detector
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.verdict import FailureMode, Verdict
from supervisor.policy.engine import LIMITS, decide
from supervisor.policy.history import History
from supervisor.policy.load import load_policy, read_policy
from supervisor.policy.model import Mode, Policy
from supervisor.policy.situation import Situation, record_of
from supervisor.policy.stored import restored_policy

GOOD = Path(__file__).parents[2] / "fixtures" / "policies" / "good"
Parse = Callable[[str], Policy]
Finding = Callable[..., Verdict]
OutcomeOf = Callable[[Decision, OutcomeStatus], Outcome]
Decide = Callable[..., Decision]


class Session:
    """Verdicts go in, decisions come out and are carried out."""

    def __init__(
        self, policy: Policy, actions: Mapping[str, type[Action]], now: datetime, settle: OutcomeOf
    ) -> None:
        self.policy = policy
        self.now = now
        self.history = History()
        self.situation = Situation()
        self._actions = actions
        self._settle = settle

    def decide(self, verdict: Verdict, **situation: Any) -> Decision:
        return decide(
            self.policy,
            verdict,
            self.history,
            self.now,
            actions=self._actions,
            capabilities=frozenset(Capability),
            situation=self.situation._replace(**situation),
        )

    def act(self, verdict: Verdict, status: OutcomeStatus = OutcomeStatus.FAILED) -> Decision:
        decision = self.decide(verdict)
        self.history.record_decision(decision)
        self.history.record_effect(decision)
        if decision.choice is Choice.ACT:
            self.history.record_outcome(self._settle(decision, status))
        return decision


@pytest.fixture(scope="session")
def session(
    parse: Parse, actions: Mapping[str, type[Action]], started: datetime, outcome_of: OutcomeOf
) -> Callable[[str], Session]:
    return lambda text: Session(parse(f"version: 1\n{text}"), actions, started, outcome_of)


Open = Callable[[str], Session]


def rule(asks: str, ladder: str = "[nudge]") -> str:
    return f"rules:\n  - {{name: r, on: loop, {asks}, ladder: {ladder}}}\n"


# Conditions


@pytest.mark.parametrize(
    ("asks", "agent", "situation", "reason"),
    [
        ("agent: main", None, {}, None),
        ("agent: main", "a1", {}, "is for the main agent"),
        ("agent: subagents", "a1", {}, None),
        ("agent: subagents", None, {}, "is for subagents"),
        ("agent: code-*", "a1", {"agent_type": "code-reviewer"}, None),
        ("agent: a1*", "a17", {}, None),
        ("agent: code-*", "a1", {"agent_type": "Explore"}, "is for subagents like code-*"),
        ("agent: code-*", None, {}, "is for subagents like code-*"),
        ("labels: {team: pay*}", None, {"labels": {"team": "payments"}}, None),
        (
            "labels: {team: pay}",
            None,
            {"labels": {"team": "web"}},
            "asks for the label team=pay, not web",
        ),
        (
            "labels: {team: pay}",
            None,
            {},
            "asks for the label team=pay, and the session has no team",
        ),
        ("cost_usd: {over: 5}", None, {"cost_usd": 5.01}, None),
        ("cost_usd: {over: 5}", None, {"cost_usd": 5}, "asks for a cost over $5, not $5.00"),
        ("enabled: false", None, {}, "is switched off"),
    ],
)
def test_a_rule_matches_where_all_that_it_asks_for_holds(
    asks: str,
    agent: str | None,
    situation: dict[str, Any],
    reason: str | None,
    session: Open,
    finding: Finding,
) -> None:
    decision = session(rule(asks)).decide(finding(agent=agent), **situation)

    if reason is None:
        assert decision.choice is Choice.ACT
    else:
        assert decision.reason == f"no rule matches: 'r' {reason}"


@pytest.mark.parametrize(
    ("between", "clock", "holds"),
    [
        ("22:00-06:00", "22:00", True),
        ("22:00-06:00", "05:59", True),
        ("22:00-06:00", "06:00", False),
        ("09:00-17:00", "09:00", True),
        ("09:00-17:00", "17:00", False),
        ("13:00-14:00 Europe/Berlin", "12:30", True),  # in winter an hour ahead of UTC
        ("13:00-14:00 Europe/Berlin", "13:30", False),
    ],
)
def test_a_time_of_day_holds_from_its_first_minute_to_before_its_last(
    between: str, clock: str, holds: bool, session: Open, finding: Finding
) -> None:
    opened = session(rule(f"between: {between}"))
    hour, minute = map(int, clock.split(":"))
    opened.now = opened.now.replace(hour=hour, minute=minute)

    assert (opened.decide(finding()).choice is Choice.ACT) is holds


def test_a_rule_may_observe_in_a_policy_that_acts_and_act_in_one_that_observes(
    session: Open, finding: Finding
) -> None:
    observing = session(rule("mode: observe"))
    acting = session("mode: observe\n" + rule("mode: act"))

    assert observing.decide(finding()).choice is Choice.OBSERVE
    assert acting.decide(finding()).choice is Choice.ACT
    assert not observing.policy.answers(FailureMode.LOOP)
    assert acting.policy.answers(FailureMode.LOOP)


# Steps


def test_a_step_waits_for_entries_since_the_one_before(session: Open, finding: Finding) -> None:
    opened = session(rule("agent: main", "[nudge, correct: {wait: 5 entries}]"))
    opened.act(finding(10))

    early, due = opened.act(finding(12)), opened.decide(finding(15))

    assert early.choice is Choice.WAITING
    assert early.reason == "nudge did not help: correct, rung 2 of 2, waits for another 3 entries"
    assert due.action == "correct"


def test_a_step_waits_for_time(session: Open, finding: Finding) -> None:
    opened = session(rule("agent: main", "[nudge, correct: {wait: 2m}]"))
    opened.act(finding(10))
    opened.now += timedelta(seconds=90)

    early = opened.act(finding(100))
    opened.now += timedelta(seconds=30)

    assert early.reason.endswith("waits for another 30 s")
    assert opened.decide(finding(101)).action == "correct"


def test_the_first_step_waits_from_the_first_sight_of_the_failure(
    session: Open, finding: Finding
) -> None:
    opened = session(rule("agent: main", "[nudge: {wait: 4 entries}]"))

    decisions = [opened.act(finding(seq)) for seq in (10, 12, 14)]
    other = opened.act(finding(15, key="other"))

    assert [one.choice for one in decisions] == [Choice.WAITING, Choice.WAITING, Choice.ACT]
    assert other.choice is Choice.WAITING


def test_until_cleared_is_taken_again_while_it_does_not_help(
    session: Open, finding: Finding
) -> None:
    limits = "limits: {interventions: {max: 50, per: 1h}}\n"
    opened = session(limits + rule("agent: main", "[nudge: {until: cleared}, abort]"))
    for seq in range(10, 20):
        assert opened.act(finding(seq)).action == "nudge"

    assert opened.act(finding(20), OutcomeStatus.CLEARED).reason == (
        "nudge did not help: nudge, rung 1 of 2, attempt 11"
    )
    assert opened.decide(finding(30)).action == "abort"


CHOOSING = """
rules:
  - name: r
    on: loop
    ladder:
      - choose: best
        of: [nudge, correct]
      - abort
"""


def test_the_best_by_the_record_is_taken_most_often_and_the_others_now_and_then(
    session: Open, finding: Finding
) -> None:
    opened = session(CHOOSING)
    record = {("loop", "nudge"): (2, 40), ("loop", "correct"): (40, 2)}

    taken = Counter(opened.decide(finding(seq), record=record).action for seq in range(10, 410))

    assert taken["correct"] > 360
    assert 5 <= taken["nudge"] <= 40


def test_without_a_record_each_is_as_good_as_the_other(session: Open, finding: Finding) -> None:
    opened = session(CHOOSING)

    taken = Counter(opened.decide(finding(seq)).action for seq in range(10, 410))

    assert min(taken["nudge"], taken["correct"]) > 150


def test_the_same_question_is_answered_the_same_and_says_why(
    session: Open, finding: Finding
) -> None:
    opened = session(CHOOSING)
    record = {("loop", "correct"): (400, 0)}

    decisions = [opened.decide(finding(12), record=record) for _ in range(2)]

    assert decisions[0] == decisions[1]
    assert decisions[0].reason == (
        "'r' begins its ladder: correct of 2, helped 400 times in 400, rung 1 of 2"
    )
    opened.act(finding(12))
    assert opened.decide(finding(14)).action == "abort"


def test_a_choice_is_made_among_what_can_be_done_here(
    parse: Parse, actions: Mapping[str, type[Action]], started: datetime, finding: Finding
) -> None:
    decisions = [
        decide(
            parse(f"version: 1\n{CHOOSING}"),
            finding(seq),
            History(),
            started,
            actions=actions,
            capabilities=frozenset({Capability.PROMPT}),
        )
        for seq in range(10, 40)
    ]

    assert {decision.action for decision in decisions} == {"correct"}
    assert [skipped.action for skipped in decisions[0].skipped] == ["nudge"]


def test_a_record_counts_what_became_of_each_action_in_the_end(
    session: Open, finding: Finding, outcome_of: OutcomeOf
) -> None:
    decisions = [session(rule("agent: main")).decide(finding(seq)) for seq in range(10, 14)]
    statuses = [
        [OutcomeStatus.CLEARED],
        [OutcomeStatus.CLEARED, OutcomeStatus.RELAPSED],
        [OutcomeStatus.FAILED],
        [OutcomeStatus.SUPERSEDED],
    ]

    outcomes = [
        outcome_of(decision, status)
        for decision, found in zip(decisions, statuses, strict=True)
        for status in found
    ]

    assert record_of(outcomes) == {("loop", "nudge"): (1, 2)}


# Budgets


@pytest.mark.parametrize(
    ("limits", "spent", "reason"),
    [
        ("tokens: {max: 100, then: abort}", {"tokens": 120}, "100 tokens is spent (120)"),
        ("cost_usd: {max: 5, then: abort}", {"cost_usd": 5.5}, "$5 is spent ($5.50)"),
    ],
)
def test_once_a_budget_is_spent_its_action_is_taken_once(
    limits: str, spent: dict[str, float], reason: str, session: Open, finding: Finding
) -> None:
    opened = session(f"limits: {{{limits}}}\n" + rule("agent: main"))
    before = opened.act(finding(10))
    opened.situation = opened.situation._replace(**spent)  # type: ignore[arg-type] # both fit

    first, second = opened.act(finding(12), OutcomeStatus.CLEARED), opened.act(finding(20))

    assert before.action == "nudge"
    assert (first.choice, first.action) == (Choice.ACT, "abort")
    assert first.reason == f"the budget of {reason}: abort"
    assert second.choice is Choice.EXHAUSTED
    assert second.reason == f"the budget of {reason}, which abort at 12 answered"


def test_a_budget_without_an_action_ends_what_lucid_does(session: Open, finding: Finding) -> None:
    opened = session("limits: {tokens: 100}\n" + rule("agent: main"))

    decision = opened.decide(finding(10), tokens=100)

    assert (decision.choice, decision.limit) == (Choice.EXHAUSTED, "tokens")


def test_a_verdict_of_the_limits_alone_is_answered_by_them_and_by_no_rule(
    session: Open, finding: Finding
) -> None:
    opened = session("limits: {tokens: {max: 100, then: abort}}\n" + rule("agent: main"))
    verdict = finding(10, detector=LIMITS, failure_mode=FailureMode.OVERRUN)

    assert opened.decide(verdict, tokens=100).action == "abort"
    assert opened.decide(verdict, tokens=99).choice is Choice.NO_RULE


def test_a_limit_without_a_span_holds_for_the_whole_session(
    session: Open, finding: Finding
) -> None:
    limits = "limits: {interventions: {max: 2, then: abort}}\n"
    opened = session(limits + rule("agent: main", "[nudge: {attempts: 9}]"))
    for seq in (10, 20):
        opened.act(finding(seq))
        opened.now += timedelta(days=3)

    decision = opened.decide(finding(30))

    assert decision.reason == "the limit of 2 interventions in this session is reached: abort"


# Files that include others


def test_an_included_policy_is_overridden_key_by_key_and_rules_by_their_names(
    detectors: Mapping[str, type[Detector]], actions: Mapping[str, type[Action]]
) -> None:
    policy = load_policy(GOOD / "including.yaml", detectors=detectors, actions=actions)

    limit = policy.limits.interventions
    assert policy.mode is Mode.ACT
    assert limit is not None
    assert (limit.max, limit.per) == (2, timedelta(hours=1))
    assert limit.then is not None
    assert limit.then.action == "abort"
    assert policy.detectors["loop"].model_dump(include={"repeats", "window"}) == {
        "repeats": 4,
        "window": 20,
    }
    assert [(rule.name, rule.min_confidence, rule.enabled) for rule in policy.rules] == [
        ("sure loops", 0.95, True),
        ("loops", 0.8, True),
        ("inventions", 0.0, False),
    ]
    assert [str(rung) for rung in policy.rules[1].ladder] == ["nudge", "correct"]


def test_the_files_of_a_policy_are_told(
    detectors: Mapping[str, type[Detector]], actions: Mapping[str, type[Action]]
) -> None:
    loaded = read_policy(GOOD / "including.yaml", detectors=detectors, actions=actions)

    assert [path.name for path in loaded.files] == ["including.yaml", "team.yaml"]


def test_a_policy_that_is_included_twice_is_read_once(
    tmp_path: Path, detectors: Mapping[str, type[Detector]], actions: Mapping[str, type[Action]]
) -> None:
    base = "version: 1\nrules:\n  - {name: r, on: loop, ladder: [nudge]}\n"
    (tmp_path / "base.yaml").write_text(base)
    (tmp_path / "left.yaml").write_text("version: 1\ninclude: base.yaml\n")
    (tmp_path / "right.yaml").write_text("version: 1\ninclude: base.yaml\n")
    (tmp_path / "top.yaml").write_text("version: 1\ninclude: [left.yaml, right.yaml]\n")

    loaded = read_policy(tmp_path / "top.yaml", detectors=detectors, actions=actions)

    assert [path.name for path in loaded.files] == [
        "top.yaml",
        "left.yaml",
        "base.yaml",
        "right.yaml",
    ]


def test_what_a_policy_says_of_conditions_and_steps_is_kept_with_a_session(
    detectors: Mapping[str, type[Detector]], actions: Mapping[str, type[Action]]
) -> None:
    policy = load_policy(GOOD / "every-condition.yaml", detectors=detectors, actions=actions)

    again = restored_policy(policy.model_dump_json(), "row", detectors=detectors, actions=actions)

    assert again == policy
    chooses, *_ = policy.rules[2].ladder
    assert [option.action for option in chooses.options] == ["nudge", "correct"]
