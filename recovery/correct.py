"""`correct`: interrupt the agent and say what is wrong."""

from __future__ import annotations

from typing import ClassVar

from supervisor.core.action import Action, ActionParams, ActionResult, AgentControl, Capability
from supervisor.core.decision import Decision
from supervisor.core.template import Message, spoken

__all__ = ["Correct", "CorrectParams"]

_SAYS = """\
You were interrupted by your supervisor. {{ message }}
Then go on with the task."""


class CorrectParams(ActionParams):
    """What the correction says."""

    message: Message | None = None
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
        await agent.prompt(decision, spoken(decision, agent, _SAYS, params.message))
        return ActionResult(detail="interrupted and corrected by a prompt")
