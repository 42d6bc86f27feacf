"""What a session took so far is counted, and its policy decides by it."""

from __future__ import annotations

import json

import pytest
from prometheus_client import REGISTRY

from supervisor.core.action import ActionResult, Capability
from supervisor.core.decision import Choice
from supervisor.core.entry import Text, Usage
from supervisor.core.outcome import OutcomeStatus
from supervisor.policy.load import parse_policy
from supervisor.policy.model import Policy
from supervisor.runtime import registry
from supervisor.runtime.bearings import Meter, chooses, record_in
from supervisor.store.interface import Store
from tests.unit.runtime.conftest import Transcript, Watch

pytestmark = pytest.mark.anyio


def policy(text: str) -> Policy:
    return parse_policy(
        f"version: 1\n{text}", "p", detectors=registry.detectors(), actions=registry.actions()
    )


def said(message: str, tokens: int, agent: str | None = None) -> Text:
    return Text(
        session_id="s",
        seq=1,
        transcript="t",
        agent_id=agent,
        message_id=message,
        usage=Usage(input_tokens=tokens, cache_read_tokens=5, output_tokens=1),
        text="x",
    )


def test_each_message_counts_once_as_far_as_its_last_line_knows() -> None:
    meter = Meter()

    meter.take([said("m1", 10), said("m1", 10)])
    meter.take([said("m1", 14), said("m2", 10)])

    assert meter.tokens == 20 + 16


def test_agents_that_write_in_turn_are_not_mixed_up() -> None:
    meter = Meter()

    meter.take([said("m1", 10), said("m2", 10, agent="a"), said("m1", 10)])

    assert meter.tokens == 32


def spending(transcript: Transcript, number: int, tokens: int) -> None:
    line = json.loads(transcript.text(f"Step {number}.", stop="tool_use"))
    line["message"]["usage"] = {"input_tokens": tokens, "output_tokens": 0}
    transcript.lines[-1] = json.dumps(line).encode()


@pytest.mark.usefixtures("marker")
async def test_what_is_found_late_of_a_stopped_subagent_is_no_relapse(watch: Watch) -> None:
    subagent = Transcript(agent_id="a1")
    watched = watch(policy("rules: [{name: r, on: drift, ladder: [stop_subagent, abort]}]"))
    await watched.take(subagent, subagent.text("FAIL:one"))
    [stopped] = watched.started
    watched.supervision.dismiss("a1")
    done = ActionResult(detail="stopped", status=OutcomeStatus.CLEARED)
    await watched.supervision.carried_out(stopped, done)

    await watched.take(subagent, subagent.text("FAIL:one"))

    assert [one.status for one in watched.outcomes] == [OutcomeStatus.CLEARED]
    assert watched.started == [stopped]
    late = watched.decisions[-1]
    assert (late.choice, late.reason) == (
        Choice.NO_RULE,
        "its subagent was stopped: this was found late",
    )
    assert not watched.supervision.unresolved


@pytest.mark.usefixtures("marker")
async def test_a_stopped_subagent_that_goes_on_and_fails_has_relapsed(watch: Watch) -> None:
    subagent = Transcript(agent_id="a1")
    watched = watch(policy("rules: [{name: r, on: drift, ladder: [stop_subagent, abort]}]"))
    await watched.take(subagent, subagent.text("FAIL:one"))
    watched.supervision.dismiss("a1")
    done = ActionResult(detail="stopped", status=OutcomeStatus.CLEARED)
    await watched.supervision.carried_out(watched.started[0], done)

    subagent.text("FAIL:one")
    much_later = json.loads(subagent.lines[-1]) | {"timestamp": "2026-01-01T13:00:00Z"}
    await watched.take(subagent, json.dumps(much_later).encode())

    assert [one.status for one in watched.outcomes] == [
        OutcomeStatus.CLEARED,
        OutcomeStatus.RELAPSED,
    ]
    assert [one.action for one in watched.started] == ["stop_subagent", "abort"]


@pytest.mark.usefixtures("marker")
async def test_a_budget_that_is_spent_is_noticed_without_any_verdict_and_once(
    watch: Watch, store: Store, transcript: Transcript
) -> None:
    limits = "limits: {tokens: {max: 100, then: abort}}\n"
    rules = "rules: [{name: r, on: drift, ladder: [nudge]}]"
    watched = watch(policy(limits + rules))
    for number in range(4):
        spending(transcript, number, 40)
    await watched.take(transcript)

    [decision] = watched.decisions
    assert (decision.choice, decision.action, decision.seq) == (Choice.ACT, "abort", 3)
    assert decision.limit == "tokens"
    assert decision.verdict.summary == "the session's budget is spent: tokens 120 of 100"
    assert watched.started == [decision]
    assert [one.id for one in await store.decisions("s")] == [decision.id]


@pytest.mark.usefixtures("marker")
async def test_rules_know_the_type_of_a_subagent(watch: Watch) -> None:
    watched = watch(
        policy("rules: [{name: r, on: drift, agent: code-*, ladder: [nudge]}]"),
        capabilities=frozenset({Capability.ADD_CONTEXT}),
    )
    for agent, kind in (("a1", "code-reviewer"), ("a2", "Explore")):
        sub = Transcript(agent_id=agent)
        sub.lines.append(json.dumps({"type": "agent_metadata", "agentType": kind}).encode())
        sub.text("FAIL:one")
        await watched.take(sub)

    assert [one.choice for one in watched.decisions] == [Choice.ACT, Choice.NO_RULE]


@pytest.mark.usefixtures("marker")
async def test_another_policy_holds_from_the_next_verdict_on_and_is_kept(
    watch: Watch, store: Store, transcript: Transcript
) -> None:
    watched = watch(policy("rules: [{name: r, on: drift, ladder: [nudge]}]"))
    await watched.take(transcript, transcript.text("FAIL:one"))
    new = policy("mode: observe\nrules: [{name: r, on: drift, ladder: [correct]}]")

    await watched.supervision.use(new)
    await watched.take(transcript, transcript.text("FAIL:two"))

    before, after = watched.decisions
    assert (before.choice, before.action) == (Choice.ACT, "nudge")
    assert after.choice is not Choice.ACT
    row = await store.session("s")
    assert row.policy is not None
    assert json.loads(row.policy)["mode"] == "observe"


@pytest.mark.usefixtures("marker")
async def test_the_record_of_other_sessions_is_read_from_the_store(
    watch: Watch, store: Store, transcript: Transcript
) -> None:
    watched = watch(policy("rules: [{name: r, on: drift, ladder: [nudge, correct]}]"))
    await watched.take(transcript, transcript.text("FAIL:one"))
    [decision] = watched.decisions
    await watched.supervision.action_failed(decision, RuntimeError("no such luck"))

    assert await record_in(store) == {("drift", "nudge"): (0, 1)}


@pytest.mark.usefixtures("marker")
async def test_what_went_by_until_an_outcome_is_counted_for_its_action(
    watch: Watch, transcript: Transcript
) -> None:
    labels = {"failure_mode": "drift", "action": "nudge"}
    name = "lucid_action_tokens_total"
    before = REGISTRY.get_sample_value(name, labels) or 0.0
    watched = watch(policy("rules: [{name: r, on: drift, ladder: [nudge]}]"))
    transcript.text("FAIL:one")
    for number in range(3):
        spending(transcript, number, 40)
    await watched.take(transcript)

    await watched.supervision.action_failed(watched.decisions[0], RuntimeError("no such luck"))

    assert REGISTRY.get_sample_value(name, labels) == before + 120


def test_only_a_policy_that_chooses_needs_a_record() -> None:
    plain = "rules: [{name: r, on: loop, ladder: [nudge]}]"
    choosing = "rules: [{name: r, on: loop, ladder: [{choose: best, of: [nudge, correct]}]}]"

    assert not chooses(policy(plain))
    assert chooses(policy(choosing))
