"""A worker that is told to stop lets go of its session in good order, and another goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from claude_agent_sdk import ClaudeAgentOptions, ResultMessage

from supervisor import SupervisedClient
from supervisor.core.interruption import Cause, GoOn
from supervisor.core.session import SessionState
from supervisor.errors import Drained
from supervisor.store.sqlite import SqliteStore
from supervisor.testing import Scenario, ScriptedModel

pytestmark = pytest.mark.anyio

Options = Callable[..., ClaudeAgentOptions]

PROMPT = "Put lines into out.txt until I say stop."
DONE = "All is done."
HANG = {"name": "hangs", "fault": {"hang": "before"}, "times": 1}
ENDS = {"name": "ends", "text": DONE}


def bash(command: str) -> dict[str, Any]:
    return {"tool": "Bash", "input": {"command": command, "description": "Work"}}


def scenario(*replies: dict[str, Any]) -> Scenario:
    return Scenario.model_validate({"about": "Works, then ends.", "replies": list(replies)})


def says(name: str, *commands: str, **when: Any) -> dict[str, Any]:
    planned = [bash(command) for command in commands]
    return {"name": name, "when": when, "text": "So.", "calls": planned}


class Worker:
    """Begins a session, drains it, and has another worker go on."""

    def __init__(self, options: Options, store: SqliteStore, folder: Path) -> None:
        self.options, self.store, self.folder = options, store, folder
        self.session_id = ""
        self.took = 0.0

    @property
    def lines(self) -> list[str]:
        out = self.folder / "work" / "out.txt"
        return out.read_text().splitlines() if out.exists() else []

    async def drained(self, model: ScriptedModel, within: float, ready: Callable[[], bool]) -> None:
        async with SupervisedClient(self.options(model), store=self.store) as client:
            await client.query(PROMPT)
            async with asyncio.timeout(20):
                while not ready():  # noqa: ASYNC110 - nothing announces a file
                    await asyncio.sleep(0.02)
            began = monotonic()
            await client.drain(within)
            self.took = monotonic() - began
            with pytest.raises(Drained, match="lucid resume"):
                async for _ in client.receive_response():
                    pass
            self.session_id = client.session_id or ""

    async def gone_on(self, model: ScriptedModel) -> tuple[Any, str | None]:
        again = self.options(model, resume=self.session_id)
        async with SupervisedClient(again, store=self.store) as client:
            interruption = await client.go_on()
            messages = [m async for m in client.receive_response()]
        (result,) = [m for m in messages if isinstance(m, ResultMessage)]
        return interruption, result.result


@pytest.fixture
def worker(options: Options, store: SqliteStore, tmp_path: Path) -> Worker:
    return Worker(options, store, tmp_path)


async def test_an_agent_is_stopped_at_its_next_tool_boundary(
    worker: Worker, store: SqliteStore
) -> None:
    played = scenario(
        says("first", "echo one >> out.txt; sleep 0.5", calls=0),
        says("second", "echo two >> out.txt", calls=1, says="none of this"),
        {**says("never", "echo two >> out.txt", calls=1), "times": 1},
        ENDS,
    )
    async with ScriptedModel(played) as model:
        await worker.drained(model, 20, lambda: worker.lines == ["one"])
        row = await store.session(worker.session_id)
        assert (row.state, row.lease) == (SessionState.RUNNING, None)
        assert row.state_reason.startswith("drained")
        interruption, answer = await worker.gone_on(model)
        told = model.requests[-1].context.told

    assert worker.took < 5
    assert worker.lines == ["one"], "the call that was held never ran"
    assert (interruption.cause, interruption.go_on) == (Cause.DRAINED, GoOn.CONTINUE)
    assert [call.tool for call in interruption.calls_not_run] == ["Bash"]
    assert answer == DONE
    assert sum(text.count(PROMPT) for text in told) == 1


async def test_an_agent_in_a_long_call_is_stopped_when_the_time_is_up(worker: Worker) -> None:
    played = scenario(says("long", "echo one >> out.txt; sleep 60", calls=0), ENDS)
    async with ScriptedModel(played) as model:
        await worker.drained(model, 4, lambda: worker.lines == ["one"])
        interruption, answer = await worker.gone_on(model)

    assert worker.took < 4
    assert interruption.go_on is GoOn.VERIFY
    assert [call.tool for call in interruption.calls_in_doubt] == ["Bash"]
    assert answer == DONE


async def test_a_turn_that_ends_in_time_is_simply_over(
    options: Options, store: SqliteStore, tmp_path: Path
) -> None:
    played = scenario({"name": "ends", "text": DONE, "delay": 0.5})
    async with (
        ScriptedModel(played) as model,
        SupervisedClient(options(model), store=store) as client,
    ):
        await client.query(PROMPT)
        await model.wait_for(1)
        await client.drain(20)
        assert client.state == (SessionState.REACHED, "")
        messages = [m async for m in client.receive_response()]

    assert isinstance(messages[-1], ResultMessage)
