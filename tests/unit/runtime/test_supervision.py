"""One session's way from raw entry to decision and outcome, each step durable first."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY

from supervisor.core.action import Capability
from supervisor.core.decision import Choice, Decision
from supervisor.core.intent import Intent
from supervisor.core.outcome import OutcomeStatus
from supervisor.core.session import SessionState
from supervisor.core.verdict import Verdict
from supervisor.errors import StoreError
from supervisor.runtime.outcomes import WINDOW
from supervisor.store.interface import Incident, Store
from tests.unit.runtime.conftest import (
    STARTED,
    Breaking,
    Install,
    Transcript,
    Watch,
    Watched,
    policy_of,
)

pytestmark = pytest.mark.anyio

THEIRS = "tests.unit.runtime.plugins"


def count(name: str, **labels: str) -> float:
    """What a metric of this process stands at."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def kept(store: Store) -> dict[str, list[str]]:
    """What the store knows of the session "s", in a few words."""
    return {
        "entries": [str(entry.seq) async for entry in store.entries("s")],
        "verdicts": [verdict.key for verdict in await store.verdicts("s")],
        "decisions": [decision.choice for decision in await store.decisions("s")],
        "outcomes": [outcome.status for outcome in await store.outcomes("s")],
    }


# Durable first


@pytest.mark.usefixtures("marker")
async def test_an_entry_is_stored_then_judged_then_decided_on(
    watch: Watch, store: Store, transcript: Transcript
) -> None:
    transcript.prompt()
    transcript.text("FAIL:one")
    watched = watch()
    await watched.take(transcript)

    assert await kept(store) == {
        "entries": ["1", "2"],
        "verdicts": ["one"],
        "decisions": [Choice.ACT],
        "outcomes": [],
    }
    assert [type(event) for event in watched.told] == [Verdict, Decision]
    assert [decision.action for decision in watched.started] == ["nudge"]
    assert watched.supervision.seq == 2


@pytest.mark.usefixtures("marker")
async def test_what_cannot_be_stored_is_not_judged_and_is_judged_once_when_it_can(
    watch: Watch, store: Store, transcript: Transcript, broken: Breaking
) -> None:
    transcript.prompt()
    transcript.text("FAIL:one")
    watched = watch()
    with broken("INSERT ON entry"), pytest.raises(StoreError, match="broken by a test"):
        await watched.take(transcript)
    assert (watched.told, watched.started) == ([], [])

    await watched.take(transcript)
    await watched.take(transcript)

    assert [verdict.key for verdict in watched.verdicts] == ["one"]
    assert (await kept(store))["entries"] == ["1", "2"]


@pytest.mark.usefixtures("marker")
@pytest.mark.parametrize("moment", ["writing", "judging"])
async def test_what_is_stored_is_judged_though_nobody_waits_for_it(
    watch: Watch, transcript: Transcript, moment: str
) -> None:
    """The SDK cancels a call that takes it too long, and does not repeat it."""
    for key in ("one", "two", "three"):
        transcript.text(f"FAIL:{key}")
    judging = asyncio.Event()
    watched = watch(tell=lambda event: judging.set())
    taking = asyncio.create_task(watched.take(transcript))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # the write is under way
    if moment == "judging":
        await judging.wait()
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking

    await watched.supervision.settled()
    assert [verdict.key for verdict in watched.verdicts] == ["one", "two", "three"]
    assert len(watched.started) == 1


@pytest.mark.usefixtures("marker")
async def test_a_decision_is_recorded_before_its_action_begins(
    watch: Watch, store: Store, transcript: Transcript
) -> None:
    stored_then: list[asyncio.Task[list[Decision]]] = []

    def act(decision: Decision) -> None:
        stored_then.append(asyncio.create_task(store.decisions("s")))

    watched = watch(act=act)
    transcript.text("FAIL:one")
    await watched.take(transcript)

    (there,) = await asyncio.gather(*stored_then)
    assert there == watched.decisions


@pytest.mark.usefixtures("marker")
@pytest.mark.parametrize("table", ["verdict", "decision"])
async def test_a_decision_that_cannot_be_recorded_is_not_acted_on(
    watch: Watch,
    store: Store,
    transcript: Transcript,
    broken: Breaking,
    caplog: pytest.LogCaptureFixture,
    table: str,
) -> None:
    watched = watch()
    transcript.text("FAIL:one")
    before = count("lucid_incidents_total", source="store")
    with broken(f"INSERT ON {table}"), caplog.at_level(logging.ERROR):
        await watched.take(transcript)

    assert (watched.told, watched.started) == ([], [])
    assert "broken by a test" in caplog.text
    assert count("lucid_incidents_total", source="store") == before + 1

    await watched.take(transcript, transcript.text("FAIL:one"))
    (decision,) = watched.started
    assert decision.action == "nudge", "the ladder has not moved"


@pytest.mark.usefixtures("marker")
async def test_an_objective_that_cannot_be_recorded_keeps_nothing_from_being_judged(
    watch: Watch, store: Store, transcript: Transcript, broken: Breaking
) -> None:
    transcript.prompt()
    transcript.text("FAIL:one")
    watched = watch()
    with broken("UPDATE OF objective ON session WHEN NEW.objective IS NOT NULL"):
        await watched.take(transcript)

    assert [verdict.key for verdict in watched.verdicts] == ["one"]


# Deciding


@pytest.mark.usefixtures("marker")
async def test_observing_never_acts(watch: Watch, store: Store, transcript: Transcript) -> None:
    watched = watch(policy_of(mode="observe"))
    for key in ("one", "two", "three"):
        transcript.text(f"FAIL:{key}")
    await watched.take(transcript)

    assert watched.started == []
    assert [decision.choice for decision in watched.decisions] == [Choice.OBSERVE] * 3
    assert [decision.action for decision in watched.decisions] == ["nudge"] * 3
    assert not watched.supervision.outcomes.is_open(None)


@pytest.mark.usefixtures("marker")
async def test_every_verdict_gets_a_decision(
    watch: Watch, store: Store, transcript: Transcript
) -> None:
    watched = watch(policy_of(detectors="{marker: {confidence: 0.3}}"))
    transcript.prompt()
    for number in range(3):  # a loop, which no rule of this policy is for
        transcript.step(f"call {number}", "the same", command="cat build.log")
    transcript.text("FAIL:one FAIL:two")
    await watched.take(transcript)

    answers = {decision.verdict.key: decision.choice for decision in watched.decisions}
    assert list(answers.values()) == [Choice.NO_RULE, Choice.ACT, Choice.WAITING]
    assert len(answers) == len(watched.verdicts) == 3
    assert all(decision.reason for decision in watched.decisions)


@pytest.mark.usefixtures("marker")
async def test_a_rung_out_of_reach_is_skipped(watch: Watch, transcript: Transcript) -> None:
    watched = watch(
        policy_of("[rollback, nudge]"), capabilities=frozenset({Capability.ADD_CONTEXT})
    )
    transcript.text("FAIL:one")
    await watched.take(transcript)

    (decision,) = watched.started
    assert decision.action == "nudge"
    assert [skipped.action for skipped in decision.skipped] == ["rollback"]


async def cleared(watched: Watched, transcript: Transcript, key: str = "one") -> Decision:
    """A failure that an action clears."""
    await watched.take(transcript, transcript.text(f"FAIL:{key}"))
    decision = watched.started[-1]
    watched.supervision.queued(decision)
    watched.supervision.outcomes.shown(decision, f"beside {key}")
    watched.supervision.outcomes.acted(decision, "said so")
    lines = [transcript.result(f"beside {key}")]
    for number in range(WINDOW):
        lines += [
            transcript.call(f"{key} {number}", command=f"look {number}"),
            transcript.result(f"{key} {number}", f"{number}"),
        ]
    await watched.take(transcript, *lines)
    return decision


@pytest.mark.usefixtures("marker")
async def test_an_outcome_is_stored_told_and_moves_the_ladder(
    watch: Watch, store: Store, transcript: Transcript
) -> None:
    watched = watch()
    decision = await cleared(watched, transcript)
    assert [(o.status, o.did) for o in watched.outcomes] == [(OutcomeStatus.CLEARED, "said so")]
    assert not watched.supervision.unresolved

    await watched.take(transcript, transcript.text("FAIL:one"))

    assert [(o.status, o.decision_id) for o in await store.outcomes("s")] == [
        (OutcomeStatus.CLEARED, decision.id),
        (OutcomeStatus.RELAPSED, decision.id),
    ]
    assert [decision.action for decision in watched.started] == ["nudge", "correct"]
    assert watched.supervision.unresolved


@pytest.mark.usefixtures("marker")
async def test_an_action_that_fails_moves_the_ladder_and_is_an_incident(
    watch: Watch, store: Store, transcript: Transcript
) -> None:
    watched = watch()
    await watched.take(transcript, transcript.text("FAIL:one"))
    await watched.supervision.action_failed(watched.started[0], OSError("no fork"))
    await watched.take(transcript, transcript.text("FAIL:one"))

    assert [outcome.status for outcome in watched.outcomes] == [OutcomeStatus.FAILED]
    assert [(i.source, i.message) for i in await store.incidents("s")] == [
        ("action:nudge", "nudge failed: no fork")
    ]
    assert [decision.action for decision in watched.started] == ["nudge", "correct"]


@pytest.mark.usefixtures("marker")
async def test_an_action_that_came_too_late_is_tried_again(
    watch: Watch, transcript: Transcript
) -> None:
    watched = watch()
    await watched.take(transcript, transcript.text("FAIL:one"))
    await watched.supervision.action_superseded(watched.started[0], "the turn ended first")
    await watched.take(transcript, transcript.text("FAIL:one"))

    assert [outcome.status for outcome in watched.outcomes] == [OutcomeStatus.SUPERSEDED]
    assert [decision.action for decision in watched.started] == ["nudge", "nudge"]
    assert not watched.supervision.unresolved


@pytest.mark.usefixtures("marker")
async def test_a_failure_beyond_the_ladder_is_unresolved(
    watch: Watch, transcript: Transcript
) -> None:
    watched = watch(policy_of("[nudge]"))
    await watched.take(transcript, transcript.text("FAIL:one"))
    await watched.supervision.action_failed(watched.started[0], OSError("no"))
    await watched.take(transcript, transcript.text("FAIL:one"))

    assert watched.decisions[-1].choice is Choice.EXHAUSTED
    assert watched.supervision.unresolved


@pytest.mark.usefixtures("marker")
async def test_the_end_of_the_turn_settles_what_is_open(
    watch: Watch, store: Store, transcript: Transcript
) -> None:
    watched = watch()
    await watched.take(transcript, transcript.text("FAIL:one"))
    await watched.supervision.turn_ended()

    assert (await kept(store))["outcomes"] == [OutcomeStatus.SUPERSEDED]
    assert not watched.supervision.outcomes.is_open(None)


@pytest.mark.usefixtures("marker")
async def test_detectors_have_a_last_word_at_the_end(
    watch: Watch, store: Store, transcript: Transcript
) -> None:
    watched = watch()
    await watched.take(transcript, transcript.text("UNFINISHED"))
    assert watched.told == []
    await watched.supervision.finish()

    assert (await kept(store))["verdicts"] == ["unfinished"]
    assert [decision.choice for decision in watched.decisions] == [Choice.EXHAUSTED]
    assert watched.started == [], "the agent is gone"


# Troubles


async def test_a_detector_that_raises_is_counted_and_shown_once(
    watch: Watch, store: Store, transcript: Transcript, install: Install
) -> None:
    install(detectors=[f"a = {THEIRS}:Fragile", f"b = {THEIRS}:Marker"])
    watched = watch(policy_of())
    before = count("lucid_detector_errors_total", detector="fragile")
    transcript.text("BOOM FAIL:one")
    transcript.text("BOOM FAIL:two")
    await watched.take(transcript)

    assert count("lucid_detector_errors_total", detector="fragile") == before + 1
    (incident,) = await store.incidents("s")
    assert (incident.source, incident.seq, incident.place) == ("detector:fragile", 1, "entry 1")
    assert "no such luck" in incident.message
    assert [event for event in watched.told if isinstance(event, Incident)] == [incident]
    assert [verdict.key for verdict in watched.verdicts] == ["one", "two"]


async def test_a_line_that_cannot_be_read_is_an_incident_with_its_place(
    watch: Watch, store: Store, transcript: Transcript
) -> None:
    watched = watch(policy_of_shipped())
    await watched.take(transcript, b'{"type": "user", "mess')

    (incident,) = await store.incidents("s")
    assert (incident.source, incident.place) == ("ingest", "entry 1")
    assert [entry.raw async for entry in store.entries("s")] == [b'{"type": "user", "mess']


def policy_of_shipped() -> Any:
    from supervisor.policy.load import load_policy
    from supervisor.runtime import registry

    return load_policy("default", detectors=registry.detectors(), actions=registry.actions())


# What is known of a session


@pytest.mark.usefixtures("marker")
async def test_the_objective_is_the_first_prompt_of_a_user(
    watch: Watch, store: Store, transcript: Transcript
) -> None:
    watched = watch()
    sub = Transcript(agent_id="sub")
    sub.prompt("A subagent's task.")
    await watched.take(sub)
    transcript.prompt("<lucid>\nNot this one.\n</lucid>")
    transcript.line("user", isMeta=True, message={"content": "Nor this."})
    transcript.prompt("Find the cause.")
    transcript.prompt("And now something else.")
    await watched.take(transcript)

    assert (await store.session("s")).objective == "Find the cause."


@pytest.mark.usefixtures("marker")
async def test_a_long_objective_is_cut(watch: Watch, store: Store, transcript: Transcript) -> None:
    watched = watch()
    transcript.prompt("x" * 100_000)
    await watched.take(transcript)

    assert len((await store.session("s")).objective or "") == 4_000


@pytest.mark.usefixtures("marker")
async def test_the_state_is_recorded_and_the_head_moves(watch: Watch, store: Store) -> None:
    watched = watch()
    await watched.supervision.moved("a fork")
    await watched.supervision.conclude(SessionState.GAVE_UP, "a limit was hit")

    row = await store.session("s")
    assert (row.head, row.state, row.state_reason) == (
        "a fork",
        SessionState.GAVE_UP,
        "a limit was hit",
    )


@pytest.mark.usefixtures("marker")
async def test_an_intent_is_durable_when_it_returns(watch: Watch, store: Store) -> None:
    watched = watch()
    intent = Intent(
        session_id="s", call_id="c", tool="Bash", input=msgspec.Raw(b'{"a":1}'), at=STARTED
    )
    await watched.supervision.intend(intent)
    await watched.supervision.intend(intent)

    (kept_intent,) = await store.intents("s")
    assert (kept_intent.call_id, kept_intent.tool, bytes(kept_intent.input)) == (
        "c",
        "Bash",
        b'{"a":1}',
    )


@pytest.mark.usefixtures("marker")
async def test_caught_up_waits_for_the_call_to_be_read(
    watch: Watch, transcript: Transcript
) -> None:
    watched = watch()
    waiting = asyncio.create_task(watched.supervision.progress.caught_up("a", within=5))
    await asyncio.sleep(0)
    assert not waiting.done()
    await watched.take(transcript, transcript.call("a"))

    assert await waiting
    assert await watched.supervision.progress.caught_up("a", within=0), "it is remembered"
    assert not await watched.supervision.progress.caught_up("b", within=0)


# A restart


@pytest.mark.usefixtures("marker")
async def test_after_a_restart_numbers_and_ladder_go_on(
    watch: Watch, store: Store, transcript: Transcript
) -> None:
    before = watch()
    transcript.prompt()
    await before.take(transcript)
    await cleared(before, transcript)

    after = watch()
    await after.supervision.prime(transcript.sdk_session_id)
    newest = after.supervision.progress.newest(transcript.sdk_session_id)
    assert newest == transcript.uuid(len(transcript.lines))
    assert after.supervision.seq == before.supervision.seq
    assert after.told == [], "what was told before is not told again"
    await after.take(transcript, transcript.text("FAIL:one"))

    (verdict,) = after.verdicts
    assert verdict.seq == before.supervision.seq + 1
    assert verdict.evidence.facts["seen"] == len(transcript.lines), "detectors were primed"
    assert [decision.action for decision in after.started] == ["correct"]


@pytest.mark.usefixtures("marker")
async def test_after_a_restart_an_action_without_outcome_does_not_wait_for_ever(
    watch: Watch, store: Store, transcript: Transcript
) -> None:
    before = watch()
    await before.take(transcript, transcript.text("FAIL:one"))  # and the process dies

    after = watch()
    await after.supervision.prime(transcript.sdk_session_id)
    await after.take(transcript, transcript.text("FAIL:one"))

    assert [outcome.status for outcome in await store.outcomes("s")] == [OutcomeStatus.SUPERSEDED]
    assert [decision.action for decision in after.started] == ["nudge"]


@pytest.mark.usefixtures("marker")
async def test_after_a_restart_the_objective_stays(
    watch: Watch, store: Store, transcript: Transcript
) -> None:
    transcript.prompt("Find the cause.")
    await watch().take(transcript)

    after = watch()
    await after.supervision.prime(transcript.sdk_session_id)
    await after.take(transcript, transcript.prompt("Go on."))

    assert (await store.session("s")).objective == "Find the cause."


@pytest.mark.usefixtures("marker")
async def test_only_the_transcript_that_is_resumed_primes(
    watch: Watch, store: Store, transcript: Transcript
) -> None:
    fork = Transcript("22222222-2222-4222-8222-222222222222")
    before = watch()
    await before.take(transcript, transcript.prompt(), transcript.text("an old branch"))
    await before.take(fork, fork.prompt())

    after = watch()
    await after.supervision.prime(fork.sdk_session_id)
    assert after.supervision.progress.newest(fork.sdk_session_id) == fork.uuid(1)
    await after.take(fork, fork.text("FAIL:one"))

    (verdict,) = after.verdicts
    assert (verdict.seq, verdict.evidence.facts["seen"]) == (4, 2)
    assert after.supervision.checkpoint_before(verdict) is not None


# Figures


@pytest.mark.usefixtures("marker")
async def test_what_happens_is_counted(watch: Watch, transcript: Transcript) -> None:
    names = {
        "prompts": ("lucid_entries_total", {"kind": "prompt"}),
        "calls": ("lucid_entries_total", {"kind": "tool_call"}),
        "results": ("lucid_entries_total", {"kind": "tool_result"}),
        "verdicts": (
            "lucid_verdicts_total",
            {"failure_mode": "drift", "detector": "marker", "severity": "warning"},
        ),
        "acted": (
            "lucid_decisions_total",
            {"failure_mode": "drift", "choice": "act", "action": "nudge"},
        ),
        "waited": (
            "lucid_decisions_total",
            {"failure_mode": "drift", "choice": "waiting", "action": ""},
        ),
        "superseded": (
            "lucid_outcomes_total",
            {"failure_mode": "drift", "action": "nudge", "status": "superseded"},
        ),
        "lags": ("lucid_ingest_lag_seconds_count", {}),
    }
    before = {what: count(name, **labels) for what, (name, labels) in names.items()}
    watched = watch()
    transcript.prompt()
    transcript.step("a", "FAIL:one FAIL:two")
    await watched.take(transcript)
    await watched.supervision.turn_ended()

    risen = {what: count(name, **labels) - before[what] for what, (name, labels) in names.items()}
    assert risen == dict.fromkeys(names, 1) | {"verdicts": 2, "lags": 3}
    assert count("lucid_last_progress_timestamp_seconds") >= STARTED.timestamp()


@pytest.mark.usefixtures("marker")
async def test_inherited_entries_are_neither_counted_nor_judged(
    watch: Watch, store: Store, transcript: Transcript
) -> None:
    transcript.prompt()
    transcript.text("FAIL:one")
    watched = watch()
    before = count("lucid_entries_total", kind="prompt")
    await watched.supervision.take(transcript.key, transcript.lines, inherited=True)

    assert count("lucid_entries_total", kind="prompt") == before
    assert watched.told == []
    assert [entry.inherited async for entry in store.entries("s")] == [True, True]
    assert (await store.session("s")).objective == "Find the cause."
