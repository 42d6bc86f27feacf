"""`Gate`: where an agent that we do not own can be reached: its tool calls.

What actions want of it waits here until its next hook, which the agent waits for. Nothing is
done to an agent that posts none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from supervisor.core.decision import Decision
from supervisor.core.intent import Intent
from supervisor.runtime.actions import Forestalled
from supervisor.runtime.beside import Beside
from supervisor.runtime.boundary import denied, told
from supervisor.runtime.denials import Denials
from supervisor.runtime.listening import Listening
from supervisor.runtime.supervision import Supervision

__all__ = ["Answer", "Gate", "ending"]

Answer = Mapping[str, object]
"""What a hook is answered with; empty where there is nothing to say."""


@dataclass
class _Demand:
    """Something that an agent has to heed before its next tool call."""

    decision: Decision
    text: str
    ends: bool
    """Its turn ends there."""
    met: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def waits(self) -> bool:
        """Whether the action that wants it is still there."""
        return not self.met.done()


class Gate:
    """The tool calls of one session's agents."""

    def __init__(self, supervision: Supervision, listening: Listening) -> None:
        self._supervision = supervision
        self._listening = listening
        self._demands: dict[str | None, list[_Demand]] = {}
        self.beside = Beside(supervision)
        """What is read beside the next tool result."""
        self.denials = Denials(supervision.outcomes.is_pending, supervision.outcomes.shown)

    async def correct(self, decision: Decision, text: str) -> None:
        """Have `text` read in place of the next call of the verdict's agent, which does not
        run; returns once it is. Raises `Forestalled` where the turn ends first."""
        self._supervision.queued(decision)
        await self._demand(decision, text, ends=False)

    async def end(self, decision: Decision, reason: str) -> None:
        """End the verdict's agent's turn at its next call, which does not run, or behind the
        one that runs; returns once it is told. Raises `Forestalled` where it ends first."""
        await self._demand(decision, reason, ends=True)

    async def _demand(self, decision: Decision, text: str, *, ends: bool) -> None:
        demand = _Demand(decision, text, ends)
        self._demands.setdefault(decision.verdict.agent_id, []).append(demand)
        await demand.met

    def before(self, intent: Intent) -> Answer:
        """What to say before a call; empty: it may run."""
        if (demand := self._next(intent.agent_id, ends=True)) is not None:
            demand.met.set_result(None)
            return {**denied(demand.text), **ending(demand.text)}
        if (demand := self._next(intent.agent_id, ends=False)) is not None:
            self._supervision.outcomes.shown(demand.decision, intent.call_id)
            demand.met.set_result(None)
            return cast("Answer", denied(demand.text))
        if (reason := self.denials.reason(intent)) is not None:
            return cast("Answer", denied(reason))
        return self.shown("PreToolUse", intent.call_id, intent.agent_id)

    def after(self, event: str, call_id: str, agent_id: str | None) -> Answer:
        """What to say behind a call."""
        if (demand := self._next(agent_id, ends=True)) is not None:
            demand.met.set_result(None)
            return ending(demand.text)
        return self.shown(event, call_id, agent_id)

    def at_stop(self) -> str | None:
        """What keeps the main agent at work that is about to end its turn, if anything is
        still to be said to it."""
        demand = self._next(None, ends=False)
        if demand is None:
            return None
        self._supervision.resumed(demand.decision)
        demand.met.set_result(None)
        return demand.text

    def shown(self, event: str, call_id: str, agent_id: str | None) -> Answer:
        """What waits to be read beside this call's result."""
        word = self._listening.take() if agent_id is None else None
        text = self.beside.take(agent_id, call_id, word)
        return {} if text is None else cast("Answer", told(event, text))

    def turn_ended(self) -> list[Decision]:
        """The main agent's turn is over: nothing can be said in it any more. Returns the
        decisions whose text nobody read."""
        for demand in self._demands.pop(None, []):
            if demand.waits:
                demand.met.set_exception(Forestalled("the turn ended first"))
        return self.beside.withdraw()

    def _next(self, agent_id: str | None, *, ends: bool) -> _Demand | None:
        waiting = [demand for demand in self._demands.get(agent_id, []) if demand.waits]
        found = next((demand for demand in waiting if demand.ends is ends), None)
        left = [demand for demand in waiting if demand is not found]
        if left:
            self._demands[agent_id] = left
        else:
            self._demands.pop(agent_id, None)
        return found


def ending(reason: str) -> dict[str, object]:
    """The CLI ends the agent's turn, and shows the reason to whoever sits at it. A call that
    is asked about would still run, were it not denied as well (CLI 2.1.330)."""
    return {"continue": False, "stopReason": reason}
