"""One worker runs a session at a time, and an agent whose worker lost it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from claude_agent_sdk import ClaudeAgentOptions, Message

from supervisor import SupervisedClient
from supervisor.errors import LeaseHeld, LeaseLost
from supervisor.runtime.keeper import agent_process, kill_tree
from supervisor.runtime.keeper_process import birth
from supervisor.store.sqlite import SqliteStore
from supervisor.testing import Scenario, ScriptedModel

pytestmark = pytest.mark.anyio

Options = Callable[..., ClaudeAgentOptions]

HANGS = Scenario.model_validate(
    {"about": "Never answers.", "replies": [{"name": "hangs", "fault": {"hang": "before"}}]}
)


async def everything(client: SupervisedClient) -> list[Message]:
    return [message async for message in client.receive_response()]


async def test_a_session_that_runs_elsewhere_is_refused_with_who_holds_it(
    options: Options, store: SqliteStore
) -> None:
    async with ScriptedModel(HANGS) as model, SupervisedClient(options(model), store=store) as one:
        await one.query("Think.")
        await model.wait_for(1)
        other = SupervisedClient(options(model, resume=one.session_id), store=store)
        with pytest.raises(LeaseHeld, match="until"):
            await other.connect()


async def test_an_agent_whose_session_was_taken_over_is_stopped_at_once(
    options: Options, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUCID_LEASE_SECONDS", "1")
    async with ScriptedModel(HANGS) as model, SupervisedClient(options(model), store=store) as one:
        await one.query("Think.")
        await model.wait_for(1)
        agent = one._connected()  # the test is about its process
        process = agent_process(agent.inner)
        held = await store.lease(one.session_id or "")
        assert held is not None
        assert process is not None
        await store.release_lease(held)
        await store.acquire_lease(held.session_id, owner="another", ttl=timedelta(minutes=1))
        with pytest.raises(LeaseLost):
            await everything(one)

    assert birth(process) is None


async def test_nothing_of_a_killed_agents_pipes_stays_open(
    options: Options, store: SqliteStore
) -> None:
    async with ScriptedModel(HANGS) as model:
        async with SupervisedClient(options(model), store=store) as one:
            await one.query("Think.")
            await model.wait_for(1)
            agent = one._connected()  # the test is about its process
            pipes = agent.inner._transport._process._process._transport  # type: ignore[union-attr]  # the SDK's own
            process = agent_process(agent.inner)
            assert process is not None
            pipes.get_pipe_transport(1).pause_reading()  # as with more output than is read
            await kill_tree(process, grace=0.0)
        assert pipes.get_pipe_transport(1).is_closing()
