"""Actions that fail, hang or report: what becomes of them, and of their ladder."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import ClassVar

import pytest

from supervisor.core.action import Action, ActionParams, ActionResult, AgentControl, Capability
from supervisor.core.decision import Choice, Decision
from supervisor.core.outcome import OutcomeStatus
from supervisor.errors import ActionError
from supervisor.runtime import registry
from supervisor.runtime.actions import Actions
from supervisor.store.interface import Store
from tests.unit.runtime.conftest import Transcript, Watch, policy_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("marker", "install_actions")]


class Hanging(Action):
    """Waits for what never comes."""

    name = "hanging"
    needs: ClassVar[frozenset[Capability]] = frozenset()
    time_limit = timedelta(milliseconds=20)

    async def run(
        self, decision: Decision, params: ActionParams, agent: AgentControl
    ) -> ActionResult:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")


class Failing(Action):
    """Cannot be carried out."""

    name = "failing"
    needs: ClassVar[frozenset[Capability]] = frozenset()

    async def run(
        self, decision: Decision, params: ActionParams, agent: AgentControl
    ) -> ActionResult:
        raise ActionError("no way")


class Working(Action):
    """Does what it should, and says so."""

    name = "working"
    needs: ClassVar[frozenset[Capability]] = frozenset()

    async def run(
        self, decision: Decision, params: ActionParams, agent: AgentControl
    ) -> ActionResult:
        return ActionResult(detail="worked", at_once=True)


@pytest.fixture
def install_actions(install: Callable[..., None]) -> Iterator[None]:
    here = "tests.unit.runtime.test_actions_in_time"
    install(
        "their-actions",
        actions=[f"{kind.name} = {here}:{kind.__name__}" for kind in (Hanging, Failing, Working)],
    )
    yield
    registry.actions.cache_clear()


class Acting:
    """Runs what is decided, on no agent at all."""

    def __init__(self, watch: Watch, ladder: str, **settings: str) -> None:
        self.watched = watch(policy_of(ladder, **settings), act=self._act)
        self.actions = Actions(self.watched.supervision)

    def _act(self, decision: Decision) -> None:
        self.actions.start(decision, None)  # type: ignore[arg-type] # these ask nothing of it

    async def until_done(self) -> None:
        async with asyncio.timeout(5):
            while self.actions.running:
                await self.actions.settled()

    @property
    def acted(self) -> list[str | None]:
        return [d.action for d in self.watched.decisions if d.choice is Choice.ACT]


@pytest.mark.parametrize("first", ["failing", "hanging"])
async def test_a_ladder_goes_on_by_itself(
    first: str, watch: Watch, store: Store, transcript: Transcript
) -> None:
    acting = Acting(watch, f"[{first}, working]")
    await acting.watched.take(transcript, transcript.text("FAIL:one"))
    await acting.until_done()

    assert acting.acted == [first, "working"]
    (verdict,) = acting.watched.verdicts
    assert all(decision.verdict == verdict for decision in acting.watched.decisions)
    assert [outcome.status for outcome in acting.watched.outcomes] == [OutcomeStatus.FAILED]
    (incident,) = await store.incidents("s")
    assert incident.source == f"action:{first}"


async def test_what_hangs_says_how_long_it_was_given(
    watch: Watch, store: Store, transcript: Transcript
) -> None:
    acting = Acting(watch, "[hanging]")
    await acting.watched.take(transcript, transcript.text("FAIL:one"))
    await acting.until_done()

    (incident,) = await store.incidents("s")
    assert incident.message == "hanging failed: it was not done in 20ms"


async def test_a_ladder_of_failing_rungs_comes_to_its_end(
    watch: Watch, transcript: Transcript
) -> None:
    acting = Acting(watch, "[failing, hanging, failing]")
    await acting.watched.take(transcript, transcript.text("FAIL:one"))
    await acting.until_done()

    assert acting.acted == ["failing", "hanging", "failing"]
    assert acting.watched.decisions[-1].choice is Choice.EXHAUSTED
    assert acting.watched.supervision.unresolved


async def test_attempts_are_not_spent_on_what_cannot_be_carried_out(
    watch: Watch, transcript: Transcript
) -> None:
    acting = Acting(watch, "[{failing: {attempts: 5}}, working]")
    await acting.watched.take(transcript, transcript.text("FAIL:one"))
    await acting.until_done()

    assert acting.acted == ["failing", "working"]


async def test_what_takes_effect_at_once_is_judged_from_there(
    watch: Watch, transcript: Transcript
) -> None:
    acting = Acting(watch, "[working, working]")
    await acting.watched.take(transcript, transcript.text("FAIL:one"))
    await acting.until_done()
    lines = transcript.call("a"), transcript.result("a"), transcript.text("FAIL:one")
    await acting.watched.take(transcript, *lines)

    assert [outcome.status for outcome in acting.watched.outcomes] == [OutcomeStatus.FAILED]
    assert acting.watched.outcomes[0].did == "worked"


async def test_a_report_is_an_incident(watch: Watch, store: Store, transcript: Transcript) -> None:
    acting = Acting(watch, "[working]")
    acting.actions.note("template", "it has no price")
    await acting.until_done()

    (incident,) = await store.incidents("s")
    assert (incident.source, incident.message) == ("template", "it has no price")
