"""The tool boundaries: intents, context shown once, calls held, and never a stop by fault."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, cast

import pytest
from claude_agent_sdk import (
    ClaudeAgentOptions,
    HookCallback,
    HookContext,
    HookInput,
    HookMatcher,
)

from supervisor.core.decision import Decision
from supervisor.runtime import boundary as module
from supervisor.runtime import protection
from supervisor.runtime.boundary import Boundary
from supervisor.store.interface import Incident, Store
from tests.unit.runtime.conftest import Breaking, Transcript, Watch, Watched, policy_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("marker")]

CONTEXT = cast("HookContext", {"signal": None})


@dataclass
class Agent:
    """The CLI's side of the hooks."""

    boundary: Boundary
    watched: Watched
    transcript: Transcript

    async def fire(self, event: str, call_id: str, agent_id: str | None = None) -> Any:
        hooks = self.boundary.hooked(ClaudeAgentOptions()).hooks or {}
        hook: HookCallback = hooks[event][-1].hooks[-1]  # type: ignore[index] # any event's name
        given: dict[str, Any] = {
            "hook_event_name": event,
            "tool_name": "Bash",
            "tool_input": {"command": "ls"},
        }
        if agent_id is not None:
            given["agent_id"] = agent_id
        return await hook(cast("HookInput", given), call_id, CONTEXT)

    async def before(self, call_id: str, agent_id: str | None = None) -> Any:
        return await self.fire("PreToolUse", call_id, agent_id)

    async def after(self, call_id: str, agent_id: str | None = None) -> Any:
        return await self.fire("PostToolUse", call_id, agent_id)

    async def failure(self, agent_id: str | None = None, key: str = "one") -> Decision:
        """Have a failure found that is acted on."""
        transcript = self.transcript if agent_id is None else Transcript(agent_id=agent_id)
        await self.watched.take(transcript, transcript.text(f"FAIL:{key}"))
        return self.watched.started[-1]

    async def read(self, *call_ids: str) -> None:
        """Have the transcript read up to these calls."""
        await self.watched.take(self.transcript, *[self.transcript.call(c) for c in call_ids])


@pytest.fixture
def agent(watch: Watch, transcript: Transcript) -> Agent:
    watched = watch()
    return Agent(Boundary(watched.supervision), watched, transcript)


def context_in(output: Any) -> tuple[str, str] | None:
    """The event it is for, and the text."""
    said = output.get("hookSpecificOutput")
    return (said["hookEventName"], said["additionalContext"]) if said else None


async def test_the_callers_own_hooks_stay_and_come_first(agent: Agent) -> None:
    async def theirs(hook: HookInput, call_id: str | None, context: HookContext) -> Any:
        return {}

    options = ClaudeAgentOptions(
        hooks={
            "PreToolUse": [HookMatcher(matcher="Bash", hooks=[theirs])],
            "Stop": [HookMatcher(hooks=[theirs])],
        }
    )
    hooked = agent.boundary.hooked(options).hooks or {}

    assert {event: len(matchers) for event, matchers in hooked.items()} == {
        "PreToolUse": 2,
        "Stop": 1,
        "PostToolUse": 1,
        "PostToolUseFailure": 1,
    }
    assert hooked["PreToolUse"][0].hooks == [theirs]
    assert options.hooks is not None
    assert len(options.hooks["PreToolUse"]) == 1, "the caller's options are left as they were"


async def test_an_intent_is_written_before_the_call_runs(agent: Agent, store: Store) -> None:
    assert await agent.before("a") == {}
    assert await agent.before("b", "sub") == {}

    kept = [(i.call_id, i.tool, bytes(i.input), i.agent_id) for i in await store.intents("s")]
    assert kept == [("a", "Bash", b'{"command":"ls"}', None), ("b", "Bash", kept[0][2], "sub")]


def tolerant(watch: Watch, transcript: Transcript, store: str) -> Agent:
    """An agent under a policy that says this on a store that cannot be written."""
    watched = watch(policy_of(store=store))
    return Agent(Boundary(watched.supervision), watched, transcript)


async def test_an_intent_that_cannot_be_written_does_not_stop_an_agent_that_may_go_on(
    watch: Watch,
    transcript: Transcript,
    store: Store,
    broken: Breaking,
    caplog: pytest.LogCaptureFixture,
) -> None:
    agent = tolerant(watch, transcript, "{when_away: go_on}")
    with broken("INSERT ON intent"):
        assert await agent.before("a") == {}

    assert await store.intents("s") == []
    assert "broken by a test" in caplog.text


async def test_a_call_waits_until_its_intent_is_written_and_counts_as_not_started(
    agent: Agent, store: Store, broken: Breaking, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = asyncio.Event()
    monkeypatch.setattr(protection, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(protection.log, "error", lambda *said: refused.set())
    with broken("INSERT ON intent"):
        call = asyncio.create_task(agent.before("a"))
        await refused.wait()
        assert agent.boundary.is_holding
        assert not agent.boundary.is_running

    assert await call == {}
    assert [intent.call_id for intent in await store.intents("s")] == ["a"]
    assert agent.boundary.is_running
    assert not agent.boundary.is_holding


async def test_a_call_that_has_waited_for_the_longest_time_is_denied_and_says_why(
    watch: Watch, transcript: Transcript, broken: Breaking
) -> None:
    agent = tolerant(watch, transcript, "{pause_at_most: 20ms}")
    with broken("INSERT ON intent"):
        denied = (await agent.before("a"))["hookSpecificOutput"]

    assert denied["permissionDecision"] == "deny"
    assert "must be written down first" in denied["permissionDecisionReason"]
    (incident,) = agent.watched.told
    assert isinstance(incident, Incident)
    assert "for 20ms, so the call a of Bash was denied" in incident.message
    assert not agent.boundary.is_running


async def test_the_cli_waits_for_a_hook_longer_than_a_call_may_pause(
    watch: Watch, transcript: Transcript
) -> None:
    agent = tolerant(watch, transcript, "{pause_at_most: 1h}")
    hooks = agent.boundary.hooked(ClaudeAgentOptions()).hooks or {}

    assert (hooks["PreToolUse"][0].timeout or 0) > 3600


async def test_context_is_shown_once_at_the_next_boundary(agent: Agent) -> None:
    decision = await agent.failure()
    agent.boundary.add_context(decision, "Look elsewhere.")

    await agent.read("a")
    assert context_in(await agent.before("a")) == ("PreToolUse", "Look elsewhere.")
    assert context_in(await agent.after("a")) is None
    await agent.read("b")
    assert context_in(await agent.before("b")) is None


@pytest.mark.parametrize("event", ["PostToolUse", "PostToolUseFailure"])
async def test_context_that_comes_while_a_call_runs_is_shown_beside_its_result(
    agent: Agent, event: str
) -> None:
    await agent.before("a")
    decision = await agent.failure()
    agent.boundary.add_context(decision, "Look elsewhere.")

    assert context_in(await agent.fire(event, "a")) == (event, "Look elsewhere.")
    # It takes effect with that result.
    lines = [agent.transcript.result("a", "FAIL:one")]
    await agent.watched.take(agent.transcript, *lines)
    assert agent.watched.supervision.outcomes.is_pending(decision)


async def test_texts_of_one_boundary_are_shown_together(agent: Agent) -> None:
    decision = await agent.failure()
    agent.boundary.add_context(decision, "First.")
    agent.boundary.add_context(decision, "Second.")

    assert context_in(await agent.after("a")) == ("PostToolUse", "First.\n\nSecond.")


async def test_context_is_not_shown_once_its_action_is_settled(agent: Agent) -> None:
    decision = await agent.failure()
    agent.boundary.add_context(decision, "Look elsewhere.")
    await agent.watched.supervision.turn_ended()

    assert context_in(await agent.after("a")) is None


async def test_context_that_was_shown_nowhere_can_be_withdrawn(agent: Agent) -> None:
    decision = await agent.failure()
    agent.boundary.add_context(decision, "Look elsewhere.")

    assert agent.boundary.withdraw_context() == [decision]
    assert agent.boundary.withdraw_context() == []
    assert context_in(await agent.after("a")) is None


async def test_a_subagents_context_is_its_own(agent: Agent) -> None:
    decision = await agent.failure("sub")
    agent.boundary.add_context(decision, "For the subagent.")

    assert context_in(await agent.after("a")) is None
    assert context_in(await agent.after("b", "another")) is None
    assert context_in(await agent.after("c", "sub")) == ("PostToolUse", "For the subagent.")


async def test_a_call_waits_for_the_transcript_while_an_outcome_is_open(agent: Agent) -> None:
    await agent.failure()
    waiting = asyncio.create_task(agent.before("a"))
    await asyncio.sleep(0.05)
    assert not waiting.done()

    await agent.read("a")
    assert await waiting == {}


async def test_a_call_does_not_wait_for_ever(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CATCH_UP_SECONDS", 0.01)
    await agent.failure()

    async with asyncio.timeout(5):
        assert await agent.before("never in the transcript") == {}


async def test_closing_lets_running_calls_end(agent: Agent) -> None:
    await agent.before("a")
    await agent.before("b")
    closing = asyncio.create_task(agent.boundary.close(within=5))
    await agent.after("a")
    await asyncio.sleep(0)
    assert not closing.done()

    await agent.after("b")
    assert await closing


async def test_closing_gives_up_on_a_call_that_does_not_end(agent: Agent) -> None:
    await agent.before("a")
    assert not await agent.boundary.close(within=0.01)


async def test_closing_does_not_wait_for_a_call_that_was_denied(agent: Agent) -> None:
    """The CLI fires no hook after a call that a permission or another hook refuses."""
    await agent.before("denied")
    agent.boundary.ended("denied")

    assert await agent.boundary.close(within=0)


async def test_closing_does_not_wait_for_subagents(agent: Agent) -> None:
    await agent.before("a", "sub")
    assert await agent.boundary.close(within=0)


async def test_a_call_is_held_while_closed_and_starts_when_reopened(
    agent: Agent, store: Store
) -> None:
    assert await agent.boundary.close(within=0)
    held = asyncio.create_task(agent.before("a"))
    await asyncio.sleep(0.05)
    assert not held.done()

    agent.boundary.reopen()
    assert await held == {}
    assert not await agent.boundary.close(within=0), "now it runs"


async def test_a_call_that_is_held_too_long_is_denied(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HOLD_SECONDS", 0.01)
    await agent.boundary.close(within=0)

    said = (await agent.before("a"))["hookSpecificOutput"]
    assert (said["hookEventName"], said["permissionDecision"]) == ("PreToolUse", "deny")
    assert "was not run" in said["permissionDecisionReason"]
    agent.boundary.reopen()
    assert await agent.boundary.close(within=0), "it does not count as running"


async def test_a_subagents_call_is_not_held(agent: Agent) -> None:
    await agent.boundary.close(within=0)
    async with asyncio.timeout(5):
        assert await agent.before("a", "sub") == {}


async def test_calls_of_a_process_that_is_gone_are_forgotten(agent: Agent) -> None:
    await agent.before("a")
    assert not await agent.boundary.close(within=0)
    agent.boundary.reopen()

    assert await agent.boundary.close(within=0)


async def test_an_agent_that_is_drained_stands_still_when_its_transcript_is_read(
    agent: Agent,
) -> None:
    """Or what came of its calls would be lost to whoever resumes it elsewhere."""
    await agent.before("a")
    draining = asyncio.create_task(agent.boundary.drain())
    held = asyncio.create_task(agent.before("b"))
    await agent.after("a")
    assert await asyncio.wait([draining], timeout=0.05) == (set(), {draining})

    await agent.read("a", "b")
    async with asyncio.timeout(5):
        await draining
    agent.boundary.reopen()
    assert await held == {}


async def test_a_drain_does_not_wait_for_ever_for_the_transcript(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WRITTEN_SECONDS", 0.01)
    draining = asyncio.create_task(agent.boundary.drain())
    held = asyncio.create_task(agent.before("never in the transcript"))
    async with asyncio.timeout(5):
        await draining
    agent.boundary.reopen()
    assert await held == {}
