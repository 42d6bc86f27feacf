"""The policy's checks decide whether an agent may stop: the real SDK and CLI."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from claude_agent_sdk import ClaudeAgentOptions

from supervisor import SupervisedClient
from supervisor.core.decision import Choice, Decision
from supervisor.core.outcome import OutcomeStatus
from supervisor.core.session import SessionState
from supervisor.core.verdict import FailureMode
from supervisor.policy.load import parse_policy
from supervisor.policy.model import Policy
from supervisor.runtime import registry
from supervisor.store.interface import SessionRow
from supervisor.store.sqlite import SqliteStore
from supervisor.testing import Scenario, ScriptedModel
from tests.acceptance.conftest import Options

pytestmark = pytest.mark.anyio

LIMIT = 60.0


def policy(*ladder: str, mode: str = "act", timeout: str = "20s") -> Policy:
    """A policy with a ladder on stops. `verify` alone stands for a check of `result.txt`."""
    check = f"{{run: grep -q done result.txt, timeout: {timeout}, attempts: 3}}"
    steps = "".join(f"      - {step.replace('CHECK', check)}\n" for step in ladder)
    return parse_policy(
        f"version: 1\nmode: {mode}\nrules:\n"
        f"  - name: done means done\n    on: stop\n    ladder:\n{steps}",
        "policy.yaml",
        detectors=registry.detectors(),
        actions=registry.actions(),
    )


def writes(what: str, name: str, **when: Any) -> dict[str, Any]:
    call = {"tool": "Bash", "input": {"command": f"echo {what} > result.txt"}}
    return {"name": name, "when": when, "calls": [call], "times": 1}


CLAIMS = {"name": "claims", "text": "All is done."}


def scenario(*replies: dict[str, Any]) -> Scenario:
    return Scenario.model_validate({"about": "A test's.", "replies": replies})


class Ran:
    """What came of one turn."""

    def __init__(self) -> None:
        self.row: SessionRow | None = None
        self.decisions: list[Decision] = []
        self.outcomes: list[OutcomeStatus] = []
        self.told: list[str] = []
        self.results = 0
        self.requests = 0


async def on_stops(store: SqliteStore, session_id: str) -> list[Decision]:
    """The decisions on the agent's wish to end its turn; claims have a detector besides."""
    decisions = await store.decisions(session_id)
    return [one for one in decisions if one.verdict.failure_mode is FailureMode.STOP]


@asynccontextmanager
async def turn(
    options: Options, store: SqliteStore, story: Scenario, used: Policy, **changes: Any
) -> AsyncIterator[Ran]:
    ran = Ran()
    async with ScriptedModel(story) as model:
        built: ClaudeAgentOptions = options(model, **changes)
        async with SupervisedClient(built, policy=used, store=store) as client:
            with anyio.fail_after(LIMIT):
                await client.query("Write the result into result.txt.")
                ran.results = len(
                    [
                        m
                        async for m in client.receive_response()
                        if type(m).__name__ == "ResultMessage"
                    ]
                )
        session = client.session_id or ""
        ran.row = await store.session(session)
        ran.decisions = await on_stops(store, session)
        ran.outcomes = [outcome.status for outcome in await store.outcomes(session)]
        ran.told = list(model.requests[-1].context.told)
        ran.requests = len(model.requests)
    yield ran


async def test_an_agent_is_sent_back_until_its_check_passes(
    options: Options, store: SqliteStore
) -> None:
    story = scenario(
        writes("done", "does it when it is told", told="grep -q done result.txt ended with code"),
        CLAIMS,
    )
    async with turn(options, store, story, policy("verify: CHECK")) as ran:
        assert ran.row is not None
        assert (ran.row.state, ran.row.state_reason) == (SessionState.REACHED, "")
        assert [decision.action for decision in ran.decisions] == ["verify", "verify"]
        assert [decision.attempt for decision in ran.decisions] == [1, 2]
        assert ran.outcomes == [OutcomeStatus.FAILED, OutcomeStatus.CLEARED]
        assert ran.results == 1
        assert any("No such file or directory" in told for told in ran.told)


async def test_an_agent_whose_check_never_passes_gives_up_with_the_reason(
    options: Options, store: SqliteStore
) -> None:
    async with turn(options, store, scenario(CLAIMS), policy("verify: CHECK")) as ran:
        assert ran.row is not None
        assert ran.row.state is SessionState.GAVE_UP
        assert "grep -q done result.txt ended with code 2" in ran.row.state_reason
        assert [decision.choice for decision in ran.decisions] == [Choice.ACT] * 3 + [
            Choice.EXHAUSTED
        ]
        assert ran.requests == 3


async def test_a_check_that_passes_at_once_costs_the_agent_nothing(
    options: Options, store: SqliteStore
) -> None:
    story = scenario(writes("done", "works"), CLAIMS)
    async with turn(options, store, story, policy("verify: CHECK")) as ran:
        assert ran.row is not None
        assert ran.row.state is SessionState.REACHED
        assert ran.outcomes == [OutcomeStatus.CLEARED]
        assert ran.requests == 2


async def test_what_comes_after_the_checks_in_the_ladder_is_taken_at_the_same_stop(
    options: Options, store: SqliteStore
) -> None:
    ladder = policy(
        "verify: {run: test -f result.txt, attempts: 1}", "pause: {ask: 'Is it needed?'}"
    )
    async with turn(options, store, scenario(CLAIMS), ladder) as ran:
        assert ran.row is not None
        assert (ran.row.state, ran.row.state_reason) == (SessionState.PAUSED, "Is it needed?")
        assert [decision.action for decision in ran.decisions] == ["verify", "pause"]
        assert ran.requests == 1


async def test_a_correction_at_the_stop_keeps_the_agent_at_work(
    options: Options, store: SqliteStore
) -> None:
    story = scenario(writes("done", "does it when it is told", told="Write it first"), CLAIMS)
    ladder = policy(
        "correct: {message: Write it first.}",
        "verify: CHECK",
    )
    async with turn(options, store, story, ladder) as ran:
        assert ran.row is not None
        assert ran.row.state is SessionState.REACHED
        assert [decision.action for decision in ran.decisions] == ["correct", "verify"]


async def test_the_more_attempts_than_the_cli_has_patience_for_are_taken(
    options: Options, store: SqliteStore
) -> None:
    ladder = policy("verify: {run: 'false', attempts: 12}")
    async with turn(options, store, scenario(CLAIMS), ladder) as ran:
        assert ran.requests == 12
        assert ran.row is not None
        assert ran.row.state is SessionState.GAVE_UP


async def test_observing_runs_no_check_and_lets_the_agent_stop(
    options: Options, store: SqliteStore
) -> None:
    async with turn(
        options, store, scenario(CLAIMS), policy("verify: CHECK", mode="observe")
    ) as ran:
        assert ran.row is not None
        assert ran.row.state is SessionState.REACHED
        assert [(one.choice, one.action) for one in ran.decisions] == [(Choice.OBSERVE, "verify")]
        assert ran.requests == 1


JUDGE = """version: 1
judge: {model: claude-judge}
rules:
  - name: ask before the end
    on: stop
    ladder:
      - verify: {ask: "Does result.txt hold the result?", attempts: 2}
"""


async def test_a_judge_that_does_not_find_it_done_sends_the_agent_back(
    options: Options, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = scenario(
        writes("done", "does it when it is told", told="a judge does not find"), CLAIMS
    )
    answers = {"holds": "yes", "confidence": 0.9, "reason": "It was written."}
    judges = scenario(
        {
            "name": "finds it in the record",
            "when": {"told": "echo done"},
            "calls": [{"tool": "give_opinion", "input": answers}],
        },
        {
            "name": "finds nothing",
            "calls": [
                {
                    "tool": "give_opinion",
                    "input": {**answers, "holds": "unclear", "reason": "It is only claimed."},
                }
            ],
        },
    )
    used = parse_policy(
        JUDGE, "judge.yaml", detectors=registry.detectors(), actions=registry.actions()
    )
    async with ScriptedModel(judges) as judge:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", judge.base_url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "scripted-model")
        async with turn(options, store, story, used) as ran:
            assert [one.attempt for one in ran.decisions if one.choice is Choice.ACT] == [1, 2]
            assert ran.row is not None
            assert ran.row.state is SessionState.REACHED
            assert any("| It is only claimed." in text for text in ran.told)
        assert [request.reply for request in judge.requests] == [
            "finds nothing",
            "finds it in the record",
        ]
        assert judge.unmatched == judge.refused == []


async def test_a_judge_that_is_away_leaves_the_work_unchecked(
    options: Options, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "scripted-model")
    used = parse_policy(
        JUDGE, "judge.yaml", detectors=registry.detectors(), actions=registry.actions()
    )
    async with turn(options, store, scenario(CLAIMS), used) as ran:
        assert ran.row is not None
        assert ran.row.state is SessionState.GAVE_UP
        assert "the judge gave no answer (unreachable)" in ran.row.state_reason
        assert ran.results == 1


async def test_an_agent_out_of_turns_has_not_reached_it(
    options: Options, store: SqliteStore
) -> None:
    async with turn(options, store, scenario(CLAIMS), policy("verify: CHECK"), max_turns=2) as ran:
        assert ran.row is not None
        assert ran.row.state is SessionState.GAVE_UP


async def test_each_turn_is_checked_anew(options: Options, store: SqliteStore) -> None:
    story = scenario(writes("done", "works"), CLAIMS)
    async with ScriptedModel(story) as model:
        client = SupervisedClient(options(model), policy=policy("verify: CHECK"), store=store)
        async with client:
            with anyio.fail_after(LIMIT):
                for prompt in ("Write it.", "Is it there?"):
                    await client.query(prompt)
                    async for _ in client.receive_response():
                        pass
        decisions = await on_stops(store, client.session_id or "")

    assert [(one.action, one.rung, one.attempt) for one in decisions] == [("verify", 0, 1)] * 2


@pytest.mark.parametrize(("check", "code"), [("true", 0), ("false", 1)])
async def test_the_command_ends_with_what_the_checks_say(
    check: str, code: int, tmp_path: Path
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(
        "version: 1\nrules:\n  - name: done\n    on: stop\n    ladder:\n"
        f"      - verify: {{run: '{check}', attempts: 1}}\n"
    )
    async with ScriptedModel(scenario(CLAIMS)) as model:
        own = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
        env = own | model.env(tmp_path / "home") | {"LUCID_STORE": str(tmp_path / "lucid.db")}
        command = [sys.executable, "-m", "supervisor.cli", "run", "Write it.", "--json"]
        with anyio.fail_after(LIMIT):
            ran = await anyio.run_process(
                [*command, "--policy", str(file)], env=env, cwd=tmp_path, check=False
            )

    summary = json.loads(ran.stdout.splitlines()[-1])
    assert (ran.returncode, summary["exit_code"]) == (code, code)
    assert ("false ended with code 1" in summary["reason"]) is (code == 1)


async def test_a_session_that_is_drained_while_it_is_checked_is_checked_when_it_goes_on(
    tmp_path: Path,
) -> None:
    began = tmp_path / "began"
    rules = "version: 1\nrules:\n  - name: done\n    on: stop\n    ladder:\n"
    (tmp_path / "long.yaml").write_text(
        f"{rules}      - verify: {{run: [sh, -c, 'touch {began}; sleep 60']}}\n"
    )
    (tmp_path / "short.yaml").write_text(f"{rules}      - verify: {{run: test -f {began}}}\n")
    async with ScriptedModel(scenario(CLAIMS)) as model:
        own = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
        env = own | model.env(tmp_path / "home") | {"LUCID_STORE": str(tmp_path / "lucid.db")}
        lucid = [sys.executable, "-m", "supervisor.cli"]
        with anyio.fail_after(LIMIT):
            command = [*lucid, "run", "Write it.", "--grace", "4", "--policy", "long.yaml"]
            async with await anyio.open_process(command, env=env, cwd=tmp_path) as process:
                while not began.exists():  # noqa: ASYNC110 - another process makes it
                    await anyio.sleep(0.05)
                process.terminate()
                assert await process.wait() == 75
            async with SqliteStore(tmp_path / "lucid.db") as store:
                (row,) = await store.sessions()
            resume = [*lucid, "resume", row.session_id, "--policy", "short.yaml", "--json"]
            ran = await anyio.run_process(resume, env=env, cwd=tmp_path, check=False)

    assert ran.returncode == 0, ran.stdout.decode()[-2000:]
