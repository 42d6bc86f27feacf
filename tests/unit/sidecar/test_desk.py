"""What agents are answered at their hooks, by a sidecar that follows their files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY

from supervisor.core.decision import Choice, Decision
from supervisor.core.session import SessionState
from supervisor.core.word import Saying, Word
from supervisor.metrics import HookResult
from supervisor.policy.load import parse_policy
from supervisor.runtime import registry
from supervisor.settings import Settings
from supervisor.sidecar import control, desk
from supervisor.sidecar.desk import Desk
from supervisor.sidecar.hook import Hook, read_hook
from supervisor.sidecar.leave import MOST_HOLDS
from supervisor.sidecar.sidecar import Sidecar
from supervisor.store.interface import Store
from tests.unit.sidecar.bare_agent import LONGEST, PROJECT, BareAgent, until

pytestmark = pytest.mark.anyio

Answer = dict[str, Any]


class HookedAgent(BareAgent):
    """Asks a desk before it does something, as the CLI does."""

    def __init__(
        self, projects: Path, sidecar: Sidecar | Hanging | Failing, session_id: str | None = None
    ) -> None:
        super().__init__(projects, session_id)
        self.sidecar = sidecar
        self.answers = Desk(sidecar)
        self.turn = str(uuid4())
        self.cwd = str(projects.parent)

    def hook(self, event: str, **fields: Any) -> Hook:
        body = {
            "hook_event_name": event,
            "session_id": self.session_id,
            "transcript_path": str(self.path),
            "cwd": self.cwd,
            "prompt_id": self.turn,
            **fields,
        }
        return read_hook(json.dumps(body).encode())

    async def post(self, event: str, *, within: float | None = None, **fields: Any) -> Answer:
        return await self.answers.answer(self.hook(event, **fields), within=within)

    async def asked(self, text: str = "Mend the shop.") -> Answer:
        """A person asks for something, in a turn of its own."""
        self.turn = str(uuid4())
        answer = await self.post("UserPromptSubmit")
        if not answer.get("decision"):
            self.prompt(text)
            await until(self.is_reached)
        return answer

    def is_reached(self) -> bool:
        """Whether the sidecar knows that it posts hooks."""
        assert isinstance(self.sidecar, Sidecar)
        return any(session.control.is_reached for session in self.sidecar.sessions)

    async def before(self, call_id: str, command: str = "ls", **fields: Any) -> Answer:
        given: dict[str, Any] = {"tool_name": "Bash", "tool_input": {"command": command}}
        return await self.post("PreToolUse", tool_use_id=call_id, **given, **fields)

    async def after(self, call_id: str, **fields: Any) -> Answer:
        return await self.post("PostToolUse", tool_name="Bash", tool_use_id=call_id, **fields)

    async def stops(self, said: str = "Done.", *, within: float | None = None) -> Answer:
        """It says its last words, and asks to end its turn."""
        self.ends_turn(said)
        return await self.post("Stop", within=within, last_assistant_message=said)


Beside = Callable[..., AbstractAsyncContextManager[HookedAgent]]


@pytest.fixture
def beside(store: Store, projects: Path) -> Beside:
    """An agent beside a sidecar under a policy with this rule and ladder."""

    @asynccontextmanager
    async def enter(
        ladder: str, on: str = "loop", session_id: str | None = None
    ) -> AsyncIterator[HookedAgent]:
        text = f"version: 1\nrules: [{{name: r, on: {on}, min_confidence: 0.8, ladder: {ladder}}}]"
        actions, detectors = registry.actions(), registry.detectors()
        policy = parse_policy(text, "p.yaml", detectors=detectors, actions=actions)
        settings = Settings(lease_seconds=1)
        async with Sidecar(
            store=store, folders=[projects], policy=policy, settings=settings
        ) as sidecar:
            await until(lambda: not sidecar.not_ready())
            yield HookedAgent(projects, sidecar, session_id)

    return enter


def told(answer: Answer) -> str:
    """What the agent reads beside a result."""
    said: str = answer["hookSpecificOutput"]["additionalContext"]
    return said


def denied(answer: Answer) -> str:
    """Why its call does not run."""
    said = answer["hookSpecificOutput"]
    assert said["permissionDecision"] == "deny"
    reason: str = said["permissionDecisionReason"]
    return reason


async def decisions(store: Store, agent: BareAgent) -> list[Decision]:
    found = await store.decisions(agent.session_id)
    return [one for one in found if one.choice is not Choice.NO_RULE]


async def state(store: Store, agent: BareAgent) -> SessionState:
    return (await store.session(agent.session_id)).state


def counted(event: str, result: HookResult) -> float:
    labels = {"event": event, "result": str(result)}
    return REGISTRY.get_sample_value("lucid_hook_requests_total", labels) or 0.0


async def test_what_happens_in_a_healthy_session_is_let_pass(store: Store, beside: Beside) -> None:
    async with beside("[nudge]") as agent:
        assert await agent.asked() == {}
        assert await agent.before("a") == {}
        assert await agent.after("a") == {}
        assert await agent.post("PreCompact", trigger="auto") == {}
        assert await agent.post("SubagentStop", agent_id="sub") == {}
        assert await agent.post("AnEventOfTomorrow", tool_name=["?"]) == {}
        assert await state(store, agent) is SessionState.RUNNING
        assert await agent.stops() == {}
        await until(lambda: stands(store, agent, SessionState.REACHED))

    intents = await store.intents(agent.session_id)
    assert [(one.call_id, bytes(one.input)) for one in intents] == [("a", b'{"command": "ls"}')]


async def stands(store: Store, agent: BareAgent, wanted: SessionState) -> bool:
    return await state(store, agent) is wanted


async def test_a_nudge_is_read_at_the_next_hook_and_once(store: Store, beside: Beside) -> None:
    async with beside("[nudge]") as agent:
        await agent.asked()
        agent.loop()
        assert "make build" in told(await agent.before("a"))
        assert await agent.before("b") == {}


async def test_a_hook_that_comes_again_is_answered_the_same(store: Store, beside: Beside) -> None:
    async with beside("[nudge]") as agent:
        await agent.asked()
        agent.loop()
        first, at_once = await asyncio.gather(agent.before("a"), agent.before("a"))
        assert told(first)
        assert [first, first] == [at_once, await agent.before("a")]
        assert counted("PreToolUse", HookResult.REPEATED) >= 2

    assert [one.call_id for one in await store.intents(agent.session_id)] == ["a"]


async def test_a_correction_is_read_in_place_of_the_next_call(store: Store, beside: Beside) -> None:
    async with beside("[correct]") as agent:
        await agent.asked()
        agent.loop()
        assert "make build" in denied(await agent.before("a"))
        assert await agent.before("b") == {}

    assert [one.call_id for one in await store.intents(agent.session_id)] == ["b"]


async def test_a_correction_keeps_an_agent_at_work_that_is_about_to_stop(beside: Beside) -> None:
    async with beside("[correct]") as agent:
        await agent.asked()
        agent.loop()
        answer = await agent.stops()
        assert answer["decision"] == "block"
        assert "make build" in answer["reason"]


async def test_calls_are_denied_as_long_as_the_policy_wants(beside: Beside) -> None:
    async with beside("[{block_tool: {calls: 2}}]") as agent:
        await agent.asked()
        agent.loop()
        assert denied(await agent.before("a", "make build"))
        assert await agent.before("b", "ls") == {}


async def test_what_is_said_to_one_agent_is_not_read_by_another(beside: Beside) -> None:
    async with beside("[nudge]") as agent:
        await agent.asked()
        agent.loop()
        assert await agent.before("a", agent_id="sub") == {}
        assert told(await agent.before("b"))


async def test_a_rung_that_needs_the_process_is_offered_as_a_hand_over(
    store: Store, beside: Beside
) -> None:
    async with beside("[rollback]") as agent:
        await agent.asked()
        agent.loop()
        assert await agent.before("a") == {}
        (first, *_) = await decisions(store, agent)

    assert first.choice is Choice.EXHAUSTED
    assert first.reason.endswith(f"to hand it over: lucid adopt {agent.session_id}")
    assert "lucid adopt" in first.skipped[0].reason


async def test_nothing_is_tried_on_an_agent_that_posts_no_hooks(
    store: Store, beside: Beside
) -> None:
    async with beside("[nudge, correct]") as agent:
        agent.prompt()
        agent.loop()

        async def decided() -> bool:
            return bool(await store.decisions(agent.session_id))

        await until(lambda: known(store, agent))
        await until(decided)
        (first, *_) = await decisions(store, agent)

    assert first.choice is Choice.EXHAUSTED
    assert [one.action for one in first.skipped] == ["nudge", "correct"]


async def test_what_it_did_before_its_first_hook_does_not_count_against_an_action(
    store: Store, beside: Beside
) -> None:
    async with beside("[nudge]") as agent:
        agent.prompt()
        agent.loop(12)
        assert await agent.before("a") == {}
        assert all(one.choice is not Choice.ACT for one in await decisions(store, agent))
        agent.loop()
        assert "make build" in told(await agent.before("b"))


async def known(store: Store, agent: BareAgent) -> bool:
    return any(row.session_id == agent.session_id for row in await store.sessions(5))


def checks(folder: Path, script: str) -> str:
    """A ladder with a check that is counted."""
    run = ["/bin/sh", "-c", f"echo run >> {folder}/runs; {script}"]
    return json.dumps([{"verify": {"run": run, "attempts": 3}}])


def runs(folder: Path) -> int:
    return len((folder / "runs").read_text().splitlines())


async def test_an_agent_may_not_stop_before_the_work_passes_its_check(
    store: Store, beside: Beside, tmp_path: Path
) -> None:
    ladder = checks(tmp_path, "test -e made || { echo it is not made; false; }")
    async with beside(ladder, on="stop") as agent:
        await agent.asked()
        refused = await agent.stops("Done.")
        assert refused["decision"] == "block"
        assert "it is not made" in refused["reason"]

        (tmp_path / "made").touch()
        assert await agent.stops("Now it is.") == {}
        await until(lambda: stands(store, agent, SessionState.REACHED))


async def test_a_stop_that_is_posted_again_is_not_checked_again(
    beside: Beside, tmp_path: Path
) -> None:
    async with beside(checks(tmp_path, "false"), on="stop") as agent:
        await agent.asked()
        refused = await agent.stops("Done.")
        again = await agent.post("Stop", last_assistant_message="Done.")
        assert again == refused
        assert runs(tmp_path) == 1

        await agent.stops("Done.")  # the same words, said again
        assert runs(tmp_path) == 2


async def test_a_check_that_takes_longer_than_the_hook_is_waited_for_and_not_begun_again(
    store: Store, beside: Beside, tmp_path: Path
) -> None:
    ladder = checks(tmp_path, f"while ! test -e {tmp_path}/go; do sleep 0.05; done")
    async with beside(ladder, on="stop") as agent:
        await agent.asked()
        for said in ("Done.", "Once more."):
            held = await agent.stops(said, within=1.0)
            assert held["decision"] == "block"
            assert "being checked" in held["reason"]
        (tmp_path / "go").touch()
        assert await agent.stops("And again.", within=5.0) == {}
        await until(lambda: stands(store, agent, SessionState.REACHED))

    assert runs(tmp_path) == 1


async def test_an_agent_is_not_held_for_ever(
    store: Store, beside: Beside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "MARGIN", 0.1)
    async with beside(checks(tmp_path, "sleep 60"), on="stop") as agent:
        await agent.asked()
        answers = [await agent.stops(f"{n}", within=0.4) for n in range(MOST_HOLDS + 1)]
        assert [answer.get("decision") for answer in answers] == ["block"] * MOST_HOLDS + [None]
        incidents = await store.incidents(agent.session_id)
        assert "--stop-timeout" in incidents[-1].message
        await agent.post("SessionEnd", reason="other")

    row = await store.session(agent.session_id)
    assert (row.state, runs(tmp_path)) == (SessionState.GAVE_UP, 1)


async def test_a_paused_agent_ends_its_turn_and_goes_on_when_a_person_says_so(
    store: Store, beside: Beside
) -> None:
    async with beside("[{pause: {ask: 'Is this right?'}}]") as agent:
        await agent.asked()
        agent.loop()
        answer = await agent.before("a")
        assert denied(answer) == "Is this right?"
        assert (answer["continue"], answer["stopReason"]) == (False, "Is this right?")
        await until(lambda: stands(store, agent, SessionState.PAUSED))

        await agent.post("SessionEnd", reason="other")
        assert await state(store, agent) is SessionState.PAUSED
        assert await agent.asked("Yes, go on.") == {}
        assert await state(store, agent) is SessionState.RUNNING


async def test_a_session_that_was_aborted_takes_no_prompt_not_even_from_another_sidecar(
    store: Store, beside: Beside
) -> None:
    async with beside("[abort]") as agent:
        await agent.asked()
        agent.loop()
        assert await agent.after("a") == {
            "continue": False,
            "stopReason": "'r' begins its ladder: abort, rung 1 of 1",
        }
        await until(lambda: stands(store, agent, SessionState.ABORTED))

    async with beside("[abort]", session_id=agent.session_id) as later:
        refused = await later.asked("Go on.")
        assert refused["decision"] == "block"
        assert f"lucid adopt {agent.session_id}" in refused["reason"]
        assert await state(store, agent) is SessionState.ABORTED


async def test_a_late_hook_of_a_turn_that_is_over_begins_none(store: Store, beside: Beside) -> None:
    async with beside("[nudge]") as agent:
        await agent.asked()
        first = agent.turn
        await agent.stops()
        await until(lambda: stands(store, agent, SessionState.REACHED))
        assert await agent.after("late", prompt_id=first) == {}
        assert await state(store, agent) is SessionState.REACHED


async def test_what_was_to_be_done_in_a_turn_is_not_done_in_the_next(
    store: Store, beside: Beside
) -> None:
    async with beside("[correct]") as agent:
        await agent.asked()
        agent.loop()
        await agent.post("PreCompact")
        await agent.asked("Never mind.")  # a person interrupted it
        assert await agent.before("a") == {}
        outcomes = [one.status for one in await store.outcomes(agent.session_id)]

    assert outcomes == ["superseded"]


async def test_a_person_is_heard_at_the_next_hooks(
    store: Store, beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "LOOK_SECONDS", 0.0)
    async with beside("[nudge]") as agent:
        await agent.asked()
        word = Word(
            session_id=agent.session_id,
            id="w",
            at=datetime.now(UTC),
            saying=Saying.SAY,
            text="Mind the gap.",
        )
        await store.record(word)
        answers: list[str] = []

        async def is_heard() -> bool:
            answers.append(json.dumps(await agent.before(f"{len(answers)}")))
            return "Mind the gap." in answers[-1]

        await until(is_heard)
        for _ in range(3):
            await is_heard()

    assert sum("Mind the gap." in answer for answer in answers) == 1


async def test_a_hook_from_elsewhere_is_let_pass(store: Store, beside: Beside) -> None:
    async with beside("[nudge]") as agent:
        before = counted("PreToolUse", HookResult.UNKNOWN_SESSION)
        for path in ("/etc/passwd", str(agent.path.parent / "../../x.jsonl"), "", "x.jsonl"):
            assert await agent.before("a", transcript_path=path) == {}
        assert counted("PreToolUse", HookResult.UNKNOWN_SESSION) == before + 4
        assert await store.sessions(5) == []


async def test_a_hook_without_a_transcript_has_no_effect_and_is_counted(
    store: Store, beside: Beside
) -> None:
    async with beside("[nudge]") as agent:
        before = counted("PreToolUse", HookResult.UNKNOWN_SESSION)
        assert await agent.before("a") == {}
        assert counted("PreToolUse", HookResult.UNKNOWN_SESSION) == before + 1
        for event in ("Stop", "StopFailure", "SessionEnd", "PreCompact"):
            assert await agent.post(event) == {}
        assert await store.sessions(5) == []


async def test_a_first_prompt_is_not_lost_though_it_comes_before_its_transcript(
    store: Store, beside: Beside
) -> None:
    async with beside("[nudge]") as agent:
        unknown = counted("UserPromptSubmit", HookResult.UNKNOWN_SESSION)
        quiet = counted("UserPromptSubmit", HookResult.QUIET)
        assert await agent.post("UserPromptSubmit") == {}
        assert await agent.post("UserPromptSubmit") == {}
        assert counted("UserPromptSubmit", HookResult.QUIET) == quiet + 2
        assert counted("UserPromptSubmit", HookResult.UNKNOWN_SESSION) == unknown
        assert await store.sessions(5) == [], "there may never be a transcript"

        agent.prompt()
        # It can be reached, though nothing but its prompt was posted by now.
        await until(agent.is_reached)
        agent.loop()
        assert "make build" in told(await agent.before("a"))


async def test_a_call_that_comes_before_its_transcript_waits_for_it(
    store: Store, beside: Beside
) -> None:
    async with beside("[nudge]") as agent:
        assert await agent.post("UserPromptSubmit") == {}
        call = asyncio.create_task(agent.before("a"))
        await asyncio.sleep(0)
        agent.prompt()
        assert await call == {}

    assert [one.call_id for one in await store.intents(agent.session_id)] == ["a"]


async def test_an_agent_that_keeps_no_transcript_is_waited_for_once(
    store: Store, beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "CATCH_UP_SECONDS", 0.05)
    async with beside("[nudge]") as agent:
        before = counted("PreToolUse", HookResult.UNKNOWN_SESSION)
        assert await agent.post("UserPromptSubmit") == {}
        assert await agent.before("a") == {}
        monkeypatch.setattr(desk, "CATCH_UP_SECONDS", LONGEST)
        async with asyncio.timeout(LONGEST / 2):
            assert await agent.before("b") == {}
        assert counted("PreToolUse", HookResult.UNKNOWN_SESSION) == before + 2
        assert await store.sessions(5) == []


class Hanging:
    """Where hooks are never answered."""

    def expects(self, hook: Hook) -> bool:
        return False

    async def session_for(self, hook: Hook) -> None:
        await asyncio.Event().wait()


class Failing:
    """Where they lead to a fault."""

    def expects(self, hook: Hook) -> bool:
        return False

    async def session_for(self, hook: Hook) -> None:
        raise RuntimeError("no such luck")


@pytest.mark.parametrize(
    ("sidecar", "result"), [(Hanging(), HookResult.LATE), (Failing(), HookResult.FAILED)]
)
async def test_no_fault_and_no_delay_of_ours_stops_an_agent(
    projects: Path, sidecar: Hanging | Failing, result: HookResult
) -> None:
    agent = HookedAgent(projects, sidecar)
    before = counted("PreToolUse", result)
    async with asyncio.timeout(5):
        assert await agent.before("a", within=1.0) == {}
    assert counted("PreToolUse", result) == before + 1
    assert PROJECT in str(agent.path)


async def test_a_turn_that_the_service_broke_off_is_offered_as_a_hand_over(
    store: Store, beside: Beside
) -> None:
    async with beside("[resume]", on="interruption") as agent:
        await agent.asked()
        failed = "API Error: 529 Overloaded"
        assert await agent.post("StopFailure", last_assistant_message=failed) == {}
        await until(lambda: stands(store, agent, SessionState.BROKEN))
        (decision,) = await decisions(store, agent)
        assert await agent.asked("Go on.") == {}
        assert await state(store, agent) is SessionState.RUNNING

    assert decision.choice is Choice.EXHAUSTED
    assert f"lucid adopt {agent.session_id}" in decision.reason
