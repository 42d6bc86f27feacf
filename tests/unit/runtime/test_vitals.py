"""How a session stands, for those who look at all of them; and what its failures took."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from supervisor.core.decision import Choice, Decision
from supervisor.core.entry import Compaction, Entry, Origin, Prompt, Text, ToolCall, ToolResult
from supervisor.core.entry import Usage as Tokens
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.session import SessionState
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.policy.load import load_policy
from supervisor.runtime import registry
from supervisor.runtime.outcomes import WINDOW
from supervisor.runtime.vitals import VitalSigns, Waste, window_of

NOW = datetime(2026, 3, 1, tzinfo=UTC)
THOUSAND = Tokens(input_tokens=1_000, cache_read_tokens=98_000, output_tokens=1_000)


def of(kind: Any, **fields: Any) -> Entry:
    made: Entry = kind(session_id="s", seq=1, transcript="t", **fields)
    return made


PROMPT = of(Prompt, text="Find the cause.")
CALL = of(ToolCall, call_id="a", tool="Read")
RESULT = of(ToolResult, call_id="a")
END = of(Text, text="Done.", stop_reason="end_turn")


def verdict(seq: int = 5, onset: int = 2, mode: FailureMode = FailureMode.LOOP) -> Verdict:
    return Verdict(
        session_id="s",
        transcript="t",
        seq=seq,
        onset_seq=onset,
        detector="loop",
        failure_mode=mode,
        severity=Severity.WARNING,
        confidence=0.9,
        summary="Round and round.",
        evidence=Evidence(entries=(seq,)),
    )


def decision(choice: Choice = Choice.ACT, mode: FailureMode = FailureMode.LOOP) -> Decision:
    found = verdict(mode=mode)
    return Decision(
        id="d",
        session_id="s",
        seq=5,
        at=NOW,
        verdict=found,
        choice=choice,
        reason="A rule says so.",
    )


def outcome(status: OutcomeStatus) -> Outcome:
    return Outcome(
        session_id="s",
        decision_id="d",
        action="nudge",
        failure_mode=FailureMode.LOOP,
        status=status,
        seq=9,
        at=NOW,
        reason="It went on." if status is OutcomeStatus.FAILED else "It stopped.",
    )


def after(*entries: Entry, signs: VitalSigns | None = None) -> VitalSigns:
    signs = signs or VitalSigns()
    for entry in entries:
        signs.entry(entry, NOW)
    return signs


def looping() -> VitalSigns:
    signs = after(PROMPT)
    signs.decided(decision())
    return signs


def test_a_turn_is_open_from_its_prompt_until_the_model_ends_it() -> None:
    assert not VitalSigns().turn_is_open
    assert after(PROMPT, CALL, RESULT).turn_is_open
    assert not after(PROMPT, CALL, RESULT, END).turn_is_open


def test_a_subagents_last_words_end_no_turn() -> None:
    of_subagent = of(Text, text="Done.", stop_reason="end_turn", agent_id="a1")
    assert after(PROMPT, of_subagent).turn_is_open


def test_a_person_who_interrupts_ends_the_turn() -> None:
    stopped = of(Prompt, text="[Request interrupted by user for tool use]", origin=Origin.META)
    assert not after(PROMPT, CALL, stopped).turn_is_open


def test_a_session_that_was_concluded_is_in_no_turn_until_it_is_asked_again() -> None:
    signs = after(PROMPT)
    signs.stands(SessionState.BROKEN)
    assert (signs.state, signs.turn_is_open) == (SessionState.BROKEN, False)
    after(PROMPT, signs=signs)
    assert (signs.state, signs.turn_is_open) == (SessionState.RUNNING, True)


def test_each_entry_is_a_sign_of_life() -> None:
    assert after(RESULT).progressed_at == NOW.timestamp()


def test_occupancy_is_what_the_main_agent_read_and_wrote_last() -> None:
    signs = after(of(Text, text="Hm.", usage=THOUSAND))
    assert signs.occupancy == pytest.approx(0.5)
    after(of(Text, text="Hm.", usage=Tokens(input_tokens=190_000), agent_id="a1"), signs=signs)
    assert signs.occupancy == pytest.approx(0.5)


def test_the_window_is_the_policys_or_the_smallest_that_holds_what_was_seen() -> None:
    large = of(Text, text="Hm.", usage=Tokens(input_tokens=500_000))
    assert after(large).occupancy == pytest.approx(0.5)
    assert after(large, signs=VitalSigns(window=600_000)).occupancy == pytest.approx(5 / 6)


def test_a_window_known_to_be_large_stays_so() -> None:
    large = of(Text, text="Hm.", usage=Tokens(input_tokens=500_000))
    small = of(Text, text="Hm.", usage=Tokens(input_tokens=100_000))
    assert after(large, of(Compaction), small).occupancy == pytest.approx(0.1)


def test_a_compacted_context_is_unknown_until_the_model_answers() -> None:
    assert after(of(Text, text="Hm.", usage=THOUSAND), of(Compaction)).occupancy == 0.0


def test_the_shipped_policy_leaves_the_window_open() -> None:
    policy = load_policy("default", detectors=registry.detectors(), actions=registry.actions())
    assert window_of(policy) is None


def test_a_failure_that_a_rule_is_about_is_shown_from_its_decision_on() -> None:
    assert looping().failing == {FailureMode.LOOP: NOW.timestamp()}


@pytest.mark.parametrize(
    "made", [decision(Choice.NO_RULE), decision(mode=FailureMode.STOP)], ids=["no rule", "a stop"]
)
def test_what_no_rule_is_about_is_no_failure(made: Decision) -> None:
    signs = after(PROMPT)
    signs.decided(made)
    assert signs.failing == {}


def test_a_failure_found_again_lasts_since_it_was_found_first() -> None:
    signs = looping()
    later = decision(Choice.WAITING)
    signs.decided(decision())
    signs.decided(later)
    assert signs.failing == {FailureMode.LOOP: NOW.timestamp()}


def test_an_action_that_helped_ends_it_and_one_that_failed_does_not() -> None:
    signs = looping()
    signs.settled(outcome(OutcomeStatus.FAILED))
    assert signs.failing
    signs.settled(outcome(OutcomeStatus.CLEARED))
    assert not signs.failing


def test_enough_results_without_it_end_it() -> None:
    signs = after(*[RESULT] * (WINDOW - 1), signs=looping())
    assert signs.failing
    assert not after(RESULT, signs=signs).failing


def test_a_failure_that_is_found_again_takes_as_many_results_anew() -> None:
    signs = after(*[RESULT] * (WINDOW - 1), signs=looping())
    signs.decided(decision(Choice.WAITING))
    assert after(*[RESULT] * (WINDOW - 1), signs=signs).failing


@pytest.mark.parametrize("entry", [END, PROMPT], ids=["turn ended", "turn began"])
def test_the_end_of_a_turn_and_a_users_word_end_it(entry: Entry) -> None:
    assert not after(entry, signs=looping()).failing


OURS = of(Prompt, text="<lucid> You go round.", origin=Origin.LUCID)
INTERRUPTED = of(Prompt, text="[Request interrupted by user]", origin=Origin.META)


def test_lucids_own_prompt_does_not_end_it() -> None:
    assert after(OURS, signs=looping()).failing


def test_an_interruption_ends_it_unless_lucid_goes_on_from_there() -> None:
    since = looping().failing
    signs = after(INTERRUPTED, INTERRUPTED, signs=looping())
    assert signs.failing == {}
    assert after(OURS, signs=signs).failing == since


def test_after_an_interruption_a_users_word_ends_it_for_good() -> None:
    assert not after(INTERRUPTED, PROMPT, OURS, signs=looping()).failing


@pytest.mark.parametrize("state", [SessionState.PAUSED, SessionState.ABORTED])
def test_a_session_that_stands_still_shows_no_failure(state: SessionState) -> None:
    signs = looping()
    signs.stands(state)
    assert not after(OURS, signs=signs).failing


def test_a_session_that_gave_up_shows_what_it_gave_up_on() -> None:
    signs = looping()
    signs.stands(SessionState.GAVE_UP)
    assert signs.failing


def test_waste_is_what_was_taken_from_onset_to_verdict() -> None:
    waste = Waste()
    waste.took(1, 100, 0)
    waste.took(3, 250, 100)
    waste.took(5, 450, 250)
    assert waste.found(verdict(seq=5, onset=2)) == 350


def test_what_lies_in_two_failures_counts_once() -> None:
    waste = Waste()
    for seq in range(1, 10):
        waste.took(seq, seq * 10, seq * 10 - 10)
    assert waste.found(verdict(seq=5, onset=3)) == 30
    assert waste.found(verdict(seq=7, onset=3)) == 20
    assert waste.found(verdict(seq=6, onset=2)) == 0


def test_the_first_answer_counts_and_what_a_former_worker_saw_does_not() -> None:
    waste = Waste()
    waste.took(500, 1_000_100, 1_000_000)
    assert waste.found(verdict(seq=500, onset=1)) == 100


def test_interruptions_and_stops_waste_nothing() -> None:
    waste = Waste()
    waste.took(5, 100, 0)
    assert waste.found(verdict(mode=FailureMode.INTERRUPTION)) == 0
    assert waste.found(verdict(mode=FailureMode.STOP)) == 0


def test_of_a_long_session_the_oldest_steps_are_forgotten() -> None:
    waste = Waste()
    for seq in range(1, 2_000):
        waste.took(seq, seq, seq - 1)
    assert waste.found(verdict(seq=1_999, onset=1)) == 511
