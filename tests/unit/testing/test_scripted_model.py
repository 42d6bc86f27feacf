"""The scripted model as the official client sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import pytest

from supervisor.testing import Scenario, ScriptedModel, cli_env

pytestmark = pytest.mark.anyio

MODEL = "claude-scripted"


@asynccontextmanager
async def client_of(
    model: ScriptedModel, seconds: float = 20.0
) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=model.base_url, api_key="scripted", max_retries=0, timeout=seconds
    ) as client:
        yield client


async def ask(client: anthropic.AsyncAnthropic, *messages: Any) -> anthropic.types.Message:
    prompts = [{"role": "user", "content": m} if isinstance(m, str) else m for m in messages]
    return await client.messages.create(model=MODEL, max_tokens=1000, messages=prompts)


async def stream(client: anthropic.AsyncAnthropic, prompt: str, into: list[str]) -> None:
    """Adds the pieces of text to `into`, so that they outlive a broken stream."""
    async with client.messages.stream(
        model=MODEL, max_tokens=1000, messages=[{"role": "user", "content": prompt}]
    ) as streaming:
        async for text in streaming.text_stream:
            into.append(text)


async def test_a_message_without_streaming(scenarios: Path) -> None:
    async with ScriptedModel(scenarios / "two-calls.yaml") as model, client_of(model) as client:
        message = await ask(client, "Write hello to greeting.txt.")

    thinking, text, call = message.content
    assert thinking.type == "thinking"
    assert thinking.thinking == "A file is wanted, so I write it first."
    assert text.type == "text"
    assert text.text == "I will write the file."
    assert call.type == "tool_use"
    assert (call.id, call.name) == ("toolu_000001_0", "Write")
    assert call.input == {"file_path": "greeting.txt", "content": "hello\n"}
    assert (message.id, message.model, message.stop_reason) == ("msg_000001", MODEL, "tool_use")
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 10


async def test_a_streamed_message_is_the_same_in_pieces(scenarios: Path) -> None:
    async with ScriptedModel(scenarios / "two-calls.yaml") as model, client_of(model) as client:
        whole = await ask(client, "Write hello to greeting.txt.")
        async with client.messages.stream(
            model=MODEL,
            max_tokens=1000,
            messages=[{"role": "user", "content": "Write hello to greeting.txt."}],
        ) as streaming:
            types = [event.type async for event in streaming]
            streamed = await streaming.get_final_message()

    assert [block.type for block in streamed.content] == ["thinking", "text", "tool_use"]
    assert streamed.content[0].type == "thinking"
    assert streamed.content[0].signature
    assert streamed.content[1].type == "text"
    assert streamed.content[1].text == "I will write the file."
    assert streamed.content[2].type == "tool_use"
    assert whole.content[2].type == "tool_use"
    assert streamed.content[2].input == whole.content[2].input
    assert (streamed.stop_reason, streamed.usage.output_tokens) == (
        "tool_use",
        whole.usage.output_tokens,
    )
    assert types[0] == "message_start"
    assert types[-2:] == ["message_delta", "message_stop"]
    assert types.count("input_json") > 1


async def test_replies_follow_the_context_that_is_sent_back(scenarios: Path) -> None:
    async with ScriptedModel(scenarios / "two-calls.yaml") as model, client_of(model) as client:
        first = await ask(client, "Write hello to greeting.txt.")
        call = first.content[-1]
        assert call.type == "tool_use"
        second = await ask(
            client,
            "Write hello to greeting.txt.",
            {"role": "assistant", "content": first.content},
            tool_result(call.id, "File created successfully at: greeting.txt"),
        )

    assert [request.reply for request in model.requests] == ["writes", "checks"]
    assert model.requests[0].path == "/v1/messages"
    assert model.requests[0].body["model"] == MODEL
    assert model.requests[0].at <= model.requests[1].at
    assert len(model.requests[1].context.calls) == 1
    assert (second.id, second.content[0].type) == ("msg_000002", "tool_use")
    assert (model.unmatched, model.refused) == ([], [])


def tool_result(call_id: str, text: str) -> dict[str, object]:
    block = {"type": "tool_result", "tool_use_id": call_id, "content": text}
    return {"role": "user", "content": [block]}


def tool_use(*call_ids: str) -> dict[str, object]:
    calls = [{"type": "tool_use", "id": key, "name": "Bash", "input": {}} for key in call_ids]
    return {"role": "assistant", "content": calls}


async def test_ids_go_on_where_a_conversation_came_from_an_earlier_model() -> None:
    async with ScriptedModel("hello") as model, client_of(model) as client:
        message = await ask(
            client, "Hi.", tool_use("toolu_000041_0"), tool_result("toolu_000041_0", "ok")
        )
        following = await ask(client, "Hi.")

    assert [message.id, following.id] == ["msg_000042", "msg_000043"]


async def test_a_context_that_no_reply_is_for_is_answered_and_recorded(scenarios: Path) -> None:
    async with ScriptedModel(scenarios / "faults.yaml") as model, client_of(model) as client:
        message = await ask(client, "Do something else.")

    assert message.stop_reason == "end_turn"
    assert message.content[0].type == "text"
    assert "no reply for this context" in message.content[0].text
    assert model.unmatched == model.requests


async def test_a_compaction_gets_a_summary_though_the_scenario_has_none() -> None:
    async with ScriptedModel("hello") as model, client_of(model) as client:
        message = await ask(client, "Your task is to create a detailed summary of all this.")

    assert message.content[0].type == "text"
    assert "<summary>" in message.content[0].text
    assert model.requests[0].reply == "built-in: summary"
    assert not model.unmatched


async def test_tokens_are_counted_as_they_are_charged() -> None:
    async with ScriptedModel("hello") as model, client_of(model) as client:
        counted = await client.messages.count_tokens(
            model=MODEL, messages=[{"role": "user", "content": "Hi there."}]
        )
        message = await ask(client, "Hi there.")

    assert counted.input_tokens == message.usage.input_tokens
    assert len(model.requests) == 1


async def test_an_error_has_the_apis_shape_and_goes_away_when_used_up(scenarios: Path) -> None:
    async with ScriptedModel(scenarios / "faults.yaml") as model, client_of(model) as client:
        with pytest.raises(anthropic.APIStatusError) as caught:
            await ask(client, "be overloaded")
        recovered = await ask(client, "be overloaded")

    assert caught.value.status_code == 529
    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.body == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "Too many people ask."},
    }
    assert recovered.content[0].type == "text"
    assert recovered.content[0].text == "Here again."


async def test_an_error_may_name_its_type_and_also_answers_a_stream(scenarios: Path) -> None:
    async with ScriptedModel(scenarios / "faults.yaml") as model, client_of(model) as client:
        with pytest.raises(anthropic.APIStatusError, match="teapot_error") as caught:
            await stream(client, "be strange", [])

    assert caught.value.status_code == 418


@pytest.mark.parametrize("path", ["/", "/v1/models", "/v1/messages/batches"])
async def test_any_other_path_is_not_found(path: str) -> None:
    async with ScriptedModel("hello") as model, client_of(model) as client:
        with pytest.raises(anthropic.NotFoundError, match="not_found_error"):
            await client.get(path, cast_to=object)

    assert model.refused == [f"GET {path}: the scripted model has no such path"]


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "at least one message"),
        (["Hi.", tool_use("a"), "Go on."], "`tool_use` ids were found without `tool_result`"),
        (["Hi.", tool_use("a")], "messages.1: `tool_use` ids were found without"),
        (["Hi.", tool_use("a", "b"), tool_result("a", "x")], "immediately after: b"),
        (["Hi.", tool_result("a", "x")], "unexpected `tool_use_id`"),
        (
            ["Hi.", tool_use("a"), tool_result("a", "x"), tool_use("a"), tool_result("a", "x")],
            "must be unique",
        ),
        ([{"role": "user"}], "content"),
    ],
)
async def test_what_the_api_refuses_is_refused(messages: list[Any], reason: str) -> None:
    async with ScriptedModel("hello") as model, client_of(model) as client:
        with pytest.raises(anthropic.BadRequestError, match=reason):
            await ask(client, *messages)

    assert len(model.refused) == 1
    assert not model.requests


async def test_results_of_parallel_calls_may_come_in_several_messages() -> None:
    async with ScriptedModel("hello") as model, client_of(model) as client:
        await ask(
            client, "Hi.", tool_use("a"), tool_use("b"), tool_result("b", "x"), tool_result("a", "")
        )

    assert not model.refused


async def test_a_body_that_is_not_json_is_refused() -> None:
    async with ScriptedModel("hello") as model, client_of(model) as client:
        with pytest.raises(anthropic.BadRequestError, match="truncated"):
            await client.post("/v1/messages", content=b"{", cast_to=object)


async def test_a_connection_dropped_before_the_response(scenarios: Path) -> None:
    async with ScriptedModel(scenarios / "faults.yaml") as model, client_of(model) as client:
        with pytest.raises(anthropic.APIConnectionError):
            await ask(client, "drop before")

    assert model.requests[0].reply == "drops at once"


async def test_a_connection_dropped_midway_leaves_half_a_message(scenarios: Path) -> None:
    texts: list[str] = []
    async with ScriptedModel(scenarios / "faults.yaml") as model, client_of(model) as client:
        with pytest.raises(Exception, match="without sending complete message body") as caught:
            await stream(client, "drop midway", texts)

    assert not isinstance(caught.value, anthropic.APIStatusError)
    assert texts
    assert "".join(texts).startswith("Let me think")
    assert not "".join(texts).endswith("other.")


@pytest.mark.parametrize(("moment", "received"), [("before", False), ("midway", True)])
async def test_a_hang_is_cut_by_the_clients_timeout(
    scenarios: Path, moment: str, received: bool
) -> None:
    texts: list[str] = []
    async with ScriptedModel(scenarios / "faults.yaml") as model, client_of(model, 0.2) as client:
        asked = stream(client, f"hang {moment}", texts)
        (error,) = await asyncio.gather(asked, return_exceptions=True)

    # Midway, the client passes on what its HTTP library raises.
    assert "Timeout" in type(error).__name__
    assert bool(texts) is received
    assert len(model.requests) == 1


async def test_closing_does_not_wait_for_those_that_hang(scenarios: Path) -> None:
    async with ScriptedModel(scenarios / "faults.yaml") as model, client_of(model) as client:
        hanging = [
            asyncio.create_task(stream(client, f"hang {moment}", []))
            for moment in ("before", "midway")
        ]
        await model.wait_for(2)
        began = time.monotonic()
        await model.__aexit__()
        took = time.monotonic() - began
        results = await asyncio.gather(*hanging, return_exceptions=True)

    assert took < 0.5
    assert all(isinstance(result, Exception) for result in results)


async def test_a_reply_may_come_late(scenarios: Path) -> None:
    async with ScriptedModel(scenarios / "faults.yaml") as model, client_of(model) as client:
        began = time.monotonic()
        await ask(client, "be slow")

    assert time.monotonic() - began >= 0.2


async def test_waiting_for_requests_ends_with_how_many_came() -> None:
    async with ScriptedModel("hello") as model, client_of(model) as client:
        waiting = asyncio.create_task(model.wait_for(1))
        await ask(client, "Hi.")
        await waiting
        with pytest.raises(TimeoutError, match=r"1 of 2 requests came in 0\.01 s"):
            await model.wait_for(2, within=0.01)


async def test_it_has_an_address_while_it_is_entered_only() -> None:
    model = ScriptedModel("hello")
    with pytest.raises(RuntimeError, match="enter it"):
        _ = model.base_url

    async with model:
        assert model.base_url.startswith("http://127.0.0.1:")

    with pytest.raises(RuntimeError, match="enter it"):
        _ = model.base_url


async def test_a_port_that_is_taken_is_an_os_error() -> None:
    async with ScriptedModel("hello") as model:
        port = int(model.base_url.rsplit(":", 1)[1])
        with pytest.raises(OSError, match="address already in use"):
            await ScriptedModel("hello", port=port).__aenter__()


async def test_two_models_run_side_by_side() -> None:
    other = Scenario.model_validate(
        {"about": "Another.", "replies": [{"name": "a", "text": "other"}]}
    )
    async with (
        ScriptedModel("hello") as one,
        ScriptedModel(other) as two,
        client_of(one) as first,
        client_of(two) as second,
    ):
        answers = [(await ask(client, "Hi.")).content[0] for client in (first, second)]

    assert [answer.type == "text" and answer.text for answer in answers] == [
        "Hello. There is nothing else to do.",
        "other",
    ]


async def test_the_environment_leads_to_the_model_and_keeps_files_in_the_home(
    tmp_path: Path,
) -> None:
    async with ScriptedModel("hello") as model:
        env = model.env(tmp_path)
        base_url = model.base_url

    assert env == cli_env(base_url, tmp_path)
    assert env["ANTHROPIC_BASE_URL"] == base_url
    assert (env["HOME"], env["CLAUDE_CONFIG_DIR"]) == (str(tmp_path), f"{tmp_path}/.claude")
