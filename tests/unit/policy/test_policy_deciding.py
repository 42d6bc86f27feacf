"""`decide` answers every verdict, and the same question always the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from supervisor.core.action import Action, Capability
from supervisor.core.decision import Choice, Decision, Skipped
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.verdict import FailureMode, Severity, Verdict
from supervisor.policy.engine import decide
from supervisor.policy.history import History
from supervisor.policy.model import Policy

LADDER = """
version: 1
rules:
  - name: break loops
    on: loop
    ladder:
      - nudge
      - rollback: {message: "Start over."}
      - abort
"""
EVERYTHING = frozenset(Capability)

Finding = Callable[..., Verdict]
Parse = Callable[[str], Policy]
OutcomeOf = Callable[[Decision, OutcomeStatus], Outcome]


class Table:
    """A session under one policy: verdicts go in, decisions come out and are carried out."""

    def __init__(
        self,
        policy: Policy,
        actions: Mapping[str, type[Action]],
        now: datetime,
        outcome_of: OutcomeOf,
    ) -> None:
        self.policy = policy
        self.actions = actions
        self.now = now
        self.outcome_of = outcome_of
        self.history = History()
        self.capabilities = EVERYTHING

    def decide(self, verdict: Verdict) -> Decision:
        return decide(
            self.policy,
            verdict,
            self.history,
            self.now,
            actions=self.actions,
            capabilities=self.capabilities,
        )

    def act(self, verdict: Verdict, status: OutcomeStatus | None = None) -> Decision:
        """Decide, record, and settle with `status` unless it stays open."""
        decision = self.decide(verdict)
        self.history.record_decision(decision)
        if status is not None:
            self.settle(decision, status)
        return decision

    def settle(self, decision: Decision, status: OutcomeStatus) -> None:
        self.history.record_outcome(self.outcome_of(decision, status))


@pytest.fixture(scope="session")
def table(
    parse: Parse,
    actions: Mapping[str, type[Action]],
    started: datetime,
    outcome_of: OutcomeOf,
) -> Callable[[str], Table]:
    return lambda text: Table(parse(text), actions, started, outcome_of)


SetUp = Callable[[str], Table]


def choices(decisions: Iterable[Decision]) -> list[tuple[Choice, str | None]]:
    return [(decision.choice, decision.action) for decision in decisions]


def test_the_first_verdict_begins_the_ladder(table: SetUp, finding: Finding) -> None:
    session, verdict = table(LADDER), finding()

    decision = session.decide(verdict)

    assert decision.choice is Choice.ACT
    assert (decision.rule, decision.rung, decision.action) == ("break loops", 0, "nudge")
    assert decision.params == {"message": None}
    assert (decision.verdict, decision.seq, decision.at) == (verdict, 10, session.now)
    assert decision.reason == "'break loops' begins its ladder: nudge, rung 1 of 3"


@pytest.mark.parametrize(
    ("rule", "verdict", "reason"),
    [
        (
            "on: loop",
            {"failure_mode": FailureMode.HALLUCINATED_TOOL},
            "no rule matches: none is for hallucinated_tool",
        ),
        (
            "on: loop\n    min_confidence: 0.8",
            {"confidence": 0.55},
            "no rule matches: 'r' asks for confidence 0.8, not 0.55",
        ),
        (
            "on: [loop, hallucinated_tool]\n    min_severity: critical",
            {},
            "no rule matches: 'r' asks for severity critical, not warning",
        ),
        (
            "on: loop\n    detector: text_loop",
            {},
            "no rule matches: 'r' is for the detector text_loop, not loop",
        ),
    ],
)
def test_a_verdict_that_no_rule_matches_is_told_why(
    rule: str, verdict: dict[str, Any], reason: str, table: SetUp, finding: Finding
) -> None:
    text = f"version: 1\nrules:\n  - name: r\n    {rule}\n    ladder: [nudge]\n"

    decision = table(text).decide(finding(**verdict))

    assert (decision.choice, decision.reason) == (Choice.NO_RULE, reason)
    assert (decision.rule, decision.rung, decision.action) == (None, None, None)


def test_thresholds_are_met_at_their_value(table: SetUp, finding: Finding) -> None:
    session = table(
        "version: 1\nrules:\n  - {name: r, on: loop, min_confidence: 0.9,"
        " min_severity: warning, ladder: [nudge]}"
    )

    assert session.decide(finding(confidence=0.9)).choice is Choice.ACT


def test_the_first_matching_rule_decides(table: SetUp, finding: Finding) -> None:
    session = table(
        "version: 1\nrules:\n"
        "  - {name: sure, on: loop, min_confidence: 0.95, ladder: [abort]}\n"
        "  - {name: serious, on: loop, min_severity: critical, ladder: [correct]}\n"
        "  - {name: any, on: loop, ladder: [nudge]}\n"
    )

    rules = [
        session.decide(finding(confidence=0.97, severity=Severity.CRITICAL)).rule,
        session.decide(finding(severity=Severity.CRITICAL)).rule,
        session.decide(finding()).rule,
    ]

    assert rules == ["sure", "serious", "any"]


def test_while_an_action_is_open_its_agent_is_left_alone(table: SetUp, finding: Finding) -> None:
    session = table(LADDER)
    session.act(finding(10))

    same = session.decide(finding(12))
    other_failure = session.decide(finding(12, key="other"))

    assert {same.choice, other_failure.choice} == {Choice.WAITING}
    assert same.reason == "waiting for what comes of nudge, decided at 10"
    assert same.rule == "break loops"


TWO_RULES = """
version: 1
rules:
  - {name: loops, on: loop, ladder: [nudge]}
  - {name: inventions, on: hallucinated_tool, ladder: [nudge]}
"""


def test_another_rule_waits_only_for_the_effect_of_an_action(
    table: SetUp, finding: Finding
) -> None:
    session = table(TWO_RULES)
    decision = session.act(finding(10))
    invention = finding(12, failure_mode=FailureMode.HALLUCINATED_TOOL)

    before = session.decide(invention)
    session.history.record_effect(decision)
    after = session.decide(invention)
    same_rule = session.decide(finding(13))

    assert before.choice is Choice.WAITING
    assert (after.choice, after.rule) == (Choice.ACT, "inventions")
    assert same_rule.choice is Choice.WAITING


def test_an_open_action_holds_up_no_other_agent(table: SetUp, finding: Finding) -> None:
    session = table(LADDER)
    session.act(finding(10))

    assert session.decide(finding(12, agent="a1")).choice is Choice.ACT


@pytest.mark.parametrize(
    ("status", "action", "reason"),
    [
        (OutcomeStatus.FAILED, "rollback", "nudge did not help: rollback, rung 2 of 3"),
        (
            OutcomeStatus.RELAPSED,
            "rollback",
            "nudge helped, and the failure came back: rollback, rung 2 of 3",
        ),
        (
            OutcomeStatus.CLEARED,
            "rollback",
            "nudge helped, and the failure is back: rollback, rung 2 of 3",
        ),
        (OutcomeStatus.SUPERSEDED, "nudge", "nudge could not be judged: nudge, rung 1 of 3"),
    ],
)
def test_how_an_action_turned_out_says_where_the_ladder_goes_on(
    status: OutcomeStatus, action: str, reason: str, table: SetUp, finding: Finding
) -> None:
    session = table(LADDER)
    session.act(finding(10), status)

    decision = session.decide(finding(12))

    assert (decision.action, decision.reason) == (action, reason)


def test_a_later_outcome_replaces_an_earlier_one(table: SetUp, finding: Finding) -> None:
    session = table(LADDER)
    nudge = session.act(finding(10), OutcomeStatus.SUPERSEDED)
    session.settle(nudge, OutcomeStatus.RELAPSED)

    assert session.decide(finding(12)).action == "rollback"


def test_the_ladder_is_climbed_to_its_end_and_no_further(table: SetUp, finding: Finding) -> None:
    session = table(LADDER)

    climbed = [session.act(finding(seq), OutcomeStatus.FAILED) for seq in (10, 12, 14, 16)]

    assert choices(climbed) == [
        (Choice.ACT, "nudge"),
        (Choice.ACT, "rollback"),
        (Choice.ACT, "abort"),
        (Choice.EXHAUSTED, None),
    ]
    assert climbed[1].params == {"to": "onset", "files": "keep", "message": "Start over."}
    assert climbed[3].reason == "abort did not help, and no rung is left"


def test_a_ladder_remembers_where_the_failure_began_that_it_deals_with(
    table: SetUp, finding: Finding
) -> None:
    session = table(LADDER)
    first = session.act(replace(finding(10), onset_seq=5), OutcomeStatus.FAILED)

    second = session.act(replace(finding(20), onset_seq=18), OutcomeStatus.FAILED)
    third = session.act(replace(finding(30), onset_seq=28), OutcomeStatus.FAILED)

    assert [one.since_seq for one in (first, second, third)] == [0, 5, 5]


def test_a_failure_that_came_back_or_stands_elsewhere_begins_where_it_is_found(
    table: SetUp, finding: Finding
) -> None:
    session = table(LADDER)
    session.act(replace(finding(10), onset_seq=5), OutcomeStatus.RELAPSED)
    back = session.act(replace(finding(20), onset_seq=18), OutcomeStatus.FAILED)

    forked = session.decide(replace(finding(30), onset_seq=28, transcript="fork"))

    assert (back.since_seq, forked.since_seq) == (0, 0)


@pytest.mark.parametrize("other", [{"key": "other"}, {"agent": "a1"}])
def test_another_failure_and_another_agent_begin_at_the_first_rung(
    other: dict[str, str], table: SetUp, finding: Finding
) -> None:
    session = table(LADDER)
    session.act(finding(10), OutcomeStatus.FAILED)

    assert session.act(finding(12, **other), OutcomeStatus.FAILED).rung == 0
    assert session.act(finding(14), OutcomeStatus.FAILED).rung == 1


def test_rungs_out_of_reach_are_skipped_and_the_decision_says_so(
    table: SetUp, finding: Finding
) -> None:
    session = table(LADDER)
    session.capabilities = frozenset({Capability.STOP})

    decision = session.act(finding(10), OutcomeStatus.FAILED)

    assert (decision.action, decision.rung) == ("abort", 2)
    assert decision.skipped == (
        Skipped("nudge", "needs add_context, which this runtime lacks"),
        Skipped("rollback", "needs branch, which this runtime lacks"),
    )
    assert session.decide(finding(12)).reason == "abort did not help, and no rung is left"


def test_a_ladder_wholly_out_of_reach_is_exhausted(table: SetUp, finding: Finding) -> None:
    session = table(LADDER)
    session.capabilities = frozenset()

    decision = session.decide(finding())

    assert decision.choice is Choice.EXHAUSTED
    assert [skipped.action for skipped in decision.skipped] == ["nudge", "rollback", "abort"]
    assert decision.reason == (
        "'break loops' begins its ladder, and no rung that is left is within reach"
    )


def test_an_action_that_is_not_installed_is_skipped(table: SetUp, finding: Finding) -> None:
    session = table(LADDER)
    session.actions = {name: session.actions[name] for name in ("rollback", "abort")}

    decision = session.decide(finding())

    assert decision.action == "rollback"
    assert decision.skipped == (Skipped("nudge", "no such action is installed"),)


COOLING = "version: 1\nrules:\n  - {{name: r, on: loop, cooldown: {}, ladder: [nudge, abort]}}"


@pytest.mark.parametrize(
    ("cooldown", "entries", "seconds", "reason"),
    [
        ("4 entries", 1, 600, "'r' cools down for another 3 entries after nudge"),
        ("4 entries", 3, 600, "'r' cools down for another 1 entry after nudge"),
        ("30s", 100, 29.5, "'r' cools down for another 1 s after nudge"),
        ("30s", 100, 10, "'r' cools down for another 20 s after nudge"),
    ],
)
def test_a_rule_that_cools_down_says_for_how_long(
    cooldown: str, entries: int, seconds: float, reason: str, table: SetUp, finding: Finding
) -> None:
    session = table(COOLING.format(cooldown))
    session.act(finding(10), OutcomeStatus.FAILED)
    session.now += timedelta(seconds=seconds)

    decision = session.decide(finding(10 + entries, key="other"))

    assert (decision.choice, decision.reason) == (Choice.COOLDOWN, reason)
    assert (decision.rule, decision.action) == ("r", None)


@pytest.mark.parametrize(("cooldown", "entries", "seconds"), [("4 entries", 4, 0), ("30s", 0, 30)])
def test_a_cooldown_ends_on_its_mark(
    cooldown: str, entries: int, seconds: int, table: SetUp, finding: Finding
) -> None:
    session = table(COOLING.format(cooldown))
    session.act(finding(10), OutcomeStatus.FAILED)
    session.now += timedelta(seconds=seconds)

    assert session.decide(finding(10 + entries)).action == "abort"


def test_a_cooldown_is_of_one_rule_and_one_agent(table: SetUp, finding: Finding) -> None:
    session = table(
        COOLING.format("1h") + "\n  - {name: t, on: hallucinated_tool, ladder: [nudge]}"
    )
    session.act(finding(10), OutcomeStatus.FAILED)

    assert session.decide(finding(12, agent="a1")).choice is Choice.ACT
    invented = finding(12, failure_mode=FailureMode.HALLUCINATED_TOOL)
    assert session.decide(invented).choice is Choice.ACT


LIMITED = """
version: 1
limits:
  interventions: {max: 2, per: 30m%s}
rules:
  - {name: r, on: loop, ladder: [nudge, correct, rollback, abort]}
"""


def test_past_the_limit_its_action_is_taken_instead_of_the_rung(
    table: SetUp, finding: Finding
) -> None:
    session = table(LIMITED % ", then: abort")
    session.act(finding(10), OutcomeStatus.FAILED)
    session.act(finding(12, agent="a1"), OutcomeStatus.CLEARED)

    decision = session.decide(finding(14))

    assert (decision.choice, decision.action) == (Choice.ACT, "abort")
    assert (decision.rule, decision.rung) == ("r", None)
    assert decision.reason == "the limit of 2 interventions in 30m is reached: abort"


def test_past_a_limit_without_an_action_nothing_more_is_done(
    table: SetUp, finding: Finding
) -> None:
    session = table(LIMITED % "")
    for seq in (10, 12):
        session.act(finding(seq), OutcomeStatus.FAILED)

    decision = session.decide(finding(14))

    assert (decision.choice, decision.action) == (Choice.EXHAUSTED, None)
    assert decision.reason == "the limit of 2 interventions in 30m is reached"


def test_a_limits_action_that_is_out_of_reach_is_told(table: SetUp, finding: Finding) -> None:
    session = table(LIMITED % ", then: abort")
    session.capabilities = EVERYTHING - {Capability.STOP}
    for seq in (10, 12):
        session.act(finding(seq), OutcomeStatus.FAILED)

    decision = session.decide(finding(14))

    assert decision.choice is Choice.EXHAUSTED
    assert decision.skipped == (Skipped("abort", "needs stop, which this runtime lacks"),)


def test_a_limit_forgets_what_is_longer_ago_than_its_window(table: SetUp, finding: Finding) -> None:
    session = table(LIMITED % ", then: abort")
    for seq in (10, 12):
        session.act(finding(seq), OutcomeStatus.FAILED)
    session.now += timedelta(minutes=30)

    assert session.decide(finding(14)).action == "rollback"


def test_a_limits_action_does_not_move_the_ladder(table: SetUp, finding: Finding) -> None:
    session = table(LIMITED % ", then: nudge")
    for seq in (10, 12, 14):
        session.act(finding(seq), OutcomeStatus.FAILED)
    session.now += timedelta(hours=1)

    assert session.decide(finding(16)).action == "rollback"


def test_observe_mode_reports_what_would_be_done(table: SetUp, finding: Finding) -> None:
    session = table("mode: observe\n" + LADDER)

    first = session.act(finding(10))
    second = session.act(finding(12))

    assert choices([first, second]) == [(Choice.OBSERVE, "nudge")] * 2
    assert (first.rule, first.rung, first.params) == ("break loops", 0, {"message": None})
    assert first.reason == "observing only: 'break loops' begins its ladder: nudge, rung 1 of 3"


def test_observe_mode_still_tells_verdicts_that_no_rule_matches(
    table: SetUp, finding: Finding
) -> None:
    session = table("mode: observe\n" + LADDER)

    verdict = finding(failure_mode=FailureMode.HALLUCINATED_TOOL)

    assert session.decide(verdict).choice is Choice.NO_RULE


def test_the_id_is_a_function_of_session_verdict_rule_and_choice(
    table: SetUp, finding: Finding
) -> None:
    session = table(LADDER)
    decision = session.decide(finding())

    assert decision.id == "d2dcc20301bc9f91dabc"
    assert session.decide(finding()).id == decision.id
    others = [finding(11), finding(key="other"), finding(agent="a"), finding(detector="text_loop")]
    assert len({decision.id, *(session.decide(verdict).id for verdict in others)}) == 5
    observing = table("mode: observe\n" + LADDER)
    assert observing.decide(finding()).id != decision.id


def test_a_key_that_quotes_half_a_character_is_no_trouble(table: SetUp, finding: Finding) -> None:
    assert table(LADDER).decide(finding(key="\ud83d")).choice is Choice.ACT


def test_a_decision_can_be_stored_as_json(table: SetUp, finding: Finding) -> None:
    decision = table(LADDER).decide(finding())

    assert msgspec.json.decode(msgspec.json.encode(decision), type=Decision) == decision


def test_deciding_changes_nothing(table: SetUp, finding: Finding) -> None:
    session = table(LADDER)
    session.act(finding(10), OutcomeStatus.FAILED)

    first, second = session.decide(finding(12)), session.decide(finding(12))

    assert first == second


def test_recording_a_decision_twice_counts_once(table: SetUp, finding: Finding) -> None:
    session = table(LIMITED % "")
    decision = session.act(finding(10), OutcomeStatus.FAILED)
    session.history.record_decision(decision)

    assert session.decide(finding(12)).action == "correct"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from([None, "agent"]),
        st.sampled_from([None, *OutcomeStatus]),
        st.integers(0, 20),
    ),
    max_size=20,
)


@settings(max_examples=50, deadline=None)
@given(steps=STEPS)
def test_whatever_happens_limits_hold_and_ladders_never_go_down(
    steps: list[tuple[str, str | None, OutcomeStatus | None, int]], table: SetUp, finding: Finding
) -> None:
    session = table(LIMITED % "")
    acted: list[Decision] = []
    for index, (key, agent, status, minutes) in enumerate(steps):
        session.now += timedelta(minutes=minutes)
        decision = session.act(finding(10 + index, key=key, agent=agent), status)
        assert decision.reason
        if decision.choice is Choice.ACT:
            acted.append(decision)

    for index, decision in enumerate(acted):
        recent = [d for d in acted[: index + 1] if decision.at - d.at < timedelta(minutes=30)]
        assert len(recent) <= 2
    for key in ("a", "b"):
        for agent in (None, "agent"):
            rungs = [d.rung for d in acted if (d.verdict.key, d.verdict.agent_id) == (key, agent)]
            assert rungs == sorted(rungs, key=lambda rung: rung or 0)
