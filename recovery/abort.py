"""`abort`: stop an agent that nothing brings back."""

from __future__ import annotations

from typing import ClassVar

from supervisor.core.action import Action, ActionParams, ActionResult, AgentControl, Capability
from supervisor.core.decision import Decision

__all__ = ["Abort"]


class Abort(Action):
    """Ends the turn and the session; `lucid run` exits with its own code for it.

    The transcript stays in the store, whole and resumable.
    """

    name: ClassVar[str] = "abort"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.STOP})

    async def run(
        self, decision: Decision, params: ActionParams, agent: AgentControl
    ) -> ActionResult:
        """Stop it."""
        await agent.stop(decision, decision.reason)
        return ActionResult(detail="stopped by the policy")
