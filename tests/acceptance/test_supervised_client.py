"""`SupervisedClient` and `supervised_query` with the real SDK, CLI and store."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    Message,
    ResultError,
    ResultMessage,
    SystemMessage,
    TextBlock,
    ToolUseBlock,
    UserMessage,
    query,
)

from supervisor import SupervisedClient, supervised_query
from supervisor.core.decision import Choice
from supervisor.core.session import SessionState
from supervisor.runtime import registry
from supervisor.store.sqlite import SqliteStore
from supervisor.testing import Scenario, ScriptedModel, load_scenario

pytestmark = pytest.mark.anyio

Options = Callable[..., ClaudeAgentOptions]


def events(messages: Iterable[Message], subtype: str) -> list[dict[str, Any]]:
    return [
        message.data
        for message in messages
        if isinstance(message, SystemMessage) and message.subtype == subtype
    ]


def acted(messages: Iterable[Message]) -> list[str]:
    decisions = events(messages, "lucid_decision")
    return [decision["action"] for decision in decisions if decision["choice"] == Choice.ACT]


def outcomes(messages: Iterable[Message]) -> list[tuple[str, str]]:
    return [(event["action"], event["status"]) for event in events(messages, "lucid_outcome")]


def results(messages: Iterable[Message]) -> list[ResultMessage]:
    return [message for message in messages if isinstance(message, ResultMessage)]


def calls(messages: Iterable[Message]) -> list[ToolUseBlock]:
    return [
        block
        for message in messages
        if isinstance(message, AssistantMessage)
        for block in message.content
        if isinstance(block, ToolUseBlock)
    ]


def clean(model: ScriptedModel) -> bool:
    """The scenario knew an answer to everything, and the API would have taken it all."""
    return not model.unmatched and not model.refused


async def collect(stream: AsyncIterator[Message], messages: list[Message]) -> None:
    async for message in stream:
        messages.append(message)


async def turn(client: SupervisedClient, prompt: str) -> list[Message]:
    await client.query(prompt)
    return [message async for message in client.receive_response()]


FRAGILE = """
from supervisor.core.detector import Detector
from supervisor.core.verdict import FailureMode

class Fragile(Detector):
    name = "fragile"
    failure_mode = FailureMode.DRIFT

    def observe(self, entry):
        return [1 / 0]
"""


def install_plugin(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put another distribution's detector where it is found, for this test."""
    info = site / "fragile-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fragile\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[lucid.detectors]\nfragile = fragile_detector:Fragile\n"
    )
    (site / "fragile_detector.py").write_text(FRAGILE)
    monkeypatch.syspath_prepend(site)
    registry.detectors.cache_clear()


@pytest.fixture(autouse=True)
def _installed_plugins_only() -> Iterator[None]:
    yield
    registry.detectors.cache_clear()


# Nothing fires: nothing differs.


def comparable(body: dict[str, Any]) -> dict[str, Any]:
    """A request without what differs from run to run anyway: the session's id."""
    return {name: value for name, value in body.items() if name != "metadata"}


def seen(message: Message) -> tuple[object, ...]:
    """A message without ids, times and the figures that depend on them."""
    if isinstance(message, ResultMessage):
        return (message.subtype, message.num_turns, message.result, message.usage, message.is_error)
    if isinstance(message, SystemMessage):
        # Prompts go out under a uuid, and the CLI says which it answers.
        return (message.subtype, sorted(message.data.keys() - {"user_message_uuids"}))
    return (type(message), getattr(message, "content", None))


async def test_without_a_verdict_the_model_and_the_caller_see_no_difference(
    options: Options, store: SqliteStore, tmp_path: Path
) -> None:
    async with ScriptedModel("steady-work") as model:
        prompt = model.scenario.objective or ""
        bare = [seen(m) async for m in query(prompt=prompt, options=options(model))]
        plain = [comparable(request.body) for request in model.requests]
        shutil.rmtree(tmp_path / "work")
        shutil.rmtree(tmp_path / "home")
    async with ScriptedModel("steady-work") as model:
        watched = [
            seen(m)
            async for m in supervised_query(prompt=prompt, options=options(model), store=store)
        ]
        supervised = [comparable(request.body) for request in model.requests]

    assert len(plain) == 31
    assert supervised == plain
    assert watched == bare


async def test_a_result_that_is_an_error_is_raised_as_by_query(
    options: Options, store: SqliteStore
) -> None:
    async with ScriptedModel("steady-work") as model:
        given = options(model, max_turns=2)
        prompt = model.scenario.objective or ""
        messages: list[Message] = []
        stream = supervised_query(prompt=prompt, options=given, store=store)
        with pytest.raises(ResultError, match="maximum number of turns"):
            await collect(stream, messages)

    assert results(messages)[0].subtype == "error_max_turns"
    (row,) = await store.sessions()
    assert (row.state, row.state_reason) == (SessionState.GAVE_UP, "max_turns")


async def test_streamed_prompts_are_all_answered(options: Options, store: SqliteStore) -> None:
    async def prompts() -> AsyncIterator[dict[str, Any]]:
        for text in ("Say hello.", "Again."):
            yield {"type": "user", "message": {"role": "user", "content": text}}

    async with ScriptedModel("hello") as model:
        messages = [
            m async for m in supervised_query(prompt=prompts(), options=options(model), store=store)
        ]

    assert results(messages)[-1].subtype == "success"
    assert "Again." in str(model.requests[-1].body["messages"])


# It goes wrong, is caught and recovered.


@pytest.mark.parametrize("max_turns", [None, 40])
async def test_a_stuck_agent_is_brought_back_in_one_stream_and_one_session(
    max_turns: int | None, options: Options, store: SqliteStore, tmp_path: Path
) -> None:
    async with ScriptedModel("stuck-then-phantom") as model:
        client = SupervisedClient(options(model, max_turns=max_turns), store=store)
        async with client:
            messages = await turn(client, model.scenario.objective or "")
        assert clean(model)
        contexts = [request.context for request in model.requests]

    assert acted(messages) == ["nudge", "rollback", "correct"]
    assert outcomes(messages)[0] == ("nudge", "failed")
    assert sorted(outcomes(messages)[1:]) == [("correct", "cleared"), ("rollback", "cleared")]
    assert (tmp_path / "work" / "cause.txt").read_text().startswith("Build 4711 failed")
    # One result, with the figures of all the parts; one init; one session id.
    (result,) = results(messages)
    assert (result.subtype, result.is_error) == ("success", False)
    assert result.num_turns >= len(calls(messages))
    assert len(events(messages, "init")) == 1
    ids = {
        getattr(m, "session_id", None) or getattr(m, "data", {}).get("session_id") for m in messages
    }
    assert ids - {None} == {client.session_id}
    # What was rolled back is out of the model's context, and what was learnt is in it.
    repeated = [len([r for r in c.results if "waiting for the worker" in r.text]) for c in contexts]
    assert max(repeated) >= 4
    assert repeated[-1] == 1
    assert (await store.session(client.session_id or "")).state is SessionState.REACHED


async def test_a_one_shot_query_is_brought_back_too_and_ends(
    options: Options, store: SqliteStore, tmp_path: Path
) -> None:
    async with ScriptedModel("stuck-then-phantom") as model:
        given = options(model, max_turns=None)
        prompt = model.scenario.objective or ""
        messages = [m async for m in supervised_query(prompt=prompt, options=given, store=store)]
        assert clean(model)

    assert acted(messages) == ["nudge", "rollback", "correct"]
    assert [result.subtype for result in results(messages)] == ["success"]
    assert (tmp_path / "work" / "cause.txt").exists()


async def test_a_detector_that_raises_is_switched_off_shown_and_stops_nobody(
    options: Options, store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_plugin(tmp_path / "site", monkeypatch)
    async with ScriptedModel("steady-work") as model:
        prompt = model.scenario.objective or ""
        messages = [
            m async for m in supervised_query(prompt=prompt, options=options(model), store=store)
        ]

    (incident,) = events(messages, "lucid_incident")
    assert incident["source"] == "detector:fragile"
    assert "ZeroDivisionError" in incident["message"]
    assert results(messages)[0].subtype == "success"
    (row,) = await store.sessions()
    assert [found.source for found in await store.incidents(row.session_id)] == ["detector:fragile"]


async def test_a_rollback_reaches_back_past_a_compaction(
    options: Options, store: SqliteStore, tmp_path: Path
) -> None:
    async with ScriptedModel("compacts-then-loops") as model:
        async with SupervisedClient(options(model, max_turns=30), store=store) as client:
            messages = await turn(client, model.scenario.objective or "")
        assert clean(model)
        replies = [request.reply for request in model.requests]

    assert replies.count("summarises") == 1
    assert replies[-3:] == ["reads the deployment's log", "writes the result down", "finishes"]
    assert ("rollback", "cleared") in outcomes(messages)
    assert "503" in (tmp_path / "work" / "result.txt").read_text()
    assert "keep watching" not in str(model.requests[-1].body["messages"])


async def test_the_next_turn_and_a_later_client_go_on_where_the_rollback_led(
    options: Options, store: SqliteStore
) -> None:
    async with ScriptedModel("compacts-then-loops") as model:
        given = options(model, max_turns=30)
        async with SupervisedClient(given, store=store) as client:
            await turn(client, model.scenario.objective or "")
            again = await turn(client, "What was it?")
        resumed = options(model, max_turns=30, resume=client.session_id)
        async with SupervisedClient(resumed, store=store) as later:
            last = await turn(later, "Once more?")
        context = model.requests[-1].context
        assert clean(model)

    assert later.session_id == client.session_id == results(last)[0].session_id
    assert [result.subtype for result in results(again + last)] == ["success", "success"]
    text = str(model.requests[-1].body["messages"])
    assert "Once more?" in text
    assert "What was it?" in text
    assert "keep watching" not in text
    assert len([r for r in context.results if "deployment 12: pending" in r.text]) == 1
    (row,) = await store.sessions()
    assert row.head != row.session_id


async def test_an_agent_that_nothing_brings_back_is_stopped(
    options: Options, store: SqliteStore, tmp_path: Path
) -> None:
    scenario = load_scenario("stuck-then-phantom")
    stubborn = [reply for reply in scenario.replies if reply.name == "begins to read the log"]
    scenario = scenario.model_copy(update={"replies": tuple(stubborn)})
    async with ScriptedModel(scenario) as model:
        client = SupervisedClient(options(model, max_turns=80), store=store)
        async with client:
            messages = await turn(client, scenario.objective or "")
            state = client.state

    assert acted(messages) == ["nudge", "rollback", "correct", "abort"]
    assert [status for _, status in outcomes(messages)] == ["failed"] * 3 + ["superseded"]
    assert state[0] is SessionState.ABORTED
    assert len(results(messages)) == 1


async def test_in_observe_mode_everything_is_recorded_and_nothing_done(
    options: Options, store: SqliteStore
) -> None:
    async with ScriptedModel("stuck-then-phantom") as model:
        client = SupervisedClient(options(model, max_turns=8), store=store, policy="observe")
        async with client:
            messages = await turn(client, model.scenario.objective or "")

    decisions = await store.decisions(client.session_id or "")
    assert {decision.choice for decision in decisions} == {Choice.OBSERVE}
    assert decisions[0].action == "nudge"
    assert outcomes(messages) == []
    assert {request.reply for request in model.requests} == {
        "looks around",
        "begins to read the log",
        "reads the same log again",
    }


async def test_the_turn_limit_holds_across_a_rollback(options: Options, store: SqliteStore) -> None:
    async with (
        ScriptedModel("stuck-then-phantom") as model,
        SupervisedClient(options(model, max_turns=8), store=store) as client,
    ):
        messages = await turn(client, model.scenario.objective or "")

    assert "rollback" in acted(messages)
    assert results(messages)[0].subtype == "error_max_turns"
    assert len(model.requests) <= 9


# What the caller may do besides.


async def test_the_callers_own_session_store_gets_everything_forks_included(
    options: Options, store: SqliteStore, tmp_path: Path
) -> None:
    async with (
        SqliteStore(tmp_path / "callers.db") as callers,
        ScriptedModel("compacts-then-loops") as model,
    ):
        given = options(model, max_turns=30, session_store=callers)
        async with SupervisedClient(given, store=store) as client:
            messages = await turn(client, model.scenario.objective or "")
        theirs = await callers.sessions()
        (ours,) = await store.sessions()

    assert results(messages)[0].subtype == "success"
    assert sum(row.entries for row in theirs) == ours.entries


async def test_file_checkpoints_work_under_supervision(
    options: Options, store: SqliteStore, tmp_path: Path
) -> None:
    scenario = Scenario.model_validate(
        {
            "about": "Overwrites a file.",
            "files": {"note.txt": "before\n"},
            "replies": [
                {"name": "done", "when": {"results": {"tool": "Write"}}, "text": "Done."},
                {
                    "name": "writes",
                    "when": {"results": {"tool": "Read"}},
                    "calls": [
                        {"tool": "Write", "input": {"file_path": "note.txt", "content": "after\n"}}
                    ],
                },
                {"name": "reads", "calls": [{"tool": "Read", "input": {"file_path": "note.txt"}}]},
            ],
        }
    )
    note = tmp_path / "work" / "note.txt"
    async with ScriptedModel(scenario) as model:
        given = options(
            model, enable_file_checkpointing=True, extra_args={"replay-user-messages": None}
        )
        async with SupervisedClient(given, store=store) as client:
            messages = await turn(client, "Overwrite the note.")
            written = note.read_text()
            prompt = next(m for m in messages if isinstance(m, UserMessage))
            await client.rewind_files(prompt.uuid or "")

    assert written == "after\n"
    assert note.read_text() == "before\n"


async def test_a_callers_interrupt_ends_the_turn_as_it_would_without_lucid(
    options: Options, store: SqliteStore
) -> None:
    scenario = Scenario.model_validate(
        {
            "about": "Takes its time, then answers.",
            "replies": [
                {"name": "answers", "when": {"told": "Enough"}, "text": "All right."},
                {"name": "hangs", "fault": {"hang": "before"}},
            ],
        }
    )
    async with (
        ScriptedModel(scenario) as model,
        SupervisedClient(options(model), store=store) as client,
    ):
        await client.query("Think.")
        await model.wait_for(1)
        await client.interrupt()
        first = [m async for m in client.receive_response()]
        second = await turn(client, "Enough.")

    assert results(first)[0].terminal_reason == "aborted_streaming"
    assert results(second)[0].result == "All right."
    assert any(
        isinstance(block, TextBlock) and "interrupted by user" in block.text
        for m in first
        for block in (m.content if isinstance(getattr(m, "content", None), list) else [])
    )


async def test_a_session_begun_without_lucid_is_resumed_with_its_history(
    options: Options, store: SqliteStore
) -> None:
    async with ScriptedModel("hello") as model:
        bare = [m async for m in query(prompt="Say hello.", options=options(model))]
        begun = results(bare)[0].session_id
        given = options(model, resume=begun)
        async with SupervisedClient(given, store=store) as client:
            messages = await turn(client, "Again.")
        continued = options(model, continue_conversation=True)
        async with SupervisedClient(continued, store=store) as later:
            await turn(later, "And again.")

    assert client.session_id == later.session_id == begun
    assert results(messages)[0].session_id == begun
    text = str(model.requests[-1].body["messages"])
    assert all(prompt in text for prompt in ("Say hello.", "Again.", "And again."))
    entries = [entry async for entry in store.entries(begun)]
    inherited = [entry.inherited for entry in entries]
    assert inherited == sorted(inherited, reverse=True)
    assert len({entry.uuid for entry in entries if entry.uuid}) == sum(
        entry.uuid is not None for entry in entries
    )


async def test_a_session_is_resumed_from_the_store_alone_on_another_host(
    options: Options, store: SqliteStore, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "another folder"
    elsewhere.mkdir()
    async with ScriptedModel("hello") as model:
        async with SupervisedClient(options(model), store=store) as first:
            await turn(first, "Say hello.")
        shutil.rmtree(tmp_path / "home")
        given = options(
            model, resume=first.session_id, cwd=elsewhere, env=model.env(tmp_path / "new home")
        )
        async with SupervisedClient(given, store=store) as later:
            messages = await turn(later, "Again.")
        async with SupervisedClient(given, store=store) as latest:
            await turn(latest, "And again.")
        assert clean(model)

    assert first.session_id == later.session_id == latest.session_id
    assert results(messages)[0].session_id == first.session_id
    text = str(model.requests[-1].body["messages"])
    assert [text.count(prompt) for prompt in ("Say hello.", "'Again.'", "'And again.'")] == [1] * 3


async def test_a_native_fork_is_a_session_of_its_own(options: Options, store: SqliteStore) -> None:
    async with ScriptedModel("hello") as model:
        async with SupervisedClient(options(model), store=store) as first:
            await turn(first, "Say hello.")
        given = options(model, resume=first.session_id, fork_session=True)
        async with SupervisedClient(given, store=store) as fork:
            messages = await turn(fork, "Again.")

    assert fork.session_id != first.session_id
    assert results(messages)[0].session_id == fork.session_id
    assert "Say hello." in str(model.requests[-1].body["messages"])
    prefix = [e.uuid async for e in store.entries(fork.session_id or "") if e.inherited]
    assert prefix
    assert (await store.session(fork.session_id or "")).objective == "Say hello."


async def test_a_drop_in_for_a_client_that_is_not_connected() -> None:
    bare, supervised = ClaudeSDKClient(), SupervisedClient()
    messages = []
    for client in (bare, supervised):
        with pytest.raises(Exception, match="Not connected") as caught:
            await client.query("Anyone?")
        messages.append((type(caught.value), str(caught.value)))
    assert messages[0] == messages[1]
