"""Turns that the infrastructure interrupts go on by themselves, with the real SDK and CLI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk import ClaudeAgentOptions, Message, ResultMessage, SystemMessage

from supervisor import SupervisedClient
from supervisor.core.decision import Choice
from supervisor.core.session import SessionState
from supervisor.errors import SupervisorError
from supervisor.policy.load import parse_policy
from supervisor.policy.model import Policy
from supervisor.runtime import registry
from supervisor.runtime.keeper import agent_process, kill_tree
from supervisor.store.sqlite import SqliteStore
from supervisor.testing import Scenario, ScriptedModel

pytestmark = pytest.mark.anyio

Options = Callable[..., ClaudeAgentOptions]

PROMPT = "Put one line into out.txt, then say how many lines it has."
DONE = "All is done."
LIMIT = 30.0
GIVE_UP = {"CLAUDE_CODE_MAX_RETRIES": "0"}
WRITE: dict[str, Any] = {
    "tool": "Bash",
    "input": {"command": "echo one >> out.txt", "description": "Work"},
}


POLICY_FOR_LOOPS = """
version: 1
rules:
  - name: break loops
    on: loop
    ladder: [nudge]
"""


def parse(text: str) -> Policy:
    return parse_policy(
        text, "test.yaml", detectors=registry.detectors(), actions=registry.actions()
    )


def quick(params: str = "", limits: str = "") -> Policy:
    """The default way with interruptions, without its waits."""
    return parse(f"""
version: 1
limits: {{{limits}}}
rules:
  - name: ride out interruptions
    on: interruption
    ladder:
      - resume: {{first_wait: 1ms, longest_wait: 5ms{params and ", " + params}}}
""")


def scenario(*replies: dict[str, Any], **env: str) -> Scenario:
    return Scenario.model_validate(
        {"about": "Fails, then works.", "env": {**GIVE_UP, **env}, "replies": list(replies)}
    )


def fails(times: int = 1, name: str = "fails", **fault: Any) -> dict[str, Any]:
    return {"name": name, "times": times, "fault": fault}


def calls(name: str = "calls", **when: Any) -> dict[str, Any]:
    return {"name": name, "when": when or {"calls": 0}, "text": "So.", "calls": [WRITE]}


ENDS = {"name": "ends", "text": DONE}


def events(messages: Iterable[Message], subtype: str) -> list[dict[str, Any]]:
    return [m.data for m in messages if isinstance(m, SystemMessage) and m.subtype == subtype]


def results(messages: Iterable[Message]) -> list[ResultMessage]:
    return [message for message in messages if isinstance(message, ResultMessage)]


def told(model: ScriptedModel, text: str) -> int:
    """How often the model's last context holds the text."""
    return sum(said.count(text) for said in model.requests[-1].context.told)


Play = Callable[..., AbstractAsyncContextManager[tuple[ScriptedModel, SupervisedClient]]]


@pytest.fixture
def play(options: Options, store: SqliteStore) -> Play:
    """Run an agent through a scenario, under `quick()` unless another policy is given."""

    @asynccontextmanager
    async def play(
        played: Scenario, policy: Policy | None = None
    ) -> AsyncIterator[tuple[ScriptedModel, SupervisedClient]]:
        async with (
            ScriptedModel(played) as model,
            SupervisedClient(options(model), store=store, policy=policy or quick()) as client,
        ):
            yield model, client

    return play


async def turn(client: SupervisedClient, prompt: str = PROMPT) -> list[Message]:
    async with asyncio.timeout(LIMIT):
        await client.query(prompt)
        return [message async for message in client.receive_response()]


async def test_a_prompt_the_service_refused_is_sent_again_once(play: Play) -> None:
    async with play(scenario(fails(2, status=529), ENDS)) as (model, client):
        messages = await turn(client)
        assert client.state[0] is SessionState.REACHED

    (result,) = results(messages)
    assert (result.is_error, result.result) == (False, DONE)
    assert told(model, PROMPT) == 1
    assert [d["attempt"] for d in events(messages, "lucid_decision")] == [1, 2]
    assert [o["status"] for o in events(messages, "lucid_outcome")] == ["failed", "cleared"]


MIDWAY = {"text": "One word and another.", "times": 1}
NO_FALLBACK = {"CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1"}
LARGE = {"tool": "Bash", "input": {"command": "seq 1 3000", "description": "Work"}}
TOO_LONG = "prompt is too long: 214325 tokens > 200000 maximum"
ORPHAN = (
    "messages.2: `tool_use` ids were found without `tool_result` blocks immediately after: "
    "toolu_000001_0. Each `tool_use` block must have a corresponding `tool_result` block in "
    "the next message."
)
CONTINUES = "Go on with the task"
VERIFIES = "Before you repeat one of them"

WAYS: dict[str, tuple[Scenario, str, int]] = {
    "timeout-before-output": (
        scenario(fails(hang="before"), ENDS, API_TIMEOUT_MS="1500"),
        CONTINUES,
        0,
    ),
    "stream-dropped": (
        scenario({**MIDWAY, "name": "drops", "fault": {"drop": "midway"}}, ENDS, **NO_FALLBACK),
        CONTINUES,
        0,
    ),
    "server-error-midway": (scenario(calls(), fails(status=500), ENDS), CONTINUES, 1),
    "dropped-after-a-call": (scenario(calls(), fails(drop="before"), ENDS), CONTINUES, 1),
    "orphan-tool-use": (
        scenario(
            {**calls(), "times": 1},
            # The CLI sends it again several times by itself.
            {"name": "fails", "when": {"calls": 1}, "fault": {"status": 400, "message": ORPHAN}},
            ENDS,
        ),
        VERIFIES,
        1,
    ),
    "prompt-too-long": (
        scenario(
            {"name": "sums-up", "when": {"request": "compaction"}, "text": "<summary>-</summary>"},
            {**calls(), "times": 1},
            fails(status=400, message=TOO_LONG),
            ENDS,
            DISABLE_AUTO_COMPACT="1",
        ),
        CONTINUES,
        1,
    ),
    "prompt-too-long-and-no-summary": (
        scenario(
            {"name": "no-sum", "when": {"request": "compaction"}, "fault": {"status": 400}},
            {"name": "calls", "when": {"calls": 0}, "times": 1, "text": "So.", "calls": [LARGE]},
            fails(status=400, message=TOO_LONG),
            ENDS,
            DISABLE_AUTO_COMPACT="1",
        ),
        "too large for your context",
        0,
    ),
}


@pytest.mark.parametrize("name", WAYS)
async def test_a_turn_goes_on_in_the_way_that_fits(name: str, play: Play, tmp_path: Path) -> None:
    played, says, lines = WAYS[name]
    async with play(played) as (model, client):
        messages = await turn(client)
        state = client.state

    (result,) = results(messages)
    assert (result.is_error, result.result) == (False, DONE)
    assert state == (SessionState.REACHED, "")
    assert told(model, PROMPT) <= 1
    assert told(model, says) == 1
    assert len(events(messages, "init")) == 1, "it is one turn"
    assert len(lines_of(tmp_path)) == lines
    assert events(messages, "lucid_outcome")[-1]["status"] == "cleared"


def lines_of(folder: Path) -> list[str]:
    out = folder / "work" / "out.txt"
    return out.read_text().splitlines() if out.exists() else []


@pytest.mark.parametrize("status", [401, 402, 403, 404])
async def test_what_no_retry_can_help_is_not_retried(status: int, play: Play) -> None:
    async with play(scenario(fails(9, status=status))) as (model, client):
        messages = await turn(client)
        assert client.state[0] is SessionState.BROKEN

    (result,) = results(messages)
    assert result.is_error
    (decision,) = events(messages, "lucid_decision")
    assert decision["choice"] == Choice.EXHAUSTED
    assert decision["verdict"]["severity"] == "critical"
    assert told(model, PROMPT) == 1


async def test_without_a_rule_for_it_an_interruption_is_the_callers(play: Play) -> None:
    async with play(scenario(fails(9, status=529), ENDS), parse(POLICY_FOR_LOOPS)) as (_, client):
        messages = await turn(client)

    (result,) = results(messages)
    assert result.api_error_status == 529
    assert [d["choice"] for d in events(messages, "lucid_decision")] == [Choice.NO_RULE]


async def test_attempts_are_bounded_by_the_policy(play: Play, store: SqliteStore) -> None:
    async with play(scenario(fails(9, status=529), ENDS), quick("attempts: 3")) as (_, client):
        with pytest.raises(SupervisorError, match="overloaded"):
            await turn(client)
        assert client.state[0] is SessionState.BROKEN

    (row,) = await store.sessions()
    decisions = await store.decisions(row.session_id)
    assert [d.choice for d in decisions] == [Choice.ACT] * 3 + [Choice.EXHAUSTED]


async def test_a_service_that_says_when_is_not_asked_before(play: Play) -> None:
    headers = {"retry-after": "2"}
    async with play(scenario(fails(1, status=429, headers=headers), ENDS)) as (model, client):
        messages = await turn(client)

    asked = [request.at for request in model.requests]
    assert results(messages)[0].result == DONE
    assert asked[-1] - asked[0] >= timedelta(seconds=2)


async def test_a_service_that_says_to_come_back_too_late_is_not_waited_for(
    play: Play, store: SqliteStore
) -> None:
    refused = fails(9, status=429, headers={"retry-after": "9000"})
    async with play(scenario(refused, ENDS), quick("within: 2h")) as (_, client):
        with pytest.raises(SupervisorError, match="until when"):
            await turn(client)

    (row,) = await store.sessions()
    assert row.state is SessionState.BROKEN
    outcomes = await store.outcomes(row.session_id)
    assert "later than 2h after the outage began" in outcomes[0].reason


async def test_an_agent_that_falls_silent_is_ended_and_gone_on_with(play: Play) -> None:
    policy = quick(limits="silence: {model: 1s}")
    async with play(scenario(fails(hang="before"), ENDS), policy) as (model, client):
        messages = await turn(client)

    assert results(messages)[0].result == DONE
    (verdict,) = events(messages, "lucid_verdict")
    assert verdict["evidence"]["facts"]["cause"] == "hang"
    assert told(model, PROMPT) == 1


async def test_an_agent_whose_process_is_killed_goes_on_in_another(
    play: Play, tmp_path: Path
) -> None:
    waits = {**WRITE, "input": {**WRITE["input"], "command": "echo one >> out.txt; sleep 60"}}
    played = scenario({"name": "calls", "when": {"calls": 0}, "calls": [waits]}, ENDS)
    async with play(played) as (model, client):
        await client.query(PROMPT)
        async with asyncio.timeout(20):
            while not lines_of(tmp_path):  # noqa: ASYNC110 - another process writes them
                await asyncio.sleep(0.02)
        process = agent_process(client._inner())  # the test is about its process
        assert process is not None
        await kill_tree(process, grace=0)
        messages = [message async for message in client.receive_response()]

    assert results(messages)[0].result == DONE
    assert told(model, "no result was recorded") == 1
    assert told(model, PROMPT) == 1
    assert lines_of(tmp_path) == ["one"]


async def test_an_agent_that_stops_too_soon_goes_on_in_the_same_turn(
    options: Options, store: SqliteStore, tmp_path: Path
) -> None:
    leave = "I have looked at it. Shall I go ahead and write the line into out.txt?"
    played = scenario(
        {"name": "asks", "when": {"calls": 0}, "times": 1, "text": leave},
        {**calls(), "when": {"calls": 0}},
        ENDS,
    )
    async with (
        ScriptedModel(played) as model,
        SupervisedClient(options(model), store=store) as client,
    ):
        messages = await turn(client, "Write one line into out.txt. Do not ask.")

    (result,) = results(messages)
    assert result.result == DONE
    assert lines_of(tmp_path) == ["one"]
    modes = [d["verdict"]["failure_mode"] for d in events(messages, "lucid_decision")]
    assert "premature_end" in modes
