"""`nudge`: tell the agent, without interrupting it."""

from __future__ import annotations

from typing import ClassVar

from supervisor.core.action import Action, ActionParams, ActionResult, AgentControl, Capability
from supervisor.core.decision import Decision
from supervisor.core.template import Message, spoken

__all__ = ["Nudge", "NudgeParams"]


class NudgeParams(ActionParams):
    """What the nudge says."""

    message: Message | None = None
    """Said in place of Lucid's own description of the failure."""


class Nudge(Action):
    """Adds context that the model reads beside its next tool result.

    The mildest action: no call is stopped, no text is lost. An agent that calls no tool
    any more never reads it, and the outcome says so.
    """

    name: ClassVar[str] = "nudge"
    Params: ClassVar[type[ActionParams]] = NudgeParams
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.ADD_CONTEXT})

    async def run(
        self, decision: Decision, params: NudgeParams, agent: AgentControl
    ) -> ActionResult:
        """Queue the text for the next tool boundary."""
        text = spoken(decision, agent, "{{ message }}", params.message)
        await agent.add_context(decision, text)
        return ActionResult(detail="context added at the next tool boundary")
