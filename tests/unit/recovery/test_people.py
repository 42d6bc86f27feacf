"""`pause` and `escalate`: what they ask of an agent, and what they say they did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from recovery.escalate import Escalate, EscalateParams
from recovery.pause import Pause, PauseParams
from supervisor.core.action import Capability
from supervisor.core.decision import Decision
from supervisor.errors import ActionError

pytestmark = pytest.mark.anyio


@dataclass
class Watched:
    """An agent that remembers what is done to it."""

    refuses: bool = False
    done: list[tuple[str, str | None]] = field(default_factory=list)

    async def pause(self, decision: Decision, reason: str) -> None:
        self.done.append(("pause", reason))

    async def notify(self, decision: Decision, to: str | None) -> str:
        if self.refuses:
            raise ActionError("oncall could not be told: HTTP 404")
        self.done.append(("notify", to))
        return "told oncall (HTTP 200)"


async def test_a_pause_asks_what_the_policy_asks_or_says_why(decision: Decision) -> None:
    agent: Any = Watched()
    for params in (PauseParams(ask="Go on?"), PauseParams()):
        result = await Pause().run(decision, params, agent)

    assert agent.done == [("pause", "Go on?"), ("pause", decision.reason)]
    assert result.detail == "paused until a person says how to go on"
    assert (result.status, result.at_once) == (None, False)


async def test_an_escalation_takes_effect_at_once_and_says_what_became_of_it(
    decision: Decision,
) -> None:
    agent: Any = Watched()
    result = await Escalate().run(decision, EscalateParams(to="oncall"), agent)
    await Escalate().run(decision, EscalateParams(), agent)

    assert (result.detail, result.at_once) == ("told oncall (HTTP 200)", True)
    assert agent.done == [("notify", "oncall"), ("notify", None)]


async def test_an_escalation_that_reaches_nobody_has_failed(decision: Decision) -> None:
    refusing: Any = Watched(refuses=True)
    with pytest.raises(ActionError, match="could not be told"):
        await Escalate().run(decision, EscalateParams(), refusing)


def test_they_are_skipped_where_nobody_could_be_reached() -> None:
    assert Escalate.needs == {Capability.NOTIFY}
    assert Pause.needs == {Capability.PAUSE}
