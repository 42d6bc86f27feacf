"""`pause`: leave the session to wait for a person."""

from __future__ import annotations

from typing import ClassVar

from supervisor.core.action import Action, ActionParams, ActionResult, AgentControl, Capability
from supervisor.core.decision import Decision

__all__ = ["Pause", "PauseParams"]


class PauseParams(ActionParams):
    """What the person is asked."""

    ask: str | None = None
    """Said in place of Lucid's reason for the pause."""


class Pause(Action):
    """Ends the turn at a boundary that loses no work. The session is kept as it stands, costs
    nothing meanwhile, and goes on when a person has said how: `lucid approve`, `lucid reject`
    or `lucid say`, on any host that reaches the store.
    """

    name: ClassVar[str] = "pause"
    Params: ClassVar[type[ActionParams]] = PauseParams
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.PAUSE})

    async def run(
        self, decision: Decision, params: PauseParams, agent: AgentControl
    ) -> ActionResult:
        """Stop it, and wait."""
        await agent.pause(decision, params.ask or decision.reason)
        return ActionResult(detail="paused until a person says how to go on")
