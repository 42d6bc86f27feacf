"""`correct`: interrupt the agent and say what is wrong."""

from __future__ import annotations

from typing import ClassVar

from supervisor.core.action import Action, ActionParams, ActionResult, AgentControl, Capability
from supervisor.core.decision import Decision
from supervisor.core.feedback import addressed, feedback

__all__ = ["Correct", "CorrectParams"]


class CorrectParams(ActionParams):
    """What the correction says."""

    message: str | None = None
    """Said in place of Lucid's own description of the failure."""


class Correct(Action):
    """Ends the turn at a boundary that loses no work, then sends a targeted prompt.

    The history stays as it is: for a failure that the model repeats because its context
    is full of it, `rollback` is the action.
    """

    name: ClassVar[str] = "correct"
    Params: ClassVar[type[ActionParams]] = CorrectParams
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.PROMPT})

    async def run(
        self, decision: Decision, params: CorrectParams, agent: AgentControl
    ) -> ActionResult:
        """Interrupt, then prompt."""
        text = params.message or feedback(decision.verdict)
        await agent.prompt(
            decision,
            addressed(
                f"You were interrupted by your supervisor. {text}\nThen go on with the task."
            ),
        )
        return ActionResult(detail="interrupted and corrected by a prompt")
