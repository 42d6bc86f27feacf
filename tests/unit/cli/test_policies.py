"""`lucid policy` and `lucid explain`: policies checked, tested, tried on the past, explained."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from supervisor.core.decision import Choice, Decision
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.policy.load import load_policy
from supervisor.runtime import registry
from supervisor.store.sqlite import SqliteStore
from tests.unit.cli.conftest import AT, MAIN, Lucid

LOOPS = Path(__file__).parents[2] / "fixtures" / "detectors" / "loop"
POLICY = """version: 1
rules:
  - {name: sure, on: loop, min_confidence: 0.95, ladder: [nudge, rollback]}
  - {name: any, on: [loop, drift], agent: subagents, mode: observe, ladder: [pause]}
  - {name: later, on: drift, enabled: false, ladder: [nudge]}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "p.yaml"
    path.write_text(POLICY)
    return path


def test_check_tells_conditions_modes_and_the_order_of_rules_for_one_verdict(
    lucid: Lucid, policy: Path
) -> None:
    ran = lucid("policy", "check", str(policy))

    assert ran.stdout.splitlines() == [
        f"{policy}: fine, mode act",
        "  sure: on loop (confidence >= 0.95): nudge -> rollback",
        "  any [observe]: on loop, drift (agent subagents): pause",
        "  later [off]: on drift: nudge",
        "the first rule that matches decides:",
        "  loop: sure, then any",
    ]
    assert ran.stderr == ""


def test_check_tells_what_cannot_run_in_a_mode(lucid: Lucid, policy: Path) -> None:
    ran = lucid("policy", "check", str(policy), "--for", "sidecar")

    assert ran.exit_code == 0
    assert ran.stderr == (
        "lucid: rule 'sure', rung 2: rollback is passed over in the mode sidecar, it needs "
        "branch, which this runtime lacks\n"
    )


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (
            "{name: r, on: loop, agent: subagents, ladder: [nudge, rollback, stop_subagent]}",
            "rule 'r' on subagents, rung 2: rollback is passed over in the mode wrapper, it needs "
            "branch, which this runtime lacks",
        ),
        (
            "{name: r, on: loop, agent: review*, ladder: [abort]}",
            "rule 'r' on review* can do nothing in the mode wrapper: abort needs stop, which this "
            "runtime lacks",
        ),
        (
            "{name: r, on: loop, agent: main, ladder: [nudge, stop_subagent]}",
            "rule 'r', rung 2: stop_subagent is passed over in the mode wrapper, it needs "
            "stop_subagent, which this runtime lacks",
        ),
        (
            "{name: r, on: stop, ladder: [nudge, pause]}",
            "rule 'r', rung 1: nudge is passed over in the mode wrapper, it needs add_context, "
            "which this runtime lacks",
        ),
    ],
)
def test_a_rung_that_its_agents_are_out_of_reach_for_is_told(
    rule: str, said: str, lucid: Lucid, policy: Path
) -> None:
    policy.write_text(f"version: 1\nrules: [{rule}]\n")

    ran = lucid("policy", "check", str(policy), "--for", "wrapper")

    assert ran.stderr == f"lucid: {said}\n"


def test_a_rule_for_every_agent_may_have_a_rung_for_some(lucid: Lucid, policy: Path) -> None:
    rule = (
        "{name: r, on: loop, ladder: [nudge, stop_subagent, rollback, escalate: {optional: true}]}"
    )
    policy.write_text(f"version: 1\nrules: [{rule}]\n")

    assert lucid("policy", "check", str(policy), "--for", "wrapper").stderr == ""


def test_a_rule_that_can_do_nothing_in_a_mode_is_told(lucid: Lucid, policy: Path) -> None:
    ran = lucid("policy", "check", str(policy), "--for", "audit")

    assert "rule 'sure' can do nothing in the mode audit: nudge needs add_context" in ran.stderr


def test_schema_is_json(lucid: Lucid) -> None:
    ran = lucid("policy", "schema")

    assert ran.exit_code == 0
    assert "rules" in json.loads(ran.stdout)["properties"]


def test_test_tells_what_failed_and_where(lucid: Lucid, policy: Path) -> None:
    tests = policy.with_suffix(".test.yaml")
    tests.write_text(
        "tests:\n"
        "  - {name: good, steps: [{verdict: {mode: loop, confidence: 1}, expect: nudge}]}\n"
        "  - {name: bad, steps: [{verdict: loop, expect: nudge}]}\n"
    )

    ran = lucid("policy", "test", str(tests))

    assert ran.exit_code == 1
    first, second = ran.stdout.splitlines()
    assert first == f"{tests}: 1 of 2 failed"
    assert second.startswith(f"  {tests}:3:25: bad: expected choice act, action nudge, got no_rule")


def test_backtest_tells_what_would_have_been_done_and_what_differs(lucid: Lucid) -> None:
    paths = [str(LOOPS / f"{name}.jsonl") for name in ("fires-identical", "fires-alternation")]

    ran = lucid("policy", "backtest", "coding", *paths, "--against", "observe")
    again = lucid("policy", "backtest", "observe", *paths, "--against", "observe")

    assert ran.exit_code == 0
    assert ran.stdout.startswith("2 sessions, ")
    assert "break loops  nudge" in ran.stdout
    assert "observe nudge  nudge" in ran.stdout
    assert "nudge (observed)" in again.stdout
    assert again.stdout.splitlines()[-1] == "the other policy decides the same"


def test_backtest_gives_json_lines(lucid: Lucid) -> None:
    ran = lucid("policy", "backtest", "default", str(LOOPS / "fires-identical.jsonl"), "--json")

    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    decision = next(line for line in lines if line["item"] == "decision")
    assert (decision["rule"], decision["action"]) == ("break loops", "nudge")
    assert lines[-1]["item"] == "total"
    assert lines[-1]["sessions"] == 1


def test_backtest_takes_a_store(lucid: Lucid, kept: Path) -> None:
    ran = lucid("policy", "backtest", "default", str(kept))

    assert ran.exit_code == 0
    assert ran.stdout.startswith("1 sessions, ")
    assert "break loops" in ran.stdout


@pytest.mark.parametrize(
    ("sources", "said"),
    [(["nowhere"], "there is no nowhere"), (["KEPT", "nowhere"], "there is no nowhere")],
)
def test_backtest_says_what_is_not_there(
    sources: list[str], said: str, lucid: Lucid, kept: Path
) -> None:
    ran = lucid(
        "policy", "backtest", "default", *[str(kept) if s == "KEPT" else s for s in sources]
    )

    assert ran.exit_code == 2
    assert said in ran.stderr


# Explaining


COOLING = """version: 1
limits:
  interventions: {max: 6, per: 30m, then: abort}
rules:
  - {name: loops, on: loop, cooldown: 1h, ladder: [nudge, correct]}
"""


async def with_decisions(path: Path, policy: Path) -> None:
    """A nudge that did not help, and a verdict while its rule cools down."""
    loaded = load_policy(policy, detectors=registry.detectors(), actions=registry.actions())
    async with SqliteStore(path) as store:
        await store.create_session(MAIN, project_key="-work", policy=loaded.model_dump_json())
        first = decision(10, Choice.ACT, "'loops' begins its ladder: nudge, rung 1 of 2", "nudge")
        second = decision(
            20, Choice.COOLDOWN, "'loops' cools down for another 3590 s after nudge", None
        )
        failed = Outcome(
            session_id=MAIN,
            decision_id=first.id,
            action="nudge",
            failure_mode=FailureMode.LOOP,
            status=OutcomeStatus.FAILED,
            seq=20,
            at=second.at,
            reason="loop again at entry 20",
            did="said so",
        )
        await store.record(first.verdict, first, second.verdict, failed, second)


def decision(seq: int, choice: Choice, reason: str, action: str | None) -> Decision:
    return Decision(
        id=f"dec{seq}",
        session_id=MAIN,
        seq=seq,
        at=AT + timedelta(seconds=seq),
        verdict=Verdict(
            session_id=MAIN,
            transcript=MAIN,
            seq=seq,
            onset_seq=seq - 5,
            detector="loop",
            failure_mode=FailureMode.LOOP,
            severity=Severity.WARNING,
            confidence=0.9,
            summary="the same call with the same result",
            evidence=Evidence(entries=(seq - 2, seq), facts={"repeats": 3}),
            key="k",
        ),
        choice=choice,
        reason=reason,
        rule="loops",
        rung=None if action is None else 0,
        action=action,
    )


@pytest.fixture
def explained(tmp_path: Path) -> Path:
    policy, path = tmp_path / "cooling.yaml", tmp_path / "explained.db"
    policy.write_text(COOLING)
    asyncio.run(with_decisions(path, policy))
    return path


def test_explain_tells_rule_verdict_evidence_history_limits_and_what_else(
    lucid: Lucid, explained: Path
) -> None:
    ran = lucid("explain", "dec20", "--store", str(explained))

    lines = ran.stdout.splitlines()
    assert ran.exit_code == 0
    for line in (
        "chosen     cooldown",
        "because    'loops' cools down for another 3590 s after nudge",
        "rule       loops: on loop: nudge -> correct",
        "evidence   entries 18, 20",
        "           repeats: 3",
        "before     entry 10: nudge, on the same failure: failed: loop again at entry 20",
        "limits     interventions: 1 of 6 in 30m",
        "without    the cooldown: act correct: nudge did not help: correct, rung 2 of 2",
    ):
        assert line in lines


def test_the_id_that_show_ends_a_decision_with_is_enough(lucid: Lucid, explained: Path) -> None:
    shown = lucid("show", MAIN, "--store", str(explained)).stdout
    [name] = re.findall(r"decision  cooldown  .* \[(\w+)\]$", shown, re.MULTILINE)

    assert lucid("explain", name, "--store", str(explained)).exit_code == 0


def test_explain_tells_what_came_of_an_action(lucid: Lucid, explained: Path) -> None:
    ran = lucid("explain", "dec10", "--store", str(explained), "--json")

    told = json.loads(ran.stdout)
    assert told["reproduced"]
    assert told["outcome"]["status"] == "failed"
    assert [one["without"] for one in told["alternatives"]] == ["the rule 'loops'"]


@pytest.mark.parametrize(
    ("identity", "said"),
    [("nothing", "there is no decision 'nothing'"), ("dec", "several decisions begin with 'dec'")],
)
def test_explain_asks_for_one_decision(
    identity: str, said: str, lucid: Lucid, explained: Path
) -> None:
    ran = lucid("explain", identity, "--store", str(explained))

    assert ran.exit_code == 2
    assert said in ran.stderr


def test_show_ends_with_how_often_each_action_helped(lucid: Lucid, kept: Path) -> None:
    ran = lucid("show", MAIN, "--store", str(kept))

    heading, row = ran.stdout.splitlines()[-2:]
    assert heading.split() == ["failure", "action", "taken", "helped", "failed", "tokens"]
    assert row.split() == ["loop", "rollback", "1", "1", "0", "0"]
