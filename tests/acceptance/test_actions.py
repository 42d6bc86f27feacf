"""Every action on a real agent: what the model gets to see, and whether that helped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk import (
    ClaudeAgentOptions,
    ClaudeSDKClient,
    Message,
    ResultMessage,
    SystemMessage,
)

from supervisor import SupervisedClient
from supervisor.core.decision import Choice
from supervisor.core.session import SessionState
from supervisor.policy.load import parse_policy
from supervisor.policy.model import Policy
from supervisor.runtime import registry
from supervisor.runtime.runner import SessionRun
from supervisor.store.interface import StoredEntry
from supervisor.store.sqlite import SqliteStore
from supervisor.testing import Scenario, ScriptedModel

pytestmark = pytest.mark.anyio

Options = Callable[..., ClaudeAgentOptions]

TASK = "Find out from job.log why the job failed. Do not change app.py."
DONE = "The disk is full."
LIMIT = 30.0
LOOKS = {"tool": "Bash", "input": {"command": "cat job.log", "description": "Look"}}
NOTES = {"tool": "Bash", "input": {"command": "echo one >> notes.txt", "description": "Note"}}
LISTS = {"tool": "Bash", "input": {"command": "ls", "description": "List"}}
FILES = {
    "job.log": "waiting for the worker\n",
    "app.py": "",
    "big.txt": "\n".join(
        f"line {number} of a long report on nothing in particular" for number in range(300)
    ),
}
SEES = "repeated yourself without progress"


def policy(*ladder: str, on: str = "loop", more: str = "") -> Policy:
    rungs = "\n".join(f"      - {rung}" for rung in ladder)
    text = f"version: 1\n{more}\nrules:\n  - name: rule\n    on: {on}\n    ladder:\n{rungs}\n"
    return parse_policy(
        text, "test.yaml", detectors=registry.detectors(), actions=registry.actions()
    )


def story(*replies: dict[str, Any], **env: str) -> Scenario:
    return Scenario.model_validate(
        {
            "about": "Goes wrong until something changes.",
            "files": FILES,
            "env": env,
            "replies": list(replies),
        }
    )


def when(name: str, *calls: dict[str, Any], text: str = "So.", **when: Any) -> dict[str, Any]:
    """A reply to a context with these properties."""
    return {"name": name, "when": when, "text": text, "calls": list(calls)}


LOOPS = when("looks again", LOOKS)


def events(messages: Iterable[Message], subtype: str) -> list[dict[str, Any]]:
    return [m.data for m in messages if isinstance(m, SystemMessage) and m.subtype == subtype]


def acted(messages: Iterable[Message]) -> list[str]:
    decisions = events(messages, "lucid_decision")
    return [decision["action"] for decision in decisions if decision["choice"] == Choice.ACT]


def outcomes(messages: Iterable[Message]) -> list[tuple[str, str]]:
    return [(event["action"], event["status"]) for event in events(messages, "lucid_outcome")]


def did(messages: Iterable[Message]) -> str:
    return str(events(messages, "lucid_outcome")[0]["did"])


def result(messages: Iterable[Message]) -> ResultMessage:
    (found,) = [message for message in messages if isinstance(message, ResultMessage)]
    return found


def told(model: ScriptedModel, text: str) -> int:
    """How often the model's last context holds the text, tool results left out."""
    return sum(said.count(text) for said in model.requests[-1].context.told)


class Run:
    """One turn of a supervised agent."""

    def __init__(self, options: Options, store: SqliteStore) -> None:
        self._options = options
        self._store = store
        self.state = SessionState.RUNNING

    async def __call__(
        self, model: ScriptedModel, policy: Policy, prompt: str = TASK, **changes: Any
    ) -> list[Message]:
        given = self._options(model, **changes)
        async with SupervisedClient(given, store=self._store, policy=policy) as client:
            async with asyncio.timeout(LIMIT):
                await client.query(prompt)
                messages = [message async for message in client.receive_response()]
            self.state = client.state[0]
        return messages


@pytest.fixture
def run(options: Options, store: SqliteStore) -> Run:
    return Run(options, store)


# block_tool


@pytest.mark.parametrize("params", ["", ": {what: tool, calls: 2}"])
async def test_a_blocked_call_is_denied_with_the_reason(params: str, run: Run) -> None:
    played = story(
        when("ends", text=DONE, calls={"input": '"ls"'}),
        when(
            "changes its mind", LISTS, results={"error": True, "text": "denied this call.*" + SEES}
        ),
        LOOPS,
    )
    async with ScriptedModel(played) as model:
        messages = await run(model, policy(f"block_tool{params}"))
        results = model.requests[-1].context.results

    assert result(messages).result == DONE
    assert acted(messages) == ["block_tool"]
    assert outcomes(messages) == [("block_tool", "cleared")]
    assert [r.is_error for r in results].count(True) == (1 if not params else 2)
    assert run.state is SessionState.REACHED


class _BehindStore(SqliteStore):
    """Takes no entry before the model has been asked 12 times."""

    model: ScriptedModel

    async def write(self, *args: Any, **kwargs: Any) -> Sequence[StoredEntry]:
        await self.model.wait_for(12)
        return await super().write(*args, **kwargs)


async def test_calls_from_before_an_action_do_not_tell_how_it_turned_out(
    options: Options, tmp_path: Path
) -> None:
    played = story(when("ends", text=DONE, results={"error": True, "text": SEES}), LOOPS)
    async with ScriptedModel(played) as model, _BehindStore(tmp_path / "lucid.db") as store:
        store.model = model
        messages = await Run(options, store)(model, policy("block_tool"))

    assert outcomes(messages) == [("block_tool", "cleared")]


async def test_an_agent_that_insists_on_a_blocked_call_is_dealt_with_further(run: Run) -> None:
    played = story(when("ends", text=DONE, told="interrupted by your supervisor"), LOOPS)
    async with ScriptedModel(played) as model:
        messages = await run(model, policy("block_tool", "correct"))

    assert outcomes(messages) == [("block_tool", "failed"), ("correct", "cleared")]
    assert result(messages).result == DONE


# compact

SUMS_UP = "<summary>We looked at a log.</summary>"
KEEPS = f"<summary>{TASK} Done: echo one >> notes.txt.</summary>"


@pytest.mark.parametrize(("summary", "added"), [(SUMS_UP, 1), (KEEPS, 0)])
async def test_what_a_summary_lacks_is_added(summary: str, added: int, run: Run) -> None:
    played = story(
        when("sums up", text=summary, request="compaction"),
        when("ends", text=DONE, told="had your context compacted|have your context compacted"),
        when("notes", NOTES, calls=0),
        LOOPS,
    )
    async with ScriptedModel(played) as model:
        messages = await run(model, policy("compact"))
        asked = next(r for r in model.requests if r.context.request == "compaction")

    assert outcomes(messages) == [("compact", "cleared")]
    assert result(messages).result == DONE
    assert any("The task was" in text and "app.py" in text for text in asked.context.last)
    assert told(model, "which the summary does not hold") == added
    assert told(model, "echo one") >= 1
    assert told(model, "Do not change app.py") >= 1
    assert len(model.requests[-1].context.calls) <= 1, "the runtime keeps the newest step"


async def test_a_compaction_that_fails_moves_the_ladder(run: Run) -> None:
    played = story(
        {"name": "no sum", "when": {"request": "compaction"}, "fault": {"status": 400}},
        when("ends", text=DONE, told="You were interrupted by your supervisor"),
        LOOPS,
    )
    async with ScriptedModel(played) as model:
        messages = await run(model, policy("compact", "correct"))

    assert outcomes(messages) == [("compact", "failed"), ("correct", "cleared")]
    assert result(messages).result == DONE


# mask_results


async def test_stale_results_are_out_of_sight_and_named(run: Run) -> None:
    reads = {"tool": "Bash", "input": {"command": "cat big.txt", "description": "Read"}}
    played = story(
        when("ends", text=DONE, says="Left out by Lucid"),
        when("reads again", reads),
    )
    async with ScriptedModel(played) as model:
        messages = await run(model, policy("mask_results", on="context_bloat"))
        context = model.requests[-1].context

    assert outcomes(messages) == [("mask_results", "cleared")]
    assert result(messages).result == DONE
    masked = [r for r in context.results if "kept as entry" in r.text]
    assert masked
    assert len(context.calls) == len(context.results)
    assert "characters in a fork" in did(messages)


# restart


async def test_a_new_beginning_keeps_the_task_and_what_is_done(run: Run, tmp_path: Path) -> None:
    played = story(
        when("ends", text=DONE, told="This task was begun before"),
        when("notes", NOTES, calls=0),
        LOOPS,
    )
    async with ScriptedModel(played) as model:
        messages = await run(model, policy("restart"))
        context = model.requests[-1].context

    assert outcomes(messages) == [("restart", "cleared")]
    assert result(messages).result == DONE
    assert told(model, TASK) == 1
    assert told(model, "echo one") == 1
    assert context.calls == ()
    assert (tmp_path / "work" / "notes.txt").read_text() == "one\n"


# switch_model, switch_effort


async def test_another_model_goes_on_with_the_same_history(run: Run) -> None:
    played = story(when("ends", text=DONE, told=SEES), LOOPS)
    async with ScriptedModel(played) as model:
        messages = await run(model, policy("switch_model: {to: claude-opus-5-5}"))
        models = [request.body["model"] for request in model.requests]
        context = model.requests[-1].context

    assert outcomes(messages) == [("switch_model", "cleared")]
    assert result(messages).result == DONE
    assert set(models[:-1]) == {"claude-sonnet-5"}
    assert models[-1] == "claude-opus-5-5"
    assert len(context.calls) >= 3


async def test_a_switched_model_holds_for_whoever_goes_on_with_the_session(
    run: Run, options: Options, store: SqliteStore
) -> None:
    played = story(when("ends", text=DONE, told=SEES), LOOPS)
    used = policy("switch_model: {to: claude-opus-5-5}")
    async with ScriptedModel(played) as model:
        await run(model, used)
        (row,) = await store.sessions()
        other = SessionRun(row, store, options(model), used, say="Say it again.")
        async with asyncio.timeout(LIMIT):
            finish = await other.run()
        models = [request.body["model"] for request in model.requests]

    assert finish.state is SessionState.REACHED
    assert models[-1] == "claude-opus-5-5"


async def test_the_effort_is_changed(run: Run) -> None:
    played = story(when("ends", text=DONE, told=SEES), LOOPS)
    async with ScriptedModel(played) as model:
        messages = await run(model, policy("switch_effort: {to: max}"))
        efforts = [
            request.body.get("output_config", {}).get("effort") for request in model.requests
        ]

    assert outcomes(messages) == [("switch_effort", "cleared")]
    assert efforts[-1] == "max"
    assert efforts[0] != "max"


async def test_an_overloaded_model_gives_way_to_another(run: Run) -> None:
    played = story(
        {"name": "fails", "when": {}, "times": 1, "fault": {"status": 529}},
        when("ends", text=DONE),
        CLAUDE_CODE_MAX_RETRIES="0",
    )
    async with ScriptedModel(played) as model:
        switch = "switch_model: {to: claude-opus-5-5}"
        messages = await run(model, policy(switch, on="interruption"))
        models = [request.body["model"] for request in model.requests]

    assert result(messages).result == DONE
    assert models[-1] == "claude-opus-5-5"
    assert told(model, TASK) == 1
    assert outcomes(messages) == [("switch_model", "cleared")]


# stop_subagent


@pytest.mark.parametrize("background", [False, True])
async def test_a_looping_subagent_is_stopped_and_its_parent_goes_on(
    background: bool, run: Run
) -> None:
    task = {"description": "look", "prompt": "Look.", "subagent_type": "general-purpose"}
    sends = {"tool": "Agent", "input": {**task, "run_in_background": background}}
    waits = {"tool": "Bash", "input": {"command": "sleep 0.3", "description": "Wait"}}
    played = story(
        when("looks again", LOOKS, agent="subagent"),
        when("sends", sends, agent="main", calls=0),
        when("ends", text=DONE, agent="main", says="stopped one of your subagents"),
        when("waits", waits, agent="main"),
    )
    async with ScriptedModel(played) as model:
        messages = await run(model, policy("stop_subagent"))

    assert result(messages).result == DONE
    assert acted(messages) == ["stop_subagent"]
    assert outcomes(messages) == [("stop_subagent", "cleared")]
    assert "its parent goes on" in did(messages)


async def test_a_subagent_that_cannot_be_stopped_alone_is_ended_by_its_parent(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(self: ClaudeSDKClient, task_id: str) -> None:
        raise ConnectionError(f"no task {task_id} here")

    monkeypatch.setattr(ClaudeSDKClient, "stop_task", refuse)
    task = {"description": "look", "prompt": "Look.", "subagent_type": "general-purpose"}
    sends = {"tool": "Agent", "input": {**task, "run_in_background": False}}
    played = story(
        when("looks again", LOOKS, agent="subagent"),
        when("ends", text=DONE, agent="main", told="stopped one of your subagents"),
        when("sends", sends, agent="main"),
    )
    async with ScriptedModel(played) as model:
        messages = await run(model, policy("stop_subagent"))

    assert result(messages).result == DONE
    assert acted(messages) == ["stop_subagent"]
    assert outcomes(messages)[0] == ("stop_subagent", "cleared")
    assert did(messages).startswith("interrupted its parent, since it could not be stopped alone")


async def test_for_the_main_agent_there_is_no_subagent_to_stop(run: Run) -> None:
    played = story(when("ends", text=DONE, says=SEES), LOOPS)
    async with ScriptedModel(played) as model:
        messages = await run(model, policy("stop_subagent", "nudge"))

    assert acted(messages) == ["nudge"]
    (decision,) = [d for d in events(messages, "lucid_decision") if d["choice"] == Choice.ACT]
    assert [skipped["action"] for skipped in decision["skipped"]] == ["stop_subagent"]


# rollback


async def test_a_rollback_says_what_was_tried(run: Run) -> None:
    played = story(
        when("ends", text=DONE, told="Tried since then"),
        when("notes", NOTES, calls=0),
        LOOPS,
    )
    async with ScriptedModel(played) as model:
        messages = await run(model, policy("rollback"))

    assert outcomes(messages) == [("rollback", "cleared")]
    assert told(model, 'without success: "Bash" "cat job.log"') == 1


# Ladders of them.


async def test_a_message_that_fails_is_loud_and_the_built_in_one_is_said(run: Run) -> None:
    played = story(when("ends", text=DONE, says=SEES), LOOPS)
    async with ScriptedModel(played) as model:
        rung = 'nudge: {message: "About {{ facts.price }}"}'
        messages = await run(model, policy(rung))

    assert outcomes(messages) == [("nudge", "cleared")]
    (incident,) = events(messages, "lucid_incident")
    assert incident["source"] == "template"
    assert "price" in incident["message"]


async def test_an_action_that_fails_gives_way_to_the_next_at_once(run: Run) -> None:
    played = story(when("ends", text=DONE, told="You were interrupted"), LOOPS)
    async with ScriptedModel(played) as model:
        messages = await run(model, policy("mask_results", "correct"))
        decisions = events(messages, "lucid_decision")

    assert acted(messages) == ["mask_results", "correct"]
    assert outcomes(messages) == [("mask_results", "failed"), ("correct", "cleared")]
    first, second = (d for d in decisions if d["choice"] == Choice.ACT)
    assert first["verdict"] == second["verdict"], "no new verdict was waited for"


async def test_without_an_end_of_its_own_a_ladder_that_is_ignored_leaves_a_session_that_gave_up(
    run: Run,
) -> None:
    async with ScriptedModel(story(LOOPS)) as model:
        messages = await run(
            model,
            policy(
                "nudge", "escalate", more="escalation: {oncall: {webhook: 'http://127.0.0.1:1'}}"
            ),
            max_turns=14,
        )

    assert acted(messages) == ["nudge", "escalate"], "and not again and again"
    assert run.state is SessionState.GAVE_UP


async def test_an_agent_that_ignores_every_step_is_stopped(run: Run) -> None:
    played = story(when("sums up", text=SUMS_UP, request="compaction"), LOOPS)
    ladder = ["nudge", "block_tool", "correct", "compact", "rollback", "restart", "abort"]
    async with ScriptedModel(played) as model:
        messages = await run(model, policy(*ladder), max_turns=200)

    assert acted(messages) == ladder
    assert [status for _, status in outcomes(messages)] == ["failed"] * 6 + ["superseded"]
    assert run.state is SessionState.ABORTED
