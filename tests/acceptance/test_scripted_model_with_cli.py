"""The real SDK and the real CLI, playing scenarios of the scripted model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from claude_agent_sdk import (
    ClaudeAgentOptions,
    ClaudeSDKClient,
    Message,
    ResultMessage,
    query,
)

from supervisor.testing import Scenario, ScriptedModel, load_scenario

pytestmark = pytest.mark.anyio


Options = Callable[[ScriptedModel], ClaudeAgentOptions]


def quick(name: str) -> Scenario:
    """A shipped scenario without its delays."""
    return load_scenario(name).model_copy(update={"delay": 0.0})


def result_of(messages: list[Message]) -> ResultMessage:
    (result,) = [message for message in messages if isinstance(message, ResultMessage)]
    return result


async def say(client: ClaudeSDKClient, prompt: str) -> ResultMessage:
    await client.query(prompt)
    return result_of([message async for message in client.receive_response()])


def names(model: ScriptedModel) -> list[str]:
    """Of the replies, after making sure that the scenario knew an answer every time."""
    assert not model.unmatched
    assert not model.refused
    return [request.reply for request in model.requests]


async def test_hello(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    # What the caller's own environment may hold must not lead the CLI elsewhere.
    monkeypatch.setenv("CLAUDE_CODE_USE_BEDROCK", "1")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "someone's")
    monkeypatch.setenv("ANTHROPIC_MODEL", "another-model")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with ScriptedModel("hello") as model:
        messages = [m async for m in query(prompt="Say hello.", options=options(model))]

    result = result_of(messages)
    assert (result.subtype, result.is_error) == ("success", False)
    assert result.result == "Hello. There is nothing else to do."
    assert names(model) == ["says hello"]
    assert model.requests[0].body["model"] == "claude-sonnet-5"


async def test_two_calls_run_in_the_folder_and_come_back(
    options: Options, fixtures: Path, tmp_path: Path
) -> None:
    async with ScriptedModel(fixtures / "scenarios" / "two-calls.yaml") as model:
        prompt = model.scenario.objective or ""
        messages = [m async for m in query(prompt=prompt, options=options(model))]

    result = result_of(messages)
    assert result.result == "greeting.txt says hello."
    assert result.usage is not None
    assert result.usage["cache_read_input_tokens"] > result.usage["cache_creation_input_tokens"] > 0
    assert names(model) == ["writes", "checks", "finishes"]
    assert (tmp_path / "work" / "greeting.txt").read_text() == "hello\n"
    assert (tmp_path / "home" / ".claude").is_dir()


async def test_the_service_recovers_and_so_does_the_cli(options: Options) -> None:
    scenario = Scenario.model_validate(
        {
            "about": "Is overloaded once.",
            "replies": [
                {"name": "overloaded", "times": 1, "fault": {"status": 529}},
                {"name": "drops", "times": 1, "fault": {"drop": "before"}},
                {"name": "recovers", "text": "Here again."},
            ],
        }
    )
    async with ScriptedModel(scenario) as model:
        messages = [m async for m in query(prompt="Hi.", options=options(model))]

    assert result_of(messages).result == "Here again."
    assert names(model) == ["overloaded", "drops", "recovers"]


async def test_a_hanging_model_can_be_interrupted(options: Options) -> None:
    scenario = Scenario.model_validate(
        {
            "about": "Hangs in the midst of its first message, and answers the next prompt.",
            "replies": [
                {"name": "hangs", "times": 1, "fault": {"hang": "midway"}},
                {"name": "answers", "when": {"last": "Go on"}, "text": "I do."},
            ],
        }
    )
    async with ScriptedModel(scenario) as model, ClaudeSDKClient(options(model)) as client:
        await client.query("Hi.")
        await model.wait_for(1)
        await client.interrupt()
        interrupted = result_of([message async for message in client.receive_response()])
        resumed = await say(client, "Go on.")

    assert interrupted.subtype == "error_during_execution"
    assert resumed.result == "I do."
    assert names(model) == ["hangs", "answers"]


@pytest.mark.parametrize("kind", ["general-purpose", "Explore"])
async def test_a_subagents_requests_are_told_from_the_main_agents(
    options: Options, kind: str
) -> None:
    task = {"description": "Look", "prompt": "Look around.", "subagent_type": kind}
    scenario = Scenario.model_validate(
        {
            "about": "Sends a subagent.",
            "replies": [
                {"name": "looks", "when": {"agent": "subagent"}, "text": "All is well."},
                {
                    "name": "sends",
                    "when": {"agent": "main", "calls": 0},
                    "calls": [{"tool": "Agent", "input": {**task, "run_in_background": False}}],
                },
                {"name": "ends", "when": {"results": {"text": "All is well"}}, "text": "Done."},
            ],
        }
    )
    async with ScriptedModel(scenario) as model:
        messages = [m async for m in query(prompt="Look around.", options=options(model))]

    assert result_of(messages).result == "Done."
    assert names(model) == ["sends", "looks", "ends"]


async def test_the_stuck_agent_is_ended_by_its_turn_limit_alone(options: Options) -> None:
    async with (
        ScriptedModel(quick("stuck-then-phantom")) as model,
        ClaudeSDKClient(options(model)) as client,
    ):
        result = await say(client, model.scenario.objective or "")

    assert result.subtype == "error_max_turns"
    assert names(model)[-1] == "reads the same log again"
    assert len(model.requests) == model.scenario.max_turns


async def test_the_phantom_agent_finishes_once_it_is_told_a_tool_that_there_is(
    options: Options, tmp_path: Path
) -> None:
    async with ScriptedModel(quick("stuck-then-phantom")) as model:
        given = options(model)
        given.max_turns = 4
        async with ClaudeSDKClient(given) as client:
            objective = f"{model.scenario.objective} It does not help to `cat build.log`."
            lost = await say(client, objective)
            found = await say(client, "There is no SearchLogs here: use Bash.")

    assert lost.subtype == "error_max_turns"
    assert found.subtype == "success"
    assert names(model)[:4] == [
        "invents a tool",
        "invents a second tool",
        "invents a third tool",
        "invents a tool",
    ]
    assert names(model)[4:] == [
        "goes on with a tool that there is",
        "writes the cause down",
        "finishes",
    ]
    cause = tmp_path / "work" / "cause.txt"
    assert "no space left" in cause.read_text()


async def test_the_watch_survives_a_real_compaction(options: Options) -> None:
    async with ScriptedModel(quick("compacts-then-loops")) as model:
        given = options(model)
        given.max_turns = 7
        async with ClaudeSDKClient(given) as client:
            result = await say(client, model.scenario.objective or "")

    assert result.subtype == "error_max_turns"
    assert names(model) == [
        "looks around",
        "looks at the state",
        "looks a second time",
        "summarises",
        *["keeps watching as the summary says"] * 4,
    ]


async def test_the_steady_worker_does_all_its_work_and_no_call_fails(
    options: Options, tmp_path: Path
) -> None:
    async with ScriptedModel("steady-work") as model:
        prompt = model.scenario.objective or ""
        messages = [m async for m in query(prompt=prompt, options=options(model))]

    context = model.requests[-1].context
    assert result_of(messages).subtype == "success"
    assert names(model) == [reply.name for reply in model.scenario.replies]
    assert not [result for result in context.results if result.is_error]
    assert context.results[-1].text == "OK\nnoted"
    assert (tmp_path / "work" / "NOTES.md").exists()
